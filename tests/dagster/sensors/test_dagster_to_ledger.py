"""The mirror of Dagster in the ledger: real runs in a real instance, told to the real ledger."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    DagsterEventType,
    DagsterInstance,
    DailyPartitionsDefinition,
    DataVersion,
    Definitions,
    Failure,
    JobDefinition,
    MaterializeResult,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    RetryRequested,
    SensorResult,
    SkipReason,
    StaticPartitionsDefinition,
    asset,
    build_sensor_context,
    in_process_executor,
    materialize,
    multi_asset,
    observable_source_asset,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.observe import observe
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from dataforge_assets.dbt import NOT_BEGUN
from dataforge_sensors.dagster_to_ledger import dagster_to_ledger, tell
from dataforge_sensors.mirror import MIRROR_ID
from dataforge_sensors.run_log import News, cut, read, settled
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Window, partitions_of
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import PartitionFilter, RunFilter, RunItem, RunState, TaskFilter
from tests.dagster.sensors.test_ledger_to_dagster import Mirror, log

# How far a backfill goes in one run is marked as beta; the assets need it.
pytestmark = pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")
DAYS = DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-03-01")


def named(name: str) -> dict[str, Any]:
    return ledger_metadata(task=("dbt", f"model.{name}"), dataset=("duckdb://w", name))


class Trouble:
    """What goes wrong in the next steps, and how."""

    def __init__(self, *errors: Exception) -> None:
        self.left = list(errors)

    def happens(self) -> None:
        if self.left:
            raise self.left.pop(0)


def orders(*errors: Exception) -> AssetsDefinition:
    failing = Trouble(*errors)

    @asset(
        name="orders",
        partitions_def=DAYS,
        metadata=named("orders"),
        backfill_policy=BackfillPolicy.single_run(),
    )
    def made() -> MaterializeResult[Any]:
        failing.happens()
        return MaterializeResult(data_version=DataVersion("v1"), metadata={"dagster/row_count": 7})

    return made


def definitions_job(*assets: AssetsDefinition) -> JobDefinition:
    definitions = Definitions(assets=list(assets), executor=in_process_executor)
    return definitions.resolve_implicit_global_asset_job_def()


class Teller:
    """The daemon's part for the other mirror."""

    def __init__(
        self, instance: DagsterInstance, ledger: LedgerResource, *assets: AssetsDefinition | AssetSpec
    ) -> None:
        self.instance, self.ledger, self.definitions = instance, ledger, Definitions(assets=list(assets))
        self.cursor: str | None = None

    def tick(self, *, killed: bool = False) -> str:
        context = build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions, resources={"ledger": self.ledger}
        )
        with context:
            result = dagster_to_ledger(context)
        if isinstance(result, SkipReason):
            return str(result.skip_message)
        assert isinstance(result, SensorResult)
        assert result.skip_reason
        self.cursor = self.cursor if killed else result.cursor
        return str(result.skip_reason.skip_message)

    def runs(self) -> list[RunItem]:
        return sorted(self.ledger.runs(RunFilter(limit=1000)).items, key=lambda run: (run.name, run.run))

    def states(self) -> list[tuple[str, str | None, RunState, int]]:
        return [(run.name, run.partition, run.state, run.attempt) for run in self.runs()]

    def partitions(self) -> dict[str | None, str]:
        wanted = PartitionFilter(kind="dataset", limit=1000)
        return {item.partition: item.state for item in self.ledger.partitions(wanted).items}


