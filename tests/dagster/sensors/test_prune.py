"""What goes from Dagster's log and what stays, on a real instance with a history of months."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    asset,
)
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import text

from dataforge_sensors import prune as module
from dataforge_sensors.mirror import MIRROR_ID
from dataforge_sensors.prune import Pruned, prune
from dataforge_sensors.read_back import storage_of

KEY = AssetKey(["lake", "orders"])
NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=40)


def reported(
    instance: DagsterInstance, partition: str | None, *, mirrored: str | None = None, kind: Any = None
) -> None:
    tags = {MIRROR_ID: mirrored} if mirrored else None
    instance.report_runless_asset_event((kind or AssetMaterialization)(KEY, partition=partition, tags=tags))


def aged(instance: DagsterInstance) -> None:
    """Makes all that the log holds by now forty days old."""
    with storage_of(instance).index_connection() as connection:
        for table, column in (("event_logs", "timestamp"), ("asset_check_executions", "create_timestamp")):
            connection.execute(text(f"update {table} set {column} = :at"), {"at": OLD.replace(tzinfo=None)})


def read_through(instance: DagsterInstance, cursor: str | None, name: str = "dagster_to_ledger") -> None:
    """Lets a sensor have read up to a place of the log."""
    here = LoadableTargetOrigin(module_name="shop")
    repository = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(here, location_name="shop"), "__repository__")
    state = InstigatorState(
        RemoteInstigatorOrigin(repository, name),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(cursor=cursor),
    )
    known = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
    (instance.update_instigator_state if known else instance.add_instigator_state)(state)


def everything_read(instance: DagsterInstance) -> None:
    read_through(instance, str(storage_of(instance).get_maximum_record_id()))


def rows(instance: DagsterInstance) -> list[tuple[str, str | None]]:
    with storage_of(instance).index_connection() as connection:
        found: Any = connection.execute(text("select dagster_event_type, partition from event_logs order by id"))
        return [(row[0], row[1]) for row in found]


def pruned(instance: DagsterInstance, *, apply: bool = True) -> Pruned:
    return prune(instance, NOW - timedelta(days=30), apply=apply, at_once=3)


def test_the_last_event_of_each_kind_of_each_partition_stays_however_old(instance: DagsterInstance) -> None:
    for partition in ("a", "b", None):
        for _ in range(3):
            reported(instance, partition)
            reported(instance, partition, kind=AssetObservation)
    aged(instance)
    reported(instance, "b")  # a young one, after which the old ones of b may all go
    everything_read(instance)
    latest = instance.get_latest_materialization_event(KEY)
    found = pruned(instance)
    assert {each.kind: each.rows for each in found.freed} == {"ASSET_MATERIALIZATION": 7, "ASSET_OBSERVATION": 6}
    assert Counter(rows(instance)) == Counter(
        {
            (f"ASSET_{kind}", partition): 1
            for kind in ("MATERIALIZATION", "OBSERVATION")
            for partition in ("a", "b", None)
        }
    )
    assert instance.get_materialized_partitions(KEY) == {"a", "b"}
    assert instance.get_latest_materialization_event(KEY) == latest
    assert pruned(instance).freed == ()


def test_without_apply_the_same_is_said_and_nothing_goes(instance: DagsterInstance) -> None:
    for _ in range(5):
        reported(instance, "a")
    aged(instance)
    everything_read(instance)
    said = pruned(instance, apply=False)
    assert (said.freed[0].rows, said.kept) == (4, {"the last of their partitions": 1})
    assert said.freed[0].bytes > 4 * 100
    assert len(rows(instance)) == 5
    assert pruned(instance) == said


def test_the_last_state_that_the_mirror_wrote_stays_behind_reports_of_others(instance: DagsterInstance) -> None:
    reported(instance, "a", mirrored="one")
    reported(instance, "a", mirrored="two")
    reported(instance, "a")
    reported(instance, "a")
    aged(instance)
    everything_read(instance)
    pruned(instance)
    records = instance.fetch_materializations(KEY, limit=10).records
    kept = [record.asset_materialization.tags for record in records if record.asset_materialization]
    assert [(tags or {}).get(MIRROR_ID) for tags in kept] == [None, "two"]


@pytest.mark.parametrize("cursor", ["2", None, ""])
def test_what_the_mirror_of_dagster_has_not_read_stays(instance: DagsterInstance, cursor: str | None) -> None:
    for _ in range(5):
        reported(instance, "a")
    aged(instance)
    assert (pruned(instance).freed, pruned(instance).held_by) == ((), "dagster_to_ledger")  # it has never run
    read_through(instance, cursor)
    pruned(instance)
    assert len(rows(instance)) == (3 if cursor else 5)


def test_the_slowest_of_all_sensors_that_read_the_log_counts(instance: DagsterInstance) -> None:
    for _ in range(5):
        reported(instance, "a")
    aged(instance)
    everything_read(instance)
    read_through(instance, "1", "tells_finance")
    read_through(instance, '{"position": "x"}', "ledger_to_dagster")  # no place in the log
    assert pruned(instance).held_by == "tells_finance"
    assert len(rows(instance)) == 4


def test_a_run_that_goes_on_or_is_not_read_to_its_end_stays_whole_and_one_that_ended_keeps_what_it_made(
    instance: DagsterInstance,
) -> None:
    @asset(key=KEY)
    def orders() -> None: ...

    job = Definitions(assets=[orders]).resolve_implicit_global_asset_job_def()
    ended, later = (job.execute_in_process(instance=instance).run_id for _ in range(2))
    going = create_run_for_test(instance, status=DagsterRunStatus.STARTED).run_id
    instance.report_engine_event("waits", instance.get_run_by_id(going))
    aged(instance)
    whole = {run: len(instance.all_logs(run)) for run in (ended, later, going)}
    last = max(record.storage_id for record in instance.get_records_for_run(later).records)
    read_through(instance, str(last - 1))
    kept = pruned(instance).kept
    assert {run: len(instance.all_logs(run)) for run in (later, going)} == {run: whole[run] for run in (later, going)}
    assert [log.dagster_event_type for log in instance.all_logs(ended)] == []  # the later run has made all anew
    assert kept["of runs that a sensor has not read to their end"] == whole[later] - 1
    everything_read(instance)
    pruned(instance)
    assert {str(log.dagster_event_type) for log in instance.all_logs(later)} == {
        "DagsterEventType.ASSET_MATERIALIZATION",
        "DagsterEventType.ASSET_MATERIALIZATION_PLANNED",
    }
    assert len(instance.all_logs(going)) == whole[going]
    assert instance.has_run(ended)


def test_the_last_result_of_each_check_stays(instance: DagsterInstance) -> None:
    for name in ("current", "complete"):
        for passed in (False, True, False):
            instance.report_runless_asset_event(AssetCheckEvaluation(asset_key=KEY, check_name=name, passed=passed))
    aged(instance)
    everything_read(instance)
    found = pruned(instance)
    assert next(each.rows for each in found.freed if each.kind == module.CHECKS) == 4
    with storage_of(instance).index_connection() as connection:
        left: Any = connection.execute(text("select check_name, execution_status from asset_check_executions"))
        assert sorted(map(tuple, left)) == [("complete", "FAILED"), ("current", "FAILED")]
