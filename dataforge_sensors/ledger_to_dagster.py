"""The mirror of the ledger in Dagster: each state of each partition in its window becomes one event there, once.

Guarantees that whatever is killed when, each state is in Dagster once: a tick reads back what Dagster's log holds
before anything is written, and the cursor moves on only when all of the tick's events are, since the daemon stores it
last. What the ledger cannot answer now, or not in a tick's time, is caught up later; what cannot be mirrored is said in
every tick until it can.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from dataforge_sensors import automation
from dataforge_sensors.mirror import Event, Held, State, complaints_of, event_of, is_ripe, locate, missing
from dataforge_sensors.mirror_cursor import Awaited, MirrorCursor
from dataforge_sensors.read_back import OwnRuns, held
from dataforge_sensors.refusal import one_line
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Asset, Window, partitions_of
from resources import LedgerResource
from resources.model import Change, DataForgeError, DatasetFilter, DatasetRef, NotFound

# The daemon writes 143 runless events a second on PostgreSQL, one by one, and 62 where two cores are shared with other
# work (both measured, two connections each). So a batch takes it 4 to 8 s, and 500 each 10 s are half of the hundred a
# second that is the most a log should be given which nothing prunes by itself.
BATCH = 500
INTERVAL_SECONDS = 10
PAGES = 50  # of the feed in one tick: most may speak of what is outside the window, and each takes milliseconds
EACH = 30  # partitions of an asset that is seeded
ASSETS = BATCH // EACH  # that are seeded by one question; a tick asks until it has a batch
PartitionName = tuple[str, str, str | None]  # namespace and name of a dataset, and its partition


@sensor(
    name="ledger_to_dagster",
    description="Brings the state of each partition from the ledger into the assets that show it.",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
def ledger_to_dagster(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: seeds what is new in the window, else follows the feed."""
    repository = context.repository_def
    assert repository is not None, "a sensor that the daemon runs has its code location"
    budget = TimeBudget()
    window = Window.of(repository)
    cursor = MirrorCursor.read(context.cursor).within(window)
    unseeded = cursor.unseeded(window)
    hindered_by = automation.running(context.instance, repository) if unseeded else ()
    seeds = bool(unseeded) and not hindered_by
    shown = window if seeds else window.without(unseeded)
    try:
        with partitions_of(context.instance):
            batch = seed(ledger, cursor, shown, unseeded, budget) if seeds else follow(ledger, cursor, shown, budget)
            decided = decide(context.instance, ledger, shown, batch)
            cursor = batch.cursor.awaiting(decided.early, decided.misplaced)
            misplaced = [*complaints_of(shown, cursor.misplaced)]
            doubt = doubted(ledger, shown, [*batch.silent, *cursor.misnamed], budget)
    except DataForgeError as error:
        return SkipReason(one_line(error, "The cursor stays; what happens meanwhile is caught up."))
    complaints = [*dict.fromkeys([*misplaced, *doubt.complaints, *unnamed(window)])]
    for complaint in (news := cursor.unreported(complaints)):
        context.log.warning(complaint)
    said = [*hindrance(unseeded, hindered_by), decided.summary, *first_of(complaints)]
    return SensorResult(
        asset_events=list(decided.events),
        cursor=cursor.doubting(doubt.datasets).having_reported(news).write(),
        skip_reason=" ".join(said),
    )


@dataclass(frozen=True)
class Batch:
    """What the ledger answered, and the cursor once that is written."""

    changes: tuple[Change, ...]
    outside: int  # changes of what is not in the window
    cursor: MirrorCursor
    silent: tuple[DatasetRef, ...] = ()  # of which there is nothing, by the names that the window has for them


def seed(
    ledger: LedgerResource, cursor: MirrorCursor, window: Window, assets: Sequence[Asset], budget: TimeBudget
) -> Batch:
    """The last partitions of as many of these assets as fill a batch or the time, of each the oldest first. The feed
    goes on from a position that was taken before this read, the first time from the present, so that nothing falls
    between the two."""
    position = cursor.position or ledger.changes("now").position
    datasets = [*dict.fromkeys(asset.dataset for asset in assets if asset.dataset)]
    asked: set[DatasetRef] = set()
    found: dict[PartitionName, Change] = {}
    while len(asked) < min(len(datasets), BATCH) and len(found) < BATCH:
        next_ones = sorted(datasets[len(asked) : len(asked) + ASSETS])
        found |= {named(change): change for change in reversed(ledger.latest(next_ones, each=EACH))}
        asked |= {*next_ones}
        if budget.is_spent:
            break
    silent = asked - {DatasetRef(namespace, name) for namespace, name, _ in found}
    seeded = cursor.at(position).having_seeded((asset for asset in assets if asset.dataset in asked), window)
    return Batch(tuple(found.values()), 0, seeded, tuple(sorted(silent)))


