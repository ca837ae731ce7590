"""When a partition of a dataset with several producers is complete: the rule itself, without reading anything.

The rule. Every declared producer brings its shares of the partition (`model.share`). Of each share the latest started
claim counts, as it does for a partition with one producer; then

* `all_producers`: every share is there. `any_producer`: one is. A number: so many are. A manifest: a run for each key
  that it lists, whoever's it is.
* Where every share is asked for, one whose run was skipped is there: it had nothing to write. Where all were skipped,
  so was the partition.
* A producer that also reads the partition updates it in place: it is a stage. All stages are needed beside that, each
  no older than what was written before it: by the producers that are none, and by the stages that it waits for.
* Whoever was only observed to write the partition is not asked for, and cannot hold it back.

A partition with one share and no manifest is not judged here: the latest started run on it wins.

Guarantees that the judgement is a function of the declared producers and of the set of claims.
"""

from collections.abc import Collection, Iterable, Sequence, Set
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from dataforge.model import edge
from dataforge.model.attempt import EARLIEST
from dataforge.model.edge import Same
from dataforge.model.partition import Partitioning
from dataforge.model.share import Share, shares
from dataforge.model.state import Evidence, PartitionStatus, RunState

Group = tuple[int, str]  # task id, group run: a run, with the mapped instances that are one with it


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of the producers' partitions, or of one of their dimensions, that have to have written it."""

    manifest: tuple[str, ...]


CompleteWhen = Literal["all_producers", "any_producer"] | Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | Listed
_LACKS = (PartitionStatus.FAILED, PartitionStatus.RUNNING, PartitionStatus.MISSING)
_THERE = frozenset({PartitionStatus.READY, PartitionStatus.STALE})  # what came late for a stream takes nothing away


class Writer(msgspec.Struct, frozen=True):
    """A task that is declared to produce the dataset."""

    task_id: int
    mapping: edge.Mapping
    cut: Partitioning | None
    stage: bool = False  # it also reads what it writes
    waits_for: frozenset[int] = frozenset()  # tasks, by its declared edges


class Writers(msgspec.Struct, frozen=True):
    """All that is declared of how a dataset comes to be complete."""

    when: CompleteWhen
    cut: Partitioning | None  # of the dataset
    writers: tuple[Writer, ...]

    @property
    def is_alike(self) -> bool:
        """Whether one task alone writes each partition, by its run for the same one."""
        alone = self.writers[0] if len(self.writers) == 1 and not isinstance(self.when, Listed) else None
        return alone is not None and isinstance(alone.mapping, Same) and alone.cut == self.cut

    @property
    def unstaged(self) -> "Writers":
        """As whoever updates the dataset in place has to find it: written, and not yet updated. What the stages before
        it have done it learns by its edges to them."""
        return replace(self, writers=tuple(each for each in self.writers if not each.stage))

    def stages_before(self, writer: Writer) -> set[int]:
        """The stages that this one waits for, directly or by others of them."""
        known = {each.task_id: each for each in self.writers if each.stage}
        found: set[int] = set()
        ahead = set(writer.waits_for & known.keys())
        while ahead:
            found |= ahead
            ahead = {upstream for each in ahead for upstream in known[each].waits_for & known.keys()} - found
        return found - {writer.task_id}


class Claimed(msgspec.Struct, frozen=True):
    """A claim on the partition, and the tasks that it answers for: its own, and those that ran it."""

    tasks: frozenset[int]
    keys: tuple[str, ...]  # the partitions that the run was for
    group: Group
    run: str
    status: PartitionStatus
    run_state: RunState
    evidence: Evidence
    started_at: datetime | None
    since: datetime | None
    past: bool = False

    @property
    def order(self) -> tuple[bool, datetime, int, str]:
        """The greatest counts: of claims on one partition the later started, then the run's identity."""
        return (self.started_at is not None, self.started_at or EARLIEST, -self.group[0], self.run)


class Due(msgspec.Struct, frozen=True):
    """A share that is asked for; without a task whoever brings it."""

    task_id: int | None
    share: Share
    sole: bool = False  # all that its task brings, so that any run of the task brings it
    stage: bool = False

    def brought_by(self, claim: Claimed) -> bool:
        """Whether the claim is on this share."""
        if self.task_id is None:
            return any(self.share.key in (key, *key.split("|")) for key in claim.keys)
        mine = self.task_id in claim.tasks
        return mine and (self.sole or any(self.share.brought_by(key) for key in claim.keys))


