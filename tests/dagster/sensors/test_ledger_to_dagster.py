"""The mirror of the ledger in Dagster, on a real instance and the real ledger."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from dagster import (
    AssetKey,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    MultiPartitionsDefinition,
    StaticPartitionsDefinition,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from dataforge_sensors.mirror_cursor import MirrorCursor
from dataforge_sensors.read_back import mirror_id_of
from resources import LedgerResource
from tests.dagster.sensors.mirror_ticks import (
    DAYS,
    LAKE,
    ORDERS,
    PAYMENTS,
    Mirror,
    event,
    event_of,
    log,
    metadata_of,
    shown,
    spec,
)


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
    assert metadata_of(ready)["dagster/partition_row_count"] == 12
    assert metadata_of(ready)["dataforge/run"] == "r1"
    assert metadata_of(ready)["dataforge/mirror_id"] == mirror_id_of(ready)


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


def test_what_is_outside_the_window_is_not_written(mirror: Mirror) -> None:
    mirror.ledger.record([event("returns", "2026-01-01", "succeeded", 1), event("orders", "2026-01-01", "running", 1)])
    assert mirror.tick().startswith("1 states and 0 checks written. None waits.")


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


def test_an_environment_that_does_not_exist_costs_one_line_with_what_to_do(
    instance: DagsterInstance, database_url: str
) -> None:
    with LedgerResource(database_url=database_url, environment="elsewhere") as nowhere:
        message = Mirror(instance, nowhere).tick()
    assert message.startswith("there is no environment named 'elsewhere' (there are dev, ")
    assert ": correct DATAFORGE_ENVIRONMENT" in message
    assert "\n" not in message


def test_a_position_that_the_ledger_has_not_given_out_costs_one_line_with_what_to_do(mirror: Mirror) -> None:
    cursor = MirrorCursor.read(mirror.cursor).having_left("of another ledger", 0.0)
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
    assert sorted(event_of(record).description or "" for record in log(mirror.instance)) == [
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
    assert metadata_of(failed)["dataforge/error"] == error
    assert (event_of(failed).description or "").endswith(": orders-2026-01-01.csv, line 17: the amount is ''")
    assert "dataforge/error" not in metadata_of(late)
    for record, run, minute in ((failed, "scheduled__1", 1), (late, "scheduled__2", 2)):
        told = metadata_of(record)
        assert (told["dataforge/owner"], told["dataforge/run"]) == ("team-ingest@shop.example", run)
        assert told["dataforge/since"] == datetime(2026, 3, 1, 0, minute, tzinfo=UTC).timestamp()
