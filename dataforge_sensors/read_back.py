"""What Dagster's event log holds already, read before the mirror writes: its own events, and runs of this instance.

The daemon writes a tick's events before it stores the cursor, and knows no idempotency key. So what was written by a
tick that was killed in between is found here, in the log. It is read from the events themselves and not from their
tags' table: each event and its tags are two transactions, and a kill between them leaves an event without tags there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

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
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._serdes import deserialize_value
from sqlalchemy import text

from dataforge_sensors.mirror import MIRROR_ID, Held, Place, State
from dataforge_sensors.reports import name_of

PAGE = 1_000  # records in one answer; Dagster's own bound
PAGES = 3  # answers to one question
FEW = 5  # records of one kind that are read of each partition first, and that it usually does not have
_KINDS = (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION)

# The end of the history of each place and kind, each found by an index. Dagster's own way asks about one asset at a
# time, 16 ms for each: 8 s for 500 assets. What was wiped in Dagster is not read here either.
LATEST = """
select wanted.place, kind.name, found.id, found.event
from unnest(cast(:assets as text[]), cast(:partitions as text[])) with ordinality as wanted (asset, partition, place)
cross join unnest(cast(:kinds as text[])) as kind (name)
left join asset_keys named on named.asset_key = wanted.asset
cross join lateral (
    (select e.id, e.event from event_logs e
    where e.asset_key = wanted.asset and e.dagster_event_type = kind.name and e.partition = wanted.partition
        and (named.wipe_timestamp is null or e.timestamp > named.wipe_timestamp)
    order by e.id desc limit :few)
    union all
    (select e.id, e.event from event_logs e
    where wanted.partition is null and e.asset_key = wanted.asset and e.dagster_event_type = kind.name
        and e.partition is null and (named.wipe_timestamp is null or e.timestamp > named.wipe_timestamp)
    order by e.id desc limit :few)
) found
"""


def held(instance: DagsterInstance, states: Iterable[State]) -> dict[Place, Held]:
    """What the log holds of the partitions of these states."""
    records: dict[Place, list[EventLogRecord]] = defaultdict(list)
    for (place, kind), few in _ends(instance, [*dict.fromkeys(state.place for state in states)]).items():
        knows = len(few) < FEW or any(map(mirror_id_of, few))
        records[place] += few if knows else _read(_reader(instance, kind), *place)
    return {place: _folded(found) for place, found in records.items()}


def _ends(instance: DagsterInstance, places: Sequence[Place]) -> dict[tuple[Place, str], list[EventLogRecord]]:
    """The last records of each place and kind that has any."""
    parameters = {
        "assets": [key.to_string() for key, _ in places],
        "partitions": [None if partition is None else str(partition) for _, partition in places],
        "kinds": [kind.value for kind in _KINDS],
        "few": FEW,
    }
    found: dict[tuple[Place, str], list[EventLogRecord]] = defaultdict(list)
    with storage_of(instance).index_connection() as connection:
        rows: Iterable[Any] = connection.execute(text(LATEST), parameters) if places else ()
        for number, kind, storage_id, event in rows:
            entry = deserialize_value(event, EventLogEntry)
            found[places[number - 1], kind].append(EventLogRecord(storage_id=storage_id, event_log_entry=entry))
    return found


def storage_of(instance: DagsterInstance) -> SqlEventLogStorage:
    """Where the log lies."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage), "the mirror reads Dagster's log in PostgreSQL"
    return storage


def _reader(instance: DagsterInstance, kind: str) -> Callable[..., EventRecordsResult]:
    materialized = kind == DagsterEventType.ASSET_MATERIALIZATION.value
    return instance.fetch_materializations if materialized else instance.fetch_observations


def _read(fetch: Callable[..., EventRecordsResult], key: AssetKey, partition: str | None) -> Iterator[EventLogRecord]:
    """The newest records of one kind, until there is one of the mirror's own among them: so long is a history in which
    nobody prunes anything, that of a whole one only the end can be read. Where there is none among thousands, so many
    runs of Dagster's own cannot have come between a tick that was killed and its repetition."""
    cursor = None
    for _ in range(PAGES):
        wanted = AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
        page = fetch(wanted, limit=PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more or any(map(mirror_id_of, page.records)):
            return
        cursor = page.cursor


def _folded(records: Iterable[EventLogRecord]) -> Held:
    held = Held()
    for record in sorted(records, key=lambda record: record.storage_id):
        mirrored = mirror_id_of(record)
        if mirrored:
            held = replace(held, newest=mirrored, all=held.all | {mirrored})
        elif record.run_id:
            held = replace(held, runs=held.runs | {record.run_id})
        else:
            held = replace(held, reports=held.reports | {name_of(record)})
    return held


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
