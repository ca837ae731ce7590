"""What Dagster's event log holds already, read before the mirror writes: its own events, and runs of this instance.

The daemon writes a tick's events before it stores the cursor, and knows no idempotency key. So what was written by a
tick that was killed in between is found here, in the log. It is read from the events themselves and not from their
tags' table: each event and its tags are two transactions, and a kill between them leaves an event without tags there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

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

PAGE = 1_000  # records in one answer; Dagster's own bound
KEYS = 100  # partitions in one question


def held(instance: DagsterInstance, states: Iterable[State]) -> dict[Place, Held]:
    """What the log holds of the partitions of these states.

    Four queries for each asset, 16 ms together on two cores that others used as well (measured, PostgreSQL on the
    same machine), so 8 s for 500 assets of one partition each. The history of a partition is read whole, a few
    records; of an asset without partitions only the newest 1,000 of either kind: so many of its own runs cannot have
    come between a tick that was killed and its repetition.
    """
    wanted: dict[AssetKey, set[str | None]] = defaultdict(set)
    for state in states:
        wanted[state.asset.key].add(state.partition)
    found: dict[Place, Held] = {}
    for key, partitions in wanted.items():
        keys = sorted(partition for partition in partitions if partition is not None)
        chunks: list[list[str] | None] = [keys[start : start + KEYS] for start in range(0, len(keys), KEYS)]
        for chunk in chunks + ([None] if None in partitions else []):
            records = [*_read(instance.fetch_materializations, key, chunk)]
            records += _read(instance.fetch_observations, key, chunk)
            found |= _folded(key, records)
    return found


def _read(
    fetch: Callable[..., EventRecordsResult], key: AssetKey, partitions: Sequence[str] | None
) -> Iterator[EventLogRecord]:
    wanted, cursor = AssetRecordsFilter(asset_key=key, asset_partitions=partitions), None
    while True:
        page = fetch(wanted, limit=PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more or partitions is None:
            return
        cursor = page.cursor


def _folded(key: AssetKey, records: list[EventLogRecord]) -> dict[Place, Held]:
    found: dict[Place, Held] = {}
    for record in sorted(records, key=lambda record: record.storage_id):
        place: Place = (key, record.partition_key)
        before, mirrored = found.get(place, Held()), mirror_id_of(record)
        if mirrored:
            found[place] = Held(mirrored, before.all | {mirrored}, before.runs)
        else:
            found[place] = Held(before.newest, before.all, before.runs | {record.run_id})
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
