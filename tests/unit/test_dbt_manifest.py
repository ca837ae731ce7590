"""dbt's manifest.json as ours: the real one of the captures, and small ones for what it does not hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.model.errors import InvalidInput
from dataforge.model.manifest import DatasetDefinition, Manifest, TaskDefinition
from dataforge.model.reference import DatasetRef

CAPTURE = Path(__file__).parents[2] / "examples" / "captures" / "dbt" / "manifest.json"
WAREHOUSE = "postgres://db:5432"


def node(kind: str, name: str, upstream: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    relation = {"database": "shop", "schema": "main", "name": name, "alias": name}
    return {"resource_type": kind, "depends_on": {"nodes": list(upstream)}, "package_name": "shop", **relation, **more}


def read(nodes: dict[str, dict[str, Any]], **sections: Any) -> Manifest:
    return from_dbt({"metadata": {"project_name": "shop"}, "nodes": nodes, **sections}, "prod-dbt", WAREHOUSE)


def consumed(task: TaskDefinition) -> set[tuple[str, str, bool]]:
    return {("task" if edge.task else "dataset", edge.node.name, edge.required) for edge in task.consumes}


def tasks(manifest: Manifest) -> dict[str, TaskDefinition]:
    return {task.name: task for task in manifest.tasks}


def test_every_model_seed_and_test_of_the_capture_is_there_once() -> None:
    manifest = from_dbt(CAPTURE.read_bytes(), "prod-dbt", "duckdb://shop.duckdb")
    found = tasks(manifest)
    assert manifest.source == "dbt:shop"
    assert set(found) == {
        "model.shop.business_metrics",
        "model.shop.daily_revenue",
        "model.shop.stg_orders",
        "seed.shop.raw_orders",
        "test.shop.not_null_daily_revenue_ds",
        "test.shop.unique_daily_revenue_ds",
    }
    assert consumed(found["model.shop.daily_revenue"]) == {("dataset", "shop.main.stg_orders", True)}
    assert [edge.name for edge in found["model.shop.daily_revenue"].produces] == ["shop.main.daily_revenue"]
    assert consumed(found["test.shop.unique_daily_revenue_ds"]) == {("dataset", "shop.main.daily_revenue", True)}
    assert found["test.shop.unique_daily_revenue_ds"].produces == ()
    assert {task.platform for task in manifest.tasks} == {"dbt"}


def test_the_captures_bytes_and_what_they_decode_to_are_read_alike() -> None:
    body = CAPTURE.read_bytes()
    assert from_dbt(body, "n", WAREHOUSE) == from_dbt(json.loads(body), "n", WAREHOUSE)


def test_an_ephemeral_model_is_passed_through_and_never_waited_for() -> None:
    manifest = read(
        {
            "model.shop.base": node("model", "base"),
            "model.shop.inner": node("model", "inner", ("model.shop.base",), config={"materialized": "ephemeral"}),
            "model.shop.outer": node("model", "outer", ("model.shop.inner", "model.shop.inner")),
        }
    )
    found = tasks(manifest)
    assert found["model.shop.inner"].produces == ()
    expected = {("task", "model.shop.inner", False), ("dataset", "shop.main.base", True)}
    assert consumed(found["model.shop.outer"]) == expected


def test_an_exposure_consumes_what_it_shows_through_metrics_too() -> None:
    manifest = read(
        {"model.shop.orders": node("model", "orders"), "model.shop.users": node("model", "users")},
        semantic_models={"semantic_model.shop.orders": node("semantic_model", "orders", ("model.shop.orders",))},
        metrics={"metric.shop.revenue": node("metric", "revenue", ("semantic_model.shop.orders",))},
        exposures={
            "exposure.shop.board": {
                **node("exposure", "board", ("metric.shop.revenue", "model.shop.users")),
                "owner": {"email": "finance@example.com", "name": "Finance"},
            }
        },
    )
    board = tasks(manifest)["exposure.shop.board"]
    assert consumed(board) == {("dataset", "shop.main.orders", True), ("dataset", "shop.main.users", True)}
    assert board.owner == "finance@example.com"
    assert "metric.shop.revenue" not in tasks(manifest)


def test_sources_are_datasets_by_their_identifier() -> None:
    source = {**node("source", "orders"), "identifier": "orders_v2", "schema": "raw", "alias": None}
    manifest = read(
        {"model.shop.stg": node("model", "stg", ("source.shop.erp.orders",))},
        sources={"source.shop.erp.orders": source},
    )
    also = (DatasetRef(WAREHOUSE, "shop.raw.orders"),)  # dbt's events name a source by its name in the project
    assert manifest.datasets == (DatasetDefinition(WAREHOUSE, "shop.raw.orders_v2", aliases=also),)
    assert consumed(tasks(manifest)["model.shop.stg"]) == {("dataset", "shop.raw.orders_v2", True)}


def test_a_sources_name_is_no_alias_when_another_relation_has_it() -> None:
    renamed = {**node("source", "orders"), "identifier": "orders_v2", "alias": None}
    manifest = read({"model.shop.orders": node("model", "orders")}, sources={"source.shop.erp.orders": renamed})
    assert manifest.datasets == (DatasetDefinition(WAREHOUSE, "shop.main.orders_v2"),)


def test_a_unit_test_is_a_task_that_waits_for_nothing() -> None:
    manifest = read(
        {"model.shop.stg": node("model", "stg")},
        unit_tests={"unit_test.shop.stg.keeps_rows": node("unit_test", "keeps_rows", ("model.shop.stg",))},
    )
    assert consumed(tasks(manifest)["unit_test.shop.stg.keeps_rows"]) == set()


def test_a_warehouse_without_databases_names_schema_and_table() -> None:
    manifest = read({"model.shop.stg": {**node("model", "stg"), "database": None}})
    assert [edge.name for edge in tasks(manifest)["model.shop.stg"].produces] == ["main.stg"]


@pytest.mark.parametrize(
    ("more", "owner"),
    [
        ({"meta": {"owner": "a@example.com"}, "group": "finance"}, "a@example.com"),
        ({"config": {"meta": {"owner": "b@example.com"}}}, "b@example.com"),
        ({"group": "finance"}, "team-finance@example.com"),
        ({}, None),
    ],
)
def test_the_owner_is_that_of_meta_or_of_the_group(more: dict[str, Any], owner: str | None) -> None:
    groups = {"group.shop.finance": {"owner": {"email": "team-finance@example.com"}}}
    manifest = read({"model.shop.stg": node("model", "stg", **more)}, groups=groups)
    assert tasks(manifest)["model.shop.stg"].owner == owner
    assert [dataset.owner for dataset in manifest.datasets] == ([owner] if owner else [])


def test_tests_that_differ_in_their_hash_alone_are_one_task() -> None:
    manifest = read(
        {
            "model.shop.a": node("model", "a"),
            "model.shop.b": node("model", "b"),
            "test.shop.fresh.0123456789": node("test", "fresh", ("model.shop.a",)),
            "test.shop.fresh.abcdef0123": node("test", "fresh", ("model.shop.b",)),
        }
    )
    expected = {("dataset", "shop.main.a", True), ("dataset", "shop.main.b", True)}
    assert consumed(tasks(manifest)["test.shop.fresh"]) == expected


@pytest.mark.parametrize("document", [b"{}", b"[]", b"{", {"metadata": {"project_name": "shop"}}, "manifest"])
def test_what_is_no_manifest_of_dbt_is_bad_input(document: object) -> None:
    with pytest.raises(InvalidInput):
        from_dbt(document, "prod-dbt", WAREHOUSE)
