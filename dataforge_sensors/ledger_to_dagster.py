"""The mirror of the ledger in Dagster: the latest state of each partition in its window becomes one event there, once.

Guarantees that whatever is killed when, each state is in Dagster once: a tick reads back what Dagster's log holds
before anything is written, and the cursor moves on only when all of the tick's events are, since the daemon stores it
last. What is more than Dagster can be given waits, the newest and the watched first; what the ledger cannot answer now,
or not in a tick's time, is caught up later; what cannot be mirrored is said in every tick until it can.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import (
    AssetCheckEvaluation,
    DagsterInstance,
    DefaultSensorStatus,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from dataforge_sensors import automation
from dataforge_sensors.mirror import Event, Held, complaints_of, event_of, locate, missing
from dataforge_sensors.mirror_batch import MOST, Batch, follow, seed
from dataforge_sensors.mirror_checks import news_of
from dataforge_sensors.mirror_cursor import Awaited, MirrorCursor
from dataforge_sensors.mirror_name import location_of, mirror_name
from dataforge_sensors.read_back import OwnRuns, held
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Asset, Window, partitions_of
from resources import LedgerResource
from resources.model import DataForgeError, DatasetFilter, DatasetRef, NotFound
from resources.refusal import one_line

NAME = "ledger_to_dagster"
INTERVAL_SECONDS = 10
# A hundred a second are the most a log should be given that nothing prunes by itself. The daemon writes 143 runless
# events a second on PostgreSQL, one by one, and 62 where two cores are shared with other work (both measured).
EVENTS = 100 * INTERVAL_SECONDS


@sensor(
    name=NAME,
    description="Brings the state of each partition from the ledger into the assets that show it.",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
def ledger_to_dagster(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: follows the feed, and seeds what is new in the window."""
    repository = context.repository_def
    assert repository is not None, "a sensor that the daemon runs has its code location"
    budget = TimeBudget()
    window = Window.of(repository)
    cursor = MirrorCursor.read(context.cursor).within(window)
    unseeded = cursor.unseeded(window)
    automation.announce(context.instance, repository, location_of(context))
    hindered_by = automation.misled(context.instance, repository) if unseeded else ()
    allowed = cursor.allowance(EVENTS, time.time(), INTERVAL_SECONDS)
    try:
        tell(ledger, mirror_name(context, NAME), cursor)
        with partitions_of(context.instance):
            batch = taken(ledger, cursor, window, () if hindered_by else unseeded, budget, min(MOST, allowed // 2))
            decided = decide(context.instance, ledger, window, batch)
            cursor = batch.cursor.awaiting(decided.early, decided.misplaced)
            misplaced = [*complaints_of(window, cursor.misplaced)]
            doubt = doubted(ledger, window, [*batch.silent, *cursor.misnamed], budget)
    except DataForgeError as error:
        return SkipReason(one_line(error, "The cursor stays; what happens meanwhile is caught up."))
    complaints = [*dict.fromkeys([*misplaced, *doubt.complaints, *unnamed(window)])]
    for complaint in (news := cursor.unreported(complaints)):
        context.log.warning(complaint)
    said = [*hindrance(unseeded, hindered_by), decided.summary, backlog(cursor), *first_of(complaints)]
    cursor = cursor.doubting(doubt.datasets).having_reported(news).having_written(len(decided.events), allowed)
    return SensorResult(asset_events=list(decided.events), cursor=cursor.write(), skip_reason=" ".join(said))


def tell(ledger: LedgerResource, name: str, cursor: MirrorCursor) -> None:
    """Tells the ledger how far this mirror has come: the events of the ticks before are written by now."""
    if cursor.position is not None and cursor.at:
        ledger.tell_mirror(name, datetime.fromtimestamp(cursor.shown_through, UTC), cursor.waiting)


def taken(
    ledger: LedgerResource,
    cursor: MirrorCursor,
    window: Window,
    seeded_now: Sequence[Asset],
    budget: TimeBudget,
    most: int,
) -> Batch:
    """The past of these assets, and what the feed has of all that is seeded: half of each where there is much of both.
    The feed comes second, from a position before the other's read, so that nothing falls between the two."""
    now = time.time()
    if cursor.position is None and seeded_now:
        cursor = cursor.having_left(ledger.changes("now").position, now)
    half = max(1, most // 2)
    begun = seed(ledger, cursor, window, seeded_now, half, budget) if seeded_now else Batch((), cursor)
    shown, room = window.without(begun.cursor.unseeded(window)), max(half, most - len(begun.changes))
    return begun.and_then(follow(ledger, begun.cursor, shown, room, budget, now))


@dataclass(frozen=True)
class Decided:
    """What the daemon is to write, what it cannot, now or at all, and what is to be said of it."""

    events: tuple[Event | AssetCheckEvaluation, ...]
    misplaced: tuple[Awaited, ...]
    early: tuple[Awaited, ...]
    summary: str


def decide(instance: DagsterInstance, ledger: LedgerResource, window: Window, batch: Batch) -> Decided:
    """The events of a batch that Dagster has not, after a look into its log: states, and checks of their assets."""
    located = locate(window, batch.changes)
    known = held(instance, [state for states in located.states for state in states])
    own = OwnRuns(instance)
    states = missing(located.states, known, lambda state: own.made(state, known.get(state.place, Held())))
    events = [event_of(state, ledger.page_of(state.change)) for state in states]
    touched = {state.asset.key: state.asset for located_states in located.states for state in located_states}
    checks = news_of(instance, ledger, [*touched.values()])
    summary = f"{len(events)} states and {len(checks)} checks written."
    return Decided((*events, *checks), located.misplaced, located.early, summary)


def backlog(cursor: MirrorCursor) -> str:
    """What waits, in one line."""
    if not cursor.gaps:
        return "None waits."
    behind = max(0.0, cursor.at - cursor.shown_through)
    return f"At least {cursor.waiting} wait, the oldest for up to {behind:.0f} s."


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
