"""The mirror of the ledger in Dagster at full load: 5,000 assets, of which far more changes than Dagster can be given.

A process of its own records events as fast as the ledger takes them, up to the 4,000 a second that it is to hold, over
20,000 tasks, a quarter of them in the window. The mirror ticks as the daemon has it do: every ten seconds, its events
written one by one, its cursor stored last.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    EventLogEntry,
    SensorResult,
    build_sensor_context,
)
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.test_utils import instance_for_test
from dagster._utils.warnings import disable_dagster_warnings

from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.mirror_feed import DAYS, FIRST, LAKE, day_of, name_of
from benchmarks.scratch import new_database, scratch_server
from dataforge.storage.database import Database, migrate
from dataforge_assets.ledger_state import ledger_state_of
from dataforge_sensors.ledger_to_dagster import INTERVAL_SECONDS, ledger_to_dagster
from dataforge_sensors.mirror_cursor import MirrorCursor
from dataforge_sensors.window import Window
from resources import LedgerResource
from resources.identity import ledger_metadata

ASSETS = 5_000
TICKS = int(os.environ.get("DATAFORGE_MIRROR_TICKS", "12"))


def main() -> None:
    """Measures ticks under load, and what it costs Dagster to write an event."""
    with scratch_server({}) as server, new_database(server) as url, new_database(server) as dagster_url:
        migrate(url)
        database = Database(url)
        bench = Bench("mirror", server_version(database))
        with _instance(dagster_url) as instance, LedgerResource(database_url=url) as ledger:
            _writes(bench, instance)
            mirror = Ticking(instance, ledger)
            mirror.seed()
            with _fed(url):
                while not _recorded(database):
                    time.sleep(0.1)
                _ticks(bench, mirror, database)
        database.close()


@contextmanager
def _instance(url: str) -> Iterator[DagsterInstance]:
    storage = {"postgres": {"postgres_url": url.replace("postgresql://", "postgresql+psycopg2://", 1)}}
    with (
        tempfile.TemporaryDirectory(prefix="dataforge-mirror-") as home,
        instance_for_test(temp_dir=home, overrides={"storage": storage, "telemetry": {"enabled": False}}) as instance,
    ):
        yield instance


class Ticking:
    """The daemon's part for 5,000 assets."""

    def __init__(self, instance: DagsterInstance, ledger: LedgerResource) -> None:
        days = DailyPartitionsDefinition(FIRST, end_date=FIRST + timedelta(days=DAYS + 1))
        specs = [
            AssetSpec(
                AssetKey(["lake", name_of(number)]),
                partitions_def=days,
                metadata=ledger_metadata(dataset=(LAKE, name_of(number))),
                tags={"dataforge/watched": ""} if number % 10 == 0 else {},
            )
            for number in range(ASSETS)
        ]
        resources = {"ledger": ledger}
        with disable_dagster_warnings():
            self._definitions = Definitions(specs, asset_checks=[ledger_state_of(specs)], resources=resources)
            self._repository = self._definitions.get_repository_def()
        self._instance, self._ledger = instance, ledger
        self.cursor: str | None = None

    def seed(self) -> None:
        """Until all assets are known, of a ledger that holds nothing yet."""
        while MirrorCursor.read(self.cursor).unseeded(Window.of(self._repository)):
            self.decide()

    def decide(self) -> list[Any]:
        """What one tick has to write; its cursor is stored when that is done."""
        context = build_sensor_context(
            instance=self._instance,
            cursor=self.cursor,
            repository_def=self._repository,
            resources={"ledger": self._ledger},
        )
        with context:
            result = ledger_to_dagster(context)
        assert isinstance(result, SensorResult), result
        self.cursor = result.cursor
        return [*result.asset_events]

    def write(self, events: list[Any]) -> None:
        """As the daemon writes."""
        for event in events:
            self._instance.report_runless_asset_event(event)


def _ticks(bench: Bench, mirror: Ticking, database: Database) -> None:
    took: list[float] = []
    lags: list[float] = []
    written, began, recorded = 0, time.time(), _recorded(database)
    for _ in range(TICKS):
        due, start = time.time() + INTERVAL_SECONDS, time.perf_counter()
        events = mirror.decide()
        took.append(time.perf_counter() - start)
        mirror.write(events)
        written += len(events)
        lags += [time.time() - float(event.metadata["dataforge/since"].value) for event in events if _is_state(event)]
        time.sleep(max(0.0, due - time.time()))
    seconds = time.time() - began
    bench.rate("mirror.fed", (_recorded(database) - recorded) / seconds, factor=ASSETS / 120_000)
    bench.rate("mirror.written", written / seconds, "allowed", written / seconds / 100, ASSETS / 120_000)
    bench.times("mirror.tick.p95", took, factor=ASSETS / 120_000)
    bench.times("mirror.lag.p95", lags, factor=ASSETS / 120_000)
    bench.size("mirror.cursor", len(mirror.cursor or ""), factor=ASSETS / 120_000)
    cursor = MirrorCursor.read(mirror.cursor)
    sys.stdout.write(f"{cursor.waiting:,} changes are seen to wait, in {len(cursor.gaps)} gaps\n")


def _is_state(event: Any) -> bool:
    return "dataforge/since" in event.metadata


def _recorded(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(*) from event where environment = 1").fetchone()
    return int(row[0]) if row else 0


def _writes(bench: Bench, instance: DagsterInstance) -> None:
    """One event after the other, as the daemon has it; and as many at once as Dagster takes, which are of one asset."""
    made = [AssetMaterialization(AssetKey(["written", str(n)]), partition="2026-10-01") for n in range(300)]
    single = sum(timed(partial(instance.report_runless_asset_event, event)) for event in made)
    batches = [
        [AssetMaterialization(AssetKey(["batch", str(n)]), partition=day_of(day)) for day in range(DAYS)]
        for n in range(10)
    ]
    batch = sum(timed(partial(instance.event_log_storage.store_event_batch, [*map(_entry, of)])) for of in batches)
    floor = len(made) / single
    bench.rate("mirror.write.single", floor)
    bench.rate("mirror.write.batch", 10 * DAYS / batch, "single", 10 * DAYS / batch / floor)


def _entry(made: AssetMaterialization) -> EventLogEntry:
    told = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="",
        event_specific_data=StepMaterializationData(made),
    )
    return EventLogEntry(None, 20, "", "", time.time(), dagster_event=told)  # type: ignore[no-untyped-call]


@contextmanager
def _fed(url: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "benchmarks.mirror_feed", url]) as process:
        try:
            yield
        finally:
            process.kill()  # it has nothing to put away
