"""How far the mirror of the ledger has come, as a value: where in the feed, what it has left out, which assets it has
seeded.

Guarantees that arithmetic on it needs nothing but values, and that its size is bounded whatever happens.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import chain

import msgspec

from dataforge_sensors.window import Asset, Window
from resources.model import DatasetRef

NAME = 4  # bytes of Asset.name
MOST_REPORTED = 1_000  # what was reported longest ago may be reported again
MOST_EARLY = 1_000  # of more, those that were awaited first are shown when they change again
MOST_MISPLACED = 100  # of more, those that came first stand for all
MOST_MISNAMED = 20  # the ledger is asked about each of them in each tick
MOST_GAPS = 20  # of each lane; of more the oldest two become one, which is read whole again: known states are dropped
FEWEST = 50  # events of a tick: even the slowest Dagster has written five a second
Awaited = tuple[str, str, str | None]  # namespace and name of a dataset, and its partition


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """A span of the feed that is not shown yet: what changed behind one position and up to another, of the lane of the
    watched assets or of the other. `waiting` changes were seen in it; all that changed before `since` is before it."""

    watched: bool
    after: str
    before: str | None  # None: the present
    waiting: int = 0
    since: float = 0.0  # seconds since 1970


class MirrorCursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """`position` is the ledger's own, None before the first seeding, and `at` the moment before it was taken; `gaps` is
    what lies before it and is not shown, the newest first. The names are four bytes each, together in base64: of the
    seeded assets, and of the complaints that were logged and need not be again; `watched` names those that are, all
    together. `early` are partitions that the ledger speaks of before their windows have ended, when Dagster does not
    have them yet; `misplaced` those that their assets have not, and `misnamed` datasets that the ledger may know by
    another name: what is complained of until it is gone. The last tick wrote `written` events, of `allowed` (0: of any
    number)."""

    position: str | None = None
    at: float = 0.0
    gaps: tuple[Gap, ...] = ()
    watched: bytes = b""
    written: int = 0
    allowed: int = 0
    seeded: bytes = b""
    reported: bytes = b""
    early: tuple[Awaited, ...] = ()
    misplaced: tuple[Awaited, ...] = ()
    misnamed: tuple[DatasetRef, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> "MirrorCursor":
        """The cursor that Dagster holds; a fresh one for none, and for one that another version has written."""
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()

    def write(self) -> str:
        """What Dagster is to hold."""
        return msgspec.json.encode(self).decode()

    @property
    def shown_through(self) -> float:
        """All that changed before this moment is shown, of the assets that are seeded."""
        return min([self.at, *(gap.since for gap in self.gaps)])

    @property
    def waiting(self) -> int:
        """The changes that are known to wait."""
        return sum(gap.waiting for gap in self.gaps)

    def unseeded(self, window: Window) -> tuple[Asset, ...]:
        """The assets that Dagster has not been told the past of: new ones, renamed ones, all of them at first; those
        that are watched before others."""
        seen = set(_names(self.seeded))
        new = (asset for asset in window.mirrored if asset.name not in seen)
        return tuple(sorted(new, key=lambda asset: not asset.watched))

    def within(self, window: Window) -> "MirrorCursor":
        """The cursor without the assets that the window has no more, so that each is seeded anew when it comes back.
        Where others are watched than before, what was left out of one lane may belong to the other."""
        shown, watched = window.by_dataset, watched_in(window)
        gaps = self.gaps if watched == self.watched else self._of_both_lanes()
        return msgspec.structs.replace(
            self.having_seeded((), window),
            gaps=gaps,
            watched=watched,
            early=tuple(awaited for awaited in self.early if DatasetRef(*awaited[:2]) in shown),
            misplaced=tuple(awaited for awaited in self.misplaced if DatasetRef(*awaited[:2]) in shown),
            misnamed=tuple(dataset for dataset in self.misnamed if dataset in shown),
        )

    def _of_both_lanes(self) -> tuple[Gap, ...]:
        """What is left out of any lane, in each of them, as one span up to the present position."""
        if not self.gaps:
            return ()
        oldest = min(self.gaps, key=lambda gap: gap.since)
        return tuple(Gap(lane, oldest.after, self.position, self.waiting, oldest.since) for lane in (True, False))

    def having_seeded(self, assets: Iterable[Asset], window: Window) -> "MirrorCursor":
        """The cursor after these assets were seeded."""
        seen = {*_names(self.seeded), *(asset.name for asset in assets)}
        kept = sorted({asset.name for asset in window.mirrored} & seen)
        return msgspec.structs.replace(self, seeded=b"".join(kept))

    def having_left(self, position: str, at: float, gaps: Sequence[Gap] = ()) -> "MirrorCursor":
        """The cursor at another place of the feed, which was the present at that moment, with what is left before."""
        return msgspec.structs.replace(self, position=position, at=at, gaps=bounded(gaps))

    def having_written(self, written: int, allowed: int) -> "MirrorCursor":
        """The cursor after a tick of so many events, where so many were to be written at most."""
        return msgspec.structs.replace(self, written=written, allowed=allowed)

    def allowance(self, most: int, now: float, interval: float) -> int:
        """How many events the next tick may write: `most`, less what the last one wrote too many. Where that took much
        longer than a tick is to take, as many as it wrote in such a time, since what is new waits behind all of them;
        and twice as many each time that it did not."""
        elapsed, fewest = now - self.at, min(FEWEST, most // 2)
        if not self.at or not self.allowed:
            return most
        if elapsed > 1.5 * interval and self.written > fewest:
            return min(most, max(fewest, round(self.written / elapsed * interval)))
        return max(fewest, min(most, 2 * self.allowed) - max(0, self.written - self.allowed))

    def awaiting(self, early: Iterable[Awaited], misplaced: Iterable[Awaited]) -> "MirrorCursor":
        """The cursor that also remembers these partitions."""
        awaited = tuple(dict.fromkeys([*self.early, *early]))
        amiss = tuple(dict.fromkeys([*self.misplaced, *misplaced]))
        return msgspec.structs.replace(self, early=awaited[-MOST_EARLY:], misplaced=amiss[:MOST_MISPLACED])

    def no_longer_awaiting(self, gone: Collection[Awaited]) -> "MirrorCursor":
        """The cursor after these partitions came to be there, or are no more."""
        return msgspec.structs.replace(
            self,
            early=tuple(awaited for awaited in self.early if awaited not in gone),
            misplaced=tuple(awaited for awaited in self.misplaced if awaited not in gone),
        )

    def doubting(self, misnamed: Iterable[DatasetRef]) -> "MirrorCursor":
        """The cursor that remembers these datasets instead of those before."""
        return msgspec.structs.replace(self, misnamed=tuple(dict.fromkeys(misnamed))[:MOST_MISNAMED])

    def having_reported(self, complaints: Sequence[str]) -> "MirrorCursor":
        """The cursor after these complaints were logged; of too many the oldest are forgotten."""
        told = dict.fromkeys([*_names(self.reported), *map(_name, complaints)])
        return msgspec.structs.replace(self, reported=b"".join([*told][-MOST_REPORTED:]))

    def unreported(self, complaints: Iterable[str]) -> tuple[str, ...]:
        """Those of the complaints that have not been logged before, each once."""
        told = set(_names(self.reported))
        return tuple(complaint for complaint in dict.fromkeys(complaints) if _name(complaint) not in told)


def bounded(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """The gaps, as many as a cursor holds: of more in one lane the oldest become one, with all that lies between."""
    return tuple(chain.from_iterable(_bounded([gap for gap in gaps if gap.watched is lane]) for lane in (True, False)))


def _bounded(lane: list[Gap]) -> list[Gap]:
    if len(lane) <= MOST_GAPS:
        return lane
    *kept, newest = lane[:MOST_GAPS]
    oldest, waiting = lane[-1], sum(gap.waiting for gap in lane[MOST_GAPS - 1 :])
    return [*kept, Gap(newest.watched, oldest.after, newest.before, waiting, oldest.since)]


def watched_in(window: Window) -> bytes:
    """A name of all the assets that are watched together; none where none is."""
    names = b"".join(sorted(asset.name for asset in window.mirrored if asset.watched))
    return blake2b(names, digest_size=NAME).digest() if names else b""


def _names(packed: bytes) -> list[bytes]:
    return [packed[start : start + NAME] for start in range(0, len(packed), NAME)]


def _name(complaint: str) -> bytes:
    return blake2b(complaint.encode(), digest_size=NAME).digest()
