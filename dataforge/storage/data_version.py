"""Which versions the partitions of datasets had: every success that wrote one of them, read for many at once.

Guarantees a number of queries that does not grow with the number of partitions, and that each reads a bounded range of
an index for every one of them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from dataforge.model.data_version import Version
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place, columns

MOST_LOOKED_AT = 400  # the last claims on one partition, under each of its dataset's names


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A success that wrote a partition of a dataset, or an attempt that did where its declared mapping leads there; of
    a mapped task that of one instance."""

    place: Place
    version: Version  # by the run, or the mapped run as a whole
    dataset: int  # under the name that was written
    started_at: datetime | None
    rank: int  # its run's, among those that started at one moment
    unplaced: tuple[str, ...] | None = None  # an attempt's own partitions, where it named none of what it wrote
    instance: str | None = None  # of a mapped run, which one
    instances: int = 1  # how many of them write the partition


# A run that was cleared and ran again has one claim, of its last attempt; when an earlier attempt of it had succeeded,
# that was a version too. Of a mapped run each instance is told of. What a watermark has passed is a version also where
# data came late for it. The order is that of `storage.partition`: what takes precedence comes first.
SUCCESSES = """
with asked as (
    select * from unnest(%(nodes)s::bigint[], %(partitions)s::text[]) as w (node, partition)
), claim as (
    select w.node, w.partition, d.id, c.*
    from asked w
    join dataset d on d.environment = %(environment)s and d.canonical_id = w.node
    cross join lateral (
        select task_id, run, attempt_id, case when attempt_id = '~watermark' then run else group_run end as group_run,
            producer_task_id, producer_run, status, started_at, since, version
        from write
        where environment = %(environment)s and node_kind = 'dataset' and node_id = d.id and partition = w.partition
        order by started_at desc nulls last limit %(most)s
    ) c
), known as (
    select *, 1 as instances from claim where run = group_run
    union all
    select g.node, g.partition, g.id, m.task_id, m.run, m.attempt_id, m.group_run, m.task_id, m.group_run, m.status,
        m.started_at, m.since, m.version, m.instances
    from (select distinct node, partition, id, task_id, group_run from claim where run <> group_run) g
    cross join lateral (
        select *, dense_rank() over (order by run) + dense_rank() over (order by run desc) - 1 as instances from (
            select * from write
            where environment = %(environment)s and task_id = g.task_id and group_run = g.group_run
                and (run = g.group_run or run <> group_run) offset 0
        ) w
        where w.node_kind = 'dataset' and w.node_id = g.id and w.partition = g.partition
    ) m
), earlier as (
    select c.node, c.partition, c.id, c.task_id, c.run, c.group_run, c.instances, a.attempt_id,
        coalesce(a.started_at, e.since) as started_at, e.since, t.version,
        case when t.partition = '' then a.partitions end as unplaced
    from (select distinct on (node, partition, id, task_id, run) * from known where attempt_id <> '~watermark'
        order by node, partition, id, task_id, run) c
    cross join lateral (
        select * from attempt
        where environment = %(environment)s and task_id = c.task_id and run = c.run
        order by attempt_id limit 50  -- the order of the primary key, or one that ends with another column is taken
    ) a
    cross join lateral (select case when a.said_state = 'succeeded' then a.said_at else a.ended_at end as since) e
    cross join lateral (
        select version, partition from touch
        where environment = %(environment)s and task_id = a.task_id and run = a.run and attempt_id = a.attempt_id
            and direction = 'output' and dataset_id = c.id and partition in (c.partition, '')
        order by partition desc limit 1
    ) t
    where a.state = 'succeeded' and a.kind = 'task' and not exists (
        select from known own where own.node = c.node and own.partition = c.partition and own.id = c.id
            and own.task_id = a.task_id and own.run = a.run and own.attempt_id = a.attempt_id)
), success as (
    select node, partition, producer_task_id, producer_run, since, version, started_at, task_id, run, attempt_id, id,
        null::text[] as unplaced, group_run, instances
    from known where status in ('ready', 'stale')
    union all
    select node, partition, task_id, group_run, since, version, started_at, task_id, run, attempt_id, id, unplaced,
        group_run, instances
    from earlier
)
select node, partition, since, producer_task_id, producer_run, version, id, started_at,
    dense_rank() over (order by task_id, group_run desc), unplaced, case when run <> group_run then run end, instances
from success
order by node, partition, started_at desc nulls last, task_id, run desc, version desc nulls last, attempt_id desc, id
"""


def successes_of(environment: int, places: Iterable[Place]) -> dict[str, Any]:
    """The parameters of `successes`."""
    return {**columns(environment, places), "most": MOST_LOOKED_AT}


def successes(connection: Connection, environment: int, places: Iterable[Place]) -> list[Written]:
    """The successes that wrote each of these partitions of datasets, the one that takes precedence first; of one that
    was written more often than `MOST_LOOKED_AT` times the last ones. Which partitions an attempt before the last wrote
    is left open where it named none."""
    return [
        Written(
            place=("dataset", node, key),
            version=Version(since, (task_id, run), word),
            dataset=name,
            started_at=started,
            rank=rank,
            unplaced=None if own is None else tuple(own),
            instance=instance,
            instances=instances,
        )
        for node, key, since, task_id, run, word, name, started, rank, own, instance, instances in connection.execute(
            SUCCESSES, successes_of(environment, places)
        ).fetchall()
    ]
