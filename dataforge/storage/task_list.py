"""Tasks as lists show them: those that were declared or seen, by namespace and name."""

import msgspec
from psycopg import Connection

from dataforge.model.catalog import TaskItem
from dataforge.model.filter import TaskFilter
from dataforge.model.listing import MOST_EXAMINED, Examined, examined
from dataforge.model.reference import TaskRef


class TaskPlace(msgspec.Struct, frozen=True, array_like=True, tag="tasks"):
    """The place of a task in the list."""

    namespace: str
    name: str


# Planned with its values each time (prepare=False), so that a namespace which is given bounds the range.
MATCHING = """
with looked_at as (
    select namespace, name, kind, owner, platform, seen or declared_by is not null as known
    from task where environment = %(environment)s
        and (%(namespace)s::text is null or namespace = %(namespace)s)
        and (namespace, name) > (%(after_namespace)s, %(after_name)s)
    order by namespace, name limit %(most)s
), judged as (
    select namespace, name,
        known
        and (%(kind)s::run_kind is null or kind = %(kind)s::run_kind)
        and (%(owner)s::text is null or coalesce(owner, '') = %(owner)s)
        and (%(platform)s::text is null or platform = %(platform)s) as matches,
        row_number() over (order by namespace, name) as place,
        count(*) over () as read
    from looked_at
)
select namespace, name, matches, read from judged where matches or place = read
order by place limit %(limit)s + 1
"""


def find(connection: Connection, environment: int, wanted: TaskFilter, after: TaskPlace | None) -> Examined[TaskPlace]:
    """The tasks that one page's stretch holds."""
    parameters = {
        **msgspec.structs.asdict(wanted),
        "environment": environment,
        "kind": wanted.kind or "task",
        "after_namespace": after.namespace if after else "",
        "after_name": after.name if after else "",
        "most": MOST_EXAMINED,
    }
    rows = connection.execute(MATCHING, parameters, prepare=False).fetchall()
    places = [(TaskPlace(namespace, name), matches) for namespace, name, matches, _ in rows]
    return examined(places, rows[0][3] if rows else 0, MOST_EXAMINED)


# A register holds [event time, event id, value].
LOAD = """
select namespace, name, kind, platform, owner, domain, partitioning, partitioning_origin, declared_by,
    encode(version, 'hex'), coalesce(definition ->> 'trigger_rule', observed -> 'trigger_rule' ->> 2),
    coalesce(definition ->> 'description', observed -> 'description' ->> 2),
    coalesce(definition -> 'tags', '[]'), coalesce(definition -> 'links', '{}')
from task
where environment = %s and id = any(%s) and (seen or declared_by is not null)
order by namespace, name
"""


def load(connection: Connection, environment: int, tasks: list[TaskRef]) -> list[TaskItem]:
    """These tasks, as far as they were declared or seen, in the order of the list."""
    columns = TaskItem.__struct_fields__
    rows = connection.execute(LOAD, [environment, [task.id for task in tasks]])
    return [msgspec.convert(dict(zip(columns, row, strict=True)), TaskItem) for row in rows]
