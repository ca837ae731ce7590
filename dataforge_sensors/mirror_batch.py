"""What one tick of the mirror takes from the ledger: the newest states of what is watched, then of the rest, then older
ones, and the past of new assets.

Guarantees that nothing is lost that does not fit: it stays a gap in the cursor, to which a later tick comes back. A
state that another replaces while it waits is never taken.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dataforge_sensors.mirror import complaints_of, is_ripe
from dataforge_sensors.mirror_cursor import Awaited, Gap, MirrorCursor
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Asset, Window
from resources import LedgerResource
from resources.model import Change, DatasetRef

MOST = 500  # states of one tick, each of which may be two events: the state, and what its asset's check says of it
SHARE = 5  # of the states of a tick one in so many is kept for what is not watched
QUESTIONS = 20  # of one tick about the feed: each looks at 20,000 changes, most of which may be outside the window
EACH = 30  # partitions of an asset that is seeded
PartitionName = tuple[str, str, str | None]  # namespace and name of a dataset, and its partition


@dataclass(frozen=True)
class Batch:
    """What the ledger answered, in the order in which it is to be written, and the cursor once that is done."""

    changes: tuple[Change, ...]
    cursor: MirrorCursor
    silent: tuple[DatasetRef, ...] = ()  # of which there is nothing, by the names that the window has for them

    def and_then(self, other: "Batch") -> "Batch":
        """This one, followed by another that went on from its cursor, and knows the states of both better."""
        changes = {named(change): change for change in self.changes + other.changes}
        return Batch(tuple(changes.values()), other.cursor, self.silent + other.silent)


def seed(
    ledger: LedgerResource, cursor: MirrorCursor, window: Window, assets: Sequence[Asset], most: int, budget: TimeBudget
) -> Batch:
    """The last partitions of as many of these assets as fill a batch or the time, of each the oldest first. The feed
    goes on from a position that was taken before this read, the first time from the present, so that nothing falls
    between the two."""
    datasets = [*dict.fromkeys(asset.dataset for asset in assets if asset.dataset)]
    asked: set[DatasetRef] = set()
    found: dict[PartitionName, Change] = {}
    while len(asked) < min(len(datasets), MOST) and len(found) < most:
        next_ones = datasets[len(asked) : len(asked) + max(1, (most - len(found)) // EACH)]
        found |= {named(change): change for change in reversed(ledger.latest(next_ones, each=EACH))}
        asked |= {*next_ones}
        if budget.is_spent:
            break
    silent = asked - {DatasetRef(namespace, name) for namespace, name, _ in found}
    seeded = cursor.having_seeded((asset for asset in assets if asset.dataset in asked), window)
    return Batch(tuple(found.values()), seeded, tuple(sorted(silent)))


def follow(
    ledger: LedgerResource, cursor: MirrorCursor, window: Window, most: int, budget: TimeBudget, now: float
) -> Batch:
    """What the feed has of the window, each partition once, as it is now, and what has become ripe since, as far as the
    time goes. What is not seeded yet is not in this window: its seeding will read the state that it then has."""
    if cursor.position is None:
        return Batch((), cursor)
    given = [each for each in cursor.misplaced if not [*complaints_of(window, [each])]]
    ripe = frozenset([each for each in (*cursor.early, *given) if is_ripe(window, each)][: most // 2])
    found = ripened(ledger, ripe)
    reading = _Reading(ledger, budget, cursor.position)
    left: list[Gap] = []
    for lane in (True, False):
        room = most - len(found) - (most // SHARE if lane else 0)
        changes, gaps = reading.lane(_datasets(window, lane), _spans(cursor, lane), room)
        found |= {named(change): change for change in changes}
        left += gaps
    cleared = {named(change) for change in found.values() if change.producer is None}
    moved = cursor.having_left(reading.position, now, left).no_longer_awaiting(ripe | cleared)
    return Batch(tuple(found.values()), moved, tuple(sorted({DatasetRef(*each[:2]) for each in cleared})))


def _datasets(window: Window, lane: bool) -> list[DatasetRef]:
    """The datasets that watched assets show, or those that only others do."""
    return sorted(
        dataset for dataset, assets in window.by_dataset.items() if any(asset.watched for asset in assets) is lane
    )


def _spans(cursor: MirrorCursor, lane: bool) -> list[Gap]:
    """What is to be read for a lane, the newest first: what came since the last tick, and what was left before."""
    assert cursor.position is not None, "the feed is followed from a position on"
    fresh = Gap(lane, cursor.position, None, since=cursor.at)
    return [fresh, *(gap for gap in cursor.gaps if gap.watched is lane)]


class _Reading:
    """The questions of one tick about the feed, all up to one present."""

    def __init__(self, ledger: LedgerResource, budget: TimeBudget, position: str) -> None:
        self.position = position
        self._ledger, self._budget = ledger, budget
        self._asked = 0

    def lane(self, datasets: Sequence[DatasetRef], spans: Sequence[Gap], room: int) -> tuple[list[Change], list[Gap]]:
        """What fits of these spans, the oldest first, and what is left of them."""
        found: list[Change] = []
        left: list[Gap] = []
        for span in spans if datasets else ():
            gap: Gap | None = self._up_to_now(span)
            while gap and (room > len(found)) and self._goes_on:
                changes, gap = self._ask(datasets, gap, room - len(found))
                found += changes
            left += [closed] if gap and (closed := self._up_to_now(gap)).after != closed.before else []
        return found[::-1], left

    @property
    def _goes_on(self) -> bool:
        return not self._asked or (self._asked < QUESTIONS and not self._budget.is_spent)

    def _up_to_now(self, span: Gap) -> Gap:
        """A span with the end that the first answer has set."""
        if span.before is not None or not self._asked:
            return span
        return Gap(span.watched, span.after, self.position, span.waiting, span.since)

    def _ask(self, datasets: Sequence[DatasetRef], span: Gap, most: int) -> tuple[tuple[Change, ...], Gap | None]:
        page = self._ledger.newest(datasets, span.after, span.before, most)
        if not self._asked:
            self.position = page.position
        self._asked += 1
        left = Gap(span.watched, span.after, page.rest, page.waiting, span.since) if page.rest else None
        return page.items, left


def ripened(ledger: LedgerResource, ripe: Collection[Awaited]) -> dict[PartitionName, Change]:
    """The present states of partitions whose windows have ended since the ledger spoke of them."""
    if not ripe:
        return {}
    latest = ledger.latest(sorted({DatasetRef(namespace, name) for namespace, name, _ in ripe}), each=EACH)
    return {named(change): change for change in latest if named(change) in ripe}


def named(change: Change) -> PartitionName:
    """Whose state it is: of each partition a batch has one."""
    return (change.namespace, change.name, change.partition)
