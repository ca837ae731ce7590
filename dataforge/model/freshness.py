"""Whether what was built is still what a run of today would build: the rule for one partition and its direct inputs.

The rule (invariant I3: re-running an old partition marks what was built from the older version stale, and nothing
else), for one partition that the run R made:

* An upstream partition is *newer* when the version it has now is another than the one that R read, and another run than
  R brought it. What a version is, its dataset declares (`model.data_version`). A re-run that failed, or still runs,
  leaves the last success as it was, and so makes nothing newer.
* R read the version that it recorded of that very partition; else the one that was there when R started, since from
  then on R may have read it. Where no start is known R's end stands for it. Where each success is a version, a word
  that several bore means the last that was there at R's start. Where the producer's word or a hash is, the same one
  means unchanged. Of a table whose version R recorded as a whole another one says nothing of one partition: the times
  decide.
* An upstream dataset is *missing* when no run ever made that partition, though a task is known that would: what nobody
  is known to write, such as a file from outside, nobody can call missing. An upstream *task* without a success is not
  missing either, since a trigger rule may have asked for its failure; it counts where it ran again.
* What is missing or newer makes the partition stale. One that was never made is not built, whatever its upstreams are;
  those which are missing are named. Where an upstream's partitions cannot be told, and nothing else is amiss, the
  answer is unknown: it is never fresh by omission.

Guarantees an answer that is a function of the values given, its reasons in one order whatever theirs is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from dataforge.model.attempt import Interval
from dataforge.model.data_version import Version, VersionPolicy, meant, same, version_at, versions
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.model.state import PartitionStatus, RunState
from dataforge.model.upstream import State, missing_since
from dataforge.model.verdict import Cause, Code, NodeRef, Reason

RunKey = tuple[int, str]  # task id, run
Key = TypeVar("Key", bound=Hashable)  # of an input
MOST_ASKED = 5_000  # partitions in one question: those of a window, whose upstreams are each looked at once


class FreshnessStatus(StrEnum):
    """How a partition compares with what it is built from."""

    FRESH = "fresh"
    STALE = "stale"
    NOT_BUILT = "not_built"
    UNKNOWN = "unknown"


class FreshnessQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A partition of a dataset or task; without a namespace the name must be unique in the environment."""

    name: Annotated[str, Meta(description="The dataset's or task's name.")]
    namespace: Annotated[str | None, Meta(description="Its namespace, where the name is not unique.")] = None
    partition: Annotated[str | None, Meta(description="Its partition, where it has partitions.")] = None
    kind: Annotated[NodeKind, Meta(description="Whether it is a dataset or a task.")] = "dataset"


class BuiltBy(msgspec.Struct, frozen=True):
    """A run that made a partition."""

    task: Annotated[TaskRef, Meta(description="The task that ran.")]
    run: Annotated[str, Meta(description="The platform's own id of the execution.")]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one partition is older than what it was built from, with every reason."""

    node: Annotated[NodeRef, Meta(description="The dataset, under its canonical name, or the task.")]
    partition: Annotated[str | None, Meta(description="Its partition; null for what has no partitions.")]
    status: Annotated[FreshnessStatus, Meta(description="How it compares with its upstreams.")]
    built_at: Annotated[datetime | None, Meta(description="When its last success ended; null if there is none.")] = None
    built_by: Annotated[BuiltBy | None, Meta(description="The run that made it; null if none did.")] = None
    reasons: Annotated[
        tuple[Reason, ...],
        Meta(description="What is newer, missing or itself stale, and what cannot be told; none if it is fresh."),
    ] = ()
    truncated: Annotated[
        bool, Meta(description="Whether more lies upstream than was looked at, or more causes than are shown.")
    ] = False


class FreshnessAnswers(msgspec.Struct, frozen=True):
    """One item for each question, in the order asked, all of one moment."""

    items: Annotated[tuple[Freshness, ...], Meta(description="An item for each question, in the order asked.")]
    decided_at: Annotated[datetime, Meta(description="The moment they all hold for.")]
    graph_version: Annotated[int, Meta(description="The version of the graph they were decided on.")]


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """The last success of a partition."""

    by: RunKey
    started_at: datetime | None = None
    ended_at: datetime | None = None
    version: str | None = None

    @property
    def begun(self) -> datetime | None:
        """From when on it may have read its inputs."""
        return self.started_at or self.ended_at


class Read(msgspec.Struct, frozen=True):
    """The version of an input that a run recorded; `whole` where it is the table's and not the partition's."""

    version: str
    whole: bool = False


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream partition, as it stands."""

    node: NodeRef
    partition: str
    owner: str | None = None
    success: Success | None = None
    run: str | None = (
        None  # of the last success, else the one that ended otherwise, a producer's where it wrote nothing
    )
    state: State | None = None  # what is believed of it; of a dataset never written, of the task that would
    window: Interval | None = None
    written: bool = True  # a task is known that writes it
    read: Read | None = None  # by the run that is asked about
    policy: VersionPolicy = "run"
    late: str | None = None  # what came for it after its watermark, as a sentence goes on about it
    successes: tuple[Version, ...] = ()  # the last one first, by precedence; read where `looks_back` asks for them

    @property
    def label(self) -> str:
        """Its name for a sentence: of a dataset in full, as people write a path or a table."""
        node = self.node
        name = f"{node.namespace}/{node.name}" if node.kind == "dataset" else node.name
        return f"{name} for {self.partition}" if self.partition else name

    @property
    def present(self) -> Version | None:
        """The version it has now, as far as the last success alone tells."""
        made = self.success
        return Version(made.ended_at, made.by, made.version) if made else None