class Standing(msgspec.Struct, frozen=True):
    """How a share stands."""

    due: Due
    status: PartitionStatus = PartitionStatus.MISSING
    latest: Claimed | None = None  # the claim that counts; of a mapped run that lacks something one that does
    made: bool = False  # whether it was ever there
    older_than: Claimed | None = None  # of a stage: what was written since


class Judged(msgspec.Struct, frozen=True):
    """What the claims on a partition come to."""

    standings: tuple[Standing, ...]
    groups: tuple[Group, ...]  # whose claims, taken together, say how the partition stands
    status: PartitionStatus
    short: bool  # whether more has to come than these claims
    made: bool  # whether it was ever complete
    needed: int  # how many of its shares have to be there

    @property
    def there(self) -> int:
        """How many of its shares are there."""
        return sum(each.status is PartitionStatus.READY for each in self.standings)

    @property
    def staged(self) -> bool:
        """Whether it is updated in place."""
        return any(each.due.stage for each in self.standings)

    @property
    def lacking(self) -> tuple[Standing, ...]:
        """What is not there, where that holds the partition back; of what has failed only where it does."""
        held = {self.status} & set(_LACKS)
        held |= {PartitionStatus.RUNNING, PartitionStatus.MISSING} if held else set()
        return tuple(each for each in self.standings if each.status in held)

    @property
    def withheld(self) -> tuple[Standing, ...]:
        """The same for whoever updates it in place: where all was skipped, there is nothing to update; and what is
        there on inference alone serves nobody."""
        if self.status is PartitionStatus.SKIPPED:
            return tuple(each for each in self.standings if each.status is PartitionStatus.SKIPPED)
        return self.lacking or tuple(each for each in self.standings if self._inferred(each.latest))

    def _inferred(self, claim: Claimed | None) -> bool:
        return claim is not None and claim.group in self.groups and claim.evidence is Evidence.INFERRED


def dues(given: Writers, key: str) -> tuple[Due, ...]:
    """The shares of the dataset's partition; none where a single run makes it."""
    if given.is_alike:
        return ()
    found = all_dues(given, key)
    return found if len(found) > 1 or isinstance(given.when, Listed) else ()


def all_dues(given: Writers, key: str) -> tuple[Due, ...]:
    """The shares of the dataset's partition, if only one."""
    found = [
        Due(writer.task_id, share, sole=len(brought) == 1, stage=writer.stage)
        for writer in given.writers
        for brought in [shares(writer.mapping, key, writer.cut, given.cut)]
        for share in brought
    ]
    if isinstance(given.when, Listed):
        return (*(Due(None, Share(each)) for each in given.when.manifest), *(each for each in found if each.stage))
    return tuple(found)


def judge(given: Writers, asked: Iterable[Due], claims: Collection[Claimed]) -> Judged:
    """What the claims on a partition with these shares come to."""
    found = [_stand(due, claims) for due in asked]
    written = [each for each in found if not each.due.stage]
    stages = [_dated(given, each, found) for each in found if each.due.stage]
    needed = _needed(given.when, len(written))
    counted = [*_counted(needed, written), *stages]
    states = {each.status for each in counted}
    short = PartitionStatus.MISSING in states
    groups = {each.latest.group for each in counted if each.latest is not None}
    everything, made = (*written, *stages), _made(needed, written, stages)
    return Judged(everything, tuple(sorted(groups)), _together(states), short, made, needed + len(stages))


def _made(needed: int, written: Sequence[Standing], stages: Sequence[Standing]) -> bool:
    """Whether the partition was ever complete."""
    every = needed == len(written)
    enough = all(map(_done, written)) if every else sum(each.made for each in written) >= needed
    return enough and all(map(_done, stages)) and any(each.made for each in (*written, *stages))


def _done(share: Standing) -> bool:
    return share.made or share.status is PartitionStatus.SKIPPED


