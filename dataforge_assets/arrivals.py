"""What the ledger says of how an asset comes, as results of its checks: is it seen at all, in time, in order, and with
the columns that it had?

Guarantees that what is well is no news, whichever window it is about, and that what is amiss is told again only where
it is something else, or ten times as much.
"""

import json
from datetime import datetime, timedelta

from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey

from dataforge_assets.check_result import DIGEST, digest_of, row, table
from resources.model import Arrival, Aspect, ColumnChange, amiss, moment, recent, retyped

IN_TIME, IN_ORDER, COLUMNS, SEEN = "comes_in_time", "comes_in_order", "keeps_its_columns", "has_been_seen"
_ASPECTS: dict[str, Aspect] = {IN_TIME: "late", IN_ORDER: "out of order", COLUMNS: "other columns", SEEN: "never seen"}
_CHANGED = ("partition", "run", "at", "before", "added", "removed", "retyped")
_MOST_ROWS = 20


def of_arrival(key: AssetKey, answer: Arrival, now: datetime) -> list[AssetCheckResult]:
    """What the checks of how an asset comes say."""
    said = amiss(answer, now)
    told = {name: said.get(aspect) for name, aspect in _ASPECTS.items()}
    rows = [row(_CHANGED, _values(each)) for each in answer.column_changes]
    days = [[each.day.isoformat(), len(str(each.events))] for each in recent(answer, now)]
    content = {name: sentence or "" for name, sentence in told.items()}
    content |= {IN_ORDER: json.dumps(days) if days else "", COLUMNS: json.dumps(rows) if rows else ""}
    well = {
        IN_TIME: _punctual(answer),
        IN_ORDER: "Since yesterday its events came in order.",
        COLUMNS: "Its columns are those of the last good run.",
        SEEN: "It has been seen.",
    }
    changes = {"dataforge/changes": table(_CHANGED, rows, _MOST_ROWS)} if rows else {}
    return [
        AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=sentence is None,
            severity=AssetCheckSeverity.WARN,
            description=sentence or well[name],
            metadata={DIGEST: digest_of(content[name]), **(changes if name == COLUMNS else {})},
        )
        for name, sentence in told.items()
    ]


def _punctual(answer: Arrival) -> str:
    if answer.usual_seconds is None:
        return "It has come too seldom to have a usual time."
    return f"It usually comes {timedelta(seconds=round(answer.usual_seconds))} after its window."


def _values(change: ColumnChange) -> list[str | None]:
    named = [", ".join(change.added), ", ".join(change.removed), ", ".join(retyped(change))]
    return [change.partition, change.run, moment(change.at), change.before, *named]
