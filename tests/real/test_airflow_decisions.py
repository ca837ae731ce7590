"""Our verdicts are Airflow's decisions: random DAGs, driven step by step through Airflow's own scheduler."""

from __future__ import annotations

import pytest

from benchmarks.airflow_truth import scheduler
from benchmarks.airflow_truth.compare import compare
from benchmarks.airflow_truth.generate import RULES
from dataforge.storage.database import Database

SEED = 3  # of DAGs that nothing was mended by
DAGS = 300


@pytest.mark.real
@pytest.mark.skipif(not scheduler.prepared(), reason="there is no Airflow here: run `make airflow`")
def test_no_verdict_differs_from_airflows_decision(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    scores = compare(database, "airflow", SEED, range(DAGS))
    for score in scores.values():
        with capsys.disabled():  # the figures of docs/truth.md
            print(f"\n{score.table()}")  # noqa: T201
        assert "\n".join(disagreement.line() for disagreement in score.disagreements) == ""
        assert set(score.by_rule) == {rule.value for rule in RULES}
        assert score.dags == DAGS
