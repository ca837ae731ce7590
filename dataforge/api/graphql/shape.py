"""From the values that every interface shows to GraphQL's types, and from the filters of lists to arguments.

Guarantees that GraphQL, the OpenAPI document and the command line cannot part: types, fields, arguments and their words
are made from the structs that the others are made from. Names are theirs in camel case; values of enums are theirs.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from enum import Enum, StrEnum
from inspect import Parameter, Signature, getdoc
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar, Union, get_args, get_origin

import msgspec
import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.scalars import JSON

from dataforge.model import backfill
from dataforge.model.catalog import EvidenceLabel, Origin, PartitionFrom
from dataforge.model.edge import Role, Staleness
from dataforge.model.event import Relation
from dataforge.model.filter import FilterField, fields, moment, read
from dataforge.model.lineage import Direction
from dataforge.model.listing import Page
from dataforge.model.reference import NodeKind
from dataforge.model.verdict import Fate

Item = TypeVar("Item")
Asked = TypeVar("Asked", bound=msgspec.Struct)
Resolve = Callable[[Any, Asked], Any]
Found = TypeVar("Found", bound=Callable[..., Any])
BigInt = NewType("BigInt", int)


FEW = 10  # items of a list inside a list, unless its limit says another number


class Member(NamedTuple):
    """A field of a type: what it shows, in the values that every interface shows, and how that is found."""

    shown: object
    description: str
    written: str | None = None  # its name, where that is not its own in camel case
    resolver: Callable[..., Any] | None = None  # None: it is a field of the value


_BIG = frozenset({"rows", "graph_version"})  # the fields that may pass 2**31, where GraphQL's Int ends
# Named here, since a literal has no name of its own.
_CHOICES: dict[Any, tuple[str, str]] = {
    EvidenceLabel: ("Evidence", "What a state rests on, from weakest to strongest."),
    Literal["inferred", "reported"]: ("TouchEvidence", "What it rests on that a run touched a dataset."),
    PartitionFrom: ("PartitionFrom", "Where the partitions of a run were found."),
    NodeKind: ("NodeKind", "What a node of the graph is."),
    Origin: ("Origin", "Whether something was declared or only observed."),
    Direction: ("Direction", "Which way to go in the graph."),
    Fate: ("Fate", "What Airflow marks a task that it can no longer start."),
    Relation: ("Relation", "What a task has to do with the other end of an edge."),
    Staleness: ("Staleness", "What it means to a task that its upstream is stale."),
    backfill.Stage: ("BackfillState", "How far a backfill has come."),
    backfill.Fate: ("BackfillPartitionState", "How far a partition of a backfill has come."),
    Role: ("Role", "What an upstream is to a task of Airflow's."),
}
SCALARS: dict[object, Any] = {
    BigInt: strawberry.scalar(
        name="BigInt", description="A whole number of up to 64 bits, as a number of JSON.", serialize=int
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A time as RFC 3339 has it, in UTC; as an argument also a date, which begins at midnight UTC.",
        parse_value=lambda value: moment(str(value)),
    ),
    JSON: strawberry.scalar(
        name="JSON", description="A value of JSON, whose names are those of the manifest or the platform."
    ),
}
_known: dict[str, Any] = {"BigInt": BigInt, "JSON": JSON, "date": date, "datetime": datetime}  # once made, by name
_begun: set[str] = set()
_links: dict[type[msgspec.Struct], dict[str, Member]] = {}


def link(struct: type[msgspec.Struct], name: str, shown: object, description: str) -> Callable[[Found], Found]:
    """Adds to the type of a struct a field that leads on to `shown`, which the decorated resolver finds."""

    def add(resolver: Found) -> Found:
        _links.setdefault(struct, {})[name] = Member(shown, description, resolver=resolver)
        return resolver

    return add


def spelled(annotation: Any, name: str = "") -> str:
    """A type as GraphQL's annotations name it; what it needs is made. `name` is the field's."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return spelled(inner[0], name)
    if origin in (types.UnionType, Union):
        return f"{spelled(next(each for each in inner if each is not type(None)), name)} | None"
    if origin in (list, tuple):
        return f"list[{spelled(inner[0])}]"
    if origin is Literal:
        return _enum(*_CHOICES[annotation], inner)
    if origin is Page:
        return _page(inner[0])
    return "JSON" if origin is not None or annotation in (Any, dict) else _plain(annotation, name)