def follow(ledger: LedgerResource, cursor: MirrorCursor, window: Window, budget: TimeBudget) -> Batch:
    """What the feed has of the window, each partition once, as it is now, and what has become ripe since, as far as the
    time goes. What is not seeded yet is not in this window: its seeding will read the state that it then has."""
    if cursor.position is None:
        return Batch((), 0, cursor)
    given = [each for each in cursor.misplaced if not [*complaints_of(window, [each])]]
    ripe = frozenset([each for each in (*cursor.early, *given) if is_ripe(window, each)][: BATCH // 2])
    found = ripened(ledger, ripe)
    position, outside = cursor.position, 0
    for _ in range(PAGES):
        page = ledger.changes(position, BATCH - len(found), kind="dataset")
        position = page.position
        for change in page.items:
            if DatasetRef(change.namespace, change.name) in window.by_dataset:
                found[named(change)] = change
            else:
                outside += 1
        if not page.more or len(found) >= BATCH or budget.is_spent:
            break
    cleared = {named(change) for change in found.values() if change.producer is None}
    moved = cursor.at(position).no_longer_awaiting(ripe | cleared)
    return Batch(tuple(found.values()), outside, moved, tuple(sorted({DatasetRef(*each[:2]) for each in cleared})))


def ripened(ledger: LedgerResource, ripe: Collection[Awaited]) -> dict[PartitionName, Change]:
    """The present states of partitions whose windows have ended since the ledger spoke of them."""
    if not ripe:
        return {}
    latest = ledger.latest(sorted({DatasetRef(namespace, name) for namespace, name, _ in ripe}), each=EACH)
    return {named(change): change for change in latest if named(change) in ripe}


def named(change: Change) -> PartitionName:
    """Whose state it is: of each partition a batch has one."""
    return (change.namespace, change.name, change.partition)


@dataclass(frozen=True)
class Decided:
    """What the daemon is to write, what it cannot, now or at all, and what is to be said of it."""

    events: tuple[Event, ...]
    misplaced: tuple[Awaited, ...]
    early: tuple[Awaited, ...]
    summary: str


def decide(instance: DagsterInstance, ledger: LedgerResource, window: Window, batch: Batch) -> Decided:
    """The events of a batch that Dagster has not, after a look into its log."""
    located = locate(window, batch.changes)
    known = held(instance, [state for states in located.states for state in states])
    own = OwnRuns(instance)
    states = missing(located.states, known, lambda state: own.made(state, known.get(state.place, Held())))
    events = tuple(event_of(state, link_to(ledger, state)) for state in states)
    summary = f"{len(events)} states written, {batch.outside} changes outside the window."
    return Decided(events, located.misplaced, located.early, summary)


def link_to(ledger: LedgerResource, state: State) -> str | None:
    """Where the ledger shows the partition over HTTP; None for a ledger that is reached without."""
    if not ledger.url:
        return None
    change = state.change
    given = {"kind": "dataset", "namespace": change.namespace, "name": change.name, "partition": change.partition}
    query = urlencode({key: value for key, value in given.items() if value is not None})
    return f"{ledger.url.rstrip('/')}/api/v1/{ledger.environment}/partitions?{query}"


@dataclass(frozen=True)
class Doubt:
    """What the window calls by another name than the feed does: it would wait for ever. About `datasets` is to be asked
    again, since they are still called so, or there was no time for them."""

    complaints: tuple[str, ...]
    datasets: tuple[DatasetRef, ...]


def doubted(ledger: LedgerResource, window: Window, datasets: Sequence[DatasetRef], budget: TimeBudget) -> Doubt:
    """Which of these datasets the ledger knows by another name."""
    complaints: list[str] = []
    remembered: list[DatasetRef] = []
    for dataset in dict.fromkeys(datasets):
        complaint = None if budget.is_spent else other_name(ledger, window, dataset)
        if complaint or budget.is_spent:
            remembered.append(dataset)
        if complaint:
            complaints.append(complaint)
    return Doubt(tuple(complaints), tuple(remembered))


def other_name(ledger: LedgerResource, window: Window, dataset: DatasetRef) -> str | None:
    """The name that an asset's metadata should have for a dataset, in one line; None where it has it."""
    try:
        found = ledger.datasets(DatasetFilter(namespace=dataset.namespace, name=dataset.name)).items
    except NotFound:  # as yet
        return None
    names = [f"{each.namespace} / {each.name}" for each in found if DatasetRef(each.namespace, each.name) != dataset]
    if not names:
        return None
    keys = ", ".join(asset.key.to_user_string() for asset in window.by_dataset.get(dataset, ()))
    return (
        f"Not mirrored: {keys} names {dataset.namespace} / {dataset.name}, which is an alias: let its"
        f" metadata name {names[0]}."
    )


def hindrance(unseeded: Sequence[Asset], by: Sequence[str]) -> Iterator[str]:
    """Why nothing is seeded, in one line, and what to do."""
    if by:
        yield (
            f"{len(unseeded)} assets wait to be seeded, because automation would take their past for news:"
            f" stop {', '.join(by)} until that is done."
        )


def first_of(complaints: Sequence[str]) -> list[str]:
    """As many as a line takes, and how many more there are."""
    return [*complaints[:3], *([f"And {len(complaints) - 3} more."] if len(complaints) > 3 else [])]


def unnamed(window: Window) -> Iterator[str]:
    """The assets that no ledger speaks of, in one line."""
    if window.unnamed:
        keys = [asset.key.to_user_string() for asset in window.unnamed]
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        yield f"Not mirrored, since their metadata name no dataset of the ledger: {', '.join(keys[:5])}{more}."
