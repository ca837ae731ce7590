"""Which version of its data a partition had at a time, by what its dataset declares a version to be.

* `run`: each success is a new version.
* `reported`: the producer's word. A success that reports the word of the one before it changes nothing. A word that
  comes back after another is a new version: it names what the producer made of it, and only compares with the last.
* `content`: a hash of the content. The same hash is the same data, whenever it comes and whatever was there between.

In both of the latter a success that reports nothing is a new version of its own.

Guarantees an answer that is a function of the set of successes and of their precedence.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from dataforge.model.attempt import EARLIEST

MOST_WHOLE = 100  # of the successes of one mapped run's instances
VersionPolicy = Literal["run", "reported", "content"]


class Version(msgspec.Struct, frozen=True):
    """A version of a partition: from when on it was there, which run brought it, and what its producer calls it."""

    since: datetime | None  # None: nobody knows, and it counts as always there
    by: tuple[int, str]  # task id, run
    label: str | None = None


class Part(msgspec.Struct, frozen=True):
    """A success of one instance of a mapped run, or of such a run as a whole."""

    instance: str
    started_at: datetime | None
    version: Version


def whole(parts: Sequence[Part], instances: int) -> list[Part]:
    """What a mapped run of so many instances had made once all of them had succeeded, and with each success of one of
    them after that, the last first; `parts` are their successes, the one that takes precedence first.

    An instance that is cleared leaves what it had made to be there until it succeeds again, as any run does. The last
    `MOST_WHOLE` successes count.
    """
    ends = sorted(range(len(parts)), key=lambda place: (_begun(parts[place].version), -place))
    there: dict[str, int] = {}
    found: list[Part] = []
    for done, place in enumerate(ends):
        if there.setdefault(parts[place].instance, place) < place:
            continue
        there[parts[place].instance] = place
        if len(there) == instances and len(ends) - done <= MOST_WHOLE:
            found.append(_together([parts[each] for each in there.values()]))
    return found[::-1]


def _together(parts: Sequence[Part]) -> Part:
    labels = {part.version.label for part in parts}
    told = {label for label in labels if label is not None}
    version = Version(
        since=max((part.version.since for part in parts if part.version.since is not None), default=None),
        by=parts[0].version.by,
        label=" ".join(sorted(told)) if told == labels else None,
    )
    return Part("", max((part.started_at for part in parts if part.started_at is not None), default=None), version)


def versions(successes: Iterable[Version], policy: VersionPolicy) -> tuple[Version, ...]:
    """The versions that a partition had, the oldest first, of its successes, the one that takes precedence first.

    A success that ended when one that takes precedence over it had ended already was never what was there.
    """
    found: list[Version] = []
    for each in successes:
        if not found or _begun(each) < _begun(found[-1]):
            found.append(each)
    kept: list[Version] = []
    for each in reversed(found):
        if policy == "run" or not kept or not same(kept[-1], each):
            kept.append(each)
    return tuple(kept)


def same(one: Version, other: Version) -> bool:
    """Whether both bear the same label."""
    return one.label is not None and one.label == other.label


def version_at(history: Sequence[Version], moment: datetime) -> Version | None:
    """The version that was there at a moment; None before the first."""
    return next((each for each in reversed(history) if _begun(each) <= moment), None)


def meant(history: Sequence[Version], label: str, moment: datetime) -> Version | None:
    """The version that a run which began at this moment noted by a label: the last that was there, else the first that
    came while it ran. None where no version bears the label."""
    bearing = [each for each in history if each.label == label]
    return version_at(bearing, moment) or next(iter(bearing), None)


def _begun(version: Version) -> datetime:
    return version.since or EARLIEST
