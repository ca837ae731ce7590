"""Attempts as lists show them: each as it stands with what its parent said, in the order of the runs."""

from collections.abc import Sequence

from psycopg import Connection

from dataforge.model.catalog import RunItem
from dataforge.model.filter import RunFilter
from dataforge.model.listing import Examined, examined
from dataforge.storage import run_list, run_window, touch_list
from dataforge.storage.run_window import Place

MATCHING = (
    run_window.STRETCH  # noqa: S608  # both are literals
    + """
, attempted as (
    select r.started_at, r.task_id, r.run, a.partitions, t.namespace, t.owner, t.platform, a.state,
        coalesce(a.ordinal, 2147483647) as ordinal, coalesce(a.attempt_id, '') as attempt_id
    from looked_at r join task t on t.environment = %(environment)s and t.id = r.task_id
    left join attempt a on a.environment = %(environment)s and a.task_id = r.task_id and a.run = r.run
), judged as (
    select started_at, task_id, run, ordinal, attempt_id,
        attempt_id <> ''
        and not coalesce(task_id = %(after_task)s::bigint and run = %(after_run)s::text
            and (ordinal, attempt_id) <= (%(after_ordinal)s::integer, %(after_attempt)s::text), false)
        and (%(state)s::run_state is null or state = %(state)s::run_state)
        and (%(partition)s::text is null or %(partition)s::text = any (partitions))
        and (%(namespace)s::text is null or namespace = %(namespace)s)
        and (%(owner)s::text is null or coalesce(owner, '') = %(owner)s)
        and (%(platform)s::text is null or platform = %(platform)s) as matches,
        row_number() over (order by started_at desc nulls last, task_id, run, ordinal, attempt_id) as place,
        count(*) over () as last_place
    from attempted
)
select started_at, task_id, run, ordinal, attempt_id, matches, (select count(*) from looked_at)
from judged where matches or place = last_place
order by place limit %(limit)s + 1
"""
)


def find(
    connection: Connection, environment: int, wanted: RunFilter, task: int | None, after: Place | None
) -> Examined[Place]:
    """The attempts that one page's stretch of runs holds, of one task or of all."""
    given = run_window.parameters(environment, wanted, task, after)
    rows = connection.execute(MATCHING, given, prepare=False).fetchall()
    return examined([(Place(*row[:5]), row[5]) for row in rows], rows[0][6] if rows else 0, given["most"])


LOAD = """
select a.kind, t.namespace, t.name, a.partitions, a.run, a.ordinal, a.state, a.started_at, a.ended_at,
    a.span_start, a.span_end, a.error, a.evidence, r.partition_from, a.source,
    coalesce(a.task_version, (
        select encode(s.version, 'hex') from definition_span s
        where s.environment = %(environment)s and s.node_kind = 'task' and s.node_id = a.task_id
            and s.valid_from <= coalesce(a.started_at, a.ended_at)
            and coalesce(s.valid_to, 'infinity') > coalesce(a.started_at, a.ended_at)
        order by s.valid_from desc, s.source limit 1))
from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(attempts)s::text[])
    with ordinality as wanted (task_id, run, attempt_id, place)
join attempt a on a.environment = %(environment)s
    and a.task_id = wanted.task_id and a.run = wanted.run and a.attempt_id = wanted.attempt_id
join run r on r.environment = %(environment)s and r.task_id = wanted.task_id and r.run = wanted.run
join task t on t.environment = %(environment)s and t.id = wanted.task_id
order by place
"""


def load(connection: Connection, environment: int, places: Sequence[Place]) -> list[RunItem]:
    """The attempts at these places, in their order, each with what it read and wrote itself."""
    keys = [(place.task_id, place.run, place.attempt_id) for place in places]
    parameters = {
        "environment": environment,
        "tasks": [key[0] for key in keys],
        "runs": [key[1] for key in keys],
        "attempts": [key[2] for key in keys],
    }
    rows = connection.execute(LOAD, parameters).fetchall()
    touched = touch_list.load(connection, environment, keys)
    return [run_list.shown(row, *touches) for row, touches in zip(rows, touched, strict=True)]
