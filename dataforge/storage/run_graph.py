"""The runs inside one run, and those that it caused or was caused by: found by what each says of its parent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from psycopg import Connection

from dataforge.model.run_graph import Instance
from dataforge.model.state import RunKind, RunState
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import keys

OUTER = "select distinct external_run from attempt where environment = %s and task_id = %s and run = %s"


def named_by_children(connection: Connection, environment: int, run: RunKey) -> list[str]:
    """What the attempts of a run are called by those inside it."""
    return sorted(row[0] for row in connection.execute(OUTER, [environment, *run]))


# With those that only the platform's list names; of a mapped task its instances stand for it.
INSIDE = """
select task_id, run from (
    select distinct a.task_id, a.run from unnest(%(external)s::text[]) as above (run) cross join lateral (
        select * from attempt where environment = %(environment)s and parent_run = above.run offset 0
    ) a
    where a.parent_task_id = %(task)s
    union
    select o.task_id, o.group_run from unnest(%(external)s::text[]) as above (run) cross join lateral (
        select * from outcome where environment = %(environment)s and parent_run = above.run offset 0
    ) o
    where o.parent_task_id = %(task)s
) inside
where exists (select from run r where r.environment = %(environment)s and r.task_id = inside.task_id
    and r.run = inside.run)
order by task_id, run limit %(most)s
"""


def inside(connection: Connection, environment: int, task_id: int, external: Sequence[str], most: int) -> list[RunKey]:
    """The runs whose parent is a run of this task that goes by one of these names; at most so many."""
    parameters = {"environment": environment, "task": task_id, "external": list(external), "most": most}
    return [(row[0], row[1]) for row in connection.execute(INSIDE, parameters)]


LOAD = """
select r.task_id, r.kind, t.namespace, t.name, r.run, r.map_index, r.attempt, (
        select count(*) from attempt other where other.environment = %(environment)s and other.task_id = r.task_id
            and other.run = r.run
    ), r.state, r.evidence, r.partitions, r.started_at, r.ended_at,
    coalesce(a.task_version, (
        select encode(s.version, 'hex') from definition_span s
        where s.environment = %(environment)s and s.node_kind = 'task' and s.node_id = r.task_id
            and s.valid_from <= coalesce(r.started_at, r.ended_at)
            and coalesce(s.valid_to, 'infinity') > coalesce(r.started_at, r.ended_at)
        order by s.valid_from desc, s.source limit 1)),
    r.source ->> 'triggered_by'
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
join run r on r.environment = %(environment)s and r.task_id = wanted.task_id and r.run = wanted.run
join task t on t.environment = %(environment)s and t.id = r.task_id
left join attempt a on a.environment = %(environment)s
    and a.task_id = r.task_id and a.run = r.run and a.attempt_id = r.attempt_id
order by t.namespace, t.name, r.map_index, r.run
"""


class Loaded(NamedTuple):
    """A run as its graph shows it, the id of its task, and the runs whose updates triggered it, as they are called."""

    task_id: int
    instance: Instance
    triggered_by: tuple[str, ...]


def load(connection: Connection, environment: int, runs: Sequence[RunKey]) -> list[Loaded]:
    """These runs by name and map index."""
    rows = connection.execute(LOAD, {"environment": environment, **keys(runs)})
    return [
        Loaded(
            row[0],
            Instance(
                kind=RunKind(row[1]),
                namespace=row[2],
                name=row[3],
                run=row[4],
                map_index=row[5],
                attempt=row[6],
                attempts=row[7],
                state=RunState(row[8]),
                evidence=row[9],
                partitions=row[10],
                started_at=row[11],
                ended_at=row[12],
                version=row[13],
            ),
            tuple((row[14] or "").split()),
        )
        for row in rows
    ]


CAUSED = """
select distinct own.task_id, own.run, child.task_id, child.run
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as own (task_id, run)
join attempt a on a.environment = %(environment)s and a.task_id = own.task_id and a.run = own.run
cross join lateral (
    select task_id, run, parent_task_id from attempt
    where environment = %(environment)s and parent_run = a.external_run and kind <> 'step' limit %(most)s offset 0
) child
where child.parent_task_id = own.task_id limit %(most)s
"""


def caused(connection: Connection, environment: int, runs: Sequence[RunKey], most: int) -> list[tuple[RunKey, RunKey]]:
    """The runs that have one of these as their parent, each behind it; at most so many."""
    rows = connection.execute(CAUSED, {"environment": environment, "most": most, **keys(runs)})
    return [((row[0], row[1]), (row[2], row[3])) for row in rows]


ABOVE = """
select distinct above.task_id, above.run from attempt a cross join lateral (
    select task_id, run from attempt
    where environment = %(environment)s and external_run = a.parent_run and task_id = a.parent_task_id
) above
where a.environment = %(environment)s and a.task_id = %(task)s and a.run = %(run)s
"""


def above(connection: Connection, environment: int, run: RunKey) -> list[RunKey]:
    """The runs that attempts of this one name as their parent."""
    rows = connection.execute(ABOVE, {"environment": environment, "task": run[0], "run": run[1]})
    return [(row[0], row[1]) for row in rows]


CALLED = "select distinct task_id, run from attempt where environment = %s and external_run = any(%s)"


def called(connection: Connection, environment: int, external: Iterable[str]) -> list[RunKey]:
    """The runs of which an attempt is called so."""
    return [(row[0], row[1]) for row in connection.execute(CALLED, [environment, list(external)])]
