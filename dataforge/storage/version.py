"""Versions: what was declared and when it held. Facts that only grow, and the spans that follow from them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from psycopg import Connection

from dataforge.model.manifest import DatasetDefinition, Manifest, TaskDefinition, content
from dataforge.model.reference import NodeKind
from dataforge.model.version import Declaration, Node, Span
from dataforge.storage.database import ask
from dataforge.storage.edge import AlikeEdges
from dataforge.storage.record_set import FEW, Added, add, spread

_Done = TypeVar("_Done")
# The receipt is by the one clock of the database, and later than all that the source has declared, though that clock be
# set back: who gives no time has the last word. Of one that only says again what was said, the content is not read.
PLACE = """
with received as (
    select coalesce(%(now)s::timestamptz, greatest(clock_timestamp(), max(valid_from) + interval '1 microsecond')) as at
    from declaration where environment = %(environment)s and source = %(source)s
), said as materialized (
    select coalesce(%(valid_from)s::timestamptz, at) as valid_from, at as received_at, content,
        content_hash(content) as manifest
    from received, (select %(content)s::jsonb as content) as given
), kept as (
    insert into manifest (environment, hash, content)
    select %(environment)s, manifest, content from said where %(keep)s on conflict do nothing
)
select said.valid_from, said.received_at, said.manifest, after.valid_from, before.manifest, former.content
from said
left join lateral (
    select manifest from declaration
    where environment = %(environment)s and source = %(source)s
        and (valid_from, received_at, manifest) < (said.valid_from, said.received_at, said.manifest)
    order by valid_from desc, received_at desc, manifest desc limit 1
) before on true
left join lateral (
    select valid_from from declaration
    where environment = %(environment)s and source = %(source)s
        and (valid_from, received_at, manifest) > (said.valid_from, said.received_at, said.manifest)
    order by valid_from, received_at, manifest limit 1
) after on true
left join manifest former
    on former.environment = %(environment)s and former.hash = before.manifest and before.manifest <> said.manifest
"""


class Place(msgspec.Struct, frozen=True):
    """Where a declaration belongs among those of its source."""

    valid_from: datetime
    received_at: datetime
    manifest: bytes
    until: datetime | None  # when the one just after it begins to hold, if there is one
    before: bytes | None  # the manifest of the one just before it
    content: dict[str, Any] | None  # of that manifest, where it is another


def place(
    connection: Connection,
    environment: int,
    manifest: Manifest,
    now: datetime | None,
    meanwhile: Callable[[], _Done],
    *,
    keep: bool,
) -> tuple[Place, _Done]:
    """The place of a declaration that is received `now` (None: now), and what is done `meanwhile`: of a large manifest
    the server reads some time. It is kept, if it is to be."""
    parameters = {"environment": environment, "source": manifest.source, "now": now, "keep": keep}
    more = {"valid_from": manifest.valid_from, "content": content(manifest)}
    with connection.pipeline():
        asked = ask(connection, PLACE, {**parameters, **more})
        done = meanwhile()
        row = asked.fetchone()
    assert row is not None, "an aggregate has a row"
    return Place(*row), done


_DECLARATION = "select valid_from, received_at, manifest, source, stated from declaration"
MANIFEST = "select content from manifest where environment = %s and hash = %s"


def manifest(connection: Connection, environment: int, found_by: bytes) -> dict[str, Any]:
    """The content of a manifest that was declared."""
    row = connection.execute(MANIFEST, [environment, found_by]).fetchone()
    assert row is not None, "a declaration refers to it"
    content: dict[str, Any] = row[0]
    return content


KEEP_MANIFEST = """
with said as materialized (
    select content, content_hash(content) as hash from (select %s::jsonb as content) as given
), kept as (
    insert into manifest (environment, hash, content) select %s, hash, content from said on conflict do nothing
)
select hash from said
"""


def keep_manifest(connection: Connection, environment: int, manifest: Manifest) -> bytes:
    """Keeps what a source declares, once, and returns the 16 bytes that it is found by."""
    row = connection.execute(KEEP_MANIFEST, [content(manifest), environment]).fetchone()
    assert row is not None, "a select of one value has a row"
    return bytes(row[0])


COPY_MANIFEST = """
insert into manifest (environment, hash, content)
select %s, hash, content from manifest where environment = %s and hash = %s on conflict do nothing
"""


def copy_manifest(connection: Connection, recorded: int, environment: int, found_by: bytes) -> None:
    """Keeps what was declared in one environment in another as well."""
    connection.execute(COPY_MANIFEST, [environment, recorded, found_by])


KEEP = """
insert into declaration (environment, valid_from, received_at, manifest, source, stated)
values (%s, %s, %s, %s, %s, %s) on conflict do nothing
"""


def keep(connection: Connection, environment: int, said: Declaration) -> None:
    """Adds a declaration to the facts; its manifest is kept already."""
    connection.execute(KEEP, [environment, *msgspec.structs.astuple(said)])


KEEP_TASKS = Added(
    insert="""
