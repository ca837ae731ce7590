"""Where two environments' states part, row by row, and how the one is made like the other.

Guarantees that every column is looked at, also one that a later migration adds: the columns are the database's own.
What is alike is not written, so the feed of changes shows exactly what differed.
"""

from __future__ import annotations

from typing import Any, LiteralString

import msgspec
from psycopg import Connection, sql

from dataforge.storage.rebuilt import Table


class Count(msgspec.Struct, frozen=True):
    """How many rows of a table differ: those that the live state lacks, has too many, and has otherwise."""

    lacking: int
    extra: int
    changed: int

    @property
    def total(self) -> int:
        return self.lacking + self.extra + self.changed


class RowPair(msgspec.Struct, frozen=True):
    """A row as it is in the live state and in the rebuilt one; None where it is in one of them only."""

    live: dict[str, Any] | None
    rebuilt: dict[str, Any] | None


class Shape(msgspec.Struct, frozen=True):
    """The columns of a table besides the environment: its key, and all that is compared."""

    key: tuple[str, ...]
    compared: tuple[str, ...]


COLUMNS = """
select a.attname, coalesce(a.attnum = any(i.indkey), false)
from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'environment'
    and a.attgenerated = ''
order by a.attnum
"""


def shape(connection: Connection, table: Table) -> Shape:
    """The columns of a table, as the database has them now."""
    rows = connection.execute(COLUMNS, [table.name]).fetchall()
    compared = tuple(name for name, _ in rows if name not in table.unlike)
    return Shape(tuple(name for name, is_key in rows if is_key and name not in table.unlike), compared)


# `scope` narrows both sides alike: dataforge.storage.scope.
SIDES = """
(select * from {table} x where environment = %(live)s {scope}) l
full join (select * from {table} x where environment = %(rebuilt)s {scope}) r on {same_key}
where (l.environment is null or r.environment is null or ({left}) is distinct from ({right})) {unless_kept}
"""
COUNT = """
select count(*) filter (where l.environment is null), count(*) filter (where r.environment is null),
    count(*) filter (where l.environment is not null and r.environment is not null)
from {sides}
"""
SAMPLE = """
select to_jsonb(l) - 'environment', to_jsonb(r) - 'environment' from {sides} order by {order} limit %(most)s
"""
EVERYTHING = sql.SQL("")
Scope = sql.Composable  # a condition on the columns of one table's row `x`


def count(connection: Connection, table: Table, live: int, rebuilt: int, scope: Scope = EVERYTHING) -> Count:
    """How many rows of a table differ between two environments."""
    query = _statement(connection, COUNT, table, scope)
    row = connection.execute(query, {"live": live, "rebuilt": rebuilt}).fetchone()
    assert row is not None, "an aggregate has one row"
    return Count(*row)


def sample(
    connection: Connection, table: Table, live: int, rebuilt: int, most: int, scope: Scope = EVERYTHING
) -> list[RowPair]:
    """The first `most` rows of a table that differ, in the order of its key."""
    parameters = {"live": live, "rebuilt": rebuilt, "most": most}
    return [RowPair(*row) for row in connection.execute(_statement(connection, SAMPLE, table, scope), parameters)]


KINDS = """
select l.{state}::text, r.{state}::text, count(*) from {sides} group by 1, 2 order by 3 desc, 1, 2
"""


def kinds(
    connection: Connection, table: Table, state: str, live: int, rebuilt: int, scope: Scope = EVERYTHING
) -> list[tuple[str | None, str | None, int]]:
    """How many rows of a table differ, by what this column says before and after."""
    parts = _parts(table, shape(connection, table), scope)
    sides = sql.SQL(SIDES).format(**parts)
    query = sql.SQL(KINDS).format(state=sql.Identifier(state), sides=sides)
    rows = connection.execute(query, {"live": live, "rebuilt": rebuilt})
    return [(row[0], row[1], row[2]) for row in rows]


# Only what differs is written: a conflict that changes nothing would still lock its row.
DELETE = """
delete from {table} l using (
    select {key} from {table} x where environment = %(live)s {scope}
    except select {key} from {table} x where environment = %(rebuilt)s {scope}
) gone
where l.environment = %(live)s and {gone_key}
"""
# The feed shows what has no state any more as missing.
CLEARED = """
insert into partition_cleared (environment, node_kind, node_id, partition)
select environment, node_kind, node_id, partition from partition_state x where environment = %(live)s {scope}
    and not exists (select from partition_state r where r.environment = %(rebuilt)s and r.node_kind = x.node_kind
        and r.node_id = x.node_id and r.partition = x.partition)
on conflict (environment, node_kind, node_id, partition) do update set changed_by = excluded.changed_by
"""
WRITE = """
insert into {table} (environment, {columns})
select %(live)s, {columns_of_r}
from (select * from {table} x where environment = %(rebuilt)s {scope}) r
left join (select * from {table} where environment = %(live)s) l on {same_key}
where l.environment is null or ({left}) is distinct from ({right})
order by {order}
on conflict (environment, {written_key}) do {action}
"""


