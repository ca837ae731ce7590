"""The schema as it is written down for clients, and the queries of its documentation."""

from __future__ import annotations

import os
import re
from pathlib import Path

from graphql import GraphQLSchema, build_schema, is_enum_type, is_input_object_type, is_object_type

from dataforge.api.graphql.schema import schema
from tests.api.graphql import Client, ask, declare_chain

_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "docs" / "schema.graphql"


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    """`RENEW=1 make test ARGS="-n0 tests/api/test_graphql_schema.py"` writes it anew; the diff is for the review."""
    written = schema().as_str() + "\n"
    if os.environ.get("RENEW"):
        _FILE.write_text(written)
    assert _FILE.read_text() == written


def test_every_type_field_and_argument_is_described() -> None:
    for name, kind in _whole().type_map.items():
        if name.startswith("__"):
            continue
        assert kind.description, name
        fields = kind.fields if is_object_type(kind) or is_input_object_type(kind) else {}
        for field, shown in fields.items():
            assert shown.description, f"{name}.{field}"
            for argument, taken in getattr(shown, "args", {}).items():
                assert taken.description, f"{name}.{field}({argument})"


def test_values_of_enums_are_those_of_the_other_routes() -> None:
    values = {value for kind in _whole().type_map.values() if is_enum_type(kind) for value in kind.values}
    assert {"succeeded", "up_for_retry", "upstream_missing", "quarantined", "declared"} <= values
    own = {
        value
        for kind in _whole().type_map.values()
        if is_enum_type(kind) and kind.name[0] != "_"
        for value in kind.values
    }
    assert all(value == value.lower() for value in own)


def test_the_queries_of_the_docs_are_answered(client: Client) -> None:
    declare_chain(client, 4)
    text = (_ROOT / "docs" / "graphql.md").read_text()
    queries = re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)
    assert len(queries) == 2
    first, second = queries
    tasks = ask(client, first, day="2026-11-02")["environment"]["tasks"]["items"]
    assert [task["verdict"]["status"] for task in tasks] == ["succeeded", "succeeded", "succeeded", "failed"]
    failed = ask(client, second)["environment"]["runs"]["items"]
    assert [run["task"]["name"] for run in failed] == ["task003"]
    assert failed[0]["task"]["graph"]["nodes"]


def _whole() -> GraphQLSchema:
    return build_schema(schema().as_str())
