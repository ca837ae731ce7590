"""What a state of the ledger becomes in Dagster: which events, and whether Dagster has them already.

Guarantees that what is written is a function of the ledger's present state and of what Dagster's log holds, so a tick
that is repeated after a crash, from whatever point, writes what is missing and nothing else. Nothing here does I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from dagster import AssetKey, AssetMaterialization, AssetObservation, MetadataValue, MultiPartitionKey
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.partitions.utils import get_tags_from_multi_partition_key

from dataforge_sensors.mirror_cursor import Awaited
from dataforge_sensors.window import Asset, NoPlace, TooEarly, Window
from resources.model import Change, DatasetRef, PartitionStatus, Producer, RunState, mirror_id

MIRROR_ID = "dataforge/mirror_id"  # tag of every event that the mirror writes, and metadata of it
REPORT = "dagster_report"  # in the source of the ledger's runs: the name of what was reported in Dagster without one
Event = AssetMaterialization | AssetObservation
MOST_ERROR = 1_000  # characters of an error in an event's metadata, which Dagster keeps for ever
Place = tuple[AssetKey, str | None]  # an asset and its partition


@dataclass(frozen=True)
class State:
    """One state of one partition of an asset, to be one event."""

    asset: Asset
    partition: str | None
    status: PartitionStatus
    mirror_id: str
    since: datetime | None
    version: str | None
    producer: Producer | None
    change: Change

    @property
    def place(self) -> Place:
        return (self.asset.key, self.partition)

    @property
    def dagster_run(self) -> str | None:
        """The Dagster run that made it so, as the ledger tells; of this instance or of another."""
        run = self.producer.source.get("dagster_run_id") if self.producer else None
        return str(run) if run else None

    @property
    def dagster_report(self) -> str | None:
        """The report to Dagster, without a run, that made it so."""
        report = self.producer.source.get(REPORT) if self.producer else None
        return str(report) if report else None


@dataclass(frozen=True)
class Held:
    """What Dagster's log holds of one partition: the states mirrored, the newest of them, the runs of its own that
    materialized it, and the names of what was reported to it."""

    newest: str | None = None
    all: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    reports: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Located:
    """The states of a batch, each partition's together; what has no place in Dagster though its asset is there; and
    what has none yet."""

    states: tuple[tuple[State, ...], ...]
    misplaced: tuple[Awaited, ...]
    early: tuple[Awaited, ...]


def locate(window: Window, changes: Iterable[Change]) -> Located:
    """Where these changes belong. What is not in the window is left out, and so is what has no place and is no more.
    To be asked within `partitions_of`."""
    states: list[tuple[State, ...]] = []
    misplaced: list[Awaited] = []
    early: list[Awaited] = []
    for change in changes:
        for asset in window.by_dataset.get(DatasetRef(change.namespace, change.name), ()):
            try:
                states.append(states_of(asset, asset.key_of(change.partition), change))
            except NoPlace:
                if change.producer is not None:
                    misplaced.append((change.namespace, change.name, change.partition))
            except TooEarly:
                early.append((change.namespace, change.name, change.partition))
    return Located(tuple(states), tuple(misplaced), tuple(early))


def is_ripe(window: Window, awaited: Awaited) -> bool:
    """Whether a partition has come to be there, in some asset. To be asked within `partitions_of`."""
    return any(place is None for place in _places(window, awaited))


def complaints_of(window: Window, misplaced: Iterable[Awaited]) -> Iterator[str]:
    """Each asset that has not one of these partitions, in a line. To be asked within `partitions_of`."""
    for awaited in misplaced:
        for place in _places(window, awaited):
            if isinstance(place, NoPlace):
                yield f"Not mirrored: {place}."


def _places(window: Window, awaited: Awaited) -> Iterator[NoPlace | TooEarly | None]:
    """Of each asset why it has not the partition; None where it has it."""
    namespace, name, partition = awaited
    for asset in window.by_dataset.get(DatasetRef(namespace, name), ()):
        try:
            asset.key_of(partition)
        except (NoPlace, TooEarly) as error:
            yield error
        else:
            yield None


def states_of(asset: Asset, partition: str | None, change: Change) -> tuple[State, ...]:
    """The state of a change; before it the last success, if it has one that a later run has not undone but covered,
    so that Dagster shows data where there is some, even if it never saw the success alone."""
    now = State(
        asset, partition, change.status, change.mirror_id, change.since, change.version, change.producer, change
    )
    success = change.ready
    if success is None or change.status is PartitionStatus.READY:
        return (now,)
    named = mirror_id(
        (change.kind, change.namespace, change.name),
        change.partition,
        PartitionStatus.READY,
        state=RunState.SUCCEEDED,
        producer=success.producer,
        since=success.since,
        version=success.version,
    )
    ready = PartitionStatus.READY
    before = State(asset, partition, ready, named, success.since, success.version, success.producer, change)
    return (before, now)


def missing(
    states: Iterable[tuple[State, ...]], held: Mapping[Place, Held], is_own: Callable[[State], bool]
) -> tuple[State, ...]:
    """Those that Dagster has not. `is_own` says whether a run of this Dagster made it, so that Dagster has it.

    A state that was, was followed by another and has come back, as of a partition that is cleared twice, is written
    again: the newest that Dagster holds is compared, not all. A run of Dagster's own in between changes nothing.
    """
    needed: list[State] = []
    for *before, now in states:
        known = held.get(now.place, Held())
        if now.mirror_id == known.newest or is_own(now):
            continue
        needed += [state for state in before if state.mirror_id not in known.all and not is_own(state)]
        needed.append(now)
    return tuple(needed)


def event_of(state: State, link: str | None = None) -> Event:
    """The event that tells Dagster of it: data that is ready is a materialization, all else an observation."""
    tags = {MIRROR_ID: state.mirror_id}
    if isinstance(state.partition, MultiPartitionKey):
        tags |= get_tags_from_multi_partition_key(state.partition)
    metadata = _metadata(state, link)
    if state.status is not PartitionStatus.READY:
        return AssetObservation(
            state.asset.key, description=sentence(state), metadata=metadata, partition=state.partition, tags=tags
        )
    if state.version:
        tags[DATA_VERSION_TAG] = state.version
    return AssetMaterialization(
        state.asset.key, description=sentence(state), metadata=metadata, partition=state.partition, tags=tags
    )


def sentence(state: State) -> str:
    """Its state, since when, the run that made it so, and the first line of that run's error; what became of the run
    only where that is another word."""
    if state.producer is None:
        return f"{state.status}: no run says anything of it any more"
    since = f" since {state.since:%Y-%m-%d %H:%M} UTC" if state.since else ""
    became = state.producer.state
    known = became in (None, RunState.SUCCEEDED) or str(became) == str(state.status)
    ended = "" if known else f" is {str(became).replace('_', ' ')}"
    error = error_of(state)
    why = f": {error.splitlines()[0]}" if error else ""
    return f"{state.status}{since}: run {state.producer.run} of {state.producer.task.name}{ended}{why}"


def error_of(state: State) -> str | None:
    """What went wrong, in the words of the run; nothing of what is well by now."""
    error = state.producer.error if state.producer and state.status is not PartitionStatus.READY else None
    return (error or "").strip()[:MOST_ERROR] or None


def _metadata(state: State, link: str | None) -> dict[str, MetadataValue]:
    """What the ledger knows of it. Rows and evidence are those of the state that the partition is in now."""
    present = state.mirror_id == state.change.mirror_id
    producer = state.producer
    texts = {
        MIRROR_ID: state.mirror_id,
        "dataforge/status": str(state.status),
        "dataforge/reason": sentence(state),
        "dataforge/error": error_of(state),
        "dataforge/owner": state.change.owner,
        "dataforge/version": state.version,
        "dataforge/run": producer.run if producer else None,
        "dataforge/run_state": str(producer.state) if producer and producer.state else None,
        "dataforge/producer": f"{producer.task.namespace} / {producer.task.name}" if producer else None,
        "dataforge/evidence": state.change.evidence if present else None,
    }
    values: dict[str, MetadataValue] = {name: MetadataValue.text(text) for name, text in texts.items() if text}
    if state.since:
        values["dataforge/since"] = MetadataValue.timestamp(state.since)
    if producer and producer.attempt is not None:
        values["dataforge/attempt"] = MetadataValue.int(producer.attempt)
    if present and state.change.rows is not None:
        values["dagster/partition_row_count" if state.partition else "dagster/row_count"] = MetadataValue.int(
            state.change.rows
        )
    if link:
        values["dataforge/ledger"] = MetadataValue.url(link)
    return values
