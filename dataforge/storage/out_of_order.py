"""Events that came out of order, counted by dataset and day of recording. No state: another order has another count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.out_of_order import DAYS, DAYS_KEPT, Late, OutOfOrder
from dataforge.model.reference import TaskRef
from dataforge.storage.attempt import RunKey
from dataforge.storage.partition import Contested
from dataforge.storage.record_set import keys, spread


class Overtaken(msgspec.Struct, frozen=True):
    """A claim of a run on a partition (of a dataset by canonical id) that another run's result stands for."""

    run: RunKey
    dataset: int
    partition: str


OVERTAKEN = """
select k.task_id, k.run, d.canonical_id, w.partition
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as k (task_id, run)
cross join lateral (
    select * from write
    where environment = (select %(environment)s::smallint) and task_id = k.task_id and run = k.run
        and node_kind = 'dataset' offset 0
) w
cross join lateral (
    select canonical_id from dataset
    where environment = (select %(environment)s::smallint) and id = w.node_id offset 0
) d
join json_to_recordset(%(places)s::json) as place (node bigint, key text, groups jsonb)
    on place.node = d.canonical_id and place.key = w.partition
where not place.groups @> jsonb_build_array(jsonb_build_array(w.task_id, w.group_run))
"""


def overtaken(
    connection: Connection, environment: int, runs: Sequence[RunKey], contested: Iterable[Contested]
) -> list[Overtaken]:
    """The claims of these runs on partitions that other runs stand for."""
    places = [{"node": each.node, "key": each.partition, "groups": each.groups} for each in contested]
    parameters = {"environment": environment, **keys(runs), "places": spread(places)}
    rows = connection.execute(OVERTAKEN, parameters).fetchall()
    return [Overtaken((task, run), node, key) for task, run, node, key in set(rows)]


ADD = """
with said as (
    select * from json_to_recordset(%(rows)s::json) as s (dataset_id bigint, events bigint, occurred_at timestamptz,
        behind timestamptz, task_id bigint, run text, partition text)
), ended as (
    delete from out_of_order where environment = %(environment)s and dataset_id in (select dataset_id from said)
        and day < (now() at time zone 'UTC')::date - %(kept)s::integer
)
insert into out_of_order (environment, dataset_id, day, events, recorded_at, occurred_at, behind, task_id, run,
    partition)
select %(environment)s, dataset_id, (now() at time zone 'UTC')::date, events, now(), occurred_at, behind, task_id, run,
    partition
from said
on conflict (environment, dataset_id, day) do update set
    events = out_of_order.events + excluded.events, recorded_at = excluded.recorded_at,
    occurred_at = excluded.occurred_at, behind = excluded.behind, task_id = excluded.task_id, run = excluded.run,
    partition = excluded.partition
"""


def add(connection: Connection, environment: int, late: Iterable[Late]) -> None:
    """Counts events; of one that is late in its run and for its partition one."""
    found: dict[int, dict[bytes, Late]] = {}
    for each in sorted(late):
        found.setdefault(each.dataset, {})[each.event] = each
    rows = [_row(dataset, events) for dataset, events in sorted(found.items())]
    if rows:
        connection.execute(ADD, {"environment": environment, "rows": spread(rows), "kept": DAYS_KEPT})


def _row(dataset: int, events: Mapping[bytes, Late]) -> dict[str, object]:
    last = max(events.values())
    return {
        "dataset_id": dataset,
        "events": len(events),
        "occurred_at": last.occurred_at,
        "behind": last.behind,
        "task_id": last.task,
        "run": last.run,
        "partition": last.partition,
    }


# A dataset under several names has a row for each.
TOLD = """
select asked.id, o.day, sum(o.events) over (partition by asked.id, o.day), t.namespace, t.name, o.run, o.partition,
    o.occurred_at, o.behind, o.recorded_at
from unnest(%(ids)s::bigint[]) as asked (id)
cross join lateral (
    select id from dataset where environment = %(environment)s and canonical_id = asked.id offset 0
) named
cross join lateral (
    select * from out_of_order
    where environment = %(environment)s and dataset_id = named.id
        and day > (%(now)s::timestamptz at time zone 'UTC')::date - %(days)s::integer
    offset 0
) o
cross join lateral (
    select namespace, name from task where environment = %(environment)s and id = o.task_id offset 0
) t
order by asked.id, o.day desc, o.recorded_at desc, o.occurred_at desc
"""


def told(
    connection: Connection, environment: int, datasets: Iterable[int], now: datetime
) -> dict[int, list[OutOfOrder]]:
    """The last days on which events of these datasets, by canonical id, came out of order, the newest first."""
    parameters = {"environment": environment, "ids": list(datasets), "now": now, "days": DAYS}
    found: dict[int, list[OutOfOrder]] = {}
    for dataset, day, events, namespace, name, run, key, occurred_at, behind, recorded_at in connection.execute(
        TOLD, parameters
    ):
        days = found.setdefault(dataset, [])
        if not days or days[-1].day != day:
            days.append(
                OutOfOrder(
                    day=day,
                    events=int(events),
                    task=TaskRef(namespace, name),
                    run=run,
                    partition=key or None,
                    occurred_at=occurred_at,
                    behind=behind,
                    recorded_at=recorded_at,
                )
            )
    return found
