"""Backfills: what is asked for, what a plan answers, and how far one has come.

Guarantees that what is asked for is checked before anything is read, and that a plan says of every partition it looked
at what becomes of it and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dataforge.model.catalog import NodeName
from dataforge.model.decoding import is_uuid
from dataforge.model.due import TIME_OF_DAY
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.filter import Paging
from dataforge.model.partition_check import is_zone
from dataforge.model.verdict import NodeRef

Direction = Literal["none", "upstream", "downstream", "both"]
Overwrite = Literal["never", "stale", "always"]
Scope = Literal["all", "task", "dataset", "pool", "domain"]
Verb = Literal["pause", "resume", "cancel", "retry"]
Stage = Literal["running", "paused", "canceled", "failed", "done"]
Fate = Literal["planned", "released", "succeeded", "failed", "blocked", "canceled", "skipped"]
MOST_ITEMS = 200_000  # partitions of one plan, those that are skipped among them; all of them are in memory at once
MOST_TARGETS, MOST_CAPS = 1_000, 100
MOST_SHOWN = 1_000  # of each list of a plan's answer
AT_ONCE = 100  # partitions under way at once, where no cap says otherwise
MOST_AT_ONCE = 1_000  # each of them is asked about on every look
_LONGEST = 500  # characters of who and why


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be there in the end: partitions of a task, or of a dataset, which its producers make."""

    name: Annotated[str, Meta(description="The task or dataset.")]
    namespace: Annotated[str | None, Meta(description="May be left out where the name is unique.")] = None
    partitions: Annotated[
        tuple[str, ...], Meta(description="The keys. None of what has no partitions; of a static set: all.")
    ] = ()
    first: Annotated[str | None, Meta(description="In place of keys: the first of a range of time windows.")] = (
        msgspec.field(name="from", default=None)
    )
    missed: Annotated[bool, Meta(description="In place of both: every time window since it starts.")] = False
    last: Annotated[str | None, Meta(description="The last of the range; left out: the last that has ended.")] = (
        msgspec.field(name="to", default=None)
    )


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many partitions may be under way at once."""

    scope: Annotated[Scope, Meta(description="Of what: the whole backfill, a task, what writes a dataset, ...")]
    at_once: Annotated[int, Meta(ge=1, le=MOST_AT_ONCE, description="How many.")]
    name: Annotated[str | None, Meta(description="Of which one; left out: of each one.")] = None


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hours of a day in which partitions are released; over midnight where they end before they begin."""

    begin: Annotated[str, Meta(description="Such as 22:00.")] = msgspec.field(name="from")
    end: Annotated[str, Meta(description="Such as 06:00.")] = msgspec.field(name="to")
    time_zone: Annotated[str, Meta(description="Such as Europe/Berlin.")] = "UTC"


