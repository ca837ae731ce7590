"""The keys of the ledger's dynamic sets in a real instance: what a set holds is there, tick after tick."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import (
    AddDynamicPartitionsRequest,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    DynamicPartitionsDefinition,
    MultiPartitionsDefinition,
    SensorResult,
    SkipReason,
    build_sensor_context,
)

from dataforge_sensors import sets_to_dagster as module
from dataforge_sensors.sets_to_dagster import sets_to_dagster
from dataforge_sensors.time_budget import TimeBudget
from resources import LedgerResource
from resources.identity import ledger_metadata
from tests.dagster.sensors.mirror_ticks import Mirror

CLIENTS, FILES = DynamicPartitionsDefinition(name="clients"), DynamicPartitionsDefinition(name="files")
BOTH = MultiPartitionsDefinition({"client": CLIENTS, "date": DailyPartitionsDefinition("2026-01-01")})
ORDERS = AssetSpec("orders", partitions_def=CLIENTS, metadata=ledger_metadata(dataset=("s3://lake", "orders")))


class Keeper:
    """The daemon's part: evaluates a tick, does what it requests, stores the cursor last."""

    def __init__(self, instance: DagsterInstance, ledger: LedgerResource) -> None:
        self.instance, self.ledger = instance, ledger
        self.assets: Sequence[AssetSpec] = [ORDERS]
        self.cursor: str | None = None
        self.minute = 0

    def order(self, verb: str, *keys: str, name: str = "clients") -> None:
        """Registers keys in a set, or delists them."""
        self.minute += 1
        at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=self.minute)
        said = {"time": at.isoformat(), "control": verb, "set": name, "keys": [*keys], "by": "anna", "reason": "so"}
        assert self.ledger.record([said]).rejected == []

    def tick(self, *, killed_after: int | None = None) -> str:
        """`killed_after` so many of its keys the daemon is no more."""
        with build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=Definitions(assets=[*self.assets]),
            resources={"ledger": self.ledger},
        ) as context:
            result = sets_to_dagster(context)
        if isinstance(result, SkipReason):
            return str(result.skip_message)
        assert isinstance(result, SensorResult)
        for request in result.dynamic_partitions_requests or ():
            keys = request.partition_keys[:killed_after]
            if isinstance(request, AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(request.partitions_def_name, list(keys))
            else:
                for key in keys:
                    self.instance.delete_dynamic_partition(request.partitions_def_name, key)
        self.cursor = result.cursor if killed_after is None else self.cursor
        assert result.skip_reason
        return str(result.skip_reason.skip_message)

    def keys(self, name: str = "clients") -> list[str]:
        return sorted(self.instance.get_dynamic_partitions(name))


@pytest.fixture
def keeper(instance: DagsterInstance, ledger: LedgerResource) -> Keeper:
    return Keeper(instance, ledger)


def test_dagster_has_the_keys_that_the_set_holds(keeper: Keeper) -> None:
    keeper.order("register", "acme", "globex")
    assert keeper.tick() == "2 keys added, 0 deleted."
    assert keeper.tick() == "0 keys added, 0 deleted."
    keeper.order("delist", "globex")
    keeper.order("register", "initech")
    assert keeper.tick() == "1 keys added, 1 deleted."
    assert keeper.keys() == ["acme", "initech"]
    keeper.order("register", "globex")
    keeper.tick()
    assert keeper.keys() == ["acme", "globex", "initech"]


def test_a_key_that_only_dagster_has_is_left_alone(keeper: Keeper) -> None:
    keeper.instance.add_dynamic_partitions("clients", ["mine"])
    keeper.order("register", "acme")
    keeper.tick()
    assert keeper.keys() == ["acme", "mine"]


def test_a_set_of_one_of_two_dimensions_is_one_too(keeper: Keeper) -> None:
    keeper.assets = [AssetSpec("a", partitions_def=BOTH), AssetSpec("b", partitions_def=FILES)]
    keeper.order("register", "acme")
    keeper.order("register", "one.csv", name="files")
    assert keeper.tick() == "2 keys added, 0 deleted."
    assert (keeper.keys(), keeper.keys("files")) == (["acme"], ["one.csv"])


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_a_tick_that_is_killed_is_made_up_for(keeper: Keeper, dies_after: int) -> None:
    keeper.order("register", "a", "b")
    keeper.tick(killed_after=dies_after)
    assert len(keeper.keys()) == dies_after
    keeper.tick()
    assert keeper.keys() == ["a", "b"]


def test_many_keys_take_several_ticks_and_none_is_forgotten(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    monkeypatch.setattr(module, "MOST", 4)
    keeper.assets = [ORDERS, AssetSpec("b", partitions_def=FILES)]
    many = [f"{number:02}" for number in range(10)]
    keeper.order("register", *many)
    keeper.order("register", *many, name="files")
    said = [keeper.tick() for _ in range(6)]
    assert said == [f"{count} keys added, 0 deleted." for count in (4, 4, 4, 4, 4, 0)]
    assert keeper.keys() == keeper.keys("files") == many


def test_a_tick_without_time_goes_on_where_the_one_before_stopped(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    monkeypatch.setattr(module, "TimeBudget", lambda: TimeBudget(0))
    keeper.order("register", "a", "b", "c")
    for number in (1, 2, 3):
        keeper.tick()
        assert len(keeper.keys()) == number
    keeper.order("register", "0")
    keeper.tick()
    assert keeper.keys() == ["0", "a", "b", "c"]


def test_a_partition_whose_key_came_later_is_shown_by_the_mirror(keeper: Keeper) -> None:
    written = {"namespace": "s3://lake", "name": "orders", "partition": "acme"}
    task: dict[str, Any] = {"namespace": "airflow", "name": "load"}
    cut = {"kind": "dynamic", "set": "clients"}
    keeper.ledger.declare(
        "shop",
        {
            "tasks": [{**task, "partitioning": cut, "produces": [{"namespace": "s3://lake", "name": "orders"}]}],
            "datasets": [{"namespace": "s3://lake", "name": "orders", "partitioning": cut}],
        },
    )
    made = {"time": "2026-03-01T00:00:00Z", "task": task, "partition": "acme", "state": "succeeded"}
    assert keeper.ledger.record([{**made, "outputs": [written]}]).rejected == []
    mirror = Mirror(keeper.instance, keeper.ledger, Definitions(assets=[ORDERS]))
    assert "partition acme of orders, which has no such partition" in mirror.tick()
    assert keeper.tick() == "1 keys added, 0 deleted."  # the run has shown it
    mirror.until_quiet()
    [shown] = keeper.instance.fetch_materializations(ORDERS.key, limit=10).records
    assert shown.partition_key == "acme"


def test_a_ledger_that_is_down_costs_one_line(keeper: Keeper) -> None:
    keeper.ledger = LedgerResource(url="http://127.0.0.1:9")
    said = keeper.tick()
    assert said.endswith("The keys stay as they are until it answers.")
    assert "\n" not in said


def test_a_location_without_sets_asks_nobody(keeper: Keeper) -> None:
    keeper.ledger, keeper.assets = LedgerResource(url="http://127.0.0.1:9"), [AssetSpec("plain")]
    assert keeper.tick() == "No asset here is cut by a dynamic set."


@pytest.mark.parametrize("cursor", ["", "12", "[]", '["gone", null]', '["clients", 7]'])
def test_a_cursor_that_nobody_can_read_begins_anew(keeper: Keeper, cursor: str) -> None:
    keeper.order("register", "acme")
    keeper.cursor = cursor
    assert keeper.tick() == "1 keys added, 0 deleted."
