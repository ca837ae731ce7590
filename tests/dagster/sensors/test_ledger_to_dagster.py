"""The mirror of the ledger in Dagster, on a real instance and the real ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetSpec,
    AutomationConditionSensorDefinition,
    DagsterInstance,
    DailyPartitionsDefinition,
    DefaultSensorStatus,
    Definitions,
    EventLogRecord,
    MultiPartitionsDefinition,
    SensorResult,
    SkipReason,
    StaticPartitionsDefinition,
    build_sensor_context,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from dataforge_sensors import ledger_to_dagster as module
from dataforge_sensors.ledger_to_dagster import follow, ledger_to_dagster
from dataforge_sensors.mirror import locate
from dataforge_sensors.mirror_cursor import MirrorCursor
from dataforge_sensors.read_back import held, mirror_id_of
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Window
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import DatasetRef
from tests.dagster.sensors.conftest import Instances

DAYS = DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-03-01")
ORDERS, PAYMENTS = AssetKey(["lake", "orders"]), AssetKey(["lake", "payments"])
LAKE = "s3://lake"


def spec(key: AssetKey, dataset: str | None = None, partitions: Any = DAYS) -> AssetSpec:
    named = ledger_metadata(dataset=(LAKE, dataset or key.path[-1]))
    return AssetSpec(key, partitions_def=partitions, metadata=named)


SHOP = Definitions(assets=[spec(ORDERS), spec(PAYMENTS)])


def event(name: str, partition: str | None, state: str, minute: int, **more: Any) -> dict[str, Any]:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minute)
    written = {"namespace": LAKE, "name": name, "partition": partition} | more.pop("written", {})
    return {
        "time": at.isoformat(),
        "task": {"namespace": "airflow", "name": f"load_{name}"},
        "partition": partition,
        "state": state,
        "outputs": [{key: value for key, value in written.items() if value is not None}],
        **more,
    }


class Mirror:
    """The daemon's part: evaluates a tick, writes its events one by one, stores the cursor last."""

    def __init__(self, instance: DagsterInstance, ledger: LedgerResource, definitions: Definitions = SHOP) -> None:
        self.instance, self.ledger, self.definitions = instance, ledger, definitions
        self.cursor: str | None = None

    def evaluate(self) -> SensorResult | SkipReason:
        context = build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions, resources={"ledger": self.ledger}
        )
        with context:
            result = ledger_to_dagster(context)
        assert isinstance(result, SensorResult | SkipReason)
        return result

    def tick(self, killed_after: int | None = None) -> str:
        """One tick; `killed_after` so many of its events the daemon is no more, and the cursor is the old one."""
        result = self.evaluate()
        if isinstance(result, SkipReason):
            assert result.skip_message
            return result.skip_message
        for written in result.asset_events[:killed_after]:
            self.instance.report_runless_asset_event(written)
        if killed_after is None:
            self.cursor = result.cursor
        assert result.skip_reason
        assert result.skip_reason.skip_message
        return result.skip_reason.skip_message

    def until_quiet(self) -> None:
        while True:
            result = self.evaluate()
            assert isinstance(result, SensorResult)
            self.tick()
            if not result.asset_events and not MirrorCursor.read(self.cursor).unseeded(self._window()):
                return

    def _window(self) -> Any:
        return Window.of(self.definitions.get_repository_def())


def log(instance: DagsterInstance, keys: Iterable[AssetKey] = (ORDERS, PAYMENTS)) -> list[EventLogRecord]:
    """Every materialization and observation of these assets, in the order of the log."""
    found: list[EventLogRecord] = []
    for key in keys:
        found += instance.fetch_materializations(key, limit=1000).records
        found += instance.fetch_observations(key, limit=1000).records
    return sorted(found, key=lambda record: record.storage_id)


