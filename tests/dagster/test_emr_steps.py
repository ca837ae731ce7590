"""EMR steps launched from Dagster, against moto's server and a thread that plays the cluster."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import Thread
from typing import Any

import pytest
from dagster import (
    AssetRecordsFilter,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    ExecuteInProcessResult,
    RunConfig,
)
from dagster._core.storage.tags import BACKFILL_ID_TAG

from benchmarks import emr_cluster
from benchmarks.emr_cluster import REGION, Cluster
from dataforge.model.filter import PartitionFilter, RunFilter
from dataforge.model.state import PartitionStatus, RunState
from dataforge.storage.database import Database
from dataforge_assets.claims import AGAIN
from dataforge_assets.hands.attempt import Attempt
from dataforge_assets.hands.emr import emr_step
from dataforge_assets.hands.wave import Pace
from resources import LedgerResource
from resources.emr import EmrResource
from resources.identity import ledger_metadata
from tests.dagster.sensors.mirror_ticks import Mirror
from tests.dagster.sensors.teller import Teller

DAILY = DailyPartitionsDefinition("2026-11-01", end_date="2026-11-20")
CUT = {"kind": "daily", "start": "2026-11-01"}
SPEC = AssetSpec(
    "scores", partitions_def=DAILY, metadata=ledger_metadata(task=("emr", "score"), dataset=("s3://lake", "scores"))
)


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with emr_cluster.aws() as url:
        yield url


@pytest.fixture
def cluster(aws: str) -> Iterator[Cluster]:  # noqa: ARG001 - it must be there
    one = Cluster()
    yield one
    one.close()


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerResource]:
    with LedgerResource(database_url=database.url) as resource:
        _declare(resource)
        yield resource


def _declare(ledger: LedgerResource, **more: Any) -> None:
    score = {"namespace": "emr", "name": "score", "partitioning": CUT} | more
    ledger.declare("emr", {"tasks": [score, {"namespace": "emr", "name": "load", "partitioning": CUT}]})


def _command(attempt: Attempt) -> list[str]:
    assert attempt.start is not None
    return ["spark-submit", "s3://code/score.py", f"{attempt.start:%Y-%m-%d}", str(attempt.number)]


def _location(ledger: LedgerResource, cluster: str) -> Definitions:
    emr = EmrResource(cluster=cluster, region=REGION, pause_seconds=1)
    return Definitions(assets=[emr_step(SPEC, _command)], resources={"ledger": ledger, "emr": emr})


def launch(
    ledger: LedgerResource,
    cluster: str,
    first: str,
    last: str | None = None,
    run_id: str | None = None,
    again: str | None = None,
    instance: DagsterInstance | None = None,
    **pace: Any,
) -> ExecuteInProcessResult:
    """One run of Dagster's, in this process, as a backfill launches it; `again` is why what is done is run again."""
    tags = {BACKFILL_ID_TAG: "nightly"} | ({AGAIN: again} if again else {})
    tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    job = _location(ledger, cluster).resolve_implicit_global_asset_job_def()
    with nullcontext(instance) if instance else DagsterInstance.ephemeral() as used:
        return job.execute_in_process(
            instance=used,
            run_id=run_id,
            run_config=RunConfig({"scores": Pace(poll_seconds=0.05, **{"timeout_seconds": 30, **pace})}),
            tags=tags,
            raise_on_error=False,
        )


def _made(result: ExecuteInProcessResult) -> list[str]:
    return sorted(str(event.partition) for event in result.asset_materializations_for_node("scores"))


def _why(result: ExecuteInProcessResult) -> str:
    [failure] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    data = failure.step_failure_data.user_failure_data
    return str(data.description) if data else str(failure.step_failure_data.error)


def _states(ledger: LedgerResource, **wanted: Any) -> dict[str, str]:
    items = ledger.partitions(PartitionFilter(namespace="emr", name="score", **wanted)).items
    return {str(item.partition): str(item.state) for item in items}


def test_a_wave_is_claimed_started_and_told_to_the_ledger_day_by_day(ledger: LedgerResource, cluster: Cluster) -> None:
    cluster.fails["2026-11-03"] = "the input is not there"
    result = launch(ledger, cluster.id, "2026-11-02", "2026-11-04")
    assert not result.success
    assert _made(result) == ["2026-11-02", "2026-11-04"]
    assert "2026-11-03: the step s-" in _why(result)
    assert "is failed: the input is not there" in _why(result)
    assert _states(ledger) == {"2026-11-02": "ready", "2026-11-03": "failed", "2026-11-04": "ready"}
    made = ledger.partitions(PartitionFilter(namespace="s3://lake", name="scores", state=PartitionStatus.READY)).items
    assert [item.partition for item in made] == ["2026-11-02", "2026-11-04"]
    cluster.fails.clear()
    assert launch(ledger, "nightly", "2026-11-02", "2026-11-04").success  # by name; only what failed is run again
    assert Counter(cluster.days) == {"2026-11-02": 1, "2026-11-03": 2, "2026-11-04": 1}
    assert [step.args[-1] for step in cluster.steps if "2026-11-03" in step.name] == ["1", "2"]


def test_the_mirrors_tell_nothing_a_second_time(
    ledger: LedgerResource, cluster: Cluster, instance: DagsterInstance
) -> None:
    cluster.fails["2026-11-03"] = "the input is not there"
    launch(ledger, cluster.id, "2026-11-02", "2026-11-03", instance=instance)
    before = ledger.runs(RunFilter(attempts=True)).items
    assert len(before) == 2
    teller = Teller(instance, ledger)
    teller.definitions = _location(ledger, cluster.id)
    teller.tick()
    assert ledger.runs(RunFilter(attempts=True)).items == before
    Mirror(instance, ledger, teller.definitions).tick()
    wanted = AssetRecordsFilter(asset_key=SPEC.key, asset_partitions=["2026-11-02"])
    assert len(instance.fetch_materializations(wanted, limit=10).records) == 1


