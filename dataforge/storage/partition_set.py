"""Dynamic sets: the keys that partitions show of them, who is cut by them, and which keys they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from psycopg import Connection

from dataforge.model.partition_set import KeyFilter, SetKey
from dataforge.model.reference import NodeKind, node_id
from dataforge.storage.partition import Place
from dataforge.storage.readiness import Node, by_kind, columns

SetAndKey = tuple[str, str]  # a set by its name, and one of its keys

# The only partitionings that speak of a set are declared ones.
CUTS = """
select 'task', id, partitioning::text from task
where environment = (select %(environment)s::smallint) and id = any(%(tasks)s)
    and jsonb_path_exists(partitioning, '$.**.set')
union all
select 'dataset', id, partitioning::text from dataset
where environment = (select %(environment)s::smallint) and id = any(%(datasets)s)
    and jsonb_path_exists(partitioning, '$.**.set')
"""


def cuts(connection: Connection, environment: int, nodes: Iterable[Node]) -> dict[Node, str]:
    """How those of these tasks and datasets are cut (JSON) that a dynamic set cuts."""
    rows = connection.execute(CUTS, {"environment": environment, **by_kind(set(nodes))})
    return {(row[0], row[1]): row[2] for row in rows}


CUT_BY = """
select 'task', id from task
where environment = %(environment)s and jsonb_path_exists(partitioning, '$.**.set')
    and jsonb_path_query_array(partitioning, '$.**.set') ?| %(sets)s
union all
select 'dataset', id from dataset
where environment = %(environment)s and jsonb_path_exists(partitioning, '$.**.set')
    and jsonb_path_query_array(partitioning, '$.**.set') ?| %(sets)s
"""


def cut_by(connection: Connection, environment: int, sets: Iterable[str]) -> list[Node]:
    """The tasks and datasets that are cut by one of these sets."""
    rows = connection.execute(CUT_BY, {"environment": environment, "sets": sorted(set(sets))})
    return [(row[0], row[1]) for row in rows]


PRESENT = """
select w.kind, w.node, w.partition
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
where exists (select from partition_state s where s.environment = (select %(environment)s::smallint)
    and s.node_kind = w.kind and s.node_id = w.node and s.partition = w.partition)
"""


def present(connection: Connection, environment: int, places: Iterable[Place]) -> set[Place]:
    """Those of these places that have a state."""
    rows = connection.execute(PRESENT, columns(environment, places))
    return {(row[0], row[1], row[2]) for row in rows}


# What has ended has no state, and shows its keys by the claims that there are on it.
PARTITIONS = """
select partition from partition_state
where environment = (select %(environment)s::smallint) and node_kind = %(kind)s::node_kind and node_id = %(node)s
union
select c.partition from (
    select %(node)s::bigint as id where %(kind)s = 'task'
    union all
    select id from dataset where environment = %(environment)s and %(kind)s = 'dataset' and canonical_id = %(node)s
) member
join write c on c.environment = %(environment)s and c.node_kind = %(kind)s::node_kind and c.node_id = member.id
    and not c.past
    and has_ended(c.partition, (select states_known_from from environment where id = %(environment)s))
where (select states_known_from from environment where id = %(environment)s) is not null
"""


def partitions(connection: Connection, environment: int, node: Node) -> list[str]:
    """Every partition of a node that has a state, or had one until it ended."""
    given = {"environment": environment, "kind": node[0], "node": node[1]}
    return [row[0] for row in connection.execute(PARTITIONS, given)]


class Shown(msgspec.Struct, frozen=True, order=True):
    """That a node has a partition of a key."""

    set: str
    key: str
    node_kind: NodeKind
    node_id: int


# What the set holds already, by another node or because it was registered, is no news.
SHOW = """
with shown as (
    insert into observed_key (environment, set_name, key, node_kind, node_id)
    select %(environment)s, *
    from unnest(%(sets)s::text[], %(keys)s::text[], %(kinds)s::node_kind[], %(nodes)s::bigint[])
    on conflict do nothing returning set_name, key
)
select distinct set_name, key from shown
where not exists (select from observed_key o where o.environment = (select %(environment)s::smallint)
    and o.set_name = shown.set_name and o.key = shown.key)
