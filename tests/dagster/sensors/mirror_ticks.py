"""The mirror of the ledger, tick after tick as Dagster's daemon calls it, and what it leaves in Dagster's log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    EventLogRecord,
    SensorResult,
    SkipReason,
    build_sensor_context,
)

from dataforge_sensors.ledger_to_dagster import ledger_to_dagster
from dataforge_sensors.mirror_cursor import MirrorCursor
from dataforge_sensors.window import Window
from resources import LedgerResource
from resources.identity import ledger_metadata

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
            cursor = MirrorCursor.read(self.cursor)
            if not result.asset_events and not cursor.gaps and not cursor.unseeded(self._window()):
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
        (str(key_of(record).path[-1]), record.partition_key, metadata_of(record)["dataforge/status"])
        for record in records
    ]


def key_of(record: EventLogRecord) -> AssetKey:
    assert record.asset_key
    return record.asset_key


def event_of(record: EventLogRecord) -> AssetMaterialization | AssetObservation:
    found = record.asset_materialization or record.asset_observation
    assert found
    return found


def metadata_of(record: EventLogRecord) -> dict[str, Any]:
    return {name: value.value for name, value in event_of(record).metadata.items()}
