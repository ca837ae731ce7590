"""Which tasks and runs a part of the state follows from, and which rows of it are compared then.

Guarantees that every question begins at keys that were given, so its cost follows from the part, not from the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import LiteralString

from psycopg import Connection, sql

from dataforge.storage.attempt import RunKey
from dataforge.storage.difference import Scope
from dataforge.storage.record_set import keys

OF_DOMAIN = "select id from task where environment = %s and domain = %s"
# A Spark application's jobs write for it, and belong to no domain of their own.
STEPS = """
select distinct step.task_id from attempt a
join attempt step on step.environment = a.environment and step.parent_run = a.external_run
    and step.parent_task_id = a.task_id and step.kind = 'step'
where a.environment = %s and a.task_id = any(%s)
"""


def tasks_of_domain(connection: Connection, environment: int, domain: str) -> set[int]:
    """The tasks of a domain, with the steps of their runs. An environment has some hundred thousand tasks at most."""
    found = {row[0] for row in connection.execute(OF_DOMAIN, [environment, domain])}
    return found | {row[0] for row in connection.execute(STEPS, [environment, list(found)])}


TASKS_ABOVE = """
select distinct above.id from attempt a cross join lateral (values (a.parent_task_id), (a.root_task_id)) above (id)
where a.environment = %s and a.task_id = any(%s) and above.id is not null
"""


def tasks_above(connection: Connection, environment: int, tasks: Iterable[int]) -> set[int]:
    """The tasks whose runs stand above runs of these."""
    return {row[0] for row in connection.execute(TASKS_ABOVE, [environment, list(tasks)])}


CO_WRITERS = """
select distinct other.task_id from (
    select distinct d.canonical_id from write w
    join dataset d on d.environment = w.environment and d.id = w.node_id
    where w.environment = %(environment)s and w.task_id = any(%(tasks)s) and w.node_kind = 'dataset'
) written
join dataset member on member.environment = %(environment)s and member.canonical_id = written.canonical_id
cross join lateral (
    select task_id from write
    where environment = %(environment)s and node_kind = 'dataset' and node_id = member.id
    union all
    select task_id from failed_check where environment = %(environment)s and dataset_id = member.id
) other
"""


def co_writers(connection: Connection, environment: int, tasks: Iterable[int]) -> set[int]:
    """All tasks that write a dataset which one of these writes, or that have refused what it wrote."""
    parameters = {"environment": environment, "tasks": list(tasks)}
    return {row[0] for row in connection.execute(CO_WRITERS, parameters)}


STARTED = """
select task_id, run from run
where environment = %(environment)s and kind = any(enum_range(null::run_kind)) and started_at >= %(since)s
    and started_at < %(until)s and (%(tasks)s::bigint[] is null or task_id = any(%(tasks)s))