def test_a_materialization_is_a_success_with_what_it_wrote(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    done = materialize([orders()], instance=instance, partition_key="2026-01-01")
    teller.tick()
    [run] = teller.runs()
    assert (run.state, run.partition, run.attempt) == (RunState.SUCCEEDED, "2026-01-01", 1)
    assert run.run == f"{done.run_id}:2026-01-01"
    assert run.started_at
    assert [(out.name, out.partition, out.version, out.rows) for out in run.outputs] == [
        ("orders", "2026-01-01", "v1", 7)
    ]
    assert run.source["dagster_run_id"] == done.run_id
    assert run.source["step_key"] == "orders"
    assert str(run.source["url"]).endswith(f"/runs/{done.run_id}")
    assert teller.partitions() == {"2026-01-01": "ready"}


def test_a_repeated_tick_tells_nothing_twice(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    materialize([orders()], instance=instance, partition_key="2026-01-01")
    assert teller.tick(killed=True).startswith("2 events told, 0 known.")
    assert teller.tick().startswith("0 events told, 2 known.")


def test_a_run_over_a_range_is_one_run_for_each_partition(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    tags = {ASSET_PARTITION_RANGE_START_TAG: "2026-01-01", ASSET_PARTITION_RANGE_END_TAG: "2026-01-03"}
    materialize([orders()], instance=instance, tags=tags)
    teller.tick()
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert teller.states() == [("model.orders", day, RunState.SUCCEEDED, 1) for day in days]
    assert len({run.run for run in teller.runs()}) == 3


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


def test_what_a_person_reports_is_told_once_and_does_not_come_back(
    instance: DagsterInstance, ledger: LedgerResource, new_instance: Any
) -> None:
    made = AssetSpec("orders", partitions_def=DAYS, metadata=named("orders"))
    mirror, teller = Mirror(instance, ledger, Definitions(assets=[made])), Teller(instance, ledger, made)
    mirror.until_quiet()
    begun = {"time": "2026-01-02T00:00:00Z", "task": {"namespace": "dbt", "name": "model.orders"}, "state": "failed"}
    ledger.record([{**begun, "partition": "2026-01-01", "platform": "airflow"}])
    for day in ("2026-01-01", "2026-01-02"):
        report = AssetMaterialization("orders", partition=day, description="Loaded by hand.", tags={"x": "y"})
        instance.report_runless_asset_event(report)
    assert teller.tick(killed=True).startswith("2 events told")
    assert teller.tick().startswith("0 events told, 2 known.")
    assert teller.partitions() == {"2026-01-01": "ready", "2026-01-02": "ready"}
    assert {run.source.get("note") for run in teller.runs()} == {None, "Loaded by hand."}
    [task] = ledger.tasks(TaskFilter()).items
    assert task.platform == "airflow"
    mirror.until_quiet()
    assert len(log(instance, [AssetKey("orders")])) == 2
    lost = Mirror(new_instance(), ledger, Definitions(assets=[made]))
    lost.until_quiet()
    shown = log(lost.instance, [AssetKey("orders")])
    assert sorted(str(record.partition_key) for record in shown) == ["2026-01-01", "2026-01-02"]
    assert Teller(lost.instance, ledger, made).tick().startswith("0 events told.")


def test_a_partition_that_the_asset_has_not_is_reported_and_not_told_while_the_rest_goes_on(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    made = AssetSpec("orders", partitions_def=DAYS, metadata=named("orders"))
    teller = Teller(instance, ledger, made, AssetSpec("whole", metadata=named("whole")))
    for asset_key, day in (("orders", "2027-01-01"), ("orders", "2026-01-01"), ("whole", "x"), ("orders", "no-day")):
        instance.report_runless_asset_event(AssetMaterialization(asset_key, partition=day))
    said = teller.tick()
    assert said.startswith(
        "1 events told, 0 known. Not told: partition 2027-01-01 of orders, which has no such partition"
    )
    assert ", and 2 more." in said
    assert "\n" not in said
    assert teller.partitions() == {"2026-01-01": "ready"}


def test_a_run_that_makes_a_partition_which_the_asset_has_not_is_reported_and_not_told(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    @multi_asset(specs=[AssetSpec("orders", partitions_def=DAYS, metadata=named("orders"))])
    def astray(context: AssetExecutionContext) -> Any:
        context.log_event(AssetMaterialization("orders", partition="2027-01-01"))
        check = AssetCheckEvaluation(asset_key=AssetKey("orders"), check_name="c", passed=True, partition="2028-01-01")
        context.log_event(check)
        yield MaterializeResult(asset_key="orders")

    teller = Teller(instance, ledger, astray)
    materialize([astray], instance=instance, partition_key="2026-01-01")
    said = teller.tick()
    assert "Not told: partition 2027-01-01 of orders, which has no such partition" in said
    assert teller.partitions() == {"2026-01-01": "ready"}
    assert {run.partition for run in teller.runs()} == {"2026-01-01"}


def test_a_report_of_a_window_that_has_not_ended_says_so(instance: DagsterInstance, ledger: LedgerResource) -> None:
    growing = DailyPartitionsDefinition(start_date="2026-01-01")
    teller = Teller(instance, ledger, AssetSpec("orders", partitions_def=growing, metadata=named("orders")))
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    instance.report_runless_asset_event(AssetMaterialization("orders", partition=today))
    assert f"Not told: partition {today} of orders, whose window has not ended." in teller.tick()
    assert teller.partitions() == {}


def test_what_a_tick_has_no_time_for_is_told_by_the_next(instance: DagsterInstance, ledger: LedgerResource) -> None:
    made = orders()
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        materialize([made], instance=instance, partition_key=day)
    window, news = Window.of(Definitions(assets=[made]).get_repository_def()), read(instance, -1)
    for left in (2, 1, 0):
        with partitions_of(instance):
            told = tell(instance, ledger, window, news, TimeBudget(0), at_once=1)
        assert told.recorded
        assert told.recorded.applied == 2
        behind = {record.storage_id for record in told.news.records}
        news = News(tuple(record for record in news.records if record.storage_id not in behind))
        assert len(news.runs) == left
    assert len(Teller(instance, ledger).partitions()) == 3


def test_a_partition_of_two_dimensions_is_told_by_its_key(instance: DagsterInstance, ledger: LedgerResource) -> None:
    two = MultiPartitionsDefinition({"client": StaticPartitionsDefinition(["acme"]), "date": DAYS})

    @asset(partitions_def=two, metadata=named("orders"), name="orders")
    def by_client() -> None: ...

    teller = Teller(instance, ledger, by_client)
    keys = [MultiPartitionKey({"client": "acme", "date": f"2026-01-0{day}"}) for day in (1, 2)]
    materialize([by_client], instance=instance, partition_key=keys[0])
    instance.report_runless_asset_event(AssetMaterialization("orders", partition=keys[1]))
    assert teller.tick().startswith("3 events told")
    assert teller.partitions() == {"acme|2026-01-01": "ready", "acme|2026-01-02": "ready"}


@pytest.mark.filterwarnings("ignore:Property `OpDefinition.version`:DeprecationWarning")  # asked for by Dagster itself
def test_to_look_at_an_asset_says_nothing_of_it(instance: DagsterInstance, ledger: LedgerResource) -> None:
    @observable_source_asset(metadata=named("orders"), name="orders")
    def seen() -> DataVersion:
        return DataVersion("7")

    assert observe([seen], instance=instance).success
    assert len(log(instance, [AssetKey("orders")])) == 1
    teller = Teller(instance, ledger)
    teller.definitions = Definitions(assets=[seen])
    assert teller.tick().startswith("0 events told.")


def test_a_cursor_that_nobody_can_read_begins_anew(instance: DagsterInstance, ledger: LedgerResource) -> None:
    teller = Teller(instance, ledger, orders())
    teller.cursor = "yesterday"
    materialize([orders()], instance=instance, partition_key="2026-01-01")
    assert teller.tick().startswith("2 events told")


def test_a_check_is_a_run_of_its_own_task_that_reads_the_dataset(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    @asset(
        name="orders",
        metadata=named("orders"),
        check_specs=[AssetCheckSpec(name, asset="orders") for name in ("complete", "wrong", "odd", "dbts")],
    )
    def checked_orders() -> MaterializeResult:  # type: ignore[type-arg]  # its check outputs need the bare class
        node = {"unique_id": "test.shop.not_null_orders_id.cf6c17daed"}
        warn = AssetCheckSeverity.WARN
        return MaterializeResult(
            check_results=[
                AssetCheckResult(check_name="complete", passed=True),
                AssetCheckResult(check_name="wrong", passed=False, description="3 rows are wrong"),
                AssetCheckResult(check_name="odd", passed=False, severity=warn),
                AssetCheckResult(check_name="dbts", passed=True, metadata=node),
            ]
        )

    teller = Teller(instance, ledger, checked_orders)
    materialize([checked_orders], instance=instance)
    teller.tick()
    assert [(run.name, run.state, run.error) for run in teller.runs()] == [
        ("model.orders", RunState.SUCCEEDED, None),
        ("model.orders.complete", RunState.SUCCEEDED, None),
        ("model.orders.odd", RunState.SUCCEEDED, None),
        ("model.orders.wrong", RunState.FAILED, "3 rows are wrong"),
        ("test.shop.not_null_orders_id", RunState.SUCCEEDED, None),
    ]
    assert {touch.name for run in teller.runs()[1:] for touch in run.inputs} == {"orders"}


def test_a_blocking_check_that_fails_makes_the_partition_fail_until_it_is_made_again(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    passes = iter([False, True])

    @asset(
        name="orders",
        partitions_def=DAYS,
        metadata=named("orders"),
        check_specs=[AssetCheckSpec("sound", asset="orders", blocking=True)],
    )
    def checked_orders() -> MaterializeResult:  # type: ignore[type-arg]  # its check outputs need the bare class
        return MaterializeResult(check_results=[AssetCheckResult(check_name="sound", passed=next(passes))])

    teller = Teller(instance, ledger, checked_orders)
    for state in ("failed", "ready"):
        materialize([checked_orders], instance=instance, partition_key="2026-01-01", raise_on_error=False)
        teller.tick()
        assert teller.partitions() == {"2026-01-01": state}
    assert [run.error for run in teller.runs() if run.state == "failed"] == ["sound did not pass"] * 2


def test_what_came_from_the_ledger_or_from_no_run_is_not_told(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    @asset(metadata=named("orders"), name="orders")
    def echoing(context: AssetExecutionContext) -> None:
        context.log_event(AssetMaterialization("orders", tags={MIRROR_ID: "abc"}))

    teller = Teller(instance, ledger, echoing)
    instance.report_runless_asset_event(AssetMaterialization("orders", tags={MIRROR_ID: "abc"}))
    check = AssetCheckEvaluation(
        asset_key=AssetKey("orders"), check_name="c", passed=True, metadata={"dataforge/digest": "x"}
    )
    instance.report_runless_asset_event(check)
    assert teller.tick().startswith("0 events told.")
    materialize([echoing], instance=instance)
    assert teller.tick().startswith("2 events told")


def test_an_asset_that_names_no_task_is_counted_and_not_told(instance: DagsterInstance, ledger: LedgerResource) -> None:
    @asset
    def alone() -> None: ...

    teller = Teller(instance, ledger, alone)
    materialize([alone], instance=instance)
    assert teller.tick() == "0 events told. 1 assets name no task of the ledger."


def test_a_ledger_that_is_down_costs_one_line_and_is_told_later(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    teller = Teller(instance, ledger, orders())
    materialize([orders()], instance=instance, partition_key="2026-01-01")
    teller.ledger = LedgerResource(url="http://127.0.0.1:9")
    message = teller.tick()
    assert "The cursor stays" in message
    assert "\n" not in message
    assert teller.cursor is None
    teller.ledger = ledger
    assert teller.tick().startswith("2 events told")


def test_an_environment_that_does_not_exist_costs_one_line_with_what_to_do(
    instance: DagsterInstance, database_url: str
) -> None:
    with LedgerResource(database_url=database_url, environment="elsewhere") as nowhere:
        teller = Teller(instance, nowhere, orders())
        materialize([orders()], instance=instance, partition_key="2026-01-01")
        message = teller.tick()
    assert "correct DATAFORGE_ENVIRONMENT" in message
    assert "\n" not in message
    assert teller.cursor is None


def test_what_dagster_ran_does_not_come_back_to_it_but_does_after_the_loss_of_its_database(
    instance: DagsterInstance, ledger: LedgerResource, new_instance: Any
) -> None:
    made = orders()
    mirror, teller = Mirror(instance, ledger, Definitions(assets=[made])), Teller(instance, ledger, made)
    mirror.until_quiet()
    materialize([made], instance=instance, partition_key="2026-01-01")
    failing = orders(ValueError("no"))
    materialize([failing], instance=instance, partition_key="2026-01-02", raise_on_error=False)
    teller.tick()
    mirror.until_quiet()
    assert len(log(instance, [AssetKey("orders")])) == 1
    lost = Mirror(new_instance(), ledger, Definitions(assets=[made]))
    lost.until_quiet()
    told = Teller(lost.instance, ledger, made)
    assert [record.partition_key for record in log(lost.instance, [AssetKey("orders")])] == ["2026-01-01", "2026-01-02"]
    assert told.tick().startswith("0 events told.")


class Record:
    """As much of a record as the arithmetic of cursors looks at."""

    def __init__(self, storage_id: int, timestamp: float, run_id: str = "") -> None:
        self.storage_id, self.timestamp, self.run_id = storage_id, timestamp, run_id


def records(*given: tuple[int, float] | tuple[int, float, str]) -> Any:
    return [Record(*each) for each in given]


def test_the_cursor_stays_behind_what_is_younger_than_the_overlap() -> None:
    assert settled(News(tuple(records((3, 10), (5, 90), (7, 20)))), after=2, now=100) == 3
    assert settled(News(()), after=2, now=100) == 2


def test_pages_that_are_cut_off_at_different_places_lose_nothing() -> None:
    pages: Sequence[Any] = [records((1, 0), (4, 0)), records((2, 0), (9, 0)), records((3, 0))]
    news = cut(pages, 2)
    assert [record.storage_id for record in news.records] == [1, 2, 3, 4]
    assert settled(news, after=0, now=100) == 4


def test_news_of_more_runs_than_a_tick_can_read_end_before_the_first_that_is_too_many() -> None:
    news = News(tuple(records((1, 0, "a"), (2, 0, ""), (3, 0, "b"), (4, 0, "a"), (5, 0, "c"), (6, 0, "a"))))
    ids = [[record.storage_id for record in news.of_runs(most).records] for most in (1, 2, 3)]
    assert ids == [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]


def test_what_commits_late_under_an_earlier_id_is_read_by_the_next_tick() -> None:
    seen = News(tuple(records((3, 10), (5, 95))))
    assert settled(seen, after=0, now=100) < 4  # the id of the one that has not committed yet


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_page_after_page_reads_every_event(most: int) -> None:
    stored = {"a": [1, 4, 5, 6, 12], "b": [2, 3, 7], "c": [8, 9, 10, 11]}
    seen: set[int] = set()
    after = 0
    for _ in range(20):
        pages = [records(*((i, 0) for i in ids if i > after))[:most] for ids in stored.values()]
        news = cut(pages, most)
        seen |= {record.storage_id for record in news.records}
        after = settled(news, after, now=100)
    assert seen == set(range(1, 13))
