"""The mirror of Dagster in the ledger: real runs in a real instance, told to the real ledger."""

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
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    DataVersion,
    Definitions,
    MaterializeResult,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    StaticPartitionsDefinition,
    asset,
    materialize,
    multi_asset,
    observable_source_asset,
)
from dagster._core.definitions.observe import observe
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from dataforge_sensors.dagster_to_ledger import tell
from dataforge_sensors.mirror import MIRROR_ID
from dataforge_sensors.run_log import News, read
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Window, partitions_of
from resources import LedgerResource
from resources.model import RunState, TaskFilter
from tests.dagster.sensors.mirror_ticks import Mirror, log
from tests.dagster.sensors.teller import DAYS, Teller, named, orders

# How far a backfill goes in one run is marked as beta; the assets need it.
pytestmark = pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")


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


def test_how_far_it_has_come_is_told_with_what_it_tells(instance: DagsterInstance, ledger: LedgerResource) -> None:
    made = orders()
    for day in ("2026-01-01", "2026-01-02"):
        materialize([made], instance=instance, partition_key=day)
    window, news = Window.of(Definitions(assets=[made]).get_repository_def()), read(instance, -1)
    with partitions_of(instance):
        first = tell(instance, ledger, window, news, TimeBudget(0), at_once=1).news
    assert (news.more, first.more) == (False, True)
    last = news.records[-1].timestamp
    assert first.through(last + 60) == first.records[-1].timestamp < last
    assert news.through(last + 60) == last + 60
    Teller(instance, ledger, made).tick()
    [shown] = ledger.mirrors().items
    assert (shown.name, shown.waiting) == ("dagster_to_ledger", 0)
    assert shown.shown_through.timestamp() > last


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


def test_an_asset_that_names_nothing_goes_by_its_key_and_one_that_is_made_elsewhere_is_counted(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    @asset
    def alone() -> None: ...

    teller = Teller(instance, ledger, alone, AssetSpec("elsewhere"))
    materialize([alone], instance=instance)
    assert teller.tick() == "2 events told, 0 known. 1 assets name no task of the ledger."
    [run] = teller.runs()
    assert (run.namespace, run.name, run.state) == ("dagster", "alone", RunState.SUCCEEDED)
    assert [(out.namespace, out.name) for out in run.outputs] == [("dagster", "alone")]


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
