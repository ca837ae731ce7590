"""The state of an environment as one number, and where it parts from the state that its recorded events give."""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from dataforge.model.reference import NodeKind
from dataforge.storage import difference as differences
from dataforge.storage import digest as canonical
from dataforge.storage import environment as environments
from dataforge.storage import reference as references
from dataforge.storage.database import Connection, Database
from dataforge.storage.difference import Count, RowPair
from dataforge.storage.rebuilt import STATE, Table

MOST_SHOWN = 20  # differing rows, of all tables together


def digest(database: Database, environment: str) -> str:
    """SHA-256, in hex, over the canonical state of an environment."""
    with database.transaction() as connection:
        found = environments.find(connection, environment)
        return digest_of(connection, found.id)


def digest_of(connection: Connection, environment: int) -> str:
    """The same, as one transaction sees it."""
    total = sha256()
    for line in canonical_lines(connection, environment):
        total.update(line)
    return total.hexdigest()


def canonical_lines(connection: Connection, environment: int) -> Iterator[bytes]:
    """What the digest is of: the canonical rows, a line each."""
    for table, row in canonical.rows(connection, environment):
        yield f"{table}\t{row}\n".encode()


class Difference(msgspec.Struct, frozen=True):
    """A row in which the live state and the rebuilt one part; of each side what the other has otherwise."""

    table: str
    row: dict[str, Any]  # its key, with names in the place of ids
    live: dict[str, Any] | None  # None where the live state has no such row
    rebuilt: dict[str, Any] | None


class Comparison(msgspec.Struct, frozen=True):
    """What was compared, and where the two states part."""

    counts: dict[str, Count]  # of each table in which anything differs
    first: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        return not self.counts


def compare(
    connection: Connection,
    live: int,
    rebuilt: int,
    scope: Mapping[str, differences.Scope] | None = None,
    most: int = MOST_SHOWN,
) -> Comparison:
    """Compares two environments' states, every row and column; with a scope only the tables and rows it names."""
    counts: dict[str, Count] = {}
    first: list[Difference] = []
    for table in STATE:
        if scope is not None and table.name not in scope:
            continue
        within = scope[table.name] if scope is not None else differences.EVERYTHING
        found = differences.count(connection, table, live, rebuilt, within)
        if found.total:
            counts[table.name] = found
            first += differing(connection, live, rebuilt, table, most - len(first), within)
    return Comparison(counts, tuple(first))


def differing(
    connection: Connection, live: int, rebuilt: int, table: Table, most: int, scope: differences.Scope
) -> list[Difference]:
    """The first rows of a table that differ, at most `most`."""
    pairs = differences.sample(connection, table, live, rebuilt, most, scope)
    return list(_named(connection, (live, rebuilt), table, pairs))


def _named(
    connection: Connection, within: tuple[int, int], table: Table, pairs: Iterable[RowPair]
) -> Iterator[Difference]:
    key = differences.shape(connection, table).key
    for pair in pairs:
        names = _Names(connection, within, table.name)
        one = pair.live or pair.rebuilt or {}
        yield Difference(
            table=table.name,
            row=names.of({name: one[name] for name in key}),
            live=names.of(_parting(pair.live, pair.rebuilt, (*key, *table.unlike))),
            rebuilt=names.of(_parting(pair.rebuilt, pair.live, (*key, *table.unlike))),
        )


def _parting(side: dict[str, Any] | None, other: dict[str, Any] | None, but: tuple[str, ...]) -> dict[str, Any] | None:
    if side is None:
        return None
    return {name: value for name, value in side.items() if name not in but and (other is None or other[name] != value)}


class _Names:
    """What the ids of a row stand for."""

    def __init__(self, connection: Connection, within: tuple[int, int], table: str) -> None:
        self._connection, self._within = connection, within
        self._own: NodeKind | None = {"task": "task", "dataset": "dataset"}.get(table)  # type: ignore[assignment]

    def of(self, row: Any) -> Any:
        """The row with names; None stays None."""
        if row is None:
            return None
        return {name: self._value(name, value, row.get("node_kind")) for name, value in row.items()}

    def _value(self, column: str, value: Any, node_kind: NodeKind | None) -> Any:
        kind = self._kind(column, node_kind)
        if kind is None or not isinstance(value, int):
            return value
        for environment in self._within:
            if found := references.names(self._connection, environment, kind, [value]):
                return "/".join(found[value])
        return value

    def _kind(self, column: str, node_kind: NodeKind | None) -> NodeKind | None:
        if column == "id":
            return self._own
        if column == "task_id" or column.endswith("_task_id"):
            return "task"
        if column in ("dataset_id", "canonical_id", "alias_id"):
            return "dataset"
        return node_kind if column == "node_id" else None