class Backfilling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backfill as somebody asks for it."""

    targets: Annotated[tuple[Target, ...], Meta(description="What is to be there in the end.")]
    direction: Annotated[
        Direction,
        Meta(
            description="What else: what the targets need and is not good, what depends on them, both, or none of it."
        ),
    ] = "none"
    overwrite: Annotated[
        Overwrite,
        Meta(
            description="never: build what is missing or failed; stale: also what is stale, or becomes so; always: all."
        ),
    ] = "never"
    caps: Annotated[tuple[Cap, ...], Meta(description="How much may be under way at once.")] = ()
    budget: Annotated[
        Annotated[float, Meta(gt=0, le=1e9)] | None,
        Meta(description="The most cost units an hour; a run costs what its task declares, else 1."),
    ] = None
    hours: Annotated[Hours | None, Meta(description="When partitions are released; left out: always.")] = None
    reason: Annotated[str, Meta(description="Why; kept with the backfill.")] = ""
    by: Annotated[str, Meta(description="Who asks; kept with the backfill.")] = "unknown"
    proposed: Annotated[bool, Meta(description="It begins paused: nothing is released before somebody resumes it.")] = (
        False
    )
    id: Annotated[str | None, Meta(description="A UUID of your own: asked again, nothing is begun twice.")] = None


def check(wanted: Backfilling, *, dry_run: bool) -> None:
    """Raises InvalidInput that names every field which is wrong."""
    errors = list(_problems(wanted, dry_run=dry_run))
    if errors:
        raise InvalidInput("; ".join(f"{each.field}: expected {each.expected}" for each in errors[:5]), errors)


def _problems(wanted: Backfilling, *, dry_run: bool) -> Iterator[FieldError]:
    if not 1 <= len(wanted.targets) <= MOST_TARGETS:
        yield FieldError("targets", len(wanted.targets), f"from 1 to {MOST_TARGETS:,} tasks or datasets")
    if len(wanted.caps) > MOST_CAPS:
        yield FieldError("caps", len(wanted.caps), f"at most {MOST_CAPS} caps")
    for place, target in enumerate(wanted.targets):
        yield from _of_target(target, f"targets[{place}]")
    for place, cap in enumerate(wanted.caps):
        if cap.scope == "all" and cap.name is not None:
            yield FieldError(f"caps[{place}].name", cap.name, "no name: `all` is the whole backfill")
    if not dry_run and not wanted.reason.strip():
        yield FieldError("reason", wanted.reason, "why it is done; it is kept with the backfill")
    if wanted.hours is not None:
        yield from _of_hours(wanted.hours)
    yield from _of_texts(wanted)


def _of_target(target: Target, field: str) -> Iterator[FieldError]:
    if bool(target.partitions) + (target.first is not None) + target.missed > 1:
        yield FieldError(f"{field}.partitions", len(target.partitions), "one of partitions, from and to, and missed")
    if target.last is not None and target.first is None:
        yield FieldError(f"{field}.from", None, "the first window, beside the last")


def _of_texts(wanted: Backfilling) -> Iterator[FieldError]:
    yield from _of_words(wanted.by, wanted.reason)
    if wanted.id is not None and not is_uuid(wanted.id):
        yield FieldError("id", wanted.id[:120], "a UUID, or none")


def check_words(by: str, reason: str) -> None:
    """Raises InvalidInput for what an order may not say: each order that a backfill gives repeats them."""
    errors = list(_of_words(by, reason))
    if errors:
        raise InvalidInput(f"{errors[0].field}: expected {errors[0].expected}", errors)


def _of_words(by: str, reason: str) -> Iterator[FieldError]:
    for field, text in (("by", by), ("reason", reason)):
        if "\0" in text or len(text) > _LONGEST or (field == "by" and not text):
            yield FieldError(
                field, text[:120], f"{1 if field == 'by' else 0} to {_LONGEST} characters, none of them NUL"
            )


def _of_hours(hours: Hours) -> Iterator[FieldError]:
    for field, value in (("from", hours.begin), ("to", hours.end)):
        if TIME_OF_DAY.fullmatch(value) is None:
            yield FieldError(f"hours.{field}", value[:120], "a time of day such as 22:00")
    if hours.begin == hours.end:
        yield FieldError("hours.to", hours.end[:120], "another time than they begin at; for all day leave them out")
    if not is_zone(hours.time_zone):
        yield FieldError("hours.time_zone", hours.time_zone[:120], "a time zone such as Europe/Berlin")


class BackfillFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which backfills to list."""

    state: Annotated[Stage, Meta(description="Only backfills in this state.")] | None = None


