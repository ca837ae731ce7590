"""Edges: what depends on what, each row with its origin; a source's own rows are replaced as a whole."""

from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection, sql

from dataforge.model import trigger
from dataforge.model.event import Relation
from dataforge.model.reference import NodeKind
from dataforge.storage.columns import FLAGS, NUMBER, Columns, columns
from dataforge.storage.database import ask
from dataforge.storage.record_set import spread


class ObservedEdge(msgspec.Struct, frozen=True, order=True):
    """That events from `first_at` to `last_at` showed a task to consume, produce or run something."""

    task_id: int
    relation: Relation
    node_kind: NodeKind
    node_id: int
    first_at: datetime
    last_at: datetime


# An insert cannot meet one row twice, so the batch is folded first; sorted, so that writers never deadlock.
# xmax is 0 only in a row that was not there before.
UPSERT_OBSERVED = """
insert into edge as known
    (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
select %s, task_id, relation, node_kind, node_id, 'observed', '', min(first_at), max(last_at)
from unnest(%s::bigint[], %s::edge_relation[], %s::node_kind[], %s::bigint[],
            %s::timestamptz[], %s::timestamptz[])
    as seen (task_id, relation, node_kind, node_id, first_at, last_at)
group by task_id, relation, node_kind, node_id
order by task_id, relation, node_kind, node_id
on conflict (environment, task_id, relation, node_kind, node_id, origin, source) do update
set first_at = least(known.first_at, excluded.first_at), last_at = greatest(known.last_at, excluded.last_at)
where known.first_at > excluded.first_at or known.last_at < excluded.last_at
returning xmax = 0
"""


def upsert_observed(connection: Connection, environment: int, rows: Iterable[ObservedEdge]) -> bool:
    """Records observed edges, and returns whether any of them is new. No task may be its own upstream."""
    columns = _columns(rows)
    if not columns:
        return False
    return any(new for (new,) in connection.execute(UPSERT_OBSERVED, [environment, *columns]).fetchall())


def _columns(rows: Iterable[ObservedEdge]) -> list[list[Any]]:
    return [list(column) for column in zip(*map(msgspec.structs.astuple, rows), strict=True)]


# `excess` and `listed` see the same snapshot; a row is in one of them only, so neither disturbs the other.
REPLACE_OBSERVED_UPSTREAMS = """
with listed as (
    select * from unnest(%(tasks)s::bigint[], %(upstreams)s::bigint[], %(times)s::timestamptz[])
        as listed (task_id, node_id, seen_at)
), excess as (
    delete from edge
    where environment = %(environment)s and task_id = any(%(replaced)s) and relation = 'consumes'
        and node_kind = 'task' and origin = 'observed'
        and (task_id, node_id) not in (select task_id, node_id from listed)
    returning task_id
), kept as (
    insert into edge as known
        (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
    select %(environment)s, task_id, 'consumes', 'task', node_id, 'observed', '', seen_at, seen_at
    from listed order by task_id, node_id
    on conflict (environment, task_id, relation, node_kind, node_id, origin, source) do update
    set first_at = excluded.first_at, last_at = excluded.last_at
    where (known.first_at, known.last_at) <> (excluded.first_at, excluded.last_at)
    returning xmax = 0 as moved
)
select task_id, true from excess union all select null, moved from kept
"""


class Replaced(NamedTuple):
    """What became of observed upstreams: whether an edge came or went, and the tasks that lost one."""

    moved: bool
    shorter: set[int]


def replace_observed_upstreams(
    connection: Connection, environment: int, lists: Mapping[int, tuple[datetime, Set[int]] | None]
) -> Replaced:
    """Makes the latest complete list of a task's upstream tasks its observed ones. `lists` holds by task when the list
    was seen and whom it names; None where there is none.

    Both times of an edge are those of that list, so that they do not depend on which lists came before.
    """
    known = {task_id: found for task_id, found in sorted(lists.items()) if found is not None}
    rows = [(task_id, node, at) for task_id, (at, nodes) in known.items() for node in sorted(nodes)]
    parameters = {
        "environment": environment,
        "replaced": list(known),
        "tasks": [row[0] for row in rows],
        "upstreams": [row[1] for row in rows],
        "times": [row[2] for row in rows],
    }
    rows_moved = connection.execute(REPLACE_OBSERVED_UPSTREAMS, parameters).fetchall() if known else []
    return Replaced(any(moved for _, moved in rows_moved), {task for task, _ in rows_moved if task is not None})