insert into task_version (environment, task_id, version, definition, source)
select %s, * from json_to_recordset(%s::json) as said (task_id bigint, version bytea, definition jsonb, source text)
on conflict (environment, task_id, version) do nothing
""",
    copy="copy task_version (environment, task_id, version, definition, source) from stdin (format binary)",
    types=("int8", "bytea", "jsonb", "text"),
)
# Many are copied, and a copy finds no fault with what is there already.
KEPT = """
select said.* from unnest(%s::bigint[], %s::bytea[]) as said (task_id, version) cross join lateral (
    select from task_version
    where environment = (select %s::smallint) and task_id = said.task_id and version = said.version offset 0
) kept
"""


def keep_tasks(
    connection: Connection,
    environment: int,
    source: str,
    tasks: Iterable[TaskDefinition],
    versions: Mapping[int, bytes],
) -> None:
    """Keeps each definition as a version of its task, unless it has been one; `versions` are theirs, by id."""
    asked = [list(versions), list(versions.values()), environment]
    kept = set(connection.execute(KEPT, asked).fetchall()) if len(versions) >= FEW else set()
    rows = [
        {"task_id": task_id, "version": version, "definition": task, "source": source}
        for task, (task_id, version) in zip(tasks, versions.items(), strict=True)
        if (task_id, version) not in kept
    ]
    add(connection, environment, KEEP_TASKS, rows)


KEEP_EDGES = """
insert into version_edge (environment, task_id, version, relation, node_kind, nodes)
select %s, said.* from json_to_recordset(%s::json) as said
    (task_id bigint, version bytea, relation edge_relation, node_kind node_kind, nodes bigint[])
on conflict do nothing
"""


def keep_edges(
    connection: Connection, environment: int, versions: Mapping[int, bytes], edges: Iterable[AlikeEdges]
) -> None:
    """Keeps the edges of these versions of tasks, unless they are kept."""
    if rows := list(_of_versions(versions, edges)):
        ask(connection, KEEP_EDGES, [environment, spread(rows)])


def _of_versions(hashes: Mapping[int, bytes], edges: Iterable[AlikeEdges]) -> Iterator[dict[str, Any]]:
    """Of each version the nodes that it names, by what they are to it."""
    named: dict[tuple[int, str, str], list[int]] = {}
    for each in edges:
        for task, node in zip(each.tasks, each.nodes, strict=True):
            named.setdefault((task, each.relation, each.node_kind), []).append(node)
    for (task, relation, kind), nodes in named.items():
        own = {"task_id": task, "version": hashes[task]}
        yield {**own, "relation": relation, "node_kind": kind, "nodes": sorted(nodes)}


KEEP_DATASETS = """
with said as materialized (
    select id, content_hash(definition) as version, definition
    from json_to_recordset(%s::json) as said (id bigint, definition jsonb)
), kept as (
    insert into dataset_version (environment, dataset_id, version, definition)
    select %s, id, version, definition from said on conflict (environment, dataset_id, version) do nothing
)
select id, version from said
"""


def keep_datasets(connection: Connection, environment: int, datasets: Sequence[DatasetDefinition]) -> dict[Node, bytes]:
    """Keeps each definition as a version of its dataset, if it has never been one. Returns the versions."""
    if not datasets:
        return {}
    rows = spread({"id": dataset.ref.id, "definition": dataset} for dataset in datasets)
    found = connection.execute(KEEP_DATASETS, [rows, environment]).fetchall()
    return {("dataset", dataset_id): bytes(found_by) for dataset_id, found_by in found}


# With the spans that only touch the stretch: they may become one with what is written there.
SPANS = """
select node_id, valid_from, valid_to, version from definition_span
where environment = %(environment)s and node_kind = %(kind)s and node_id = any(%(nodes)s) and source = %(source)s
    and valid_from <= coalesce(%(valid_to)s, timestamptz 'infinity')
    and coalesce(valid_to, 'infinity') >= %(valid_from)s
