"""What the ledger says of how an asset comes, as results of its checks: is it seen at all, in time, in order, and with
the columns that it had?

Guarantees that what is well is no news, whichever window it is about, and that what is amiss is told again only where
it is something else, or ten times as much.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, MetadataValue

from dataforge_assets.check_result import DIGEST, digest_of, moment, row, table
from resources.model import Arrival, ColumnChange, OutOfOrder

IN_TIME, IN_ORDER, COLUMNS, SEEN = "comes_in_time", "comes_in_order", "keeps_its_columns", "has_been_seen"
RECENT = timedelta(days=1)  # before today: who delivered out of order then may do so still
_CHANGED = ("partition", "run", "at", "before", "added", "removed", "retyped")
_MOST_ROWS = 20
_MOST_NAMES = 5  # columns in one sentence; the table has all


def of_arrival(key: AssetKey, answer: Arrival, now: datetime) -> list[AssetCheckResult]:
    """What the checks of how an asset comes say."""
    unseen = answer.declared and not answer.observed
    return [
        _result(key, IN_TIME, _lateness(answer) if answer.late else None, _punctual(answer)),
        _in_order(key, [each for each in answer.out_of_order if each.day >= (now.astimezone(UTC) - RECENT).date()]),
        _columns(key, answer.column_changes),
        _result(key, SEEN, _unseen(answer) if unseen else None, "It has been seen."),
    ]


def _result(
    key: AssetKey,
    name: str,
    amiss: str | None,
    well: str,
    content: str | None = None,
    metadata: dict[str, MetadataValue] | None = None,
) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=amiss is None,
        severity=AssetCheckSeverity.WARN,
        description=amiss or well,
        metadata={DIGEST: digest_of(content or amiss or ""), **(metadata or {})},
    )


def _lateness(answer: Arrival) -> str:
    more = f", and {answer.late - 1} more" if answer.late > 1 else ""
    expected = f", expected {moment(answer.expected_at)}" if answer.expected_at else ""
    return f"{answer.awaited} is late{expected}{more}; the last that came is {answer.last}{_whose(answer)}."


def _punctual(answer: Arrival) -> str:
    if answer.usual_seconds is None:
        return "It has come too seldom to have a usual time."
    return f"It usually comes {timedelta(seconds=round(answer.usual_seconds))} after its window."


def _unseen(answer: Arrival) -> str:
    return f"It is declared, and no event has ever shown it{_whose(answer)}."


def _whose(answer: Arrival) -> str:
    return f", owned by {answer.owner}" if answer.owner else ""


def _in_order(key: AssetKey, days: Sequence[OutOfOrder]) -> AssetCheckResult:
    content = json.dumps([[each.day.isoformat(), len(str(each.events))] for each in days]) if days else None
    well = "Since yesterday its events came in order."
    return _result(key, IN_ORDER, _disorder(days[0]) if days else None, well, content)


def _disorder(day: OutOfOrder) -> str:
    counted = "1 event" if day.events == 1 else f"{day.events:,} events"
    about = f" for {day.partition}" if day.partition else ""
    return (
        f"{counted} came out of order on {day.day}; the last is of run {day.run} of {day.task.name}{about}: it occurred"
        f" {moment(day.occurred_at)}, and what occurred {moment(day.behind)} had been recorded before."
    )


def _columns(key: AssetKey, changes: Sequence[ColumnChange]) -> AssetCheckResult:
    """What the last run changed, with the changes before it."""
    well = "Its columns are those of the last good run."
    if not changes:
        return _result(key, COLUMNS, None, well)
    rows = [row(_CHANGED, _values(each)) for each in changes]
    metadata = {"dataforge/changes": table(_CHANGED, rows, _MOST_ROWS)}
    return _result(key, COLUMNS, _changed(changes[0]), well, json.dumps(rows), metadata)


def _values(change: ColumnChange) -> list[str | None]:
    named = [", ".join(change.added), ", ".join(change.removed), ", ".join(_retyped(change))]
    return [change.partition, change.run, moment(change.at), change.before, *named]


def _changed(change: ColumnChange) -> str:
    parts = {"added": change.added, "removed": change.removed, "of another type": _retyped(change)}
    said = "; ".join(f"{what} {_few(names)}" for what, names in parts.items() if names)
    about = f" for {change.partition}" if change.partition else ""
    return f"Run {change.run}{about} changed the columns that run {change.before} had: {said}."


def _retyped(change: ColumnChange) -> list[str]:
    return [f"{each.name} ({each.before}, now {each.after})" for each in change.retyped]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
