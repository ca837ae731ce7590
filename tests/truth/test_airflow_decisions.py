"""Verdicts against recorded decisions of Airflow's scheduler, where there is no Airflow to ask."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.airflow_truth.compare import judged
from benchmarks.airflow_truth.replay import Feed, Recorded
from dataforge.ingest.replay import verify
from dataforge.storage.database import Database

CAPTURE = Path(__file__).parents[2] / "examples" / "captures" / "airflow_decisions" / "decisions.jsonl"


@pytest.mark.parametrize("feed", ["everything", "runs"])
def test_no_verdict_differs_from_what_airflow_decided(database: Database, feed: Feed) -> None:
    recorded = [msgspec.json.decode(line, type=Recorded) for line in CAPTURE.read_bytes().splitlines()]
    dags, traces = [each.dag for each in recorded], [each.trace for each in recorded]
    score = judged(database, "decisions", dags, traces, feed)
    assert [disagreement.line() for disagreement in score.disagreements] == []
    assert score.count("agree") > 400
    assert verify(database, "decisions").difference is None
