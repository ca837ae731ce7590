"""What runs made, and who consumes it: the steps of a search for what was built from something.

Guarantees a number of queries that does not grow with the number of runs, each of which finds every row by an index.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.freshness import RunKey
from dataforge.storage.readiness import Place


class Output(msgspec.Struct, frozen=True):
    """A partition that a run made, datasets by canonical id; `standing` where its last success is still that run's."""

    place: Place
    at: datetime
    standing: bool


# A run makes what it claims itself, and what the runs below it claim, two levels of them: of an Airflow task the Spark
# application, and of that its jobs. What a watermark has passed was there from then on, also where data came late.
OUTPUTS = """
with asked as (
    select w.place, w.task_id, w.run, a.external_run
    from unnest(%(tasks)s::bigint[], %(runs)s::text[]) with ordinality as w (task_id, run, place)
    cross join lateral (
        select attempt_id from run
        where environment = %(environment)s and task_id = w.task_id and run = w.run offset 0
    ) r
    left join lateral (
        select external_run from attempt
        where environment = %(environment)s and task_id = w.task_id and run = w.run and attempt_id = r.attempt_id
        offset 0
    ) a on true
), child as (
    select w.place, c.task_id, c.run, c.external_run
    from asked w
    cross join lateral (
        select * from attempt where environment = %(environment)s and parent_run = w.external_run offset 0
    ) c
    where c.parent_task_id = w.task_id and c.kind <> 'dag'
), maker as (
    select place, task_id, run from asked
    union
    select place, task_id, run from child
    union
    select w.place, c.task_id, c.run
    from child w
    cross join lateral (
        select * from attempt where environment = %(environment)s and parent_run = w.external_run offset 0
    ) c
    where c.parent_task_id = w.task_id and c.kind <> 'dag'
)
select distinct m.place, c.node_kind, coalesce(d.canonical_id, c.node_id), c.partition,
    case c.status when 'ready' then c.since else c.started_at end,
    s.ready_task_id = c.producer_task_id and s.ready_run = c.producer_run
from maker m
cross join lateral (
    select * from write where environment = %(environment)s and task_id = m.task_id and run = m.run offset 0
) c
left join lateral (
    select canonical_id from dataset where environment = %(environment)s and id = c.node_id offset 0
) d on c.node_kind = 'dataset'
left join lateral (
    select ready_task_id, ready_run from partition_state
    where environment = %(environment)s and node_kind = c.node_kind
        and node_id = coalesce(d.canonical_id, c.node_id) and partition = c.partition offset 0
) s on true
where c.status in ('ready', 'stale') and c.since is not null
"""


def outputs(connection: Connection, environment: int, runs: Iterable[RunKey]) -> dict[RunKey, list[Output]]:
    """What each of these runs has made."""
    ordered = sorted(set(runs))
    parameters = {
        "environment": environment,
        "tasks": [task_id for task_id, _ in ordered],
        "runs": [run for _, run in ordered],
    }
    found: dict[RunKey, list[Output]] = {}
    for place, kind, node, partition, at, standing in connection.execute(OUTPUTS, parameters) if ordered else ():
        found.setdefault(ordered[place - 1], []).append(Output((kind, node, partition), at, bool(standing)))
    return found


# Two branches, each by its own index: a dataset's edges stand under any of its names.
CONSUMERS = """
select w.kind, w.node, e.task_id
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[]) as w (kind, node)
cross join lateral (
    select w.node as id where w.kind = 'task'
    union all
    select d.id from dataset d
    where w.kind = 'dataset' and d.environment = %(environment)s and d.canonical_id = w.node
) member
cross join lateral (
    select distinct task_id from edge
    where environment = %(environment)s and node_kind = w.kind and node_id = member.id and relation = 'consumes'
) e
"""


def consumers(
    connection: Connection, environment: int, nodes: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], set[int]]:
    """The tasks that consume these tasks and datasets, as declared or observed."""
    ordered = sorted(set(nodes))
    parameters = {
        "environment": environment,
        "kinds": [kind for kind, _ in ordered],
        "nodes": [node for _, node in ordered],
    }
    found: dict[tuple[str, int], set[int]] = {}
    for kind, node, task_id in connection.execute(CONSUMERS, parameters) if ordered else ():
        found.setdefault((kind, node), set()).add(task_id)
    return found