def whole_since(given: Writers, asked: Iterable[Due], claims: Collection[Claimed]) -> datetime | None:
    """When a partition with these shares was first complete, as the claims on it tell; None: never."""
    due = list(asked)
    sought = [each for each in due if not each.stage]
    needed = _needed(given.when, len(sought))
    skipped = {PartitionStatus.SKIPPED}
    written = [_first(each, claims, skipped if needed == len(sought) else set()) for each in sought]
    staged = [_first(each, claims, skipped) for each in due if each.stage]
    there = sorted(at for at in written if at is not None)
    if len(there) < needed or None in staged or not any(_first(each, claims, set()) for each in due):
        return None
    return max((*there[:needed], *filter(None, staged)), default=None)


def _first(due: Due, claims: Collection[Claimed], also: Set[PartitionStatus]) -> datetime | None:
    done = (claim for claim in claims if claim.status in {*_THERE, *also} and due.brought_by(claim))
    return min((claim.since for claim in done if claim.since is not None), default=None)


def _needed(when: CompleteWhen, shares: int) -> int:
    """How many of the shares of those who write without reading have to be there."""
    if isinstance(when, int):
        return min(when, shares)
    return min(1, shares) if when == "any_producer" else shares


def _counted(needed: int, found: Sequence[Standing]) -> Sequence[Standing]:
    """The shares that say how the partition stands: those that are there, where they are enough, the others may be as
    they like; else with those that run, and those still to come, as far as they may yet be enough. Where too few are
    left for that, those that failed, else those that were skipped."""
    if needed == len(found):
        return found
    by: dict[PartitionStatus, list[Standing]] = {}
    for each in found:
        by.setdefault(each.status, []).append(each)
    ready = by.get(PartitionStatus.READY, [])
    if len(ready) >= needed:
        return ready
    to_come = [*by.get(PartitionStatus.RUNNING, []), *by.get(PartitionStatus.MISSING, [])]
    if len(ready) + len(to_come) >= needed:
        return [*ready, *to_come][:needed]
    return by.get(PartitionStatus.FAILED) or by[PartitionStatus.SKIPPED]


def _stand(due: Due, claims: Collection[Claimed]) -> Standing:
    mine = [claim for claim in claims if due.brought_by(claim)]
    present = [claim for claim in mine if not claim.past]
    made = any(claim.status in _THERE and _whole(claim, claims) for claim in mine)
    if not present:
        return Standing(due, made=made)
    latest = max(present, key=lambda claim: claim.order)
    run = [claim for claim in claims if claim.group == latest.group and not claim.past]
    status = _together({claim.status for claim in run})
    if status in _LACKS:
        latest = max((claim for claim in run if claim.status is status), key=lambda claim: claim.order)
    return Standing(due, status, latest, made or status is PartitionStatus.READY)


def _together(states: Set[PartitionStatus]) -> PartitionStatus:
    """What several claims, or several shares, come to; as `storage.partition` has it."""
    first = next((each for each in _LACKS if each in states), None)
    if first is not None:
        return first
    return PartitionStatus.SKIPPED if states == {PartitionStatus.SKIPPED} else PartitionStatus.READY


def _whole(claim: Claimed, claims: Collection[Claimed]) -> bool:
    """Whether what a claim made was whole: of a mapped instance whether the others are done, or were."""
    others = [each for each in claims if each.group == claim.group and claim.run != claim.group[1]]
    were = {each.run for each in others if each.past}
    return not any(each.status in _LACKS and each.run not in were for each in others)


def _dated(given: Writers, stage: Standing, found: Sequence[Standing]) -> Standing:
    """The stage as it stands among what was written before it: where that is newer, it has to come again."""
    own = stage.latest
    if own is None or stage.status is not PartitionStatus.READY:
        return stage
    writer = next(each for each in given.writers if each.task_id == stage.due.task_id)
    before = given.stages_before(writer)
    newer = [
        each.latest
        for each in found
        if each.latest is not None
        and each.status is PartitionStatus.READY
        and (not each.due.stage or each.due.task_id in before)
        and _later(each.latest, own)
    ]
    if not newer:
        return stage
    return replace(stage, status=PartitionStatus.MISSING, older_than=max(newer, key=lambda claim: claim.order))


def _later(one: Claimed, other: Claimed) -> bool:
    return one.started_at is not None and other.started_at is not None and one.started_at > other.started_at
