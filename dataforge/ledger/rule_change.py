"""What other rules would make of the recorded events: how many partitions and runs, of which kind, and which.

Guarantees that every difference is counted: what is no partition and no run is counted by its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dataforge.ledger.verify import MOST_SHOWN, Comparison, Difference, differing
from dataforge.storage import difference as differences
from dataforge.storage.database import Connection
from dataforge.storage.difference import EVERYTHING, Scope
from dataforge.storage.rebuilt import STATE

_STATES = {"partition_state": "status", "run": "state"}  # the tables that people ask of, and what they call the state
_SAID = {"partition_state": "partition"}


class Kind(msgspec.Struct, frozen=True):
    """Changes of one kind: None where the state lacks the row. Of other tables only how many rows."""

    of: str
    before: str | None
    after: str | None
    rows: int


class RuleChange(msgspec.Struct, frozen=True):
    """One partition or run that would be another; of the same state where it is another column that differs."""

    of: str
    name: str  # of the task or dataset
    which: str  # the partition, or the run
    before: str
    after: str


def kinds_of(
    connection: Connection, live: int, rebuilt: int, found: Comparison, scope: Mapping[str, Scope] | None
) -> tuple[Kind, ...]:
    """The changes by kind, partitions first."""
    kinds: list[Kind] = []
    for table in (table for table in reversed(STATE) if table.name in found.counts):
        of = _SAID.get(table.name, table.name)
        if state := _STATES.get(table.name):
            within = (scope or {}).get(table.name, EVERYTHING)
            rows = differences.kinds(connection, table, state, live, rebuilt, within)
            kinds += [Kind(of, before, after, count) for before, after, count in rows]
        else:
            kinds.append(Kind(of, None, None, found.counts[table.name].total))
    return tuple(sorted(kinds, key=lambda kind: (kind.of != "partition", kind.of != "run")))


def changes_of(
    connection: Connection, live: int, rebuilt: int, scope: Mapping[str, Scope] | None
) -> tuple[RuleChange, ...]:
    """The first partitions that would change, and the first runs."""
    tables = [table for table in reversed(STATE) if table.name in _STATES]
    return tuple(
        _change(each)
        for table in tables
        for each in differing(connection, live, rebuilt, table, MOST_SHOWN, (scope or {}).get(table.name, EVERYTHING))
    )


def _change(found: Difference) -> RuleChange:
    before, after = (_said(found, side) for side in (found.live, found.rebuilt))
    name = found.row["node_id"] if found.table == "partition_state" else found.row["task_id"]
    which = found.row["partition"] if found.table == "partition_state" else found.row["run"]
    return RuleChange(_SAID.get(found.table, found.table), str(name), str(which), before, after)


def _said(found: Difference, side: dict[str, Any] | None) -> str:
    if side is None:
        return "missing"
    state = _STATES[found.table]
    return str(side[state]) if state in side else " ".join(f"{name}={value}" for name, value in side.items())