def shown(records: Sequence[EventLogRecord]) -> list[tuple[str, str | None, str]]:
    """What the log says: asset, partition, and status."""
    return [
        (str(_key(record).path[-1]), record.partition_key, _metadata(record)["dataforge/status"]) for record in records
    ]


def _key(record: EventLogRecord) -> AssetKey:
    assert record.asset_key
    return record.asset_key


def _event(record: EventLogRecord) -> AssetMaterialization | AssetObservation:
    found = record.asset_materialization or record.asset_observation
    assert found
    return found


def _metadata(record: EventLogRecord) -> dict[str, Any]:
    return {name: value.value for name, value in _event(record).metadata.items()}


@pytest.fixture
def mirror(instance: DagsterInstance, ledger: LedgerResource) -> Mirror:
    """A mirror that has seeded its assets from an empty ledger."""
    mirror = Mirror(instance, ledger)
    mirror.tick()
    return mirror


def test_a_ready_partition_is_a_materialization_and_every_other_state_an_observation(mirror: Mirror) -> None:
    mirror.ledger.record(
        [
            event("orders", "2026-01-01", "succeeded", 1, written={"version": "v7", "rows": 12}, run="r1"),
            event("orders", "2026-01-02", "failed", 2, error="no space left"),
            event("orders", "2026-01-03", "running", 3),
            event("orders", "2026-01-04", "skipped", 4),
        ]
    )
    mirror.tick()
    records = log(mirror.instance)
    assert sorted(shown(records)) == [
        ("orders", "2026-01-01", "ready"),
        ("orders", "2026-01-02", "failed"),
        ("orders", "2026-01-03", "running"),
        ("orders", "2026-01-04", "skipped"),
    ]
    ready = next(record for record in records if record.partition_key == "2026-01-01")
    assert [record.asset_materialization is not None for record in records].count(True) == 1
    assert ready.asset_materialization
    tags = ready.asset_materialization.tags or {}
    assert tags[DATA_VERSION_TAG] == "v7"
    assert _metadata(ready)["dagster/partition_row_count"] == 12
    assert _metadata(ready)["dataforge/run"] == "r1"
    assert _metadata(ready)["dataforge/mirror_id"] == mirror_id_of(ready)


def test_a_state_is_written_once_however_often_it_is_said(mirror: Mirror) -> None:
    said = event("orders", "2026-01-01", "succeeded", 1)
    for repeated in (said, said, said | {"id": "again"}):
        mirror.ledger.record([repeated])
        mirror.tick()
    assert shown(log(mirror.instance)) == [("orders", "2026-01-01", "ready")]


def test_a_state_then_another_then_a_new_run_are_three_states(mirror: Mirror) -> None:
    for minute, run, state in ((1, "one", "succeeded"), (2, "two", "failed"), (3, "three", "succeeded")):
        mirror.ledger.record([event("orders", "2026-01-01", state, minute, run=run)])
        mirror.tick()
    assert [status for _, _, status in shown(log(mirror.instance))] == ["ready", "failed", "ready"]


@pytest.mark.parametrize("killed_after", range(4))
def test_a_tick_killed_after_any_of_its_events_leaves_each_state_there_once(mirror: Mirror, killed_after: int) -> None:
    mirror.ledger.record([event("orders", f"2026-01-0{day}", "succeeded", day) for day in (1, 2, 3)])
    mirror.tick(killed_after=killed_after)
    assert len(log(mirror.instance)) == killed_after
    mirror.tick()
    mirror.tick()
    assert sorted(shown(log(mirror.instance))) == [("orders", f"2026-01-0{day}", "ready") for day in (1, 2, 3)]


def test_what_changed_between_a_killed_tick_and_its_repetition_is_written_and_the_rest_is_not_again(
    mirror: Mirror,
) -> None:
    mirror.ledger.record([event("orders", f"2026-01-0{day}", "succeeded", day) for day in (1, 2)])
    mirror.tick(killed_after=2)
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 9, run="later")])
    mirror.tick()
    assert sorted(shown(log(mirror.instance))) == [
        ("orders", "2026-01-01", "failed"),
        ("orders", "2026-01-01", "ready"),
        ("orders", "2026-01-02", "ready"),
    ]


