"""The OpenAPI document: whole, sound, with an example of every operation and a description of every schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
_METHODS = ("get", "put", "post", "delete", "patch")


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method} {path}", item[method]


def _parts(value: object) -> Iterator[dict[str, Any]]:
    """Every object of the document, however deep, apart from the examples."""
    if isinstance(value, dict):
        yield value
        for key, part in value.items():
            if key not in ("example", "examples"):
                yield from _parts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _parts(part)


def test_every_operation_has_an_example_of_what_it_answers(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        for media in success["content"].values():
            assert media.get("examples") or media.get("example"), name


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    bodies = [(name, op["requestBody"]) for name, op in _operations(document) if "requestBody" in op]
    for name, body in bodies:
        for media in body["content"].values():
            assert media.get("examples") or media.get("example"), name
    assert bodies


def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        assert operation.get("summary"), name
        assert operation.get("description"), name
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert "400" not in operation["responses"], name


def test_every_schema_is_described_and_every_field_of_what_lists_show(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        assert schema.get("description"), name
    items = [name for name in schemas if name.endswith("Item")]
    for name in (*items, "Problem", "Complaint", "BatchAnswer", "Recorded"):
        for field, part in schemas[name]["properties"].items():
            assert part.get("description") or "$ref" in str(part), f"{name}.{field}"
    assert len(items) == 15


def test_every_parameter_is_described(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{name} {parameter['name']}"


def test_the_document_is_sound(document: dict[str, Any]) -> None:
    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    assert document["info"]["title"]
    schemas = document["components"]["schemas"]
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in schemas)
    for part in _parts(document):
        if isinstance(part.get("$ref"), str):
            prefix, _, name = part["$ref"].rpartition("/")
            assert prefix == "#/components/schemas"
            assert name in schemas
    ids = [operation["operationId"] for _, operation in _operations(document)]
    assert len(set(ids)) == len(ids)


def test_every_name_in_a_path_is_a_parameter(document: dict[str, Any]) -> None:
    for name, operation in _operations(document):
        given = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", name))
        assert all(each["required"] for each in operation.get("parameters", ()) if each["in"] == "path")


def test_examples_of_lists_have_the_fields_of_their_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for noun, item in (("runs", "RunItem"), ("tasks", "TaskItem"), ("partitions", "PartitionItem")):
        answer = document["paths"][f"/api/v1/{{env}}/{noun}"]["get"]["responses"]["200"]
        [example] = answer["content"]["application/json"]["examples"].values()
        # An OpenAPI document of this library leaves out fields that are null.
        left_out = set(schemas[item]["properties"]) - set(example["value"]["items"][0])
        assert left_out <= {"error", "marked", "shards"}


def test_the_page_to_read_and_try_asks_no_other_host(client: TestClient[Litestar]) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype html>", "")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"):
        assert f"/docs/assets/{asset}" in page.text
        assert client.get(f"/docs/assets/{asset}").status_code == 200