class DeclaredEdge(msgspec.Struct, frozen=True):
    """An edge as its source declares it; mapping and condition in the shape that is stored."""

    task_id: int
    relation: Relation
    node_kind: NodeKind
    node_id: int
    mapping: dict[str, Any]
    condition: dict[str, Any] = msgspec.field(default_factory=lambda: {"kind": "succeeded"})
    required: bool = True
    staleness: str = "warn"
    role: str = "upstream"
    triggers: bool = False  # the task runs on updates of the node

    @property
    def waits(self) -> bool:
        """Whether the task waits for partitions of the node: for what only triggers it, it does not."""
        return bool(self.condition["kind"] != trigger.EDGE)


class AlikeEdges(msgspec.Struct, frozen=True):
    """Edges that their source declares alike but for their ends, which stand in two columns: of a large manifest most
    are."""

    relation: Relation
    node_kind: NodeKind
    mapping: dict[str, Any]
    condition: dict[str, Any]
    required: bool
    staleness: str
    role: str
    triggers: bool
    tasks: list[int]
    nodes: list[int]

    @property
    def ends(self) -> "Iterator[EdgeEnds]":
        """Each edge by its ends alone."""
        consumes, of_dataset = self.relation == "consumes", self.node_kind == "dataset"
        return ((task, consumes, of_dataset, node) for task, node in zip(self.tasks, self.nodes, strict=True))

    def of_tasks(self, tasks: Set[int]) -> Iterator[DeclaredEdge]:
        """Those of these tasks, one by one."""
        for task, node in zip(self.tasks, self.nodes, strict=True):
            if task in tasks:
                yield self.one(task, node)

    def one(self, task: int, node: int) -> DeclaredEdge:
        """The edge with these ends."""
        how = (self.mapping, self.condition, self.required, self.staleness, self.role, self.triggers)
        return DeclaredEdge(task, self.relation, self.node_kind, node, *how)


REMOVE_DECLARED = (
    "delete from edge where environment = %s and task_id = any(%s) and origin = 'declared' and source = %s"
)
ADD_DECLARED = """
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source,
                  mapping, condition, required, staleness, role, triggers)
select %s, ends.task_id, relation, node_kind, ends.node_id, 'declared', %s, mapping, condition, required, staleness,
    role, triggers
from json_to_recordset(%s::json) as said (relation edge_relation, node_kind node_kind, mapping jsonb, condition jsonb,
    required boolean, staleness text, role text, triggers boolean, tasks bigint[], nodes bigint[])
cross join lateral unnest(tasks, nodes) as ends (task_id, node_id)
order by task_id, relation, node_kind, node_id
"""


def replace_declared(
    connection: Connection, environment: int, source: str, known: Set[int], edges: Iterable[AlikeEdges]
) -> None:
    """Makes `edges` all that the source declares of their tasks and of those that are `known`: others have none."""
    if known:
        connection.execute(REMOVE_DECLARED, [environment, sorted(known), source])
    if rows := [msgspec.structs.asdict(each) for each in edges]:
        ask(connection, ADD_DECLARED, [environment, source, spread(rows)])


# Each key is looked up by itself, whatever the planner thinks of a table that has just been filled: a search for
# cycles asks once for every step it takes through the graph. Nor may it look the environment up in its statistics: one
# that was filled just now has no rows there, so that any index seems as good as the one that has the key.
_OF_TASKS = """
from unnest(%(tasks)s::bigint[]) as wanted (id)
cross join lateral (
    select * from edge where environment = (select %(environment)s::smallint) and task_id = wanted.id offset 0
) of_task
where origin = 'declared' and source <> %(source)s
"""
OF_TASKS = (  # both are literals
    "select task_id, relation, node_kind, node_id, mapping, condition, required, staleness, role, triggers" + _OF_TASKS
)
ENDS_OF_TASKS = (
    "select task_id, relation = 'consumes', node_kind = 'dataset', node_id"  # both are literals
    + _OF_TASKS
)


def declared_of_tasks(connection: Connection, environment: int, tasks: Set[int], but_source: str) -> list[DeclaredEdge]:
    """The edges that other sources declare of these tasks."""
    parameters = {"environment": environment, "tasks": list(tasks), "source": but_source}
    return [DeclaredEdge(*row) for row in connection.execute(OF_TASKS, parameters).fetchall()]


EdgeEnds = tuple[int, bool, bool, int]  # a task, whether it consumes, whether a dataset, and which node


def declared_ends_of(connection: Connection, environment: int, tasks: Set[int], but_source: str) -> list[EdgeEnds]:
    """What the edges that other sources declare of these tasks lead from and to."""
    parameters = {"environment": environment, "tasks": list(tasks), "source": but_source}
    return connection.execute(ENDS_OF_TASKS, parameters).fetchall()


