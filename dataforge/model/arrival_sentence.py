"""What is amiss with how a dataset comes, in sentences: the same for whoever shows it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from dataforge.model.arrival import Arrival
from dataforge.model.column_change import ColumnChange
from dataforge.model.out_of_order import OutOfOrder

Aspect = Literal["late", "out of order", "other columns", "never seen"]
RECENT = timedelta(days=1)  # before today: who delivered out of order then may do so still
_MOST_NAMES = 5  # columns in one sentence


def amiss(answer: Arrival, now: datetime) -> dict[Aspect, str]:
    """A sentence for each aspect in which it does not come as it should."""
    found: dict[Aspect, str] = {}
    if answer.late:
        found["late"] = _lateness(answer)
    if days := recent(answer, now):
        found["out of order"] = _disorder(days[0])
    if answer.column_changes:
        found["other columns"] = _changed(answer.column_changes[0])
    if answer.declared and not answer.observed:
        found["never seen"] = f"It is declared, and no event has ever shown it{_whose(answer)}."
    return found


def recent(answer: Arrival, now: datetime) -> list[OutOfOrder]:
    """The days since yesterday on which events came out of order."""
    return [each for each in answer.out_of_order if each.day >= (now.astimezone(UTC) - RECENT).date()]


def retyped(change: ColumnChange) -> list[str]:
    """The columns of another type, each with both."""
    return [f"{each.name} ({each.before}, now {each.after})" for each in change.retyped]


def _lateness(answer: Arrival) -> str:
    more = f", and {answer.late - 1} more" if answer.late > 1 else ""
    expected = f", expected {moment(answer.expected_at)}" if answer.expected_at else ""
    due = f", due {moment(answer.due_at)}" if answer.due_at else ""
    return f"{answer.awaited} is late{due or expected}{more}; the last that came is {answer.last}{_whose(answer)}."


def _disorder(day: OutOfOrder) -> str:
    counted = "1 event" if day.events == 1 else f"{day.events:,} events"
    about = f" for {day.partition}" if day.partition else ""
    return (
        f"{counted} came out of order on {day.day}; the last is of run {day.run} of {day.task.name}{about}: it occurred"
        f" {moment(day.occurred_at)}, and what occurred {moment(day.behind)} had been recorded before."
    )


def _changed(change: ColumnChange) -> str:
    parts = {"added": change.added, "removed": change.removed, "of another type": retyped(change)}
    said = "; ".join(f"{what} {_few(names)}" for what, names in parts.items() if names)
    about = f" for {change.partition}" if change.partition else ""
    return f"Run {change.run}{about} changed the columns that run {change.before} had: {said}."


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _whose(answer: Arrival) -> str:
    return f", owned by {answer.owner}" if answer.owner else ""


def moment(at: datetime) -> str:
    """A time for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
