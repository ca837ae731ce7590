"""A state that is built beside the live one: in an environment of its own, hidden below those that people have.

Guarantees that a hidden environment ends with the process that made it: whoever makes the next one removes what a
killed process left. Its rows are committed as they are written, so that a long rebuild is no long transaction, which
would hold back the feed of changes and every vacuum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import randrange
from typing import LiteralString

import msgspec
from psycopg import Connection, sql
from psycopg.errors import SerializationFailure

from dataforge.model.reference import NodeKind
from dataforge.storage.attempt import RunKey
from dataforge.storage.database import Database, connect


class Table(msgspec.Struct, frozen=True):
    """A table of the state that follows from events and definitions, as it is compared and swapped."""

    name: LiteralString
    # columns that say when or by which transaction, or where a row lies, which a rebuilt state need not repeat
    unlike: tuple[str, ...] = ()
    keeps_more: bool = False  # rows of the live state alone stay: names, and what is append-only
    # ... where the rebuilt state lacks what they tell of: that table, and the columns that name it
    of: tuple[LiteralString, tuple[LiteralString, ...]] | None = None


# In the order of their foreign keys. A name that nothing was said of is no state, and may be referred to. A declaration
# may have been replaced for its very moment: its versions are kept where it came first, and held at no time.
STATE: tuple[Table, ...] = (
    Table("manifest", unlike=("content",), keeps_more=True),  # the key is its hash
    Table("declaration", keeps_more=True),
    Table("task", keeps_more=True),
    Table("dataset", keeps_more=True),
    Table("task_version", unlike=("definition", "source", "declared_at"), keeps_more=True),
    Table("dataset_version", unlike=("definition",), keeps_more=True),
    Table("version_edge", keeps_more=True, of=("task_version", ("task_id", "version"))),
    Table("definition_span"),
    Table("upstream_list"),
    Table("control"),
    Table("quarantine_order"),
    Table("mark"),
    Table("pool"),
    Table("alias"),
    Table("edge"),
    Table("attempt", unlike=("part", "heard_at")),
    Table("touch", unlike=("part",)),
    Table("column_list", unlike=("columns",)),  # the key is their hash
    Table("outcome", unlike=("part",)),
    Table("shard_chunk", unlike=("content", "part")),  # it has a hash
    Table("run", unlike=("part",)),
    Table("watermark"),
    Table("late"),
    Table("stream"),
    Table("write"),
    Table("quality"),
    Table("failed_check"),
    Table("partition_state", unlike=("changed_by",)),
    Table("observed_key"),
    Table("progress"),
)
# What is not rebuilt: facts themselves, what was refused, the memory of feeds, and who works on what.
NOT_STATE: tuple[LiteralString, ...] = (
    "archived",
    "backfill",
    "backfill_change",
    "backfill_item",
    "definition_source",
    "event",
    "event_body",
    "event_body_dropped",
    "graph_log",
    "kafka_offset",
    "kafka_reset",
    "lease",
    "lease_pool",
    "mirror",
    "node_change",
    "out_of_order",
    "outbox",
    "partition_cleared",
    "reject",
    "run_end",
    "run_spared",
    "wakeup",
)
_OWNED: tuple[LiteralString, ...] = (
    "outbox",
    *(table.name for table in reversed(STATE)),
    "partition_cleared",
    "definition_source",
)

FREE = """
select n::smallint from generate_series(-32768, -1) as n
where not exists (select from environment where id = n) offset %s limit 1
"""
LOCK = "select pg_try_advisory_lock(hashtextextended('dataforge.rebuild', %s))"
CREATE = """
insert into environment (id, name, states_known_from, runs_known_from, last_part) overriding system value
select %s, %s, states_known_from, runs_known_from, last_part from environment where id = %s
"""


@contextmanager
def hidden(database: Database, live: int) -> Iterator[int]:
    """A new, empty environment, by its id, for as long as the block. Its name is `rebuild` and its id without sign; the
    same windows have ended in it as in the live one."""
    with connect(database.url, autocommit=True) as guard:
        _sweep(database, guard)
        environment = _create(guard, live)
        try:
            yield environment
        finally:
            _remove(database, environment)


def _create(guard: Connection, live: int) -> int:
    while True:
        row = guard.execute(FREE, [randrange(1_000)]).fetchone()
        assert row is not None, "there are far fewer environments than numbers"
        if _holds(guard, row[0]):
            guard.execute(CREATE, [row[0], f"rebuild{row[0]}", live])
            return int(row[0])


def _holds(guard: Connection, environment: int) -> bool:
    row = guard.execute(LOCK, [environment]).fetchone()
    return row is not None and bool(row[0])


LEFT = "select id from environment where id < 0"


def _sweep(database: Database, guard: Connection) -> None:
    """Removes the hidden environments whose makers are gone: their lock went with their connection."""
    for (environment,) in guard.execute(LEFT).fetchall():
        if _holds(guard, environment):
            _remove(database, environment)


# The new name tells a maker whose connection was lost, but who goes on, that nothing here may be swapped in any more.
CONDEMN = "update environment set name = 'removed' || id where id = %s"
DELETE = "delete from {} where environment = %s"
FORGET = "delete from environment where id = %s"


def _remove(database: Database, environment: int) -> None:
    with database.transaction() as connection:
        connection.execute(CONDEMN, [environment])
    for table in _OWNED:
        with database.transaction() as connection:
            connection.execute(sql.SQL(DELETE).format(sql.Identifier(table)), [environment])
    with database.transaction() as connection:
        connection.execute(FORGET, [environment])


SNAPSHOT = "set transaction isolation level repeatable read"


def begin_snapshot(connection: Connection) -> None:
    """Lets every query of the transaction see the same moment, while it writes to a hidden environment; must be its
    first statement."""
    connection.execute(SNAPSHOT)


STANDS = "select from environment where id = %s and name = 'rebuild' || id for update"


def still_stands(connection: Connection, environment: int) -> bool:
    """Whether nobody has begun to remove it; nobody does before the transaction ends, which is spoilt if it was."""
    try:
        return connection.execute(STANDS, [environment]).fetchone() is not None
    except SerializationFailure:
        return False


# A name alone is no state, but the live state may hold one that nothing speaks of any more.
NAME_TASKS = """
insert into task (environment, id, namespace, name)
select %(rebuilt)s, id, namespace, name from task where environment = %(live)s on conflict do nothing
"""
NAME_DATASETS = """
insert into dataset (environment, id, namespace, name, canonical_id)
select %(rebuilt)s, id, namespace, name, id from dataset where environment = %(live)s on conflict do nothing
"""


def copy_names(connection: Connection, live: int, rebuilt: int) -> None:
    """Gives the rebuilt state every name of the live one, so that a name's row is in both."""
    for statement in (NAME_TASKS, NAME_DATASETS):
        connection.execute(statement, {"live": live, "rebuilt": rebuilt})