# Whoever waits for what is swapped in is decided on anew, as after any other change of it.
WAKE: dict[LiteralString, LiteralString] = {
    "partition_state": """
insert into outbox (environment, node_kind, change, nodes, partitions)
select %(live)s, coalesce(l.node_kind, r.node_kind),
    case when r.status = 'running' and (r.run_state, r.evidence) <> ('queued', 'operator') then 'began'
        else 'ended' end,
    array[coalesce(l.node_id, r.node_id)], array[coalesce(l.partition, r.partition)]
from {sides} and (coalesce(l.node_kind, r.node_kind) = 'task' or r.status is distinct from 'running')
order by {order}
""",
    "quality": """
insert into outbox (environment, node_kind, change, nodes, partitions)
select distinct %(live)s, 'dataset'::node_kind, 'ended', array[(
    select canonical_id from dataset where environment = %(rebuilt)s and id = coalesce(l.dataset_id, r.dataset_id)
)], array[coalesce(l.partition, r.partition)]
from {sides}
""",
}


def wake(connection: Connection, table: Table, live: int, rebuilt: int, scope: Scope = EVERYTHING) -> None:
    """Leaves word of what differs for whoever decides on what waits for it; before it is made alike."""
    if text := WAKE.get(table.name):
        connection.execute(_statement(connection, text, table, scope), {"live": live, "rebuilt": rebuilt})


def remove_extra(connection: Connection, table: Table, live: int, rebuilt: int, scope: Scope = EVERYTHING) -> None:
    """Deletes the rows that the live state has and the rebuilt one has not."""
    if table.keeps_more:
        return
    parameters = {"live": live, "rebuilt": rebuilt}
    if table.name == "partition_state":
        connection.execute(sql.SQL(CLEARED).format(scope=scope), parameters)
    connection.execute(_statement(connection, DELETE, table, scope), parameters)


def write_different(connection: Connection, table: Table, live: int, rebuilt: int, scope: Scope = EVERYTHING) -> None:
    """Makes the rows of the rebuilt state those of the live one, where they differ."""
    connection.execute(_statement(connection, WRITE, table, scope), {"live": live, "rebuilt": rebuilt})


def _statement(connection: Connection, text: LiteralString, table: Table, scope: Scope = EVERYTHING) -> sql.Composed:
    found = shape(connection, table)
    parts = _parts(table, found, scope)
    return sql.SQL(text).format(sides=sql.SQL(SIDES).format(**parts), **parts)


def _parts(table: Table, found: Shape, scope: Scope) -> dict[str, sql.Composable]:
    return {
        "table": sql.Identifier(table.name),
        "scope": scope,
        "key": _listed(found.key),
        "same_key": _equal("l", "r", found.key),
        "gone_key": _equal("l", "gone", found.key),
        "left": _listed(found.compared, "l"),
        "right": _listed(found.compared, "r"),
        "columns": _listed(_written(table, found)),
        "columns_of_r": sql.SQL(", ").join(_new(name) for name in _written(table, found)),
        "written_key": _listed((*found.key, *_PARTED.intersection(table.unlike))),
        "order": sql.SQL(", ").join(sql.SQL("coalesce({}, {})").format(_of("l", k), _of("r", k)) for k in found.key),
        "unless_kept": _unless_kept(table),
        "action": _action(table, found),
    }


def _unless_kept(table: Table) -> sql.Composable:
    """Which rows of the live state alone are no difference: those that may have been there first. What spells out a
    row that both states have must be in both."""
    if not table.keeps_more:
        return sql.SQL("")
    if table.of is None:
        return sql.SQL("and r.environment is not null")
    told_of, columns = table.of
    told = "and (r.environment is not null or exists (select from {} p where p.environment = %(rebuilt)s and {}))"
    return sql.SQL(told).format(sql.Identifier(told_of), _equal("p", "l", columns))


def _written(table: Table, found: Shape) -> tuple[str, ...]:
    """All but the number of the transaction, and the time of a declaration, which the server draws anew."""
    told = tuple(name for name in table.unlike if name not in ("changed_by", "declared_at"))
    return tuple(dict.fromkeys((*found.compared, *told)))


_PARTED = frozenset({"part"})  # where a row lies: a part of the key, and no part of what it says


def _new(column: str) -> sql.Composed:
    """A column as it is written: a row that is there stays in its part."""
    if column in _PARTED:
        return sql.SQL("coalesce(l.{0}, r.{0})").format(sql.Identifier(column))
    return _of("r", column)


def _action(table: Table, found: Shape) -> sql.Composable:
    columns = [name for name in found.compared if name not in found.key]
    if not columns:
        return sql.SQL("nothing")
    if "changed_by" in table.unlike:
        columns.append("changed_by")
    sets = (sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name)) for name in columns)
    return sql.SQL("update set {}").format(sql.SQL(", ").join(sets))


def _of(side: str, column: str) -> sql.Composed:
    return sql.Identifier(side) + sql.SQL(".") + sql.Identifier(column)


def _listed(columns: tuple[str, ...], side: str | None = None) -> sql.Composed:
    names = (_of(side, name) if side else sql.Identifier(name) for name in columns)
    return sql.SQL(", ").join(names)


def _equal(one: str, other: str, columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(" and ").join(_of(one, name) + sql.SQL(" = ") + _of(other, name) for name in columns)