def _plain(annotation: type, name: str) -> str:
    if issubclass(annotation, StrEnum):
        return _enum(annotation.__name__, _words(annotation), [each.value for each in annotation])
    if issubclass(annotation, msgspec.Struct):
        return _object(annotation)
    if annotation is int and name in _BIG:
        return "BigInt"
    return annotation.__name__


def _enum(name: str, description: str, values: Any) -> str:
    """Its values are named as they are written everywhere else, in lower case."""
    if name not in _known:
        choices: Any = StrEnum  # mypy wants its name and values written out
        members = {each: each for each in values}
        _known[name] = strawberry.enum(choices(name, members), name=name, description=description)
    return name


def _object(struct: type[msgspec.Struct]) -> str:
    name = struct.__name__.removesuffix("Item")
    if name not in _known and name not in _begun:
        _begun.add(name)  # it may lead back to itself
        own = {each.name: _member(each) for each in msgspec.structs.fields(struct)}
        made(name, _words(struct), own | _links.get(struct, {}))
    return name


def _member(each: msgspec.structs.FieldInfo) -> Member:
    said = next(part.description for part in get_args(each.type) if isinstance(part, msgspec.Meta))
    assert said is not None, f"{each.name} is described"
    return Member(each.type, said, written=each.encode_name if each.encode_name != each.name else None)


def _page(item: type[msgspec.Struct]) -> str:
    name = f"{_object(item)}Page"
    if name not in _known:
        shown: Any = Page[item]  # type: ignore[valid-type]
        made(name, _words(Page), {each.name: _member(each) for each in msgspec.structs.fields(shown)})
    return name


def made(name: str, description: str, members: Mapping[str, Member]) -> Any:
    """GraphQL's type of these fields. The types that they name may be made later, or lead back to this one."""
    field: Any = strawberry.field
    fields = {
        each: field(resolver=member.resolver, graphql_type=object, name=member.written, description=member.description)
        for each, member in members.items()
    }
    found: Any = strawberry.type(type(name, (), fields), name=name, description=description)
    for each in found.__strawberry_definition__.fields:
        annotation = spelled(members[each.python_name].shown, each.python_name)
        each.type_annotation = StrawberryAnnotation(annotation, namespace=_known)
    _known[name] = found
    return found


def _words(what: type) -> str:
    """The docstring in one line."""
    return " ".join((getdoc(what) or "").split())


class Of(msgspec.Struct, Generic[Item], frozen=True):
    """A value that is shown, and the environment that it is of: what it leads on to is of the same."""

    item: Item
    within: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.item, name)


def takes(shape: type[Asked], *, without: Collection[str] = (), limit: int = 100) -> Callable[[Resolve[Asked]], Any]:
    """Gives a resolver the fields of a filter as arguments, but for those that are clear from where it stands. It takes
    what it stands under, and the filter."""

    def give(resolve: Resolve[Asked]) -> Any:
        def resolver(parent: Any, **given: Any) -> Any:
            values = {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}
            return resolve(parent, read(values, shape))

        under: Any = strawberry.Parent
        own = Parameter("parent", Parameter.POSITIONAL_OR_KEYWORD, annotation=under[Any])
        told = {each.name: each for each in fields(shape)}
        arguments = [
            _argument(each, told[each.name], limit)
            for each in msgspec.structs.fields(shape)
            if each.name not in without
        ]
        resolver.__signature__ = Signature([own, *arguments])  # type: ignore[attr-defined]
        resolver.__annotations__ = {}
        return resolver

    return give


def _argument(each: msgspec.structs.FieldInfo, told: FilterField, limit: int) -> Parameter:
    shown = StrawberryAnnotation(spelled(each.type), namespace=_known).evaluate()
    default = limit if each.name == "limit" else Parameter.empty if told.required else each.default
    annotation: Any = Annotated[shown, strawberry.argument(description=told.description)]
    return Parameter(each.name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def placed(page: Page[Item], within: Any) -> Page[Of[Item]]:
    """The page, each of its items with the environment that it is of."""
    return Page([Of(each, within) for each in page.items], page.next_cursor)