def test_an_event_whose_tags_a_kill_has_kept_from_their_table_is_not_written_again(mirror: Mirror) -> None:
    from dagster._core.storage.event_log.schema import AssetEventTagsTable

    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    mirror.tick(killed_after=1)
    with mirror.instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.execute(AssetEventTagsTable.delete())
    mirror.tick()
    assert shown(log(mirror.instance)) == [("orders", "2026-01-01", "ready")]


def test_a_success_that_a_failed_run_has_covered_before_it_was_seen_is_shown_before_the_failure(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1, run="one")])
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 2, run="two")])
    mirror.tick()
    assert shown(log(mirror.instance)) == [("orders", "2026-01-01", "ready"), ("orders", "2026-01-01", "failed")]
    mirror.ledger.record([event("orders", "2026-01-01", "failed", 3, run="three")])
    mirror.tick()
    assert [status for _, _, status in shown(log(mirror.instance))] == ["ready", "failed", "failed"]


def test_a_partition_that_is_cleared_is_told_each_time(mirror: Mirror) -> None:
    manifest = {"tasks": [], "datasets": [{"namespace": LAKE, "name": "orders", "aliases": []}]}
    moved = {"datasets": [{"namespace": LAKE, "name": "elsewhere", "aliases": [{"namespace": LAKE, "name": "orders"}]}]}
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    for declared in (manifest, moved, manifest, moved):
        mirror.ledger.declare("test", declared)
        mirror.tick()
    assert [status for _, _, status in shown(log(mirror.instance))] == ["ready", "missing", "ready", "missing"]


def test_what_is_outside_the_window_is_counted_and_not_written(mirror: Mirror) -> None:
    mirror.ledger.record([event("returns", "2026-01-01", "succeeded", 1), event("orders", "2026-01-01", "running", 1)])
    assert "1 states written, 1 changes outside the window" in mirror.tick()


def test_an_unknown_partition_is_found_before_it_is_written_and_told_until_it_is_gone(mirror: Mirror) -> None:
    complaint = "Not mirrored: partition 2024-01-01 of lake/orders, which has no such partition."
    mirror.ledger.record([event("orders", "2024-01-01", "succeeded", 1), event("orders", "2026-01-01", "running", 1)])
    for _ in range(3):
        assert complaint in mirror.tick()
    assert shown(log(mirror.instance)) == [("orders", "2026-01-01", "running")]
    moved = {"datasets": [{"namespace": LAKE, "name": "elsewhere", "aliases": [{"namespace": LAKE, "name": "orders"}]}]}
    mirror.ledger.declare("test", moved)
    assert complaint not in mirror.tick()


def test_a_partition_that_its_asset_is_given_later_is_shown_and_complained_of_no_more(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2025-12-31", "succeeded", 1)])
    assert "2025-12-31 of lake/orders, which has no such partition" in mirror.tick()
    longer = DailyPartitionsDefinition(start_date="2025-12-01", end_date="2026-03-01")
    mirror.definitions = Definitions(assets=[spec(ORDERS, partitions=longer), spec(PAYMENTS)])
    assert "2025-12-31" not in mirror.tick()
    assert shown(log(mirror.instance)) == [("orders", "2025-12-31", "ready")]


def test_a_partition_that_one_of_two_assets_has_not_yet_and_the_other_never_is_shown_in_the_one(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    today, mart = datetime.now(UTC).strftime("%Y-%m-%d"), AssetKey(["mart", "orders"])
    other = spec(mart, "orders", StaticPartitionsDefinition(["acme"]))

    def shop(end_offset: int) -> Definitions:
        days = DailyPartitionsDefinition(start_date="2026-01-01", end_offset=end_offset)
        return Definitions(assets=[spec(ORDERS, partitions=days), other])

    mirror = Mirror(instance, ledger, shop(0))
    ledger.record([event("orders", today, "running", 1)])
    assert f"{today} of mart/orders, which has no such partition" in mirror.tick()
    mirror.definitions = shop(1)  # as midnight would have it
    for _ in range(3):
        assert f"{today} of mart/orders, which has no such partition" in mirror.tick()
    assert shown(log(instance, [ORDERS, mart])) == [("orders", today, "running")]


def test_of_many_complaints_a_tick_says_the_first_and_their_number(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", f"2024-01-{day:02}", "succeeded", day) for day in range(1, 11)])
    for _ in range(2):
        assert mirror.tick().endswith("And 7 more.")


def test_an_asset_without_the_ledgers_names_is_told_in_each_tick(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS), AssetSpec("alone")]))
    for _ in range(3):
        assert "alone" in mirror.tick()