"""


def show(connection: Connection, environment: int, shown: Iterable[Shown]) -> set[SetAndKey]:
    """Keeps these, each once; returns the keys that no node had a partition of before."""
    rows = connection.execute(SHOW, {"environment": environment, **_columns(shown)})
    return {(row[0], row[1]) for row in rows}


OF_NODES = """
select o.set_name, o.key, o.node_kind, o.node_id
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[]) as w (kind, node) cross join lateral (
    select * from observed_key
    where environment = (select %(environment)s::smallint) and node_kind = w.kind and node_id = w.node offset 0
) o
"""


def shown_by(connection: Connection, environment: int, nodes: Sequence[Node]) -> set[Shown]:
    """What these nodes show of all sets."""
    parameters = {"environment": environment, "kinds": [n[0] for n in nodes], "nodes": [n[1] for n in nodes]}
    return {Shown(*row) for row in connection.execute(OF_NODES, parameters)} if nodes else set()


HIDE = """
delete from observed_key o
using unnest(%(sets)s::text[], %(keys)s::text[], %(kinds)s::node_kind[], %(nodes)s::bigint[]) as gone (s, k, kind, node)
where o.environment = (select %(environment)s::smallint) and o.set_name = gone.s and o.key = gone.k
    and o.node_kind = gone.kind and o.node_id = gone.node
"""


def hide(connection: Connection, environment: int, shown: Iterable[Shown]) -> None:
    """Forgets these."""
    connection.execute(HIDE, {"environment": environment, **_columns(shown)})


def _columns(shown: Iterable[Shown]) -> dict[str, list[object]]:
    ordered = sorted(shown)
    return {
        "sets": [each.set for each in ordered],
        "keys": [each.key for each in ordered],
        "kinds": [each.node_kind for each in ordered],
        "nodes": [each.node_id for each in ordered],
    }


LISTED = """
insert into outbox (environment, node_kind, change, nodes, partitions)
select %(environment)s, kind, 'listed', array[node], array[key]
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[]) as n (kind, node), unnest(%(keys)s::text[]) as k (key)
"""


def announce(connection: Connection, environment: int, nodes: Iterable[Node], keys: Iterable[str]) -> None:
    """Lets what waits for all of a set that cuts these nodes be decided on: the set holds other keys than before."""
    ordered = sorted(set(nodes))
    parameters = {
        "environment": environment,
        "kinds": [kind for kind, _ in ordered],
        "nodes": [node for _, node in ordered],
        "keys": sorted(set(keys)),
    }
    connection.execute(LISTED, parameters)


# Each branch is one range of a primary key, in its order. A key that was taken off is held by neither.
HELD = """
select w.name, held.key
from unnest(%(names)s::text[], %(ids)s::bigint[]) as w (name, id) cross join lateral (
    (select partition as key from control
    where environment = %(environment)s and scope = 'set' and subject_id = w.id and value = 'true'
    order by partition limit %(most)s)
    union
    (select distinct o.key from observed_key o
    where o.environment = %(environment)s and o.set_name = w.name and not exists (
        select from control c where c.environment = %(environment)s and c.scope = 'set' and c.subject_id = w.id
            and c.partition = o.key and c.kind = 'key' and c.name = '' and c.value = 'false')
    order by o.key limit %(most)s)
    order by key limit %(most)s
) held
"""


def held(connection: Connection, environment: int, sets: Iterable[str], most: int) -> dict[str, tuple[str, ...]]:
    """The keys that each of these sets holds, in order; of each at most `most`."""
    names = sorted(set(sets))
    parameters = {"environment": environment, "names": names, "ids": [node_id("", each) for each in names]}
    found: dict[str, list[str]] = {name: [] for name in names}
    for name, key in connection.execute(HELD, {**parameters, "most": most}):
        found[name].append(key)
    return {name: tuple(sorted(keys)) for name, keys in found.items()}


class KeyPlace(msgspec.Struct, frozen=True, array_like=True, tag="keys"):
    """The place of a key in the list of its set."""

    key: str


PAGE = """
with named as (
    (select partition as key from control
    where environment = %(environment)s and scope = 'set' and subject_id = %(id)s and partition > %(after)s
    order by partition limit %(limit)s + 1)
    union
    (select distinct key from observed_key
    where environment = %(environment)s and set_name = %(name)s and key > %(after)s order by key limit %(limit)s + 1)
    order by key limit %(limit)s + 1
)
select key, coalesce(c.value = 'true', true), exists (
        select from observed_key o where o.environment = %(environment)s and o.set_name = %(name)s and o.key = named.key
    ), c.at, c.ordered_by, c.reason
from named left join control c on c.environment = %(environment)s and c.scope = 'set' and c.subject_id = %(id)s
    and c.partition = named.key and c.kind = 'key' and c.name = ''
order by key
"""


def page(
    connection: Connection, environment: int, name: str, wanted: KeyFilter, after: KeyPlace | None
) -> list[SetKey]:
    """Keys that were ever registered or observed, of one page and one more, in order."""
    parameters = {"environment": environment, "name": name, "id": node_id("", name), "limit": wanted.limit}
    rows = connection.execute(PAGE, {**parameters, "after": after.key if after else ""}, prepare=False)
    return [SetKey(*row) for row in rows]
