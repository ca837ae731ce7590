"""What a window shows: which datasets and tasks a selection fits, and how they hang together.

Guarantees a number of statements that does not grow with the number of assets: each takes arrays.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from dataforge.model.reference import NodeKind
from dataforge.model.selection import Selection
from dataforge.model.task import DBT_TESTS
from dataforge.storage.readiness import Node


class Matching(NamedTuple):
    """The first nodes that a selection fits, and how many there are."""

    nodes: list[Node]
    all: int


# dbt's tests are no assets: they are told of what they test. What has been retired and was never seen is none either.
MATCHING = """
with maker as (
    select named.canonical_id as id, array_agg(t.owner) as owners, array_agg(t.domain) as domains,
        bool_or(coalesce(t.definition -> 'tags' ?| %(tags)s::text[], false)) as tagged
    from edge e
    join dataset named on named.environment = e.environment and named.id = e.node_id
    join task t on t.environment = e.environment and t.id = e.task_id and t.kind = 'task'
    where e.environment = %(environment)s and e.relation = 'produces'
    group by named.canonical_id
), known as (
    select canonical_id as id, array_agg(owner) filter (where owner is not null) as owners,
        bool_or(coalesce(definition -> 'tags' ?| %(tags)s::text[], false)) as tagged,
        bool_or(declared_by is not null or exists (
            select from edge e
            where e.environment = named.environment and e.node_kind = 'dataset' and e.node_id = named.id
        )) as known
    from dataset named where environment = %(environment)s
    group by canonical_id
), asset as (
    select 'dataset' as kind, d.id, d.namespace, d.name, coalesce(known.owners, maker.owners, '{}') as owners,
        coalesce(maker.domains, '{}') as domains, known.tagged or coalesce(maker.tagged, false) as tagged
    from dataset d
    join known on known.id = d.id and known.known
    left join maker on maker.id = d.id
    where d.environment = %(environment)s
    union all
    select 'task', id, namespace, name, array[owner], array[domain],
        coalesce(definition -> 'tags' ?| %(tags)s::text[], false)
    from task t
    where environment = %(environment)s and kind = 'task' and (seen or declared_by is not null)
        and not (platform = 'dbt' and name ~ %(tests)s)
        and not exists (
            select from edge e where e.environment = t.environment and e.task_id = t.id and e.relation = 'produces')
)
select kind, id, count(*) over () from asset
where (cardinality(%(domains)s::text[]) = 0 or domains && %(domains)s::text[])
    and (cardinality(%(owners)s::text[]) = 0 or owners && %(owners)s::text[])
    and (cardinality(%(tags)s::text[]) = 0 or tagged)
    and (cardinality(%(namespaces)s::text[]) = 0 or namespace = any(%(namespaces)s::text[]))
    and (cardinality(%(names)s::text[]) = 0 or name like any(%(names)s::text[]))
order by namespace, name, kind limit %(most)s
"""


def matching(connection: Connection, environment: int, wanted: Selection, most: int) -> Matching:
    """The datasets, and the tasks that write none, which fit each of the selection's lists that is given."""
    given = {
        "environment": environment,
        "domains": list(wanted.domains),
        "owners": list(wanted.owners),
        "tags": list(wanted.tags),
        "namespaces": list(wanted.namespaces),
        "names": [_pattern(name) for name in wanted.names],
        "most": most,
        "tests": DBT_TESTS,
    }
    rows = connection.execute(MATCHING, given, prepare=False).fetchall()
    return Matching([(kind, node) for kind, node, _ in rows], rows[0][2] if rows else 0)


def _pattern(name: str) -> str:
    """A name in which * stands for anything, as `like` has it."""
    escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


class Made(msgspec.Struct, frozen=True):
    """That a task writes a dataset, under the dataset's canonical id."""

    task: int
    dataset: int
    declared: bool
    mapping: dict[str, Any]


MAKERS = """
select e.task_id, named.canonical_id, e.origin = 'declared', e.mapping
from dataset named
join edge e on e.environment = named.environment and e.node_kind = 'dataset' and e.node_id = named.id
    and e.relation = 'produces'
join task t on t.environment = e.environment and t.id = e.task_id and t.kind = 'task'
where named.environment = %s and named.canonical_id = any(%s)
order by 1, 2, 3 desc, e.source
"""


def makers(connection: Connection, environment: int, datasets: Iterable[int]) -> list[Made]:
    """Who writes these datasets."""
    return [Made(*row) for row in connection.execute(MAKERS, [environment, list(datasets)])]


WRITTEN = """
select e.task_id, named.canonical_id, e.origin = 'declared', e.mapping
from unnest(%(tasks)s::bigint[]) as asked (id)
join edge e on e.environment = %(environment)s and e.task_id = asked.id and e.relation = 'produces'
join dataset named on named.environment = e.environment and named.id = e.node_id
order by 1, 2, 3 desc, e.source
"""


def written(connection: Connection, environment: int, tasks: Iterable[int]) -> list[Made]:
    """What these tasks write."""
    return [Made(*row) for row in connection.execute(WRITTEN, {"environment": environment, "tasks": list(tasks)})]


class Read(msgspec.Struct, frozen=True):
    """That a task consumes a dataset, under its canonical id, or another task."""

    task: int
    kind: NodeKind
    node: int
    declared: bool
    mapping: dict[str, Any]

    @property
    def place(self) -> Node:
        return (self.kind, self.node)


READ = """
select e.task_id, e.node_kind, coalesce(named.canonical_id, e.node_id), e.origin = 'declared', e.mapping
from unnest(%(tasks)s::bigint[]) as asked (id)
join edge e on e.environment = %(environment)s and e.task_id = asked.id and e.relation = 'consumes'
left join dataset named on e.node_kind = 'dataset' and named.environment = e.environment and named.id = e.node_id
left join task t on e.node_kind = 'task' and t.environment = e.environment and t.id = e.node_id
where t.id is null or (t.kind = 'task' and not (t.platform = 'dbt' and t.name ~ %(tests)s))
order by 1, 2, 3, 4 desc, e.source
"""


def read(connection: Connection, environment: int, tasks: Iterable[int]) -> list[Read]:
    """What these tasks consume, without tests, which no asset stands for."""
    given = {"environment": environment, "tasks": list(tasks), "tests": DBT_TESTS}
    return [Read(*row) for row in connection.execute(READ, given)]


FIRSTS = """
select asked.kind, asked.id, first.partition
from unnest(%(kinds)s::node_kind[], %(ids)s::bigint[]) as asked (kind, id)
cross join lateral (
    select partition from partition_state
    where environment = %(environment)s and node_kind = asked.kind and node_id = asked.id and partition <> ''
    order by partition limit 1
) first
"""


def firsts(connection: Connection, environment: int, nodes: Sequence[Node]) -> dict[Node, str]:
    """The least key of each that has partitions."""
    given = {"environment": environment, "kinds": [kind for kind, _ in nodes], "ids": [node for _, node in nodes]}
    return {(kind, node): key for kind, node, key in connection.execute(FIRSTS, given)}