def test_a_tick_whose_time_is_over_goes_on_with_the_next(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    mirror.ledger.record([event("returns", f"2026-01-0{day}", "succeeded", day) for day in range(1, 7)])
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    window = Window.of(SHOP.get_repository_def())
    cursor, found = MirrorCursor.read(mirror.cursor), []
    for _ in range(4):
        batch = follow(mirror.ledger, cursor, window, TimeBudget(0))
        cursor = batch.cursor
        found.append((batch.outside, len(batch.changes)))
    assert found == [(2, 0), (2, 0), (2, 0), (0, 1)]


def test_assets_that_there_is_no_time_to_seed_are_seeded_by_the_next_tick(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASSETS", 1)
    monkeypatch.setattr(module, "TimeBudget", lambda: TimeBudget(0))
    ledger.record([event("orders", "2026-01-01", "succeeded", 1), event("payments", "2026-01-01", "succeeded", 1)])
    mirror = Mirror(instance, ledger)
    for number in (1, 2, 2):
        mirror.tick()
        assert len(log(instance)) == number


def test_a_state_of_a_window_that_has_not_ended_is_shown_when_it_has(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    growing = Definitions(assets=[spec(ORDERS, partitions=DailyPartitionsDefinition(start_date="2026-01-01"))])
    grown = Definitions(
        assets=[spec(ORDERS, partitions=DailyPartitionsDefinition(start_date="2026-01-01", end_offset=1))]
    )
    mirror = Mirror(instance, ledger, growing)
    mirror.tick()
    ledger.record([event("orders", today, "running", 1)])
    mirror.tick()
    assert not log(instance)
    mirror.definitions = grown  # as midnight would have it
    mirror.tick()
    mirror.tick()
    assert shown(log(instance)) == [("orders", today, "running")]


def test_a_key_of_two_dimensions_is_dagsters_own(instance: DagsterInstance, ledger: LedgerResource) -> None:
    two = MultiPartitionsDefinition({"client": StaticPartitionsDefinition(["acme"]), "date": DAYS})
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS, partitions=two)]))
    mirror.tick()
    ledger.record(
        [event("orders", "acme|2026-01-01", "succeeded", 1), event("orders", "other|2026-01-01", "failed", 1)]
    )
    assert "other|2026-01-01 of" in mirror.tick()
    tags = instance.get_event_tags_for_asset(ORDERS)
    assert [tag["dagster/partition/client"] for tag in tags] == ["acme"]
    mirror.cursor = None
    mirror.tick()
    assert len(log(instance)) == 1


def test_an_asset_without_partitions_shows_a_dataset_without(instance: DagsterInstance, ledger: LedgerResource) -> None:
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS, partitions=None)]))
    mirror.tick()
    ledger.record([event("orders", None, "succeeded", 1), event("orders", "2026-01-01", "succeeded", 1)])
    assert "partition 2026-01-01 of lake/orders, which is not partitioned" in mirror.tick()
    assert shown(log(instance)) == [("orders", None, "ready")]


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
    monkeypatch.setattr(module, "ASSETS", 1)
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