limit %(most)s
"""


def runs_started(
    connection: Connection, environment: int, since: datetime, until: datetime, tasks: Iterable[int] | None, most: int
) -> set[RunKey]:
    """The runs that started in [since, until), of these tasks or of all; at most `most`."""
    parameters = {"environment": environment, "since": since, "until": until, "most": most}
    parameters["tasks"] = None if tasks is None else list(tasks)
    return {(row[0], row[1]) for row in connection.execute(STARTED, parameters, prepare=False)}


# The mapped instances of one run and what was said of them together; and the runs above.
NEEDED = (
    """
    select other.task_id, other.run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
    join attempt a on a.environment = %(environment)s and a.task_id = k.task_id and a.run = k.run
    join attempt other on other.environment = %(environment)s and other.task_id = a.task_id
        and other.group_run = a.group_run and (other.run = a.group_run or other.run <> other.group_run)
    union
    select a.task_id, a.group_run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
    join attempt a on a.environment = %(environment)s and a.task_id = k.task_id and a.run = k.run
    """,
    """
    select above.task_id, above.run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
    join attempt a on a.environment = %(environment)s and a.task_id = k.task_id and a.run = k.run
    cross join lateral (values (a.parent_task_id, a.parent_run), (a.root_task_id, a.root_run)) p (task_id, run)
    join attempt above on above.environment = %(environment)s and above.external_run = p.run
        and above.task_id = p.task_id
    """,
)


def needed_for(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[RunKey]:
    """The runs that the state of these follows from, at the next remove."""
    parameters = {"environment": environment, **keys(runs)}
    return {(row[0], row[1]) for query in NEEDED for row in connection.execute(query, parameters)}


CO_CLAIMS = """
select other.task_id, other.run from (
    select distinct w.node_kind, coalesce(d.canonical_id, w.node_id) as node_id, w.partition
    from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
    join write w on w.environment = %(environment)s and w.task_id = k.task_id and w.run = k.run
    left join dataset d on d.environment = %(environment)s and w.node_kind = 'dataset' and d.id = w.node_id
) place cross join lateral (
    select place.node_id as id where place.node_kind = 'task'
    union all
    select m.id from dataset m where place.node_kind = 'dataset' and m.environment = %(environment)s
        and m.canonical_id = place.node_id
) member
cross join lateral (
    select task_id, run from write
    where environment = %(environment)s and node_kind = place.node_kind and node_id = member.id
        and partition = place.partition
    union all
    select task_id, run from failed_check
    where place.node_kind = 'dataset' and environment = %(environment)s and dataset_id = member.id
        and partition = place.partition
) other
"""


def co_claims(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[RunKey]:
    """The runs that claim a partition which one of these claims, or that have refused it."""
    rows = connection.execute(CO_CLAIMS, {"environment": environment, **keys(runs)})
    return {(row[0], row[1]) for row in rows}


UNKNOWN: dict[LiteralString, LiteralString] = {
    "attempt": """
    select k.task_id, k.run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
    where not exists (select from attempt a where a.environment = %(environment)s and a.task_id = k.task_id
        and a.run = k.run)
    """,
    "outcome": """
    select k.task_id, k.run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
    where not exists (select from outcome o where o.environment = %(environment)s and o.task_id = k.task_id
        and o.group_run = k.run)
    """,
}


def unknown(connection: Connection, environment: int, table: LiteralString, runs: Sequence[RunKey]) -> set[RunKey]:
    """Those of these runs that `attempt`, or `outcome`, has nothing of."""
    rows = connection.execute(UNKNOWN[table], {"environment": environment, **keys(runs)})
    return {(row[0], row[1]) for row in rows}


MARK = (
    "create temporary table compared_run (task_id bigint, run text, primary key (task_id, run)) on commit drop",
    """
    create temporary table compared_place (node_kind node_kind, node_id bigint, partition text,
        primary key (node_kind, node_id, partition)) on commit drop
    """,
)
MARK_TASKS = """
insert into compared_run
select task_id, run from attempt where environment in (%(live)s, %(rebuilt)s) and task_id = any(%(tasks)s)
union select task_id, group_run from outcome where environment in (%(live)s, %(rebuilt)s) and task_id = any(%(tasks)s)
union select task_id, run from run where environment in (%(live)s, %(rebuilt)s) and task_id = any(%(tasks)s)
"""
MARK_RUNS = """
insert into compared_run
select task_id, run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run) on conflict do nothing
"""
MARK_PLACES = """
insert into compared_place
select distinct w.node_kind, coalesce(d.canonical_id, w.node_id), w.partition
from compared_run k join write w on w.environment in (%(live)s, %(rebuilt)s) and w.task_id = k.task_id and w.run = k.run
left join dataset d on d.environment = w.environment and w.node_kind = 'dataset' and d.id = w.node_id
union
select node_kind, node_id, partition from partition_state
where environment in (%(live)s, %(rebuilt)s) and node_kind = 'task' and node_id = any(%(tasks)s)
"""
MARKED = "select (select count(*) from compared_run), (select count(*) from compared_place)"


def mark(
    connection: Connection, live: int, rebuilt: int, tasks: Iterable[int], runs: Sequence[RunKey]
) -> tuple[int, int]:
    """Marks what is compared until the transaction ends: all runs of these tasks, these runs, and the partitions that
    they claim in either state. Returns how many runs and partitions that are."""
    for statement in MARK:
        connection.execute(statement)
    parameters = {"live": live, "rebuilt": rebuilt, "tasks": list(tasks)}
    connection.execute(MARK_TASKS, parameters)
    connection.execute(MARK_RUNS, keys(runs))
    connection.execute(MARK_PLACES, parameters)
    row = connection.execute(MARKED).fetchone()
    assert row is not None, "a query without a source has one row"
    return int(row[0]), int(row[1])


_RUN = sql.SQL("and (x.task_id, x.run) in (select task_id, run from compared_run)")
_OF_RUNS: dict[str, Scope] = {
    "attempt": _RUN,
    "touch": _RUN,
    "outcome": sql.SQL("and (x.task_id, x.group_run) in (select task_id, run from compared_run)"),
    "shard_chunk": _RUN,
    "run": _RUN,
    "write": _RUN,
    "quality": _RUN,
    "failed_check": _RUN,
    "mark": _RUN,
    "partition_state": sql.SQL(
        "and (x.node_kind, x.node_id, x.partition) in (select node_kind, node_id, partition from compared_place)"
    ),
}


def marked(tasks: Iterable[int]) -> dict[str, Scope]:
    """The condition of each table that is compared: what was marked, and these tasks with their edges."""
    ids = sql.Literal(sorted(tasks))
    if not tasks:
        return _OF_RUNS
    of_tasks: dict[str, Scope] = {
        "task": sql.SQL("and x.id = any({}::bigint[])").format(ids),
        "edge": sql.SQL("and x.task_id = any({}::bigint[])").format(ids),
    }
    return of_tasks | _OF_RUNS
