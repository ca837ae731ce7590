"""Partition edges: the dependencies between partitions that runs showed by naming them.

Guarantees that what is read follows from the places asked for: the latest runs of each, up to a bound. A Spark
application's steps speak for it, but not an RDD job that never ended, which is mostly Spark looking at a first file.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from psycopg import Connection

from dataforge.storage.readiness import Place, columns

MOST_RUNS = 50  # of one partition, the latest


class PartitionEdge(NamedTuple):
    """That a run for a partition of a task read or wrote a partition of a dataset (by canonical id)."""

    task_id: int
    own: str
    written: bool
    dataset_id: int
    partition: str
    run: str
    seen_at: datetime

    @property
    def task(self) -> Place:
        return ("task", self.task_id, self.own)

    @property
    def dataset(self) -> Place:
        return ("dataset", self.dataset_id, self.partition)


OF_TASKS = """
with ran as (
    select w.task_id, w.key, c.run, c.attempt_id
    from unnest(%(nodes)s::bigint[], %(partitions)s::text[]) as w (task_id, key)
    cross join lateral (
        select run, attempt_id from write
        where environment = %(environment)s and node_kind = 'task' and node_id = w.task_id and partition = w.key
        order by started_at desc nulls last limit %(most)s
    ) c
), toucher as (
    select task_id, key, run, task_id as by_task, run as by_run, attempt_id from ran
    union all
    select r.task_id, r.key, r.run, s.task_id, s.run, s.attempt_id
    from ran r
    join attempt a on a.environment = %(environment)s and a.task_id = r.task_id and a.run = r.run
        and a.attempt_id = r.attempt_id
    cross join lateral (
        select * from attempt where environment = %(environment)s and parent_run = a.external_run offset 0
    ) s
    where s.parent_task_id = r.task_id and s.kind = 'step'
        and (s.completed or coalesce(s.source ->> 'job_type', '') <> 'RDD_JOB')
)
select r.task_id, r.key, t.direction = 'output', d.canonical_id, t.partition,
    (array_agg(r.run order by t.last_at desc, r.run))[1], max(t.last_at)
from toucher r
cross join lateral (
    select * from touch where environment = %(environment)s and task_id = r.by_task and run = r.by_run
        and attempt_id = r.attempt_id offset 0
) t
join dataset d on d.environment = %(environment)s and d.id = t.dataset_id
where t.partition <> '' and (t.direction = 'output') = %(written)s and coalesce(t.change, '') not in ('DROP', 'ALTER')
group by 1, 2, 3, 4, 5
"""


def of_tasks(
    connection: Connection, environment: int, places: Iterable[Place], *, written: bool
) -> list[PartitionEdge]:
    """What the runs for these partitions of tasks named as read, or as written."""
    return _edges(connection, OF_TASKS, environment, places, written=written)


OF_DATASETS = """
with named as (
    select w.node, w.key, t.*
    from unnest(%(nodes)s::bigint[], %(partitions)s::text[]) as w (node, key)
    join dataset m on m.environment = %(environment)s and m.canonical_id = w.node
    cross join lateral (
        select task_id, run, attempt_id, change, last_at from touch
        where environment = %(environment)s and dataset_id = m.id and partition = w.key and partition <> ''
            and (direction = 'output') = %(written)s
        order by last_at desc limit %(most)s
    ) t
), ran as (
    select n.node, n.key, n.last_at, coalesce(above.task_id, a.task_id) as task_id, coalesce(above.run, a.run) as run
    from named n
    join attempt a on a.environment = %(environment)s and a.task_id = n.task_id and a.run = n.run
        and a.attempt_id = n.attempt_id
    left join lateral (
        select task_id, run from attempt where environment = %(environment)s and external_run = a.parent_run
            and task_id = a.parent_task_id limit 1
    ) above on a.kind = 'step'
    where coalesce(n.change, '') not in ('DROP', 'ALTER')
        and (a.kind <> 'step' or a.completed or coalesce(a.source ->> 'job_type', '') <> 'RDD_JOB')
)
select r.task_id, own.key, %(written)s, r.node, r.key,
    (array_agg(r.run order by r.last_at desc, r.run))[1], max(r.last_at)
from ran r
join run on run.environment = %(environment)s and run.task_id = r.task_id and run.run = r.run
cross join lateral unnest(case when run.partitions = '{}' then '{""}' else run.partitions end) as own (key)
group by 1, 2, 3, 4, 5
"""


def of_datasets(
    connection: Connection, environment: int, places: Iterable[Place], *, written: bool
) -> list[PartitionEdge]:
    """Whose runs named these partitions of datasets (by canonical id) as read, or as written."""
    return _edges(connection, OF_DATASETS, environment, places, written=written)


def _edges(
    connection: Connection, query: str, environment: int, places: Iterable[Place], *, written: bool
) -> list[PartitionEdge]:
    parameters = {**columns(environment, places), "written": written, "most": MOST_RUNS}
    if not parameters["nodes"]:
        return []
    return [PartitionEdge(*row) for row in connection.execute(query.encode(), parameters)]