def test_a_ledger_that_is_down_costs_one_line_and_is_caught_up(mirror: Mirror) -> None:
    up, before = mirror.ledger, mirror.cursor
    up.record([event("orders", "2026-01-01", "succeeded", 1)])
    mirror.ledger = LedgerResource(url="http://127.0.0.1:9")
    message = mirror.tick()
    assert "\n" not in message
    assert "The cursor stays" in message
    assert mirror.cursor == before
    mirror.ledger = up
    mirror.tick()
    assert len(log(mirror.instance)) == 1


def test_the_cursor_of_another_version_is_a_fresh_one() -> None:
    assert MirrorCursor.read('{"position": 7}') == MirrorCursor()
    assert MirrorCursor.read("123") == MirrorCursor()


def test_an_environment_that_does_not_exist_costs_one_line_with_what_to_do(
    instance: DagsterInstance, database_url: str
) -> None:
    with LedgerResource(database_url=database_url, environment="elsewhere") as nowhere:
        message = Mirror(instance, nowhere).tick()
    assert message.startswith("there is no environment named 'elsewhere' (there are dev, ")
    assert ": correct DATAFORGE_ENVIRONMENT" in message
    assert "\n" not in message


def test_a_position_that_the_ledger_has_not_given_out_costs_one_line_with_what_to_do(mirror: Mirror) -> None:
    cursor = MirrorCursor.read(mirror.cursor).at("of another ledger")
    mirror.cursor = cursor.write()
    assert "reset this sensor's cursor" in mirror.tick()
    assert mirror.cursor == cursor.write()


