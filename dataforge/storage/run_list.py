"""Runs as lists show them: which are on a page, and all that is shown of each."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from psycopg import Connection

from dataforge.model.catalog import IntervalItem, MarkItem, RunItem, TouchItem
from dataforge.model.filter import RunFilter
from dataforge.model.listing import Examined, examined
from dataforge.model.shard import ShardCounts
from dataforge.model.state import RunKind, RunState
from dataforge.storage import run_window, touch_list
from dataforge.storage.run_window import Place

_JUDGED = """
, judged as (
    select r.started_at, r.task_id, r.run,
        not coalesce(r.task_id = %(after_task)s::bigint and r.run = %(after_run)s::text, false)
        and (%(state)s::run_state is null or r.state = %(state)s::run_state)
        and (%(partition)s::text is null or %(partition)s::text = any (r.partitions))
        and (%(namespace)s::text is null or t.namespace = %(namespace)s)
        and (%(owner)s::text is null or coalesce(t.owner, '') = %(owner)s)
        and (%(platform)s::text is null or t.platform = %(platform)s) as matches,
        row_number() over (order by r.started_at desc nulls last, r.task_id, r.run) as place,
        count(*) over () as read
    from looked_at r join task t on t.environment = %(environment)s and t.id = r.task_id
)
select started_at, task_id, run, matches, read, place from judged where matches or place = read
order by place limit %(limit)s + 1
"""
MATCHING = run_window.STRETCH + _JUDGED


def find(
    connection: Connection, environment: int, wanted: RunFilter, task: int | None, after: Place | None
) -> Examined[Place]:
    """The runs that one page's stretch holds, of one task or of all."""
    given = run_window.parameters(environment, wanted, task, after)
    rows = connection.execute(MATCHING, given, prepare=False).fetchall()
    return _examined(rows, given["most"])


# `asked.place` is the task's place among those asked for, `page.place` the run's among the task's.
MATCHING_OF_EACH = f"""
select asked.place, page.started_at, page.task_id, page.run, page.matches, page.read
from unnest(%(tasks)s::bigint[]) with ordinality as asked (id, place)
cross join lateral ({run_window.STRETCH_OF_EACH + _JUDGED}) page
order by asked.place, page.place
"""  # noqa: S608  # all are literals


def find_of_each(
    connection: Connection, environment: int, wanted: RunFilter, tasks: Sequence[int], after: Place | None
) -> list[Examined[Place]]:
    """The same for each of these tasks, by one statement; what is read for a filter is shared among them."""
    given = run_window.parameters(environment, wanted, tasks[0], after, share=len(tasks)) | {"tasks": list(tasks)}
    found: list[list[tuple[Any, ...]]] = [[] for _ in tasks]
    for place, *row in connection.execute(MATCHING_OF_EACH, given, prepare=False):
        found[place - 1].append(tuple(row))
    return [_examined(rows, given["most"]) for rows in found]


def _examined(rows: Sequence[tuple[Any, ...]], most: int) -> Examined[Place]:
    return examined([(Place(*row[:3]), row[3]) for row in rows], rows[0][4] if rows else 0, most)


# The version that a run ran: what its attempt says, else what stood when it started, as far as anybody knows when that
# was (dataforge.model.version). It is looked up and not kept, so no order of events and declarations matters.
LOAD = """
select r.kind, t.namespace, t.name, r.partitions, r.run, r.attempt, r.state, r.started_at, r.ended_at,
    r.interval_start, r.interval_end, r.error, r.evidence, r.partition_from, r.source,
    coalesce(a.task_version, (
        select encode(s.version, 'hex') from definition_span s
        where s.environment = %(environment)s and s.node_kind = 'task' and s.node_id = r.task_id
            and s.valid_from <= coalesce(r.started_at, r.ended_at)
            and coalesce(s.valid_to, 'infinity') > coalesce(r.started_at, r.ended_at)
        order by s.valid_from desc, s.source limit 1)),
    r.task_id, coalesce(r.attempt_id, ''), r.shards, mark.marked_by, mark.at, mark.state = 'queued', mark.reason
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) with ordinality as wanted (task_id, run, place)
join run r on r.environment = %(environment)s and r.task_id = wanted.task_id and r.run = wanted.run
join task t on t.environment = %(environment)s and t.id = r.task_id
left join attempt a on a.environment = %(environment)s
    and a.task_id = r.task_id and a.run = r.run and a.attempt_id = r.attempt_id
left join lateral (
    select m.* from mark m
    where m.environment = %(environment)s and m.task_id = r.task_id and m.run in (r.run, r.group_run)
    order by m.at desc, m.said_by desc limit 1
) mark on r.evidence = 'operator'
order by place
"""


def load(connection: Connection, environment: int, places: Sequence[Place]) -> list[RunItem]:
    """The runs at these places, in their order, with what the deciding attempt of each read and wrote."""
    parameters = {
        "environment": environment,
        "tasks": [place.task_id for place in places],
        "runs": [place.run for place in places],
    }
    rows = connection.execute(LOAD, parameters).fetchall()
    touched = touch_list.load(connection, environment, [(row[16], row[4], row[17]) for row in rows])
    items = [shown(row, *touches) for row, touches in zip(rows, touched, strict=True)]
    return [
        replace(item, marked=_marked(row[19:]), shards=ShardCounts(**row[18]) if row[18] is not None else None)
        for item, row in zip(items, rows, strict=True)
    ]


def _marked(columns: Sequence[Any]) -> MarkItem | None:
    return MarkItem(*columns) if columns[0] is not None else None


def shown(row: Sequence[Any], inputs: list[TouchItem], outputs: list[TouchItem]) -> RunItem:
    """A run or an attempt as lists show it, from the first sixteen columns of LOAD."""
    partitions, start, end = row[3], row[9], row[10]
    return RunItem(
        kind=RunKind(row[0]),
        namespace=row[1],
        name=row[2],
        partition=partitions[0] if len(partitions) == 1 else None,
        partitions=partitions,
        run=row[4],
        attempt=row[5],
        state=RunState(row[6]),
        started_at=row[7],
        ended_at=row[8],
        data_interval=IntervalItem(start, end) if start is not None else None,
        inputs=inputs,
        outputs=outputs,
        error=row[11],
        evidence=row[12],
        partition_from=row[13],
        source=row[14],
        version=row[15],
    )