class ItemFilter(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which partitions of a backfill to list."""

    state: Annotated[Fate, Meta(description="Only partitions in this state.")] | None = None


class PlanItem(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one partition."""

    task: Annotated[NodeName, Meta(description="The task.")]
    partition: Annotated[str | None, Meta(description="Its partition; null for what has no partitions.")]
    state: Annotated[Fate, Meta(description="How far it has come; in a plan: planned or skipped.")]
    wave: Annotated[int | None, Meta(description="What it needs is made in earlier waves; null where it is skipped.")]
    reason: Annotated[str, Meta(description="Why it is built, is not, or waits.")]
    released_at: Annotated[datetime | None, Meta(description="Since when it may be claimed.")] = None
    ended_at: Annotated[datetime | None, Meta(description="When it was seen to have ended.")] = None


class TaskPart(msgspec.Struct, frozen=True, kw_only=True):
    """What of a plan is one task's."""

    task: Annotated[NodeName, Meta(description="The task.")]
    planned: Annotated[int, Meta(description="Partitions to build.")]
    skipped: Annotated[int, Meta(description="Partitions that are left as they are.")]
    first: Annotated[str | None, Meta(description="The first partition to build.")]
    last: Annotated[str | None, Meta(description="The last one.")]
    seconds: Annotated[float | None, Meta(description="What a run of it took of late; null without history.")]
    cost: Annotated[float, Meta(description="Cost units of a run.")]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What it comes to, from what runs took of late."""

    runs: Annotated[int, Meta(description="Partitions to build.")]
    work_seconds: Annotated[float, Meta(description="All runs one after the other.")]
    seconds: Annotated[float, Meta(description="Until the last has ended, within the caps, the budget and the hours.")]
    ends_at: Annotated[datetime, Meta(description="When that would be, begun now.")]
    cost: Annotated[float, Meta(description="Cost units.")]
    limited_by: Annotated[
        Literal["order", "caps", "budget", "nothing"], Meta(description="What it would be done sooner without.")
    ]
    without_history: Annotated[int, Meta(description="Tasks whose runs nobody has timed; each is taken for 60 s.")]


class Endangered(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline that would be missed: of what is built, or of what waits for it and is not there yet."""

    node: Annotated[NodeRef, Meta(description="The task or dataset.")]
    partition: Annotated[str, Meta(description="Its time window.")]
    due_at: Annotated[datetime, Meta(description="By when it is to be there.")]
    expected_at: Annotated[datetime, Meta(description="When it would be, by the estimate.")]
    owner: Annotated[str | None, Meta(description="Who answers for it.")]


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """The deadlines to come that a backfill would endanger."""

    endangered: Annotated[int, Meta(description="How many.")] = 0
    first: Annotated[tuple[Endangered, ...], Meta(description="The first 1,000, the soonest first.")] = ()
    all_seen: Annotated[
        bool, Meta(description="Whether all that waits for what is built was looked at; false where it is too much.")
    ] = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill would do, or does."""

    id: Annotated[str | None, Meta(description="The backfill's id; null for what is only planned.")]
    planned: Annotated[int, Meta(description="Partitions to build.")]
    skipped: Annotated[int, Meta(description="Partitions that are left as they are, with the reason.")]
    waiting: Annotated[int, Meta(description="Of those to build: wait for what is not there and not in the plan.")]
    waves: Annotated[tuple[int, ...], Meta(description="How many partitions each wave has.")]
    tasks: Annotated[tuple[TaskPart, ...], Meta(description="By task, in the order of the plan; the first 1,000.")]
    items: Annotated[tuple[PlanItem, ...], Meta(description="The first 1,000 partitions, in the order of the plan.")]
    truncated: Annotated[bool, Meta(description="Whether there is more than is shown here.")]
    estimate: Annotated[Estimate, Meta(description="How long it takes, and what it costs.")]
    deadlines: Annotated[Deadlines, Meta(description="The deadlines to come that it would endanger.")]
    all_compared: Annotated[
        bool,
        Meta(description="Whether all above was compared to tell what is stale; false: more may be stale in turn."),
    ] = True
    planned_at: Annotated[datetime, Meta(description="The moment that it was planned for.")]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the partitions of one interval have come."""

    partition: Annotated[str | None, Meta(description="The partition key; null for what has no partitions.")]
    total: Annotated[int, Meta(description="Partitions to build of that key.")]
    succeeded: Annotated[int, Meta(description="Of these, built.")]
    failed: Annotated[int, Meta(description="Of these, failed, or behind what failed.")]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did with a backfill."""

    what: Annotated[
        Literal["began", "paused", "resumed", "canceled", "retried", "ended"], Meta(description="What was done.")
    ]
    at: Annotated[datetime, Meta(description="When.")]
    by: Annotated[str, Meta(description="By whom.")]
    reason: Annotated[str, Meta(description="Why.")]


class BackfillItem(msgspec.Struct, frozen=True, kw_only=True):
    """A backfill, and how far it has come."""

    id: Annotated[str, Meta(description="Its id.")]
    state: Annotated[Stage, Meta(description="failed: what is left cannot go on before somebody retries.")]
    reason: Annotated[str, Meta(description="Why it was asked for.")]
    by: Annotated[str, Meta(description="Who asked.")]
    began_at: Annotated[datetime, Meta(description="When it was asked for.")]
    counts: Annotated[dict[str, int], Meta(description="How many partitions are in each state.")]


class BackfillDetail(BackfillItem, frozen=True, kw_only=True):
    """All there is to say of a backfill as a whole."""

    request: Annotated[Backfilling, Meta(description="What was asked for.")]
    log: Annotated[tuple[Change, ...], Meta(description="What was done with it, the latest first.")]
    intervals: Annotated[tuple[Progress, ...], Meta(description="By partition key; the first 1,000.")]
    ends_at: Annotated[
        datetime | None, Meta(description="When it would end at its pace so far; null before it has one.")
    ]