def test_an_asset_that_names_an_alias_is_told_which_name_to_take(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    aliased = {"namespace": LAKE, "name": "sales", "aliases": [{"namespace": LAKE, "name": "orders"}]}
    ledger.declare("test", {"datasets": [aliased]})
    ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    mirror = Mirror(instance, ledger)
    assert "lake/orders names s3://lake / orders, which is an alias: let its metadata name s3://lake / sales." in (
        mirror.tick()
    )
    assert "let its metadata name s3://lake / sales." in mirror.tick()
    mirror.definitions = Definitions(assets=[spec(ORDERS, "sales"), spec(PAYMENTS)])
    mirror.until_quiet()
    assert "alias" not in mirror.tick()
    assert shown(log(instance)) == [("orders", "2026-01-01", "ready")]


def test_a_dataset_that_becomes_an_alias_later_is_told_too(mirror: Mirror) -> None:
    mirror.ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    mirror.tick()
    aliased = {"namespace": LAKE, "name": "sales", "aliases": [{"namespace": LAKE, "name": "orders"}]}
    mirror.ledger.declare("test", {"datasets": [aliased]})
    assert "let its metadata name s3://lake / sales." in mirror.tick()


def test_an_observation_is_a_sentence_that_says_since_when_and_by_which_run(mirror: Mirror) -> None:
    mirror.ledger.record(
        [
            event("orders", "2026-01-01", "running", 1, run="scheduled__1"),
            event("orders", "2026-01-02", "failed", 2, run="scheduled__2"),
            event("orders", "2026-01-03", "upstream_failed", 3, run="scheduled__3"),
            event("orders", "2026-01-04", "succeeded", 4, run="scheduled__4"),
        ]
    )
    mirror.tick()
    assert sorted(_event(record).description or "" for record in log(mirror.instance)) == [
        "failed since 2026-03-01 00:02 UTC: run scheduled__2 of load_orders",
        "failed since 2026-03-01 00:03 UTC: run scheduled__3 of load_orders is upstream failed",
        "ready since 2026-03-01 00:04 UTC: run scheduled__4 of load_orders",
        "running since 2026-03-01 00:01 UTC: run scheduled__1 of load_orders",
    ]


def test_an_observation_of_what_failed_or_is_late_says_why_whose_since_when_and_which_run(mirror: Mirror) -> None:
    tasks = [{"namespace": "airflow", "name": "load_orders", "owner": "team-ingest@shop.example"}]
    mirror.ledger.declare("test", {"tasks": tasks})
    error = "orders-2026-01-01.csv, line 17: the amount is ''\n  in read()"
    mirror.ledger.record(
        [
            event("orders", "2026-01-01", "failed", 1, run="scheduled__1", error=error),
            event("orders", "2026-01-02", "running", 2, run="scheduled__2"),
        ]
    )
    mirror.tick()
    failed, late = sorted(log(mirror.instance), key=lambda record: record.partition_key or "")
    assert _metadata(failed)["dataforge/error"] == error
    assert (_event(failed).description or "").endswith(": orders-2026-01-01.csv, line 17: the amount is ''")
    assert "dataforge/error" not in _metadata(late)
    for record, run, minute in ((failed, "scheduled__1", 1), (late, "scheduled__2", 2)):
        told = _metadata(record)
        assert (told["dataforge/owner"], told["dataforge/run"]) == ("team-ingest@shop.example", run)
        assert told["dataforge/since"] == datetime(2026, 3, 1, 0, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("partitions", "partition"), [(None, None), (StaticPartitionsDefinition(["acme"]), "acme")], ids=["none", "static"]
)
def test_of_a_long_history_only_the_end_is_read(
    instance: DagsterInstance, ledger: LedgerResource, partitions: Any, partition: str | None
) -> None:
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS, partitions=partitions)]))
    mirror.tick()
    for minute in range(40):
        ledger.record([event("orders", partition, "succeeded", minute, run=str(minute))])
        mirror.tick()
    asked: list[int] = []

    class Counted:
        @staticmethod
        def fetch_materializations(*given: Any, **named: Any) -> Any:
            page = instance.fetch_materializations(*given, **named)
            asked.append(len(page.records))
            return page

        fetch_observations = instance.fetch_observations

    [change] = ledger.latest([DatasetRef(LAKE, "orders")])
    located = locate(Window.of(mirror.definitions.get_repository_def()), [change])
    counted: Any = Counted()
    [known] = held(counted, [state for states in located.states for state in states]).values()
    assert known.newest == change.mirror_id
    assert sum(asked) <= 10


def test_one_tick_seeds_as_many_assets_as_fill_a_batch(instance: DagsterInstance, ledger: LedgerResource) -> None:
    names = [f"t{number}" for number in range(50)]
    ledger.record([event(name, "2026-01-01", "succeeded", 1) for name in names])
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(AssetKey([name])) for name in names]))
    assert mirror.tick().startswith("50 states written")


def test_a_dataset_that_two_assets_show_is_seeded_once_in_each(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASSETS", 1)
    ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    other = AssetKey(["mart", "orders"])
    mirror = Mirror(instance, ledger, Definitions(assets=[spec(ORDERS), spec(PAYMENTS), spec(other, "orders")]))
    mirror.until_quiet()
    assert len(log(instance, [ORDERS])) == len(log(instance, [other])) == 1


def test_an_alias_and_its_dataset_in_one_window_are_seeded_once(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASSETS", 1)
    aliased = {"namespace": LAKE, "name": "sales", "aliases": [{"namespace": LAKE, "name": "orders"}]}
    ledger.declare("test", {"datasets": [aliased]})
    ledger.record([event("orders", "2026-01-01", "succeeded", 1)])
    sales = AssetKey(["lake", "sales"])
    Mirror(instance, ledger, Definitions(assets=[spec(ORDERS), spec(sales)])).until_quiet()
    assert (len(log(instance, [ORDERS])), len(log(instance, [sales]))) == (0, 1)