def test_no_more_are_under_way_than_the_pace_allows(ledger: LedgerResource, cluster: Cluster) -> None:
    assert launch(ledger, cluster.id, "2026-11-01", "2026-11-09", at_once=2).success
    assert len(cluster.days) == 9
    assert cluster.most <= 2


def test_a_day_that_needs_the_day_before_follows_it(ledger: LedgerResource, cluster: Cluster) -> None:
    before = {"task": {"namespace": "emr", "name": "score"}, "mapping": {"kind": "window", "from": -1, "to": -1}}
    _declare(ledger, consumes=[before], partitioning={**CUT, "start": "2026-11-02"})
    result = launch(ledger, cluster.id, "2026-11-02", "2026-11-05")
    assert result.success, _why(result)
    assert cluster.days == ["2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"]


def test_what_the_ledger_does_not_let_run_is_not_started(ledger: LedgerResource, cluster: Cluster) -> None:
    _declare(ledger, consumes=[{"task": {"namespace": "emr", "name": "load"}}])
    told = {"time": "2026-11-06T04:00:00Z", "task": {"namespace": "emr", "name": "load"}, "partition": "2026-11-02"}
    ledger.record([{**told, "state": "failed"}])
    result = launch(ledger, cluster.id, "2026-11-02")
    assert "the ledger does not let it run" in _why(result)
    assert "load" in _why(result)
    assert cluster.days == []


def test_what_is_done_is_run_again_by_an_order_alone(ledger: LedgerResource, cluster: Cluster) -> None:
    assert launch(ledger, cluster.id, "2026-11-02").success
    again = launch(ledger, cluster.id, "2026-11-02")
    assert again.success
    assert _made(again) == ["2026-11-02"]
    assert cluster.days == ["2026-11-02"]
    assert launch(ledger, cluster.id, "2026-11-02", again="the model was wrong").success
    assert cluster.days == ["2026-11-02", "2026-11-02"]


def test_a_killed_wave_that_is_repeated_adds_no_step_twice(
    ledger: LedgerResource, cluster: Cluster, database: Database
) -> None:
    cluster.hangs = {"2026-11-02", "2026-11-03"}
    code = (
        "from tests.dagster.test_emr_steps import launch; from resources import LedgerResource\n"
        f"launch(LedgerResource(database_url={database.url!r}), {cluster.id!r}, '2026-11-02', '2026-11-03', {RUN!r})"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "PYTHONPATH": "."})
    _until(lambda: len(cluster.days) == 2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    cluster.hangs = set()
    result = launch(ledger, cluster.id, "2026-11-02", "2026-11-03", RUN)
    assert result.success, _why(result)
    assert Counter(cluster.days) == {"2026-11-02": 1, "2026-11-03": 1}
    runs = ledger.runs(RunFilter(namespace="emr", name="score", attempts=True)).items
    assert [(run.partition, run.attempt, run.state) for run in sorted(runs, key=lambda run: str(run.partition))] == [
        ("2026-11-02", 1, "succeeded"),
        ("2026-11-03", 1, "succeeded"),
    ]


def test_what_is_given_up_goes_on_and_is_joined_by_the_next_attempt(ledger: LedgerResource, cluster: Cluster) -> None:
    cluster.hangs = {"2026-11-02"}
    result = launch(ledger, cluster.id, "2026-11-02", timeout_seconds=0.2)
    assert "it has no end within 0.2 s, and goes on where it runs" in _why(result)
    second = RunFilter(namespace="emr", name="score", state=RunState.RUNNING)
    freer = _then(lambda: bool(ledger.runs(second).items), cluster.hangs.clear)
    assert launch(ledger, cluster.id, "2026-11-02").success
    freer.join()
    assert cluster.days == ["2026-11-02"]


def test_a_cluster_that_ends_ends_what_runs_on_it(ledger: LedgerResource, cluster: Cluster) -> None:
    cluster.hangs = {"2026-11-02"}
    ender = _then(lambda: bool(cluster.days), cluster.terminate)
    result = launch(ledger, cluster.id, "2026-11-02")
    ender.join()
    assert re.search(r"(the EMR cluster .* takes no steps: it is terminated|is cancelled)", _why(result))
    assert _states(ledger) == {"2026-11-02": "failed"}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("", "no EMR cluster is named"),
        ("weekly", "there is no EMR cluster weekly in eu-central-1"),
        ("j-NOSUCH", "cannot be asked about the cluster j-NOSUCH"),
        ("terminated", "takes no steps: it is terminated"),
    ],
)
def test_without_a_cluster_nothing_is_claimed(ledger: LedgerResource, cluster: Cluster, named: str, said: str) -> None:
    if named == "terminated":
        cluster.client.terminate_job_flows(JobFlowIds=[cluster.id])
        named = cluster.id
    result = launch(ledger, named, "2026-11-02")
    assert said in _why(result)
    assert len(_why(result).splitlines()) == 1
    assert _states(ledger) == {}


RUN = "5d8c3f0e-6f0c-4c39-8f5b-2a8d7e1b4c11"


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.02)


def _then(holds: Callable[[], bool], act: Callable[[], None]) -> Thread:
    """Acts as soon as it holds, beside what goes on here."""

    def run() -> None:
        _until(holds)
        act()

    thread = Thread(target=run)
    thread.start()
    return thread
