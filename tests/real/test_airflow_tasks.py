"""Airflow tasks launched from Dagster, with a real Airflow that tells the ledger of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dagster import (
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    ExecuteInProcessResult,
    RunConfig,
    materialize,
)
from dagster._core.storage.tags import BACKFILL_ID_TAG

from benchmarks.airflow_server import PASSWORD, USER, Airflow, airflow
from benchmarks.airflow_truth import scheduler
from benchmarks.scratch import new_database
from benchmarks.served import Served, served
from dataforge.model.catalog import RunItem
from dataforge.model.filter import RunFilter
from dataforge_assets.claims import AGAIN
from dataforge_assets.hands.airflow import airflow_task
from dataforge_assets.hands.wave import Pace
from resources import LedgerResource
from resources.airflow import AirflowResource
from resources.identity import ledger_metadata
from tests.dagster.sensors.teller import Teller

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not scheduler.prepared(), reason="there is no Airflow here: run `make airflow`"),
]
NAMESPACE = "real-airflow"
DAILY = DailyPartitionsDefinition("2024-03-01", end_date="2024-03-20")
PATIENCE = 120.0  # seconds until Airflow must have done what it was asked
# What a task does stands in files beside the DAG: it waits while `hold` is there, and fails where `fail` is.
DAG = """
import time
from datetime import datetime
from pathlib import Path

from airflow import DAG
from airflow.operators.python import PythonOperator

HERE = Path({folder!r})


def load(ds):
    with (HERE / "ran").open("a") as ran:
        ran.write(ds + "\\n")
    while (HERE / ("hold-" + ds)).exists():
        time.sleep(0.1)
    if (HERE / ("fail-" + ds)).exists():
        raise ValueError("the export of " + ds + " is broken")


for name, paused in (("daily", False), ("asleep", True)):
    with DAG(name, schedule="@daily", start_date=datetime(2024, 3, 1), catchup=False,
             is_paused_upon_creation=paused) as dag:
        PythonOperator(task_id="load", python_callable=load)
    globals()[name] = dag
