"""What a new asset, a new Dagster or a lost cursor gets: the end of each history, once, while no automation runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    StaticPartitionsDefinition,
    asset,
    evaluate_automation_conditions,
)
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from dataforge_assets.automation import ledger_ready, ready_sensors, when_ready
from dataforge_sensors import ledger_to_dagster, mirror_batch, read_back
from dataforge_sensors.automation import announce, misled
from dataforge_sensors.mirror import locate
from dataforge_sensors.mirror_cursor import MirrorCursor
from dataforge_sensors.read_back import held
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Window
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import DatasetRef
from tests.dagster.instances import Instances
from tests.dagster.sensors.mirror_ticks import DAYS, LAKE, ORDERS, PAYMENTS, SHOP, Mirror, event, log, shown, spec


@pytest.fixture
def mirror(instance: DagsterInstance, ledger: LedgerResource) -> Mirror:
    """A mirror that has seeded its assets from an empty ledger."""
    mirror = Mirror(instance, ledger)
    mirror.tick()
    return mirror


def test_assets_that_there_is_no_time_to_seed_are_seeded_by_the_next_tick(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_batch, "EACH", mirror_batch.MOST)
    monkeypatch.setattr(ledger_to_dagster, "TimeBudget", lambda: TimeBudget(0))
    ledger.record([event("orders", "2026-01-01", "succeeded", 1), event("payments", "2026-01-01", "succeeded", 1)])
    mirror = Mirror(instance, ledger)
    for number in (1, 2, 2):
        mirror.tick()
        assert len(log(instance)) == number


def test_a_renamed_asset_is_seeded_with_its_last_thirty_partitions_and_the_others_go_on(mirror: Mirror) -> None:
    days = [(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d") for day in range(40)]
    mirror.ledger.record([event("orders", day, "succeeded", number) for number, day in enumerate(days)])
    mirror.ledger.record([event("payments", days[0], "succeeded", 1)])
    mirror.until_quiet()
    renamed = AssetKey(["lake", "sales"])
    mirror.definitions = Definitions(assets=[spec(renamed, "orders"), spec(PAYMENTS)])
    mirror.ledger.record(
        [event("orders", days[0], "running", 99, run="again"), event("payments", days[1], "succeeded", 2)]
    )
    mirror.until_quiet()
    assert [record.partition_key for record in log(mirror.instance, [renamed])] == [*days[10:], days[0], days[0]]
    assert [record.partition_key for record in log(mirror.instance, [PAYMENTS])] == days[:2]


def test_a_fresh_cursor_on_a_log_that_holds_everything_writes_nothing(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", f"2026-01-0{day}", "succeeded", day) for day in (1, 2, 3)])
    mirror.until_quiet()
    mirror.cursor = None
    mirror.until_quiet()
    assert len(log(mirror.instance)) == 3


def test_what_happens_while_it_is_seeded_is_not_missed(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_batch, "EACH", mirror_batch.MOST)
    ledger.record([event("orders", "2026-01-01", "succeeded", 1), event("payments", "2026-01-01", "succeeded", 1)])
    mirror = Mirror(instance, ledger)
    mirror.tick()
    ledger.record([event("orders", "2026-01-01", "failed", 2, run="two"), event("orders", "2026-01-02", "running", 2)])
    mirror.until_quiet()
    assert shown(log(instance)) == [
        ("orders", "2026-01-01", "ready"),
        ("payments", "2026-01-01", "ready"),
        ("orders", "2026-01-01", "failed"),
        ("orders", "2026-01-02", "running"),
    ]


def automated(default: DefaultSensorStatus) -> Definitions:
    sensor = AutomationConditionSensorDefinition("automation", target="*", default_status=default)
    return Definitions(assets=[spec(ORDERS), spec(PAYMENTS)], sensors=[sensor])


def test_a_dropped_dagster_is_seeded_but_not_while_automation_runs(
    new_instance: Instances, ledger: LedgerResource
) -> None:
    ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    first = Mirror(new_instance(), ledger)
    first.until_quiet()
    second = Mirror(new_instance(), ledger, automated(DefaultSensorStatus.RUNNING))
    for _ in range(2):
        refusal = second.tick()
        assert "stop automation" in refusal
        assert "\n" not in refusal
    assert not log(second.instance)
    second.definitions = automated(DefaultSensorStatus.STOPPED)
    second.until_quiet()
    assert shown(log(second.instance)) == [("orders", "2026-01-01", "ready")]


@pytest.mark.parametrize(
    ("condition", "hinders"),
    [
        (when_ready(), False),
        (ledger_ready() & AutomationCondition.any_deps_updated(), False),
        ((ledger_ready() & AutomationCondition.missing()) | when_ready(), False),
        (AutomationCondition.eager(), True),
        (ledger_ready() | AutomationCondition.eager(), True),
        (~ledger_ready(), True),
        (AutomationCondition.any_deps_updated().since(ledger_ready()), True),
    ],
)
def test_automation_that_runs_only_what_the_ledger_lets_run_does_not_hinder_the_seed(
    mirror: Mirror, condition: AutomationCondition[AssetKey], *, hinders: bool
) -> None:
    @asset(
        deps=[ORDERS], partitions_def=DAYS, automation_condition=condition, metadata=ledger_metadata(("dbt", "mart"))
    )
    def mart() -> None: ...

    new = AssetKey(["lake", "returns"])
    mirror.ledger.record([event("returns", "2026-01-01", "succeeded", 1)])
    sensors = ready_sensors([mart.key], running=True)
    mirror.definitions = Definitions(assets=[spec(ORDERS), spec(PAYMENTS), spec(new), mart], sensors=sensors)
    for _ in range(2):
        assert ("stop ledger_ready" in mirror.tick()) is hinders
    assert (not log(mirror.instance, [new])) is hinders


def test_a_location_knows_which_sensors_of_another_the_ledger_binds(mirror: Mirror) -> None:
    def state(location: str, sensor: str) -> InstigatorState:
        origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="m"), location_name=location)
        named = RemoteRepositoryOrigin(origin, "__repository__").get_instigator_origin(sensor)
        data = SensorInstigatorData(sensor_type=SensorType.AUTOMATION)
        return InstigatorState(named, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)

    @asset(automation_condition=when_ready())
    def mart() -> None: ...

    bound = Definitions(assets=[mart], sensors=ready_sensors([mart.key])).get_repository_def()
    here = SHOP.get_repository_def()
    for each in (state("marts", "ledger_ready"), state("elsewhere", "ledger_ready")):
        mirror.instance.add_instigator_state(each)
    assert misled(mirror.instance, here) == ("ledger_ready",)
    announce(mirror.instance, bound, "elsewhere")
    assert misled(mirror.instance, here) == ("ledger_ready",)
    announce(mirror.instance, bound, "marts")
    assert misled(mirror.instance, here) == ()


def test_automation_that_is_turned_on_after_the_seed_takes_none_of_it_for_news_and_then_what_is_new_once(
    new_instance: Instances, ledger: LedgerResource
) -> None:
    @asset(deps=[ORDERS], partitions_def=DAYS, automation_condition=AutomationCondition.eager())
    def mart() -> None: ...

    ledger.record([event("orders", f"2026-02-{day}", "succeeded", day) for day in range(20, 29)])
    definitions, chosen = Definitions(assets=[spec(ORDERS), spec(PAYMENTS), mart]), AssetSelection.assets(mart)
    mirror = Mirror(new_instance(), ledger, definitions)
    mirror.until_quiet()

    def requested(cursor: Any = None) -> tuple[set[str | None], Any]:
        found = evaluate_automation_conditions(definitions, mirror.instance, chosen, cursor=cursor)
        return {*found.get_requested_partitions(mart.key)}, found.cursor

    at_first, cursor = requested()
    ledger.record([event("orders", "2026-02-28", "succeeded", 40, run="again")])
    mirror.tick(killed_after=1)
    news, cursor = requested(cursor)
    mirror.tick()
    repeated, cursor = requested(cursor)
    assert (at_first, news, repeated) == (set(), {"2026-02-28"}, set())


def test_a_new_asset_waits_for_automation_to_stop_while_the_others_go_on(mirror: Mirror) -> None:
    mirror.definitions = Definitions(assets=[spec(ORDERS)])
    mirror.until_quiet()
    mirror.definitions = automated(DefaultSensorStatus.RUNNING)
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1), event("payments", "2026-01-01", "failed", 1)])
    assert "stop automation" in mirror.tick()
    assert shown(log(mirror.instance)) == [("orders", "2026-01-01", "ready")]
    mirror.definitions = automated(DefaultSensorStatus.STOPPED)
    mirror.until_quiet()
    assert shown(log(mirror.instance))[1:] == [("payments", "2026-01-01", "failed")]


def test_the_cursor_of_another_version_is_a_fresh_one() -> None:
    assert MirrorCursor.read('{"position": 7}') == MirrorCursor()
    assert MirrorCursor.read("123") == MirrorCursor()


@pytest.mark.parametrize(
    ("partitions", "partition"), [(None, None), (StaticPartitionsDefinition(["acme"]), "acme")], ids=["none", "static"]
)
def test_of_a_long_history_only_the_end_is_read(
    instance: DagsterInstance,
    ledger: LedgerResource,
    monkeypatch: pytest.MonkeyPatch,
    partitions: Any,
    partition: str | None,
) -> None:
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS, partitions=partitions)]))
    mirror.tick()
    for minute in range(40):
        ledger.record([event("orders", partition, "succeeded", minute, run=str(minute))])
        mirror.tick()
    asked: list[int] = []
    ends = read_back._ends  # what it reads of the log

    def counted(*given: Any) -> Any:
        found = ends(*given)
        asked.append(sum(map(len, found.values())))
        return found

    monkeypatch.setattr(read_back, "_ends", counted)
    monkeypatch.setattr(read_back, "_read", None)
    [change] = ledger.latest([DatasetRef(LAKE, "orders")])
    located = locate(Window.of(mirror.definitions.get_repository_def()), [change])
    [known] = held(instance, [state for states in located.states for state in states]).values()
    assert known.newest == change.mirror_id
    assert asked == [read_back.FEW]


def test_what_was_wiped_in_dagster_is_written_again(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    mirror.until_quiet()
    mirror.instance.wipe_assets([ORDERS])
    mirror.cursor = None
    mirror.until_quiet()
    assert shown(log(mirror.instance)) == [("orders", "2026-01-01", "ready")]


@pytest.mark.parametrize("others", [read_back.FEW - 1, read_back.FEW, read_back.FEW + 2])
def test_a_state_is_known_though_others_have_reported_the_partition_since(mirror: Mirror, others: int) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    mirror.until_quiet()
    for _ in range(others):
        mirror.instance.report_runless_asset_event(AssetMaterialization(ORDERS, partition="2026-01-01"))
    mirror.cursor = None
    mirror.until_quiet()
    assert len(log(mirror.instance)) == 1 + others


def test_one_tick_seeds_as_many_assets_as_fill_a_batch(instance: DagsterInstance, ledger: LedgerResource) -> None:
    names = [f"t{number}" for number in range(50)]
    ledger.record([event(name, "2026-01-01", "succeeded", 1) for name in names])
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(AssetKey([name])) for name in names]))
    assert mirror.tick().startswith("50 states and 0 checks written")


def test_a_dataset_that_two_assets_show_is_seeded_once_in_each(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_batch, "EACH", mirror_batch.MOST)
    ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    other = AssetKey(["mart", "orders"])
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS), spec(PAYMENTS), spec(other, "orders")]))
    mirror.until_quiet()
    assert len(log(instance, [ORDERS])) == len(log(instance, [other])) == 1


def test_an_alias_and_its_dataset_in_one_window_are_seeded_once(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_batch, "EACH", mirror_batch.MOST)
    aliased = {"namespace": LAKE, "name": "sales", "aliases": [{"namespace": LAKE, "name": "orders"}]}
    ledger.declare("test", {"datasets": [aliased]})
    ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    sales = AssetKey(["lake", "sales"])
    Mirror(instance, ledger, Definitions(assets=[spec(ORDERS), spec(sales)])).until_quiet()
    assert (len(log(instance, [ORDERS])), len(log(instance, [sales]))) == (0, 1)
