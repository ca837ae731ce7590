"""What the ledger knows that verdicts depend on, read for many questions at once.

Guarantees one snapshot, and a number of queries that does not grow with the number of questions: each takes arrays
and finds every row by an index.
"""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.control import Order
from dataforge.model.data_version import VersionPolicy
from dataforge.model.edge import Role, Staleness
from dataforge.model.event import Relation
from dataforge.model.quality import Held
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.upstream import State
from dataforge.storage.parameter import texts

Node = tuple[NodeKind, int]
Place = tuple[NodeKind, int, str]  # kind, node id (of datasets the canonical one), partition
Name = tuple[str | None, str]  # namespace, name

SNAPSHOT = "set transaction isolation level repeatable read, read only"


def begin_snapshot(connection: Connection) -> None:
    """Lets every query of the transaction see the same moment; must be its first statement."""
    connection.execute(SNAPSHOT)


# Two branches, each by its own index: the namespace is given, or the name has to be unique.
RESOLVE = """
with asked (place, namespace, name) as (
    select * from unnest(%(places)s::int[], %(namespaces)s::text[], %(names)s::text[])
)
select a.place, t.namespace, t.name from asked a
join task t on t.environment = %(environment)s and t.namespace = a.namespace and t.name = a.name
where t.kind <> 'step'
union all
select a.place, t.namespace, t.name from asked a
cross join lateral (
    select namespace, name from task t
    where t.environment = %(environment)s and t.name = a.name and t.kind <> 'step' order by namespace limit 6
) t
where a.namespace is null
order by 1, 2
"""


def resolve(connection: Connection, environment: int, names: Sequence[Name]) -> list[list[TaskRef]]:
    """For each name the tasks it may mean, at most six."""
    found: list[list[TaskRef]] = [[] for _ in names]
    for place, namespace, name in connection.execute(RESOLVE, asked(environment, names)).fetchall():
        found[place].append(TaskRef(namespace, name))
    return found


def asked(environment: int, names: Sequence[Name]) -> dict[str, Any]:
    """Names as columns, each with its place among them. Text in PostgreSQL has no NUL, so no name with one is found."""
    return {
        "environment": environment,
        "places": list(range(len(names))),
        "namespaces": [namespace and namespace.replace("\0", "\ufffd") for namespace, _ in names],
        "names": texts(name for _, name in names),
    }


class Subject(msgspec.Struct, frozen=True):
    """A task that a question is about."""

    id: int
    namespace: str
    name: str
    platform: str
    declared: bool
    lists_upstreams: bool  # its platform has said which tasks come before it, if any
    declared_rule: str | None
    observed_rule: str | None
    run_after: str | None
    domain: str | None
    priority: int
    pools: dict[str, int]
    gates: list[str]
    requires: list[dict[str, Any]]
    instances: int | None
    partitioning: str  # JSON, of which a thousand tasks have a handful
    partitioning_origin: str
    trigger: str | None = None  # JSON: the datasets whose updates it runs on
    step: bool = False  # of another task: nobody asks about it by its name

    @property
    def ref(self) -> TaskRef:
        return TaskRef(self.namespace, self.name)


SUBJECTS = """
select id, namespace, name, platform, definition is not null, observed ? 'upstreams',
    definition ->> 'trigger_rule', observed -> 'trigger_rule' ->> 2, definition ->> 'run_after',
    domain, coalesce((definition -> 'priority')::integer, 0), coalesce(definition -> 'pools', '{}'),
    coalesce(definition -> 'gates', '[]'), coalesce(definition -> 'requires', '[]'),
    (definition -> 'instances')::integer, partitioning::text, partitioning_origin, definition ->> 'trigger',
    kind = 'step'
from task where environment = %(environment)s and id = any(%(tasks)s)
"""


def subjects(connection: Connection, environment: int, ids: Iterable[int]) -> dict[int, Subject]:
    """The tasks, by id."""
    rows = connection.execute(SUBJECTS, {"environment": environment, "tasks": list(ids)})
    return {row[0]: Subject(*row) for row in rows}


class EdgeRow(msgspec.Struct, frozen=True):
    """An edge of a task; a dataset stands under its canonical id."""

    task_id: int
    relation: Relation
    node: Node
    origin: str
    mapping: str  # JSON
    condition: str
    required: bool
    staleness: Staleness
    role: Role
    where: str | None = None  # JSON: what is asked of what the upstream reported