ENDS = "select task_id, node_id, edge_flags(relation, node_kind, origin) from edge where environment = {environment}"
FIELDS = (("task", NUMBER), ("node", NUMBER), ("flags", FLAGS))
DECLARED_ENDS = ENDS + " and origin = 'declared' and source <> {source}"


def all_ends(connection: Connection, environment: int, *, declared_but_by: str | None = None) -> Columns:
    """The same of all tasks, as columns, and whether each is declared: of a whole platform there are millions. All
    edges, or only those that sources declare but for the one named."""
    query = sql.SQL(ENDS if declared_but_by is None else DECLARED_ENDS)
    said = query.format(environment=sql.Literal(environment), source=sql.Literal(declared_but_by))
    return told(columns(connection, said, FIELDS))


# A row that is found on both of its ends is one row.
ENDS_AROUND = """
select task_id, node_id, edge_flags(relation, node_kind, origin)
from (
    select of_task.* from unnest({tasks}::bigint[]) as wanted (id) cross join lateral (
        select task_id, node_id, relation, node_kind, origin, source from edge
        where environment = {environment} and task_id = wanted.id offset 0
    ) of_task
    union
    select of_node.* from (
        select 'task'::node_kind, unnest({tasks}::bigint[])
        union all select 'dataset'::node_kind, unnest({datasets}::bigint[])
    ) as wanted (kind, id) cross join lateral (
        select task_id, node_id, relation, node_kind, origin, source from edge
        where environment = {environment} and node_kind = wanted.kind and node_id = wanted.id offset 0
    ) of_node
) as around
"""


def ends_around(connection: Connection, environment: int, tasks: list[int], datasets: list[int]) -> Columns:
    """The same of all edges that lead from or to these, datasets under the names that the edges give them."""
    given = {"environment": environment, "tasks": tasks, "datasets": datasets}
    said = sql.SQL(ENDS_AROUND).format(**{name: sql.Literal(value) for name, value in given.items()})
    return told(columns(connection, said, FIELDS))


def told(read: Columns) -> Columns:
    """Columns with what the flags of `edge_flags` say spelled out."""
    flags = read.pop("flags")
    return {**read, "consumes": (flags & 1) > 0, "of_dataset": (flags & 2) > 0, "declared": (flags & 4) > 0}


class Use(msgspec.Struct, frozen=True):
    """That a task whose partitioning is declared consumes or produces a node; its mapping in the stored shape."""

    node_id: int
    namespace: str
    name: str
    source: str
    partitioning: dict[str, Any]
    mapping: dict[str, Any]


TO_NODES = """
select with_node.node_id, t.namespace, t.name, with_node.source, t.partitioning, with_node.mapping
from unnest(%(nodes)s::bigint[]) as wanted (id)
cross join lateral (
    select * from edge
    where environment = (select %(environment)s::smallint) and node_kind = %(kind)s and node_id = wanted.id offset 0
) with_node
join task t on t.environment = (select %(environment)s::smallint) and t.id = with_node.task_id
where origin = 'declared' and source <> %(source)s and t.partitioning_origin = 'declared'
order by t.namespace, t.name, with_node.source
"""


def declared_to(
    connection: Connection, environment: int, kind: NodeKind, nodes: Set[int], *, but_source: str
) -> list[Use]:
    """The edges that other sources declare to any of these nodes, of tasks whose partitioning is declared."""
    parameters = {"environment": environment, "kind": kind, "nodes": sorted(nodes), "source": but_source}
    return [Use(*row) for row in (connection.execute(TO_NODES, parameters).fetchall() if nodes else ())]


USERS = """
select distinct task_id
from unnest(%(nodes)s::bigint[]) as wanted (id)
cross join lateral (
    select * from edge
    where environment = (select %(environment)s::smallint) and node_kind = %(kind)s and node_id = wanted.id offset 0
) with_node
where relation = %(relation)s and origin = 'declared' and source <> %(source)s
"""


def declared_users(
    connection: Connection, environment: int, relation: Relation, kind: NodeKind, nodes: Set[int], *, but_source: str
) -> set[int]:
    """The tasks that consume, or produce, any of these nodes, as other sources declare it."""
    parameters = {"environment": environment, "kind": kind, "nodes": list(nodes), "relation": relation}
    rows = connection.execute(USERS, {**parameters, "source": but_source}) if nodes else ()
    return {row[0] for row in rows}
