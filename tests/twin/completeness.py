"""The twin of completeness, by docs/completeness.md: the shares that a partition of a dataset consists of, which of the
claims on it they are brought by, and what those come to. Where one run makes it, none of this is asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from tests.twin import share
from tests.twin.claim import Claim, order
from tests.twin.fold import MADE
from tests.twin.mapping import Mapping
from tests.twin.share import Brought
from tests.twin.windows import Cut

_LACKS = ("failed", "running", "missing")


class Producer(NamedTuple):
    """A task that is declared to produce a dataset."""

    task: str
    cut: Cut
    mapping: Mapping
    stage: bool = False  # it reads what it writes
    after: frozenset[str] = frozenset()  # the tasks that its edges name


class Making(NamedTuple):
    """What is declared of how a dataset comes to be complete."""

    when: Any
    cut: Cut
    producers: tuple[Producer, ...]

    @property
    def listed(self) -> list[str]:
        return list(self.when["manifest"]) if isinstance(self.when, dict) else []

    @property
    def unstaged(self) -> Making:
        """As a stage has to find it."""
        return self._replace(producers=tuple(each for each in self.producers if not each.stage))

    def before(self, task: str) -> set[str]:
        """The stages that one waits for, directly or by others of them."""
        stages = {each.task: each.after for each in self.producers if each.stage}
        found: set[str] = set()
        ahead = {task}
        while ahead:
            ahead = {each for one in ahead for each in stages[one] if each in stages} - found
            found |= ahead
        return found - {task}


class Share(NamedTuple):
    """What has to come to a partition: by a run of a task, or of whichever task."""

    task: str | None
    brought: Brought
    sole: bool  # all that its task brings: any run of the task that wrote the partition brings it
    stage: bool

    @property
    def key(self) -> str | None:
        return self.brought.key

    @property
    def partition(self) -> str | None:
        """The one partition of its task that brings it; None where any of several does."""
        return self.brought.key if self.brought.place is None else None

    def is_by(self, claim: Claim) -> bool:
        if self.task is None:
            return self.key in (claim.of, *claim.of.split("|"))
        return self.task in (claim.task, *claim.makers) and (self.sole or self.brought.is_by(claim.of))


class Standing(NamedTuple):
    """How a share stands."""

    share: Share
    status: str
    latest: Claim | None  # of the run that started last
    made: bool  # whether it was ever there
    too_old: bool = False  # of a stage: what it updated was written again since


class Whole(NamedTuple):
    """What the claims on a partition come to."""

    standings: tuple[Standing, ...]
    counted: tuple[Standing, ...]
    status: str
    made: bool

    @property
    def groups(self) -> set[tuple[str, str]]:
        return {(each.latest.task, each.latest.group) for each in self.counted if each.latest is not None}

    @property
    def lacking(self) -> list[Standing]:
        """What is not there; what failed only where it is that which holds the partition back."""
        named = {"failed": _LACKS, "running": _LACKS[1:], "missing": _LACKS[1:]}.get(self.status, ())
        return [each for each in self.standings if each.status in named]

    @property
    def withheld(self) -> list[Standing]:
        """The same for whoever updates it in place: where all was skipped, there is nothing to update, and what is only
        inferred to be there serves nobody."""
        if self.status == "skipped":
            return [each for each in self.standings if each.status == "skipped"]
        return self.lacking or [each for each in self.counted if each.latest and each.latest.evidence == "inferred"]


def shares(making: Making, key: str) -> list[Share]:
    """All that is asked for of a partition."""
    found = [
        Share(producer.task, each, len(brought) == 1, producer.stage)
        for producer in making.producers
        for brought in [share.brought(json.dumps([producer.cut, producer.mapping, making.cut]), key)]
        for each in brought
    ]
    if making.listed:
        listed = [Share(None, Brought(each), False, False) for each in making.listed]
        return [*listed, *(each for each in found if each.stage)]
    return found


def together(making: Making, key: str) -> list[Share]:
    """The same; nothing of a partition that a single run makes."""
    found = shares(making, key)
    return found if len(found) > 1 or making.listed else []


def judge(making: Making, asked: Iterable[Share], claims: Collection[Claim]) -> Whole:
    """What the claims on a partition come to."""
    found = [_stand(share, claims) for share in asked]
    written = [each for each in found if not each.share.stage]
    stages = [_dated(making, each, found) for each in found if each.share.stage]
    needed_ = _needed(making.when, len(written))
    counted = [*_counted(needed_, written), *stages]
    some = needed_ < len(written)
    asked_for = [*([] if some else written), *stages]
    made = all(each.made or each.status == "skipped" for each in asked_for) and any(each.made for each in found)
    made = made and (not some or sum(each.made for each in written) >= needed_)
    return Whole((*written, *stages), tuple(counted), worst([each.status for each in counted]), made)


def _needed(when: Any, most: int) -> int:
    if when == "any_producer":
        return min(1, most)
    return min(when, most) if isinstance(when, int) else most


def _counted(needed_: int, found: Sequence[Standing]) -> Sequence[Standing]:
    """The best so many, as long as they may be enough; else what is in the way: what failed, or was skipped."""
    if needed_ == len(found):
        return found
    best = [each for state in ("ready", "running", "missing") for each in found if each.status == state]
    if len(best) >= needed_:
        there = [each for each in best if each.status == "ready"]
        return there if len(there) >= needed_ else best[:needed_]
    failed = [each for each in found if each.status == "failed"]
    return failed or [each for each in found if each.status == "skipped"]


def _stand(share: Share, claims: Collection[Claim]) -> Standing:
    mine = [claim for claim in claims if share.is_by(claim)]
    made = any(claim.status in MADE and _whole(claim, claims) for claim in mine)
    latest = max((claim for claim in mine if not claim.past), key=order, default=None)
    if latest is None:
        return Standing(share, "missing", None, made)
    run = [c.status for c in claims if (c.task, c.group) == (latest.task, latest.group) and not c.past]
    return Standing(share, worst(run), latest, made)


def _whole(claim: Claim, claims: Iterable[Claim]) -> bool:
    """Of a mapped instance: whether each of the others has succeeded or been skipped, now or by an attempt before."""
    others = [c for c in claims if (c.task, c.group) == (claim.task, claim.group) and c.run != c.group]
    undone = {c.run for c in others if c.status in ("failed", "running")}
    return undone <= {c.run for c in others if c.past}


def worst(states: Collection[str]) -> str:
    """What several come to: as bad as the worst of them, and skipped where all are."""
    first = next((each for each in _LACKS if each in states), None)
    return first or ("skipped" if set(states) == {"skipped"} else "ready")


def _dated(making: Making, stage: Standing, found: Iterable[Standing]) -> Standing:
    """A stage that began before what it updates was written again is to come again."""
    own = stage.latest
    if own is None or stage.status != "ready":
        return stage
    before = making.before(str(stage.share.task))
    ahead = [
        each.latest
        for each in found
        if each.latest is not None and each.status == "ready" and (not each.share.stage or each.share.task in before)
    ]
    newer = [each for each in ahead if each.began is not None and own.began is not None and each.began > own.began]
    return stage._replace(status="missing", too_old=True) if newer else stage


def is_stage(reads: Iterable[Mapping], writes: Mapping) -> bool:
    """Whether a task updates in place what it writes: it reads one of the very steps that it writes."""
    return any(_steps(each) is None or _steps(writes) is None or _overlap(each, writes) for each in reads)


def _steps(mapping: Mapping) -> tuple[int, int] | None:
    kind = mapping.get("kind", "same")
    if kind == "window":
        return mapping.get("from", 0), mapping.get("to", 0)
    return (0, 0) if kind == "same" else None


def _overlap(one: Mapping, other: Mapping) -> bool:
    mine, theirs = _steps(one), _steps(other)
    return mine is not None and theirs is not None and mine[0] <= theirs[1] and theirs[0] <= mine[1]


def most(making: Making) -> int | None:
    """The most shares that a partition can be declared to have, stages aside; None where no number is known."""
    counts = [share.most(each.cut, each.mapping, making.cut) for each in making.producers if not each.stage]
    known = [each for each in counts if each is not None]
    return sum(known) if len(known) == len(counts) else None
