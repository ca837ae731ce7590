"""Reports: what the last success of a partition said of it, and what other runs found when they checked it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.report import Report, Written, stored

Partition = tuple[int, str]  # canonical dataset id, partition
MOST_CHECKED = 1_000  # runs that checked one partition, the latest first; a check is forgotten when so many came after


class Reported(msgspec.Struct, frozen=True):
    """The last success of a partition: when it was ready, and what each of its instances said."""

    since: datetime | None
    written: tuple[Written, ...]


# The last success is the one that the partition's state names; of several claims of its producer (the jobs of a Spark
# application) the latest, and with it the instances of the same mapped run. What a claim is on need not be what the
# event named: where it named no partition, the claim is on those of the run. Of a stream it is one with late data, too.
WRITTEN = """
select w.node, w.key, s.ready_since, c.rows, c.version, t.report
from unnest(%(nodes)s::bigint[], %(keys)s::text[]) as w (node, key)
join partition_state s on s.environment = %(environment)s and s.node_kind = 'dataset' and s.node_id = w.node
    and s.partition = w.key and s.ready_run is not null
cross join lateral (
    select array_agg(id) as ids from dataset where environment = %(environment)s and canonical_id = w.node
) names
cross join lateral (
    select task_id, group_run from write
    where environment = %(environment)s and node_kind = 'dataset' and node_id = any(names.ids) and partition = w.key
        and producer_task_id = s.ready_task_id and producer_run = s.ready_run and status in ('ready', 'stale')
    order by started_at desc nulls last, task_id, run desc limit 1
) latest
cross join lateral (
    select * from write
    where environment = %(environment)s and node_kind = 'dataset' and node_id = any(names.ids) and partition = w.key
        and task_id = latest.task_id and group_run = latest.group_run and status in ('ready', 'stale') offset 0
) c
left join lateral (
    select report from touch
    where environment = %(environment)s and task_id = c.task_id and run = c.run and attempt_id = c.attempt_id
        and direction = 'output' and dataset_id = c.node_id and partition in (c.partition, '')
    order by partition desc limit 1
) t on true
order by w.node, w.key, c.run, c.attempt_id, c.node_id
"""


def written(connection: Connection, environment: int, wanted: Iterable[Partition]) -> dict[Partition, Reported]:
    """What was reported by the last success of each of these partitions, of those that have one."""
    ordered = sorted(set(wanted))
    parameters = {"environment": environment, "nodes": [p[0] for p in ordered], "keys": [p[1] for p in ordered]}
    found: dict[Partition, tuple[datetime | None, list[Written]]] = {}
    for node, key, since, rows, version, report in connection.execute(WRITTEN, parameters).fetchall():
        found.setdefault((node, key), (since, []))[1].append(Written(rows, version, stored(report)))
    return {place: Reported(since, tuple(each)) for place, (since, each) in found.items()}


CHECKED = """
select w.node, w.key, q.report
from unnest(%(nodes)s::bigint[], %(keys)s::text[], %(times)s::timestamptz[]) as w (node, key, since)
cross join lateral (
    select q.report from dataset d join quality q on q.environment = %(environment)s and q.dataset_id = d.id
        and q.partition = w.key and q.at >= coalesce(w.since, '-infinity')
    where d.environment = %(environment)s and d.canonical_id = w.node
    order by q.at desc, q.task_id, q.run, q.attempt_id limit %(most)s
) q
"""


def checked(
    connection: Connection, environment: int, since: Mapping[Partition, datetime | None]
) -> dict[Partition, list[Report]]:
    """What runs that read these partitions reported of them from the given times on."""
    parameters = {
        "environment": environment,
        "nodes": [place[0] for place in since],
        "keys": [place[1] for place in since],
        "times": list(since.values()),
        "most": MOST_CHECKED,
    }
    found: dict[Partition, list[Report]] = {}
    for node, key, report in connection.execute(CHECKED, parameters).fetchall():
        found.setdefault((node, key), []).append(stored(report))
    return found