class Change(NamedTuple):
    """That an input is another by now than what was built from it."""

    now: Version
    built_from: str | None = None  # the version that was recorded, where that tells it


class Comparison(msgspec.Struct, Generic[Key], frozen=True):
    """How one partition stands to its direct inputs, each by its key. What is said of those is put into words where it
    is asked for: there may be thousands of them."""

    status: FreshnessStatus
    success: Success | None  # that made the partition last
    changed: Mapping[Key, Change]  # the inputs that are newer
    inputs: Mapping[Key, Input]  # those that are there
    missing: Sequence[Input]
    untold: Sequence[Reason]  # why some inputs cannot be told
    now: datetime

    def told(self, key: Key) -> Reason:
        """What is said of an input that is newer."""
        assert self.success is not None, "what is newer is so than what was built"
        return _told(self.success, self.inputs[key], self.changed[key])

    def named(self, key: Key) -> tuple[NodeRef, str]:
        """What an input that is there is called, in the order in which reasons are given."""
        return _named(self.inputs[key])

    def reasons(self, most: int | None = None) -> set[Reason]:
        """What there is to say of the inputs: of what is missing, and of what is newer, the first `most`."""
        lacking = sorted(self.missing, key=_named)[:most]
        changed = sorted(self.changed, key=self.named)[:most]
        return {*(_missing(each, self.now) for each in lacking), *self.untold, *map(self.told, changed)}


def compare(
    built: Success | None, inputs: Iterable[tuple[Key, Input]], untold: Sequence[Reason], now: datetime
) -> Comparison[Key]:
    """How the partition that `built` made stands to its inputs. `untold` are edges whose partitions cannot be told.

    The inputs are those that count: of required edges that do not ignore staleness. What makes a partition stale by
    itself, and not as built from something stale, is a reason from here: another kind of cause joins those that are
    missing or newer.
    """
    given = list(inputs)
    missing = [each for _, each in given if _is_missing(each)]
    there = {key: each for key, each in given if each.success}
    changed = {key: change for key, each in there.items() if built and (change := _change(built, each))}
    status = _status(built, is_amiss=bool(missing or changed), is_untold=bool(untold))
    return Comparison(status, built, changed, there, missing, untold, now)


def _status(built: Success | None, *, is_amiss: bool, is_untold: bool) -> FreshnessStatus:
    if built is None:
        return FreshnessStatus.NOT_BUILT
    if is_amiss:
        return FreshnessStatus.STALE
    return FreshnessStatus.UNKNOWN if is_untold else FreshnessStatus.FRESH


def _named(given: Input) -> tuple[NodeRef, str]:
    return given.node, given.partition


def _is_missing(given: Input) -> bool:
    return given.node.kind == "dataset" and given.success is None and (given.written or given.state is not None)


def _change(built: Success, given: Input) -> Change | None:
    return None if _quiet(built, given) else _newer(built, given)


def _quiet(built: Success, given: Input) -> bool:
    """Whether the last success alone tells that this input is neither newer nor missing."""
    return given.success is not None and (given.success.by == built.by or not (_later(built, given) or given.read))


def looks_back(built: Success, given: Input) -> bool:
    """Whether it takes the successes before the last one to tell if this input is newer, or since when."""
    success, read = given.success, given.read
    if success is None or success.by == built.by:
        return False
    alike = read is not None and success.version is not None and read.version == success.version
    if given.policy == "run":
        return alike and _later(built, given)
    differs = read is not None and not read.whole and not alike
    return success.version is not None and not alike and (differs or _later(built, given))


def _later(built: Success, given: Input) -> bool:
    """Whether it was last written after the run that built this had begun."""
    ended = given.success.ended_at if given.success else None
    return built.begun is not None and ended is not None and ended > built.begun


def _newer(built: Success, given: Input) -> Change | None:
    """How this input is newer than what was built from it; None where it is not."""
    success, read = given.success, given.read
    if success is None or given.present is None or success.by == built.by:
        return None
    history = versions(given.successes, given.policy) or (given.present,)
    now = history[-1]
    if read is not None and success.version is not None:
        if read.version == success.version and _is_read(history, read, built, given.policy):
            return None
        if read.version != success.version and not read.whole:
            return Change(now, read.version)
    if built.begun is None or now.since is None or now.since <= built.begun:
        return None
    then = version_at(history, built.begun) if given.policy == "content" else None
    return None if then is not None and same(then, now) else Change(now)


