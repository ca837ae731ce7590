"""How much one query may ask for: how deep it goes, and how many values its answer may hold.

Guarantees that a query which is too large is refused before anything is read, with its size and the limit. The size is
reckoned from the query alone: every field counts as often as the lists around it may hold items, by their limits. So it
bounds aliases, fragments and introspection as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    get_named_type,
    get_operation_ast,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.values import get_argument_values, get_variable_values
from strawberry.extensions import SchemaExtension

from dataforge.ledger.lineage import MOST_NODES
from dataforge.model.errors import FieldError, InvalidInput

MOST_VALUES = 200_000
MOST_DEPTH = 20
MOST_TOKENS = 5_000  # of a query's text
MOST_ITEMS = 1_000  # of one list
_USUAL = 10  # items of a list that takes no limit, such as reasons, inputs and aliases
_WEIGHTS = {"verdict": 100, "graph": 300, "partitionGraph": 10_000}  # values that take as long as to find it
_META = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef, "__typename": TypeNameMetaFieldDef}


class Size(NamedTuple):
    """How large a query may become."""

    values: int
    depth: int


class Limits(SchemaExtension):
    """Refuses what is too large: of the text while it is read, of the query when it is known to be sound."""

    def on_operation(self) -> Iterator[None]:
        """Ends the reading of a text that does not end."""
        self.execution_context.parse_options["max_tokens"] = MOST_TOKENS
        yield

    def on_execute(self) -> Iterator[None]:
        """Raises InvalidInput for a query that may ask for too much."""
        context = self.execution_context
        document = context.graphql_document
        assert document is not None, "it has been read"
        asked: Any = context.root_value  # the request, as `execution` says
        named: str | None = asked.operation_name
        operation = get_operation_ast(document, named)
        if operation is None:
            raise no_operation(named)
        fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
        refuse_too_large(size(context.schema._schema, operation, fragments, context.variables or {}))
        yield


def refuse_too_large(found: Size) -> None:
    """Raises InvalidInput for a size beyond the limits."""
    if found.depth > MOST_DEPTH:
        expected = f"at most {MOST_DEPTH} levels"
        message = f"the query is {found.depth} levels deep: expected {expected}"
        raise InvalidInput(message, [FieldError("query", found.depth, expected)])
    if found.values > MOST_VALUES:
        expected = f"at most {MOST_VALUES:,}: fewer fields, or lists of a smaller limit"
        message = f"the answer may hold {found.values:,} values: expected {expected}"
        raise InvalidInput(message, [FieldError("query", found.values, expected)])


def no_operation(name: str | None) -> InvalidInput:
    """That a query has no operation of this name, or several where none is named."""
    expected = "the name of one of the query's operations"
    message = f"which operation is meant cannot be told: expected {expected}"
    return InvalidInput(message, [FieldError("operationName", name, expected)])


def size(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: dict[str, Any],
) -> Size:
    """How large the answer to an operation may become. Raises InvalidInput for a limit that no list takes."""
    given = get_variable_values(schema, operation.variable_definitions or (), variables)
    if isinstance(given, list):  # what is wrong with them is told when the query is executed
        return Size(0, 0)
    root = schema.get_root_type(operation.operation)
    assert root is not None, "the query is sound"
    return _Walk(schema, fragments, given).of(operation.selection_set, root)


class _Walk:
    """One walk through a query; every fragment is reckoned once, however often it is spread."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], variables: dict[str, Any]
    ) -> None:
        self._schema, self._fragments, self._variables = schema, fragments, variables
        self._known: dict[str, Size] = {}

    def of(self, selections: SelectionSetNode, parent: Any) -> Size:
        """The size of what is selected of one value of the type `parent`."""
        found = [self._selected(each, parent) for each in selections.selections]
        return Size(sum(each.values for each in found), max(each.depth for each in found))

    def _selected(self, selection: Any, parent: Any) -> Size:
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(self._fragments[selection.name.value])
        if isinstance(selection, InlineFragmentNode):
            condition: Any = selection.type_condition  # None where it only groups
            narrowed = parent if condition is None else self._schema.get_type(condition.name.value)
            return self.of(selection.selection_set, narrowed)
        return self._field(selection, parent)

    def _fragment(self, fragment: FragmentDefinitionNode) -> Size:
        name = fragment.name.value
        if name not in self._known:
            self._known[name] = self.of(
                fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value)
            )
        return self._known[name]

    def _field(self, node: FieldNode, parent: GraphQLObjectType | GraphQLInterfaceType) -> Size:
        name = node.name.value
        field = _META.get(name) or parent.fields[name]
        times, weight = self._times(field, node, parent), _WEIGHTS.get(name, 0)
        if name == "verdicts":
            weight = times * _WEIGHTS["verdict"]
        if node.selection_set is None:
            return Size(times, 1)
        below = self.of(node.selection_set, get_named_type(field.type))
        return Size(weight + times * (1 + below.values), 1 + below.depth)

    def _times(self, field: GraphQLField, node: FieldNode, parent: Any) -> int:
        """How many values of its type a field may lead to. What holds the items of a list is reckoned as many times as
        the list's limit says, and its items once each."""
        given = get_argument_values(field, node, self._variables)
        for name, value in given.items():
            _refuse_nul(name, value)
        if "limit" in given:
            return _checked(given["limit"])
        if "questions" in given:
            return len(given["questions"])
        if node.name.value == "partitionGraph":
            return MOST_NODES
        inside = node.name.value in ("items", "nodes")  # of a node there may be ten edges, as `lineage` bounds them
        shown: Any = field.type
        listed = is_list_type(shown.of_type if is_non_null_type(shown) else shown)
        return _USUAL if listed and not inside else 1


def _refuse_nul(name: str, value: object) -> None:
    """PostgreSQL's text holds no NUL, so nothing can have such a name."""
    if isinstance(value, str) and "\0" in value:
        expected = "a value without NUL characters"
        raise InvalidInput(f"{name} is {value!r}: expected {expected}", [FieldError(name, value, expected)])
    if isinstance(value, dict):
        for part, each in value.items():
            _refuse_nul(f"{name}.{part}", each)
    if isinstance(value, list):
        for place, each in enumerate(value):
            _refuse_nul(f"{name}[{place}]", each)


def _checked(limit: int) -> int:
    if not 1 <= limit <= MOST_ITEMS:
        expected = f"a whole number from 1 to {MOST_ITEMS}"
        raise InvalidInput(f"limit is {limit}: expected {expected}", [FieldError("limit", limit, expected)])
    return limit
