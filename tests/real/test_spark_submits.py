"""Spark applications submitted from Dagster through Pipes, by a real Spark on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    ExecuteInProcessResult,
    RunConfig,
)

from dataforge.model.filter import RunFilter
from dataforge.storage.database import Database
from dataforge_assets.hands.spark import spark_submit
from dataforge_assets.hands.wave import Pace
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.spark import SparkResource

PREPARED = Path(__file__).parents[2] / ".spark"
SUBMIT = PREPARED / "venv" / "bin" / "spark-submit"
pytestmark = [
    pytest.mark.real,
    # Dagster warns of a part of Pipes that it uses itself.
    pytest.mark.filterwarnings("ignore:Function `PipesMessageReader.expected_writer_count` is currently in preview"),
    pytest.mark.skipif(
        not (PREPARED / ".installed").exists() or shutil.which("java") is None,
        reason="there is no Spark here: run `make spark`, with Java on the path",
    ),
]
DAILY = DailyPartitionsDefinition("2026-11-01", end_date="2026-11-20")
SPEC = AssetSpec("scores", partitions_def=DAILY, metadata=ledger_metadata(task=("spark", "score")))
RUN = "0e6f3f5a-2f4b-4f5c-9d6e-5a1b7c9d2e11"
PATIENCE = 120.0
APPLICATION = """
import sys
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes
from pyspark.sql import SparkSession

here = Path(sys.argv[1])
with open_dagster_pipes() as pipes:
    day = pipes.get_extra("partition")
    spark = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
    with (here / "ran").open("a") as ran:
        ran.write(pipes.get_extra("name") + "\\n")
    while (here / ("hold-" + day)).exists():
        time.sleep(0.1)
    if day == "2026-11-03":
        raise ValueError("the scores of " + day + " are broken")
    pipes.report_asset_materialization(metadata={"rows": spark.range(7).count()})
"""


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerResource]:
    with LedgerResource(database_url=database.url) as resource:
        cut = {"kind": "daily", "start": "2026-11-01"}
        resource.declare("spark", {"tasks": [{"namespace": "spark", "name": "score", "partitioning": cut}]})
        yield resource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "score.py").write_text(APPLICATION)
    (tmp_path / "ran").touch()
    return tmp_path


def launch(ledger: LedgerResource, folder: Path, first: str, last: str) -> ExecuteInProcessResult:
    """One run of Dagster's, in this process."""
    os.environ["PYSPARK_PYTHON"] = str(SUBMIT.with_name("python"))
    job = Definitions(
        assets=[spark_submit(SPEC, str(folder / "score.py"), lambda _: [str(folder)])],
        resources={"ledger": ledger, "spark": SparkResource(submit=str(SUBMIT), master="local[1]")},
    ).resolve_implicit_global_asset_job_def()
    with DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance,
            run_id=RUN,
            run_config=RunConfig({"scores": Pace(poll_seconds=0.2, timeout_seconds=PATIENCE)}),
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            raise_on_error=False,
        )


def _runs(ledger: LedgerResource) -> list[tuple[Any, ...]]:
    items = ledger.runs(RunFilter(namespace="spark", name="score", attempts=True)).items
    return sorted((run.partition, run.attempt, str(run.state)) for run in items)


def test_each_day_is_an_application_whose_end_is_that_of_its_attempt(ledger: LedgerResource, folder: Path) -> None:
    result = launch(ledger, folder, "2026-11-02", "2026-11-03")
    [failure] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert failure.step_failure_data.user_failure_data is not None
    said = str(failure.step_failure_data.user_failure_data.description)
    assert "2026-11-03: spark-submit ended with 1: ValueError: the scores of 2026-11-03 are broken" in said
    [made] = result.asset_materializations_for_node("scores")
    assert (made.partition, made.metadata["rows"].value) == ("2026-11-02", 7)
    assert _runs(ledger) == [("2026-11-02", 1, "succeeded"), ("2026-11-03", 1, "failed")]
    assert sorted((folder / "ran").read_text().split()) == ["spark/score[2026-11-02]#1", "spark/score[2026-11-03]#1"]


def test_a_driver_that_outlived_its_run_is_waited_for_before_another_is_started(
    ledger: LedgerResource, folder: Path, database: Database
) -> None:
    (folder / "hold-2026-11-05").touch()
    code = (
        "from tests.real.test_spark_submits import LedgerResource, Path, launch\n"
        f"launch(LedgerResource(database_url={database.url!r}), Path({str(folder)!r}), '2026-11-05', '2026-11-05')"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "PYTHONPATH": "."})
    _until(lambda: bool((folder / "ran").read_text()))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert "spark/score[2026-11-05]#1" in SparkResource().drivers()
    (folder / "hold-2026-11-05").unlink()
    assert launch(ledger, folder, "2026-11-05", "2026-11-05").success
    assert _runs(ledger) == [("2026-11-05", 1, "succeeded")]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.1)