def _told(built: Success, given: Input, change: Change) -> Reason:
    """Why this input is newer than what was built from it, in words."""
    now = change.now
    if change.built_from is not None and given.success is not None:
        is_at = f"is at version {given.success.version} now"
        said = f"{is_at}, and this was built from version {change.built_from}"
    elif now.since is not None and built.begun is not None:
        said = f"{_verb(given)} {_when(now.since, built, built.begun)}"
    else:
        raise AssertionError("it is newer by a version or by a time")
    reason = _about(given, Code.UPSTREAM_STALE, said, PartitionStatus.READY.value, now.since)
    return replace(reason, run=now.by[1])


def _is_read(history: Sequence[Version], read: Read, built: Success, policy: VersionPolicy) -> bool:
    """Whether the version that is there now is the one that was recorded under its name."""
    if policy != "run" or built.begun is None:
        return True
    found = meant(history, read.version, built.begun)
    return found is None or found == history[-1]


def _verb(given: Input) -> str:
    return given.late or ("was written again" if given.node.kind == "dataset" else "ran again")


def cause(reason: Reason, given: Input) -> Cause:
    """The end of a chain: that this input changed, as `reason` says of what was built from it directly."""
    at = f" at {reason.since:%Y-%m-%d %H:%M} UTC" if reason.since else ""
    return Cause(
        message=f"{given.label} {_verb(given)}{at}",
        upstream=given.node,
        partition=given.partition or None,
        state=reason.state,
        since=reason.since,
        run=reason.run,
        owner=given.owner,
    )


def step(given: Input) -> Cause:
    """A step of a chain: that this input is itself stale."""
    made = given.success
    at = f" at {made.ended_at:%Y-%m-%d %H:%M} UTC" if made and made.ended_at else ""
    return Cause(
        message=f"{given.label} was built{at} from what has changed since",
        upstream=given.node,
        partition=given.partition or None,
        state=PartitionStatus.STALE.value,
        since=made.ended_at if made else None,
        run=made.by[1] if made else None,
        owner=given.owner,
    )


def way_up(reason: Reason) -> tuple[Cause, ...]:
    """The way from the partition that this is a reason of up to what changed, the nearest step first."""
    if reason.upstream is None:
        return ()
    first = Cause(
        message=reason.message if not reason.because else f"{reason.upstream.name} is stale",
        upstream=reason.upstream,
        partition=reason.partition,
        state=reason.state,
        since=reason.since,
        run=reason.run,
        owner=reason.owner,
    )
    return (first, *reason.because)


def stale_itself(given: Input, because: Sequence[Cause]) -> Reason:
    """That an input is stale itself; `because` leads up from it to what changed, its last step."""
    root = because[-1]
    how = "is stale itself" if len(because) == 1 else "is stale in turn"
    about = _about(given, Code.UPSTREAM_STALE, f"{how}: {root.message}", PartitionStatus.STALE.value, root.since)
    return replace(about, run=root.run, because=tuple(because))


def _when(changed_at: datetime, built: Success, begun: datetime) -> str:
    """When it changed, beside when the other was built: to the second where both were in one minute."""
    after = built.ended_at is None or changed_at > built.ended_at
    then = (built.ended_at or begun) if after else begun
    form = "%H:%M:%S" if abs(changed_at - then) < timedelta(minutes=1) else "%H:%M"
    what = "after this was built" if after else "when the run that built this had begun"
    return f"at {changed_at:%Y-%m-%d} {changed_at:{form}} UTC, {what} ({then:%Y-%m-%d} {then:{form}} UTC)"


def _missing(given: Input, now: datetime) -> Reason:
    state = given.state
    why = "no run of it is known" if state is None else _why(state)
    since = state.since if state else missing_since(given.window, now)
    shown = state.label if state else PartitionStatus.MISSING.value
    return _about(given, Code.UPSTREAM_MISSING, f"is missing ({why})", shown, since)


def _why(state: State) -> str:
    if state.status is PartitionStatus.MISSING:
        return "not all that make it have written it"
    return _WHY.get(state.run_state, f"its run is {state.label}")


_WHY = {
    RunState.UNKNOWN: "it has a run of which nobody can say how it ended",
    RunState.UP_FOR_RETRY: "a try of its run failed, and its platform will try again",
    RunState.SUCCEEDED: "its run succeeded, and nothing shows that it was written",
    RunState.SKIPPED: "its run was skipped",
    RunState.CANCELED: "its run was canceled",
    RunState.UPSTREAM_FAILED: "its run did not start, because something upstream of it failed",
    RunState.FAILED: "its run failed",
}


def _about(given: Input, code: Code, said: str, state: str, since: datetime | None) -> Reason:
    return Reason(
        code=code,
        message=f"{given.label} {said}",
        upstream=given.node,
        partition=given.partition or None,
        state=state,
        since=since,
        owner=given.owner,
        run=given.run,
    )