# Each branch gives its own first keys without repeats, so that none of the first keys of both is missed.
RUNS = """
(select distinct task_id, run from attempt
where environment = %(environment)s and (task_id, run) > (%(task)s, %(run)s) order by task_id, run limit %(most)s)
union
(select distinct task_id, group_run from outcome
where environment = %(environment)s and (task_id, group_run) > (%(task)s, %(run)s)
order by task_id, group_run limit %(most)s)
union
(select task_id, run from mark
where environment = %(environment)s and (task_id, run) > (%(task)s, %(run)s) order by task_id, run limit %(most)s)
order by 1, 2 limit %(most)s
"""


def runs_behind(connection: Connection, environment: int, after: RunKey, most: int) -> list[RunKey]:
    """The runs that facts name behind this one, in the order of their keys."""
    parameters = {"environment": environment, "task": after[0], "run": after[1], "most": most}
    return [(row[0], row[1]) for row in connection.execute(RUNS, parameters)]


TASKS = "select id from task where environment = %s and id > %s order by id limit %s"
DATASETS = "select id from dataset where environment = %s and id > %s order by id limit %s"


def nodes_behind(connection: Connection, environment: int, kind: NodeKind, after: int, most: int) -> list[int]:
    """The tasks or datasets behind this one, in the order of their ids."""
    statement = TASKS if kind == "task" else DATASETS
    return [row[0] for row in connection.execute(statement, [environment, after, most])]
