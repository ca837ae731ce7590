"""What GraphQL refuses: queries that are unsound or too large, names that nobody knows, and a database that is down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient

from dataforge import settings as installation
from dataforge.api.app import create_app
from dataforge.api.graphql import limits
from dataforge.api.graphql.limits import MOST_DEPTH, MOST_VALUES, Size
from dataforge.api.graphql.schema import SCHEMA
from tests.api.graphql import Client, answered, ask, counted, declare_chain, refused


def _deep(levels: int) -> str:
    """A query that goes from task to task, in steps of four levels, below four."""
    inside = "name"
    for _ in range(levels):
        inside = f"edges(limit: 1) {{ items {{ task {{ {inside} }} }} }}"
    return f"{{ environment {{ tasks(limit: 1) {{ items {{ {inside} }} }} }} }}"


def test_a_query_as_deep_as_the_limit_is_answered_and_a_deeper_one_is_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_chain(client, 3)
    assert ask(client, _deep(5))["environment"]["tasks"]["items"]
    with counted(monkeypatch) as statements:
        error = refused(client, _deep(6))
    assert statements == []
    assert error["message"] == f"the query is 22 levels deep: expected at most {MOST_DEPTH} levels"
    assert error["extensions"] == {
        "code": "invalid_input",
        "errors": [{"field": "query", "value": 22, "expected": "at most 20 levels"}],
    }


def test_a_query_that_is_nested_beyond_reading_says_so(client: Client) -> None:
    error = refused(client, "{ environment " * 1_500 + "{ name }" + "}" * 1_500)
    assert error["message"] == "Syntax Error: Document is nested too deeply. Parsing aborted."


def test_a_query_that_may_ask_for_too_much_is_refused_before_anything_is_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = """query Large($limit: Int!) { environment { tasks(limit: 1000) { items { name
        runs(limit: $limit) { items { run state } } } } } }"""
    with counted(monkeypatch) as statements:
        error = refused(client, query, limit=100)
    assert statements == []
    # The environment; of 1,000 tasks: page, items, name, and of 100 runs each page, items and two fields.
    values = 1 + 1_000 * (1 + 1 + 1 + 100 * 4)
    assert f"{values:,} values" in error["message"]
    assert f"{MOST_VALUES:,}" in error["message"]
    assert error["extensions"]["errors"][0]["value"] == values
    assert "errors" not in answered(client, query, limit=40)


def test_aliases_and_fragments_count_as_often_as_they_are_spread(client: Client) -> None:
    spread = " ".join(f"a{number}: environment {{ ...F0 }}" for number in range(10))
    fragments = "".join(
        f"fragment F{level} on Environment {{ "
        + " ".join(f"x{each}: tasks(limit: 10) {{ items {{ verdict {{ status }} ...T }} }}" for each in range(10))
        + (f" ...F{level + 1}" if level < 3 else "")
        + " } "
        for level in range(4)
    )
    many = "fragment T on Task { " + " ".join(f"n{each}: name" for each in range(100)) + " }"
    error = refused(client, f"{{ {spread} }} {fragments} {many}")
    assert "values: expected at most" in error["message"]


@given(spread=st.integers(1, 10), levels=st.integers(1, 30))
def test_a_query_of_fragments_in_fragments_is_reckoned_at_once(spread: int, levels: int) -> None:
    """Written out it would have `spread` to the power of `levels` fields."""
    import graphql

    bodies = [
        f"fragment F{level} on Environment {{ {' '.join(f'...F{level + 1}' for _ in range(spread))} }}"
        for level in range(levels)
    ]
    document = graphql.parse(
        "{ environment { ...F0 } } " + " ".join(bodies) + f" fragment F{levels} on Environment {{ name }}"
    )
    operation, *rest = document.definitions
    assert isinstance(operation, graphql.OperationDefinitionNode)
    fragments = {each.name.value: each for each in rest if isinstance(each, graphql.FragmentDefinitionNode)}
    core: Any = SCHEMA._schema
    assert limits.size(core, operation, fragments, {}) == Size(1 + spread**levels, 2)


def test_clients_may_ask_for_the_schema(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(monkeypatch) as statements:
        found = ask(client, get_introspection_query())
    assert "Verdict" in {each["name"] for each in found["__schema"]["types"]}
    assert statements == []


def test_introspection_is_bounded_like_all_else(client: Client) -> None:
    inside = "name"
    for _ in range(4):
        inside = f"fields {{ type {{ ofType {{ {inside} }} }} }}"
    assert refused(client, f"{{ __schema {{ types {{ {inside} }} }} }}")["extensions"]["code"] in (
        "invalid_query",
        "invalid_input",
    )


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("{ environment { tasks( }", "Syntax Error"),
        ("{ environment { task { name } } }", "Cannot query field 'task'"),
        ('{ environment { tasks(limit: "many") { nextCursor } } }', "Int cannot represent"),
        ("{ environment { runs(state: happy) { nextCursor } } }", "does not exist in 'RunState'"),
        ('{ environment { runs(since: "soon") { nextCursor } } }', "DateTime"),
        ("query A { environment { name } } query B { environment { name } }", "which operation is meant"),
        ("mutation { drop }", "expected a query: nothing is changed this way"),
        ("", "expected a query"),
        ("{ " + "environment { name } " * 2_000 + "}", "tokens"),
    ],
)
def test_an_unsound_query_says_what_is_wrong_and_reads_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, query: str, said: str
) -> None:
    with counted(monkeypatch) as statements:
        error = refused(client, query)
    assert said in error["message"]
    assert error["extensions"]["code"] in ("invalid_query", "invalid_input")
    assert statements == []


def test_a_variable_of_another_type_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "query Some($limit: Int!) { environment { tasks(limit: $limit) { nextCursor } } }"
    with counted(monkeypatch) as statements:
        wrong, missing = refused(client, query, limit="many"), refused(client, query)
    assert "Variable '$limit' got invalid value 'many'" in wrong["message"]
    assert "Variable '$limit' of required type 'Int!' was not provided" in missing["message"]
    assert statements == []


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_limit_out_of_range_is_named(client: Client, limit: int) -> None:
    error = refused(client, f"{{ environment {{ tasks(limit: {limit}) {{ nextCursor }} }} }}")
    assert error["extensions"]["errors"] == [
        {"field": "limit", "value": limit, "expected": "a whole number from 1 to 1000"}
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ('{ environment(name: "a\\u0000") { name } }', "name"),
        ('{ environment { tasks(cursor: "\\u0000") { nextCursor } } }', "cursor"),
        (
            '{ environment { verdicts(questions: [{name: "a", partition: "\\u0000"}]) { code } } }',
            "questions[0].partition",
        ),
    ],
)
def test_text_that_nothing_can_hold_is_named(client: Client, query: str, field: str) -> None:
    assert [each["field"] for each in refused(client, query)["extensions"]["errors"]] == [field]


@pytest.mark.parametrize("value", ["\0", "", "x" * 10_000, "ns/task", "%", "\U0001f600"])
def test_no_text_is_a_fault_of_the_server(client: Client, value: str) -> None:
    query = """query Text($text: String!) { environment { tasks(namespace: $text, owner: $text) { nextCursor }
        datasets(namespace: $text) { nextCursor } runs(platform: $text, partition: $text) { nextCursor }
        partitions(owner: $text, partition: $text) { nextCursor } graph(name: $text) { truncated }
        verdict(name: $text, partition: $text) { status } partitionGraph(name: $text, partition: $text) { truncated }
        verdicts(questions: [{name: $text, namespace: $text, partition: $text}]) { code } } }"""
    errors = answered(client, query, text=value)["errors"]
    assert {error["extensions"]["code"] for error in errors} <= {"not_found", "invalid_input"}


def test_an_environment_that_does_not_exist_is_refused_beside_one_that_does(client: Client) -> None:
    query = '{ environment { name } other: environment(name: "nowhere") { name } }'
    found = answered(client, query)
    assert found["data"] == {"environment": {"name": "dev"}, "other": None}
    [error] = found["errors"]
    assert error["path"] == ["other"]
    assert error["extensions"]["code"] == "not_found"
    assert error["extensions"]["candidates"] == ["dev", "staging", "prod"]
    assert error["message"] == client.get("/api/v1/nowhere/tasks").json()["detail"]


def test_an_unknown_name_lists_candidates(client: Client) -> None:
    declare_chain(client, 3)
    error = refused(client, '{ environment { verdict(name: "task00") { status } } }')
    assert (error["path"], error["extensions"]["code"]) == (["environment", "verdict"], "not_found")
    assert "ns/task000" in error["extensions"]["candidates"]


def test_a_foreign_cursor_fails_its_own_field_alone(client: Client) -> None:
    declare_chain(client, 1)
    query = """{ environment { tasks { items { name good: runs { items { run } } bad: runs(cursor: "bm8") { nextCursor }
        stale: partitions(state: stale) { nextCursor } } } } }"""
    answer = client.post("/graphql", json={"query": query}).json()
    fields = {(error["path"][-1], error["extensions"]["errors"][0]["field"]) for error in answer["errors"]}
    assert fields == {("bad", "cursor"), ("stale", "state")}
    [task] = answer["data"]["environment"]["tasks"]["items"]
    assert (len(task["good"]["items"]), task["bad"], task["stale"]) == (2, None, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "$"),
        (b"[]", "$"),
        (b"{}", "query"),
        (b'{"query": 1}', "query"),
        (b'{"query": "{ environment { name } }", "variables": []}', "variables"),
        (b'{"query": "{ environment { name } }", "querry": ""}', "querry"),
        (b'{"query": "' + b"#" * 100_001 + b'"}', "query"),
    ],
)
def test_a_body_that_is_no_request_is_a_problem_document(client: Client, body: bytes, field: str) -> None:
    answer = client.post("/graphql", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [each["field"] for each in answer.json()["errors"]] == [field]


def test_who_asks_for_the_media_type_of_graphql_gets_its_statuses(client: Client) -> None:
    accept = {"Accept": "application/graphql-response+json"}
    sound = client.post("/graphql", json={"query": "{ environment { name } }"}, headers=accept)
    unsound = client.post("/graphql", json={"query": "{"}, headers=accept)
    assert (sound.status_code, unsound.status_code) == (200, 400)
    assert {each.headers["content-type"] for each in (sound, unsound)} == {"application/graphql-response+json"}
    assert "data" not in unsound.json()


def test_only_queries_that_are_sent_are_answered(client: Client) -> None:
    assert client.get("/graphql").status_code == 405
    assert (
        client.post("/graphql?query={environment{name}}", json={"query": "{ environment { name } }"}).status_code == 422
    )


def test_a_database_that_is_down_is_no_answer(tmp_path: Path) -> None:
    environ = {"DATAFORGE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "DATAFORGE_HOME": str(tmp_path)}
    app = create_app(installation.load(environ, tmp_path / "dataforge.toml"))
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/graphql", json={"query": "{ environment { name } }"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("place", ["limits.refuse_too_large", "verdicts.Named"])
def test_a_fault_of_the_server_shows_nothing_of_the_inside(
    client: Client, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(f"dataforge.api.graphql.{place}", fail)
    error = refused(client, '{ environment { verdict(name: "any") { status } } }')
    assert error["message"] == "this is a fault of the server; its log says more"
    assert error["extensions"] == {"code": "internal"}


def test_a_server_that_nobody_asks_loads_nothing_of_graphql() -> None:
    said = "import sys, dataforge.api.app; print({'strawberry', 'graphql'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_statement_that_fails_fails_the_request(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction is broken then, and nothing that follows could be told."""
    from dataforge.storage import task_list

    monkeypatch.setattr(task_list, "LOAD", "select 1 / 0, %s, %s")
    declare_chain(client, 1)
    query = "{ environment { name tasks { items { name } } datasets { items { name } } } }"
    answer = client.post("/graphql", json={"query": query})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "division" not in answer.text
