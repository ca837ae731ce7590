"""What the ledger is told of steps that fail, are tried again, are cut off, or choose not to make what they could."""

from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetSpec,
    DagsterEventType,
    DagsterInstance,
    Failure,
    MaterializeResult,
    RetryRequested,
    asset,
    materialize,
    multi_asset,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from dataforge_assets.claims import NOT_BEGUN
from resources import LedgerResource
from resources.model import RunFilter, RunState
from tests.dagster.sensors.mirror_ticks import log
from tests.dagster.sensors.teller import Teller, definitions_job, named, orders

# How far a backfill goes in one run is marked as beta; the assets need it.
pytestmark = pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")


def test_a_failed_step_says_why(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    failing = orders(ValueError("no such column: amount"))
    materialize([failing], instance=instance, partition_key="2026-01-01", raise_on_error=False)
    teller.tick()
    [run] = teller.runs()
    assert run.state == RunState.FAILED
    assert run.error == "ValueError: no such column: amount"
    assert teller.partitions() == {"2026-01-01": "failed"}


def test_a_step_that_is_tried_again_is_a_further_attempt(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    trying = orders(RetryRequested(max_retries=2), RetryRequested(max_retries=2))
    materialize([trying], instance=instance, partition_key="2026-01-01")
    teller.tick()
    assert teller.states() == [("model.orders", "2026-01-01", RunState.SUCCEEDED, 3)]
    tries = ledger.runs(RunFilter(attempts=True)).items
    assert sorted((run.attempt, str(run.state)) for run in tries) == [
        (1, "up_for_retry"),
        (2, "up_for_retry"),
        (3, "succeeded"),
    ]


def test_a_re_execution_is_a_further_attempt_of_the_same_run(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    failing = orders(ValueError("once"))
    first = materialize([failing], instance=instance, partition_key="2026-01-01", raise_on_error=False)
    teller.tick()
    again = definitions_job(orders())
    run = instance.create_run_for_job(
        again, tags={"dagster/partition": "2026-01-01"}, parent_run_id=first.run_id, root_run_id=first.run_id
    )
    assert execute_run(InMemoryJob(again), run, instance).success
    teller.tick()
    [told] = teller.runs()
    assert (told.run, told.state, told.attempt) == (f"{first.run_id}:2026-01-01", RunState.SUCCEEDED, 2)
    assert told.source["dagster_run_id"] == run.run_id


def test_of_a_step_that_fails_midway_what_was_made_is_made_and_the_rest_failed(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    specs = [AssetSpec(name, metadata=named(name), skippable=True) for name in ("one", "two")]

    @multi_asset(specs=specs)
    def both() -> Any:
        yield MaterializeResult(asset_key="one")
        raise ValueError("no two")

    @asset(deps=["two"], metadata=named("three"))
    def three() -> None: ...

    teller = Teller(instance, ledger, both, three)
    materialize([both, three], instance=instance, raise_on_error=False)
    teller.tick()
    assert [(name, state) for name, _, state, _ in teller.states()] == [
        ("model.one", RunState.SUCCEEDED),
        ("model.three", RunState.UPSTREAM_FAILED),
        ("model.two", RunState.FAILED),
    ]


def test_what_a_step_chose_not_to_make_is_skipped(instance: DagsterInstance, ledger: LedgerResource) -> None:
    specs = [AssetSpec(name, metadata=named(name), skippable=True) for name in ("one", "two")]

    @multi_asset(specs=specs)
    def both() -> Any:
        yield MaterializeResult(asset_key="one")

    teller = Teller(instance, ledger, both)
    materialize([both], instance=instance)
    teller.tick()
    assert [(name, state) for name, _, state, _ in teller.states()] == [
        ("model.one", RunState.SUCCEEDED),
        ("model.two", RunState.SKIPPED),
    ]


def test_a_run_that_is_canceled_or_dies_ends_what_it_had_begun(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    teller = Teller(instance, ledger, orders())
    job = definitions_job(orders())
    for partition, end in (("2026-01-01", instance.report_run_canceled), ("2026-01-02", instance.report_run_failed)):
        run = instance.create_run_for_job(job, tags={"dagster/partition": partition})
        end(run)
    teller.tick()
    assert sorted((run.partition, run.state) for run in teller.runs()) == [
        ("2026-01-01", RunState.CANCELED),
        ("2026-01-02", RunState.FAILED),
    ]


@pytest.mark.parametrize("end", ["canceled", "failed"])
def test_a_run_that_ends_while_a_step_waits_for_its_retry_ends_the_step(
    instance: DagsterInstance, ledger: LedgerResource, end: str
) -> None:
    teller = Teller(instance, ledger, orders())
    waiting = orders(RetryRequested(max_retries=1))
    materialize([waiting], instance=instance, partition_key="2026-01-01")
    [run_id] = {record.run_id for record in log(instance, [AssetKey("orders")])}
    _forget_from(instance, run_id, DagsterEventType.STEP_RESTARTED)
    teller.tick()
    assert [(run.state, run.attempt) for run in teller.runs()] == [(RunState.UP_FOR_RETRY, 1)]
    run = instance.get_run_by_id(run_id)
    assert run
    report = instance.report_run_canceled if end == "canceled" else instance.report_run_failed
    report(run)
    teller.tick()
    assert [(run.state, run.attempt) for run in teller.runs()] == [(RunState(end), 1)]


def _forget_from(instance: DagsterInstance, run_id: str, first: DagsterEventType) -> None:
    """Takes from the log what came after a moment, as if the run had stood there."""
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Log

    [begin] = [record.storage_id for record in instance.get_records_for_run(run_id, of_type=first).records]
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.execute(Log.delete().where(Log.c.run_id == run_id, Log.c.id >= begin))


def test_what_a_step_names_as_not_begun_did_not_fail_itself(instance: DagsterInstance, ledger: LedgerResource) -> None:
    specs = [AssetSpec(name, metadata=named(name), skippable=True) for name in ("one", "two")]

    @multi_asset(specs=specs)
    def both() -> Any:
        yield from ()
        raise Failure("a test of one", metadata={NOT_BEGUN: ["two"]})

    teller = Teller(instance, ledger, both)
    materialize([both], instance=instance, raise_on_error=False)
    teller.tick()
    assert [(name, state) for name, _, state, _ in teller.states()] == [
        ("model.one", RunState.FAILED),
        ("model.two", RunState.UPSTREAM_FAILED),
    ]
