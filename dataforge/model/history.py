"""What a question about versions is answered with: when each held, what changed, and from when to when an edge was.

Guarantees that a change is told from the two definitions alone, so it can be told of any two.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from dataforge.model.reference import NodeKind
from dataforge.model.version import SourcedSpan

Definition = Mapping[str, Any]  # as it is stored
Relation = Literal["consumes", "produces"]
_EDGES: tuple[Relation, ...] = ("consumes", "produces")
_NAMES = ("namespace", "name")


class VersionChange(msgspec.Struct, frozen=True, order=True):
    """One difference between a version and the one before it."""

    field: Annotated[str, Meta(description="The field of the definition; of an edge also the node at its other end.")]
    before: Annotated[Any, Meta(description="What stood there; null where nothing did.")]
    after: Annotated[Any, Meta(description="What stands there now; null where nothing does.")]


class VersionSpan(msgspec.Struct, frozen=True):
    """A version of a task, and when it held."""

    version: Annotated[str, Meta(description="The hash of the definition, in hexadecimal.")]
    source: Annotated[str, Meta(description="Who declared it.")]
    valid_from: Annotated[datetime, Meta(description="From when on it held.")]
    valid_to: Annotated[datetime | None, Meta(description="The first moment after it; null while it holds.")]
    changed: Annotated[
        list[VersionChange], Meta(description="What is different from the version before; empty for the first.")
    ]
    definition: Annotated[dict[str, Any], Meta(description="The definition itself.")]


class EdgeSpan(msgspec.Struct, frozen=True):
    """An edge that a task declares or declared, and from which version to which."""

    relation: Annotated[Relation, Meta(description="Whether the task consumes or produces what it leads to.")]
    kind: Annotated[NodeKind, Meta(description="Whether that is a task or a dataset.")]
    namespace: Annotated[str, Meta(description="Its namespace.")]
    name: Annotated[str, Meta(description="Its name, as the definition gives it.")]
    valid_from: Annotated[datetime, Meta(description="From when on the edge held.")]
    valid_to: Annotated[datetime | None, Meta(description="The first moment after it; null while it holds.")]
    from_version: Annotated[str, Meta(description="The first version of the task that has it, in hexadecimal.")]
    to_version: Annotated[str, Meta(description="The last version of the task that has it.")]


class History(msgspec.Struct, frozen=True):
    """One page of a task's versions, with the edges that they declare."""

    items: Annotated[list[VersionSpan], Meta(description="The versions, the latest first.")]
    edges: Annotated[list[EdgeSpan], Meta(description="The edges of these versions, each with when it held.")]
    next_cursor: Annotated[str | None, Meta(description="Where the next page begins; null at the end.")]


class FoundDefinition(msgspec.Struct, frozen=True):
    """A definition, found by its hash."""

    kind: Annotated[NodeKind, Meta(description="Whether it defines a task or a dataset.")]
    namespace: Annotated[str, Meta(description="The namespace of what it defines.")]
    name: Annotated[str, Meta(description="The name of what it defines.")]
    version: Annotated[str, Meta(description="Its whole hash, in hexadecimal.")]
    definition: Annotated[dict[str, Any], Meta(description="The definition, as it was declared.")]


class HeldVersion(msgspec.Struct, frozen=True):
    """A span with the definition that held in it."""

    held: SourcedSpan
    definition: dict[str, Any]


def history(held: Sequence[HeldVersion], before: HeldVersion | None, next_cursor: str | None) -> History:
    """The answer about these versions, the latest first; `before` is the one that came before them all."""
    older = [*held, before][1:]
    items = [
        VersionSpan(
            version=each.held.span.version.hex(),
            source=each.held.source,
            valid_from=each.held.span.valid_from,
            valid_to=each.held.span.valid_to,
            changed=changes(previous.definition, each.definition) if previous else [],
            definition=each.definition,
        )
        for each, previous in zip(held, older, strict=True)
    ]
    return History(items, edge_spans(list(reversed(held))), next_cursor)


def changes(before: Definition, after: Definition) -> list[VersionChange]:
    """What is different between two definitions: a field of its own, or an edge by the node at its other end."""
    one, other = _parts(before), _parts(after)
    fields = sorted(field for field in one.keys() | other.keys() if one.get(field) != other.get(field))
    return [VersionChange(field, one.get(field), other.get(field)) for field in fields]


def _parts(definition: Definition) -> dict[str, Any]:
    parts = {field: value for field, value in definition.items() if field not in _EDGES}
    for relation, (kind, namespace, name), edge in _edges(definition):
        parts[f"{relation} {kind} {namespace}/{name}"] = {
            field: value for field, value in edge.items() if field not in ("task", "dataset", *_NAMES)
        }
    return parts


_Node = tuple[NodeKind, str, str]


def _edges(definition: Definition) -> Iterable[tuple[Relation, _Node, Mapping[str, Any]]]:
    for edge in definition.get("consumes", ()):
        kind: NodeKind = "task" if edge.get("task") else "dataset"
        yield "consumes", (kind, edge[kind]["namespace"], edge[kind]["name"]), edge
    for edge in definition.get("produces", ()):
        yield "produces", ("dataset", edge["namespace"], edge["name"]), edge


def edge_spans(held: Sequence[HeldVersion]) -> list[EdgeSpan]:
    """When each edge held, from versions in the order of their begin: through every version that has it, without a
    gap between two of them."""
    spans: dict[tuple[Relation, _Node], list[EdgeSpan]] = {}
    for each in held:
        version = each.held.span.version.hex()
        for relation, node, _ in _edges(each.definition):
            known = spans.setdefault((relation, node), [])
            span = EdgeSpan(relation, *node, each.held.span.valid_from, each.held.span.valid_to, version, version)
            known.append(_joined(known.pop(), span) if known and _meet(known[-1], span) else span)
    return [span for key in sorted(spans) for span in spans[key]]


def _meet(first: EdgeSpan, second: EdgeSpan) -> bool:
    """Whether nothing lies between two spans, of which the first begins first."""
    return first.valid_to is None or first.valid_to >= second.valid_from


def _joined(first: EdgeSpan, second: EdgeSpan) -> EdgeSpan:
    if first.valid_to is None or (second.valid_to is not None and second.valid_to <= first.valid_to):
        return first
    return replace(first, valid_to=second.valid_to, to_version=second.to_version)
