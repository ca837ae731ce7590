"""How far the mirror of the ledger has come, as a value: where in the feed, and which assets have been seeded.

Guarantees that arithmetic on it needs nothing but values, and that its size is bounded whatever happens.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b

import msgspec

from dataforge_sensors.window import Asset, Window
from resources.model import DatasetRef

NAME = 4  # bytes of Asset.name
MOST_REPORTED = 1_000  # what was reported longest ago may be reported again
MOST_EARLY = 1_000  # of more, those that were awaited first are shown when they change again
MOST_MISPLACED = 100  # of more, those that came first stand for all
MOST_MISNAMED = 20  # the ledger is asked about each of them in each tick
Awaited = tuple[str, str, str | None]  # namespace and name of a dataset, and its partition


class MirrorCursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """`position` is the ledger's own, None before the first seeding. The names are four bytes each, together in
    base64: of the seeded assets, and of the complaints that were logged and need not be again. `early` are partitions
    that the ledger speaks of before their windows have ended, when Dagster does not have them yet; `misplaced` those
    that their assets have not, and `misnamed` datasets that the ledger may know by another name: what is complained of
    until it is gone."""

    position: str | None = None
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

    def unseeded(self, window: Window) -> tuple[Asset, ...]:
        """The assets that Dagster has not been told the past of: new ones, renamed ones, all of them at first."""
        seen = set(_names(self.seeded))
        return tuple(asset for asset in window.mirrored if asset.name not in seen)

    def within(self, window: Window) -> "MirrorCursor":
        """The cursor without the assets that the window has no more, so that each is seeded anew when it comes back."""
        shown = window.by_dataset
        return msgspec.structs.replace(
            self.having_seeded((), window),
            early=tuple(awaited for awaited in self.early if DatasetRef(*awaited[:2]) in shown),
            misplaced=tuple(awaited for awaited in self.misplaced if DatasetRef(*awaited[:2]) in shown),
            misnamed=tuple(dataset for dataset in self.misnamed if dataset in shown),
        )

    def having_seeded(self, assets: Iterable[Asset], window: Window) -> "MirrorCursor":
        """The cursor after these assets were seeded."""
        seen = {*_names(self.seeded), *(asset.name for asset in assets)}
        kept = sorted({asset.name for asset in window.mirrored} & seen)
        return msgspec.structs.replace(self, seeded=b"".join(kept))

    def at(self, position: str) -> "MirrorCursor":
        """The cursor at another place of the feed."""
        return msgspec.structs.replace(self, position=position)

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


def _names(packed: bytes) -> list[bytes]:
    return [packed[start : start + NAME] for start in range(0, len(packed), NAME)]


def _name(complaint: str) -> bytes:
    return blake2b(complaint.encode(), digest_size=NAME).digest()
