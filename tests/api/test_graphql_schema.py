"""The schema as it is written down for clients, and the queries of its documentation."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLObjectType, build_schema

from dataforge.api.graphql.schema import SCHEMA
from tests.api.graphql import Client, ask, declare_chain

_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "docs" / "schema.graphql"


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    """`RENEW=1 make test ARGS="-n0 tests/api/test_graphql_schema.py"` writes it anew; the diff is for the review."""
    written = SCHEMA.as_str() + "\n"
    if os.environ.get("RENEW"):
        _FILE.write_text(written)
    assert _FILE.read_text() == written


def test_every_type_field_and_argument_is_described() -> None:
    for name, kind in _own_types().items():
        assert kind.description, name
        if isinstance(kind, GraphQLObjectType | GraphQLInputObjectType):
            for field, shown in kind.fields.items():
                assert shown.description, f"{name}.{field}"
                for argument, taken in getattr(shown, "args", {}).items():
                    assert taken.description, f"{name}.{field}({argument})"


def test_values_of_enums_are_those_of_the_other_routes() -> None:
    values = {value for kind in _own_types().values() if isinstance(kind, GraphQLEnumType) for value in kind.values}
    assert {"succeeded", "up_for_retry", "upstream_missing", "quarantined", "declared"} <= values
    assert all(value == value.lower() for value in values)


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


def _own_types() -> dict[str, Any]:
    types = build_schema(SCHEMA.as_str()).type_map
    return {name: kind for name, kind in types.items() if not name.startswith("__")}