order by node_id, valid_from
"""
REMOVE_SPANS = """
delete from definition_span using unnest(%s::node_kind[], %s::bigint[], %s::timestamptz[])
    as gone (node_kind, node_id, valid_from)
where environment = %s and source = %s and definition_span.node_kind = gone.node_kind
    and definition_span.node_id = gone.node_id and definition_span.valid_from = gone.valid_from
"""
ADD_SPANS = """
insert into definition_span (environment, node_kind, node_id, source, valid_from, valid_to, version)
select %s, said.node_kind, said.node_id, %s, said.valid_from, said.valid_to, said.version
from json_to_recordset(%s::json) as said
    (node_kind node_kind, node_id bigint, valid_from timestamptz, valid_to timestamptz, version bytea)
"""
NodeSpan = tuple[Node, Span]


def spans_within(
    connection: Connection, environment: int, nodes: Iterable[Node], source: str, stretch: Sequence[datetime | None]
) -> dict[Node, list[Span]]:
    """What a source has declared of these within a stretch of time, from its begin to its end (None: to the last)."""
    by_kind: dict[NodeKind, list[int]] = {}
    for kind, node_id in nodes:
        by_kind.setdefault(kind, []).append(node_id)
    parameters = {"environment": environment, "source": source, "valid_from": stretch[0], "valid_to": stretch[1]}
    found: dict[Node, list[Span]] = {}
    for kind, ids in by_kind.items():
        for node_id, *span in connection.execute(SPANS, {**parameters, "kind": kind, "nodes": ids}):
            found.setdefault((kind, node_id), []).append(Span(*span))
    return found


def replace_spans(
    connection: Connection, environment: int, source: str, gone: Sequence[NodeSpan], come: Sequence[NodeSpan]
) -> None:
    """Takes spans of a source away, and puts others in their place."""
    if gone:
        columns = zip(*((kind, node_id, span.valid_from) for (kind, node_id), span in gone), strict=True)
        connection.execute(REMOVE_SPANS, [*map(list, columns), environment, source])
    if come:
        rows = [
            {"node_kind": kind, "node_id": node_id, **msgspec.structs.asdict(span)} for (kind, node_id), span in come
        ]
        ask(connection, ADD_SPANS, [environment, source, spread(rows)])


ALL = (
    _DECLARATION  # both are literals
    + """
where environment = %s and source = %s and (valid_from, received_at, manifest) > (%s, %s, %s)
order by valid_from, received_at, manifest limit %s
"""
)


def declarations(
    connection: Connection, environment: int, sources: Iterable[str], page: int = 1_000
) -> Iterator[Declaration]:
    """Every declaration of these sources, source by source in the order in which they replace each other."""
    for source in sorted(sources):
        place: tuple[object, ...] = ("-infinity", "-infinity", b"")
        while rows := connection.execute(ALL, [environment, source, *place, page]).fetchall():
            yield from (found := [Declaration(*row) for row in rows])
            place = (found[-1].valid_from, found[-1].received_at, found[-1].manifest)


SOURCES = "select distinct source from declaration where environment = %s order by source"


def sources(connection: Connection, environment: int) -> list[str]:
    """Who has ever declared anything."""
    return [source for (source,) in connection.execute(SOURCES, [environment])]


AHEAD = """
select distinct source from (
    select source, valid_from, received_at, manifest from declaration where environment = %s
    except select source, valid_from, received_at, manifest from declaration where environment = %s
) lacking order by source
"""


def sources_ahead(connection: Connection, environment: int, other: int) -> list[str]:
    """Who has declared something in an environment that another lacks."""
    return [source for (source,) in connection.execute(AHEAD, [environment, other])]


FORGET_SPANS = "delete from definition_span where environment = %s and source = any(%s)"


def forget_spans(connection: Connection, environment: int, sources: Collection[str]) -> None:
    """Takes away when versions held, by what these sources declared."""
    if sources:
        connection.execute(FORGET_SPANS, [environment, list(sources)])