# Each edge's dataset is looked up by itself (`offset 0`): for a single task the planner would rather read all datasets,
# since it expects more edges than there are.
EDGES = """
select e.task_id, e.relation, e.node_kind, coalesce(d.canonical_id, e.node_id), e.origin, e.mapping::text,
    e.condition ->> 'kind', e.required, e.staleness, e.role, e.condition ->> 'where'
from unnest(%(tasks)s::bigint[]) as asked (id)
cross join lateral (
    select * from edge
    where environment = %(environment)s and task_id = asked.id and relation in ('consumes', 'produces') offset 0
) e
left join lateral (
    select canonical_id from dataset where environment = %(environment)s and id = e.node_id offset 0
) d on e.node_kind = 'dataset'
order by e.task_id, e.node_kind, e.node_id, e.origin, e.source
"""


def edges(connection: Connection, environment: int, tasks: Iterable[int]) -> dict[int, list[EdgeRow]]:
    """What each of these tasks consumes and produces."""
    asked = sorted(set(tasks))
    found: dict[int, list[EdgeRow]] = {task: [] for task in asked}
    rows = connection.execute(EDGES, {"environment": environment, "tasks": asked}).fetchall()
    for task, relation, kind, node, *how in rows:
        found[task].append(EdgeRow(task, _alike(relation), (_alike(kind), node), *map(_alike, how)))
    return found


@lru_cache(maxsize=4_096)
def _alike(value: Any) -> Any:
    """One value for all that are equal: edges are many, are remembered, and differ in little but their ends."""
    return value


class NodeRow(msgspec.Struct, frozen=True):
    """A task or dataset that a question depends on."""

    kind: NodeKind
    id: int
    namespace: str
    name: str
    owner: str | None
    known: bool  # of a task: declared or seen; of a dataset: declared
    partitioning: str | None  # JSON
    declared_cut: bool
    branching: bool  # it decides which of the tasks behind it are skipped
    setup: bool
    mapped: bool  # by its definition
    instances: int | None  # how many, where its definition says so
    version_policy: VersionPolicy  # what makes a new version of its data, by its definition


NODES = """
select 'task', id, namespace, name, owner, seen or definition is not null, partitioning::text,
    partitioning_origin = 'declared',
    coalesce((definition ->> 'branching')::boolean, observed -> 'operator' ->> 2 ~ 'Branch|ShortCircuit', false),
    coalesce((definition ->> 'setup')::boolean, (observed -> 'setup' ->> 2)::boolean, false),
    coalesce(definition @> '{"consumes": [{"role": "mapped_over"}]}', false), (definition -> 'instances')::integer,
    'run'
from task where environment = %(environment)s and id = any(%(tasks)s)
union all
select 'dataset', id, namespace, name, owner, definition is not null, partitioning::text,
    partitioning is not null, false, false, false, null, coalesce(definition ->> 'version', 'run')
from dataset where environment = %(environment)s and id = any(%(datasets)s)
"""


def nodes(connection: Connection, environment: int, wanted: Iterable[Node]) -> dict[Node, NodeRow]:
    """These tasks and datasets."""
    parameters = {"environment": environment, **by_kind(wanted)}
    return {(row[0], row[1]): NodeRow(*row) for row in connection.execute(NODES, parameters).fetchall()}


def by_node(places: Iterable[Place]) -> dict[Node, set[str]]:
    """The keys of each node."""
    of: dict[Node, set[str]] = {}
    for kind, node, key in places:
        of.setdefault((kind, node), set()).add(key)
    return of


def by_kind(wanted: Iterable[Node]) -> dict[str, list[int]]:
    """The ids of tasks and of datasets, as the parameters of a query."""
    found: dict[str, list[int]] = {"tasks": [], "datasets": []}
    for kind, node_id in wanted:
        found[f"{kind}s"].append(node_id)
    return found


class Producer(msgspec.Struct, frozen=True):
    """A task that writes a dataset, of which only the canonical name is meant."""

    dataset_id: int
    task_id: int
    owner: str | None
    mapping: str  # JSON: which partitions a run of it writes
    partitioning: str | None  # JSON: of the dataset, where that is declared
    task_partitioning: str  # JSON
    task_cut_declared: bool


