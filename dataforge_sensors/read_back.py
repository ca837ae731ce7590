"""What Dagster's event log holds already, read before the mirror writes: its own events, and runs of this instance.

The daemon writes a tick's events before it stores the cursor, and knows no idempotency key. So what was written by a
tick that was killed in between is found here, in the log. It is read from the events themselves and not from their
tags' table: each event and its tags are two transactions, and a kill between them leaves an event without tags there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
    EventRecordsResult,
)

from dataforge_sensors.mirror import MIRROR_ID, Held, Place, State
from dataforge_sensors.reports import name_of

PAGE = 1_000  # records in one answer; Dagster's own bound
PAGES = 3  # answers to one question
FEW = 5  # records that a partition usually has
KEYS = 100  # partitions in one question


def held(instance: DagsterInstance, states: Iterable[State]) -> dict[Place, Held]:
    """What the log holds of the partitions of these states.

    Four queries for each asset, 16 ms together on two cores that others used as well (measured, PostgreSQL on the
    same machine, 100,000 events in the log), so 8 s for 500 assets of one partition each.
    """
    wanted: dict[AssetKey, set[str | None]] = defaultdict(set)
    for state in states:
        wanted[state.asset.key].add(state.partition)
    found: dict[Place, Held] = {}
    for key, partitions in wanted.items():
        keys = sorted(partition for partition in partitions if partition is not None)
        chunks: list[list[str | None]] = [[*keys[start : start + KEYS]] for start in range(0, len(keys), KEYS)]
        for chunk in chunks + ([[None]] if None in partitions else []):
            records = [*_read(instance.fetch_materializations, key, chunk)]
            records += _read(instance.fetch_observations, key, chunk)
            found |= _folded(key, records)
    return found


def _read(
    fetch: Callable[..., EventRecordsResult], key: AssetKey, partitions: Sequence[str | None]
) -> Iterator[EventLogRecord]:
    """The newest records of one kind, of each partition until there is one of the mirror's own among them: so long is
    a history in which nobody prunes anything, that of a whole one only the end can be read. Where there is none among
    thousands, so many runs of Dagster's own cannot have come between a tick that was killed and its repetition.
    """
    cursor, limit = None, FEW * (1 + len(partitions))
    for _ in range(PAGES):
        keys = [partition for partition in partitions if partition is not None]
        page = fetch(AssetRecordsFilter(asset_key=key, asset_partitions=keys or None), limit=limit, cursor=cursor)
        yield from page.records
        found = {record.partition_key for record in page.records if mirror_id_of(record)}
        partitions = [partition for partition in partitions if partition not in found]
        if not page.has_more or not partitions:
            return
        cursor, limit = page.cursor, PAGE


def _folded(key: AssetKey, records: list[EventLogRecord]) -> dict[Place, Held]:
    found: dict[Place, Held] = {}
    for record in sorted(records, key=lambda record: record.storage_id):
        place: Place = (key, record.partition_key)
        before, mirrored = found.get(place, Held()), mirror_id_of(record)
        if mirrored:
            found[place] = replace(before, newest=mirrored, all=before.all | {mirrored})
        elif record.run_id:
            found[place] = replace(before, runs=before.runs | {record.run_id})
        else:
            found[place] = replace(before, reports=before.reports | {name_of(record)})
    return found


def mirror_id_of(record: EventLogRecord) -> str | None:
    """The mirror's name of the state that an event tells of; None if the mirror did not write it."""
    entry = record.event_log_entry
    event: AssetMaterialization | AssetObservation | None = entry.asset_materialization or entry.asset_observation
    return (event.tags or {}).get(MIRROR_ID) if event else None


class OwnRuns:
    """The runs of this Dagster, each looked up once in a tick: what they make, Dagster shows without a mirror."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self._planned: dict[str, frozenset[AssetKey] | None] = {}

    def made(self, state: State, held: Held) -> bool:
        """Whether a run that this Dagster knows made this state of this asset: after the loss of its database it
        knows none, and under an asset's new name the run's events are not to be found."""
        if state.dagster_report in held.reports:
            return True
        run = state.dagster_run
        if run is None:
            return False
        planned = self._planned_by(run)
        return planned is not None and (state.asset.key in planned or run in held.runs)

    def _planned_by(self, run: str) -> frozenset[AssetKey] | None:
        if run not in self._planned:
            self._planned[run] = self._read(run) if self._instance.has_run(run) else None
        return self._planned[run]

    def _read(self, run: str) -> frozenset[AssetKey]:
        planned = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        records = self._instance.get_records_for_run(run, of_type=planned).records
        events = [record.event_log_entry.dagster_event for record in records]
        return frozenset(event.asset_key for event in events if event and event.asset_key)