"""


@pytest.fixture(scope="module")
def ledger_api(postgres_server: str, template_database: str) -> Iterator[Served]:
    with new_database(postgres_server, template_database) as url, served(url) as one:
        yield one


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, ledger_api: Served) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("airflow")
    with airflow(folder, ledger_api.root, NAMESPACE) as one:
        (one.dags / "daily.py").write_text(DAG.format(folder=str(one.dags)))
        (one.dags / "ran").touch()
        _until(lambda: one.ask("GET", "/dags/daily").is_success and one.ask("GET", "/dags/asleep").is_success)
        yield one


@pytest.fixture
def ledger(ledger_api: Served) -> Iterator[LedgerResource]:
    with LedgerResource(url=ledger_api.root) as resource:
        _declare(resource)
        yield resource


def _declare(ledger: LedgerResource) -> None:
    cut = {"kind": "daily", "start": "2024-03-01"}
    names = ["daily.load", "asleep.load", "nowhere.load"]
    ledger.declare("daily", {"tasks": [{"namespace": NAMESPACE, "name": name, "partitioning": cut} for name in names]})


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.2)


def _spec(task: str = "daily.load") -> AssetSpec:
    return AssetSpec("loaded", partitions_def=DAILY, metadata=ledger_metadata(task=(NAMESPACE, task)))


def _launch(
    ledger: LedgerResource, real: Airflow, instance: DagsterInstance, first: str, last: str | None = None, **pace: Any
) -> ExecuteInProcessResult:
    resource = AirflowResource(url=real.url, user=USER, password=PASSWORD)
    tags = {BACKFILL_ID_TAG: "nightly"} | ({AGAIN: pace.pop("again")} if "again" in pace else {})
    tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    return materialize(
        [airflow_task(_spec(pace.pop("task", "daily.load")), patience=pace.pop("patience", 20))],
        instance=instance,
        resources={"ledger": ledger, "airflow": pace.pop("airflow", resource)},
        run_config=RunConfig({"loaded": Pace(poll_seconds=0.5, timeout_seconds=PATIENCE, **pace)}),
        tags=tags,
        raise_on_error=False,
    )


def _made(result: ExecuteInProcessResult) -> list[str]:
    return sorted(str(event.partition) for event in result.asset_materializations_for_node("loaded"))


def _why(result: ExecuteInProcessResult) -> str:
    [failure] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def _runs(ledger: LedgerResource, day: str) -> list[RunItem]:
    wanted = RunFilter(namespace=NAMESPACE, name="daily.load", partition=day, attempts=True)
    return [*ledger.runs(wanted).items]


def _times(real: Airflow, day: str) -> int:
    return (real.dags / "ran").read_text().splitlines().count(day)


def test_a_day_is_triggered_once_and_is_one_run_in_the_ledger(
    ledger: LedgerResource, real: Airflow, instance: DagsterInstance
) -> None:
    first = _launch(ledger, real, instance, "2024-03-05")
    assert first.success
    assert _made(first) == ["2024-03-05"]
    teller = Teller(instance, ledger)  # Dagster's mirror, which has nothing to add
    teller.definitions = Definitions(
        assets=[airflow_task(_spec())], resources={"ledger": ledger, "airflow": AirflowResource()}
    )
    teller.tick()
    [run] = _runs(ledger, "2024-03-05")
    assert (run.state, run.source["run_id"]) == ("succeeded", "dataforge__2024-03-05T00:00:00+00:00")
    again = _launch(ledger, real, instance, "2024-03-05")  # what is done is not run again without an order
    assert again.success
    assert _times(real, "2024-03-05") == 1


def test_an_order_clears_the_run_that_is_there(
    ledger: LedgerResource, real: Airflow, instance: DagsterInstance
) -> None:
    assert _launch(ledger, real, instance, "2024-03-06").success
    assert _launch(ledger, real, instance, "2024-03-06", again="the export was corrected").success
    assert _times(real, "2024-03-06") == 2
    assert {(run.run, run.attempt, run.state) for run in _runs(ledger, "2024-03-06")} == {
        ("dataforge__2024-03-06T00:00:00+00:00", 1, "succeeded"),
        ("dataforge__2024-03-06T00:00:00+00:00", 2, "succeeded"),
    }


def test_one_run_carries_a_wave_of_which_one_day_fails(
    ledger: LedgerResource, real: Airflow, instance: DagsterInstance
) -> None:
    (real.dags / "fail-2024-03-08").touch()
    result = _launch(ledger, real, instance, "2024-03-07", "2024-03-09")
    assert not result.success
    assert _made(result) == ["2024-03-07", "2024-03-09"]
    assert "1 of 3 partitions were not made" in _why(result)
    assert "2024-03-08: failed" in _why(result)
    (real.dags / "fail-2024-03-08").unlink()
    assert _launch(ledger, real, instance, "2024-03-07", "2024-03-09").success  # the failed one alone is cleared
    assert [_times(real, f"2024-03-0{day}") for day in (7, 8, 9)] == [1, 2, 1]


def test_what_a_killed_run_had_started_is_joined(
    ledger: LedgerResource, ledger_api: Served, real: Airflow, instance: DagsterInstance
) -> None:
    days = ["2024-03-10", "2024-03-11"]
    for day in days:
        (real.dags / f"hold-{day}").touch()
    code = (
        "from dagster import DagsterInstance; from benchmarks.airflow_server import Airflow; from pathlib import Path\n"
        "from tests.real import test_airflow_tasks as t; from resources import LedgerResource\n"
        f"real = Airflow(Path({str(real.dags.parent)!r}), {real.url.rpartition(':')[2]}, {{}})\n"
        f"t._launch(LedgerResource(url={ledger_api.root!r}), real, DagsterInstance.ephemeral(), *{days!r})"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "PYTHONPATH": "."})
    _until(lambda: _times(real, days[0]) == 1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    for day in days:
        (real.dags / f"hold-{day}").unlink()
    result = _launch(ledger, real, instance, *days)
    assert result.success
    assert _made(result) == days
    assert [_times(real, day) for day in days] == [1, 1]
    assert [len(_runs(ledger, day)) for day in days] == [1, 1]


def test_what_airflow_does_not_tell_is_told_by_its_rest_api(
    ledger_api: Served, real: Airflow, instance: DagsterInstance
) -> None:
    day = "2024-03-12"
    with LedgerResource(url=ledger_api.root, environment="staging") as deaf:  # this Airflow's events go to dev
        _declare(deaf)
        result = _launch(deaf, real, instance, day, patience=1)
        assert result.success
        [run] = _runs(deaf, day)
        assert (run.state, run.attempt, run.source["try_number"]) == ("succeeded", 1, 1)
        assert _launch(deaf, real, instance, day, patience=1).success
    assert _times(real, day) == 1


def test_an_end_that_was_lost_is_told_and_not_run_again(
    ledger: LedgerResource, ledger_api: Served, real: Airflow, instance: DagsterInstance
) -> None:
    day, run_id = "2024-03-13", "dataforge__2024-03-13T00:00:00+00:00"
    assert _launch(ledger, real, instance, day).success
    with LedgerResource(url=ledger_api.root, environment="staging") as deaf:
        _declare(deaf)
        begun = {"task": {"namespace": NAMESPACE, "name": "daily.load"}, "run": run_id, "partition": day}
        deaf.record([{**begun, "time": "2024-03-14T00:00:00Z", "state": "running", "source": {"run_id": run_id}}])
        assert _launch(deaf, real, instance, day, patience=1).success
        assert [run.state for run in _runs(deaf, day)] == ["succeeded"]
    assert _times(real, day) == 1


@pytest.mark.parametrize(
    ("task", "change", "said"),
    [
        ("nowhere.load", {}, "has no DAG nowhere"),
        ("asleep.load", {}, "the DAG asleep is paused"),
        ("daily.load", {"password": "wrong"}, "refuses the user hands"),
        ("daily.load", {"url": "http://127.0.0.1:9"}, "cannot reach Airflow at http://127.0.0.1:9"),
        ("daily.load", {"url": ""}, "set DATAFORGE_AIRFLOW_URL"),
    ],
)
def test_what_cannot_be_launched_says_why_and_changes_nothing(
    ledger: LedgerResource, real: Airflow, instance: DagsterInstance, task: str, change: dict[str, str], said: str
) -> None:
    given = {"url": real.url, "user": USER, "password": PASSWORD} | change
    result = _launch(ledger, real, instance, "2024-03-15", task=task, again="nothing", airflow=AirflowResource(**given))
    assert not result.success
    assert said in _why(result)
    assert len(_why(result).splitlines()) == 1
    assert _times(real, "2024-03-15") == 0