PRODUCERS = """
select d.canonical_id, t.id, t.owner, e.mapping::text, c.partitioning::text, t.partitioning::text,
    t.partitioning_origin = 'declared'
from unnest(%(datasets)s::bigint[]) as asked (id)
join dataset c on c.environment = %(environment)s and c.id = asked.id
cross join lateral (
    select id, canonical_id from dataset where environment = %(environment)s and canonical_id = asked.id offset 0
) d
cross join lateral (
    select * from edge where environment = %(environment)s and node_kind = 'dataset' and node_id = d.id
        and relation = 'produces' offset 0
) e
cross join lateral (
    select * from task where environment = %(environment)s and id = e.task_id offset 0
) t
order by d.canonical_id, t.namespace, t.name, e.origin
"""


def producers(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[int, list[Producer]]:
    """The tasks that write these datasets under any of their names, by canonical id."""
    found: dict[int, list[Producer]] = {}
    asked = sorted(set(datasets))
    parameters = {"environment": environment, "datasets": asked}
    for row in connection.execute(PRODUCERS, parameters).fetchall() if asked else ():
        found.setdefault(row[0], []).append(Producer(*row))
    return found


# Of a mapped task the instances are counted as well: a trigger rule looks at each of them, not at the task. Whether
# anything is to be looked for is asked where it is: asked of what was found, it would be looked for every time.
STATES = """
select w.kind, w.node, w.partition, s.status, s.run_state, s.evidence, s.since,
    case when s.status = 'running' then s.began end, mapped.instances, mapped.told,
    s.held, case when r.shards is not null then r.error end
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
join partition_state s on s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
    and s.partition = w.partition and (s.partition = '' or s.partition between %(first)s and %(last)s)
left join lateral (
    select shards, error from run
    where environment = %(environment)s and task_id = s.task_id and run = s.run and s.status = 'failed' offset 0
) r on true
left join lateral (
    select jsonb_agg(jsonb_build_array(run_state, settled, number) order by run_state, settled) as instances,
        max(told) as told
    from (
        select c.run_state, c.evidence > 'inferred' as settled, count(*) as number,
            max(case when jsonb_typeof(i.source -> 'instances') = 'number' then (i.source ->> 'instances')::bigint end)
                as told
        from write c
        left join run i on i.environment = %(environment)s and i.task_id = c.task_id and i.run = c.run
        where c.environment = %(environment)s and c.node_kind = w.kind and c.node_id = w.node
            and c.partition = w.partition and c.task_id = s.task_id and c.group_run = s.group_run
            and c.run <> c.group_run and not c.past and w.kind = 'task' and s.group_run is not null
        group by c.run_state, settled
    ) as counted
) mapped on true
"""


def states(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, State]:
    """What is believed of these partitions; those that nothing has happened to are left out."""
    rows = connection.execute(STATES, columns(environment, places)).fetchall()
    checked = _checked(
        connection, environment, [row[:3] for row in rows if row[10] is not None and "checks" in row[10]]
    )
    marked = _marked(connection, environment, [row[:3] for row in rows if row[5] == Evidence.OPERATOR.label])
    return {
        (kind, node, partition): State(
            status=_STATUS[status],
            run_state=_RUN_STATE[run_state],
            evidence=Evidence.of(evidence),
            since=since,
            started_at=started_at,
            instances=tuple((_outcome(*each), number) for *each, number in instances or ()),
            told=told,
            held=_held(held, checked.get((kind, node, partition), (None, None))),
            mark=marked.get((kind, node, partition)),
            error=error,
        )
        for kind, node, partition, status, run_state, evidence, since, started_at, instances, told, held, error in rows
    }


# By what is stored: to call an enumeration takes eight times as long as to look its members up.
_STATUS = {each.value: each for each in PartitionStatus}
_RUN_STATE = {each.value: each for each in RunState}


def _held(shape: dict[str, Any] | None, by: tuple[str | None, str | None]) -> Held | None:
    return None if shape is None else msgspec.convert(shape | {"task": by[0], "error": by[1]}, Held)


CHECKED = """
select w.kind, w.node, w.partition, t.name, a.error
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
join partition_state s on s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
    and s.partition = w.partition and (s.partition = '' or s.partition between %(first)s and %(last)s)
join task t on t.environment = %(environment)s and t.id = (s.held -> 'task_id')::bigint
left join attempt a on a.environment = %(environment)s and a.task_id = t.id and a.run = s.held ->> 'run'
    and a.attempt_id = s.held ->> 'attempt_id'
"""


def _checked(
    connection: Connection, environment: int, places: Sequence[Place]
) -> dict[Place, tuple[str | None, str | None]]:
    """The task whose check holds back each of these partitions, and what its run said was wrong."""
    rows = connection.execute(CHECKED, columns(environment, places)) if places else ()
    return {(kind, node, partition): (name, error) for kind, node, partition, name, error in rows}


MARKED = """
select w.kind, w.node, w.partition, m.state, m.at, m.marked_by, m.reason
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
join partition_state s on s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
    and s.partition = w.partition and (s.partition = '' or s.partition between %(first)s and %(last)s)
cross join lateral (
    select * from mark
    where environment = %(environment)s and task_id = s.task_id and run in (s.run, s.group_run)
    order by at desc, said_by desc limit 1
) m
"""


def _marked(connection: Connection, environment: int, places: Sequence[Place]) -> dict[Place, Order]:
    """What a person said of the runs that decide these partitions."""
    rows = connection.execute(MARKED, columns(environment, places)) if places else ()
    return {(kind, node, partition): Order(*mark) for kind, node, partition, *mark in rows}


BEGUN = """
select w.kind, w.node, w.partition, coalesce(s.began, s.since)
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
join partition_state s on s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
    and s.partition = w.partition and (s.partition = '' or s.partition between %(first)s and %(last)s)
"""


def begun(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, datetime]:
    """When the run began that decided each of these partitions; where it never did, since when it is decided."""
    rows = connection.execute(BEGUN, columns(environment, places))
    return {(kind, node, key): at for kind, node, key, at in rows if at is not None}


def _outcome(run_state: str, settled: bool) -> RunState | None:
    """How an instance ended; None while it has not, or where that is only inferred."""
    state = RunState(run_state)
    return state if settled and state.final else None


class Success(msgspec.Struct, frozen=True):
    """That an earlier partition became ready, and how long the run behind it took."""

    partition: str
    ready_since: datetime | None
    took: timedelta | None


# The keys of time windows sort by time, so the last 20 before a key are the end of one range of the primary key. What a
# watermark has passed took no time, and began just after it was there. The arrays are subqueries, so that their
# length decides no plan, and one lasts.
HISTORY = """
select w.kind, w.node, w.partition, s.partition, s.ready_since,
    case when s.ready_since >= s.ready_began and s.status <> 'stale' then s.ready_since - s.ready_began end
from unnest((select %(kinds)s::node_kind[]), (select %(nodes)s::bigint[]), (select %(partitions)s::text[]))
    as w (kind, node, partition)
cross join lateral (
    select s.partition, s.status, s.ready_since, s.ready_began, s.ready_run from partition_state s
    where s.environment = %(environment)s and s.node_kind = w.kind and s.node_id = w.node
        and s.partition <= w.partition
    order by s.partition desc limit 20
) s
where s.ready_run is not null
"""


def history(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, list[Success]]:
    """For each place the successes among the last 20 partitions up to it, its own earlier one among them."""
    found: dict[Place, list[Success]] = {}
    for kind, node, partition, *success in connection.execute(HISTORY, columns(environment, places)).fetchall():
        found.setdefault((kind, node, partition), []).append(Success(*success))
    return found


def columns(environment: int, places: Iterable[Place]) -> dict[str, Any]:
    """The parameters of a query on these places. Between the `first` and the `last` are all keys but '': by these the
    planner leaves out the other parts of the states."""
    ordered = sorted(places if isinstance(places, Set) else set(places))
    partitions = texts(place[2] for place in ordered)
    keys = set(partitions) - {""}
    return {
        "first": min(keys, default=""),
        "last": max(keys, default=""),
        "environment": environment,
        "kinds": [place[0] for place in ordered],
        "nodes": [place[1] for place in ordered],
        "partitions": partitions,
    }


PROGRESS = """
select source, observed_through from progress where environment = %(environment)s and source = any(%(sources)s)
"""


def observed_through(connection: Connection, environment: int, namespaces: Iterable[str]) -> dict[str, datetime]:
    """The time of the latest event seen from each of these namespaces."""
    return dict(
        connection.execute(PROGRESS, {"environment": environment, "sources": sorted(set(namespaces))}).fetchall()
    )
