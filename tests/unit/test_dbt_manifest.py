"""dbt's manifest.json as ours: the real one of the captures, and small ones for what it does not hold."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.model.edge import All
from dataforge.model.errors import InvalidInput
from dataforge.model.manifest import DatasetDefinition, Manifest, TaskDefinition
from dataforge.model.partition import Partitioning
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
    assert manifest.source.startswith("dbt:")
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


def test_what_people_are_told_of_a_node_is_its_description_its_tags_and_an_exposures_page() -> None:
    told: dict[str, Any] = {"description": "All orders.", "tags": ["daily", "pii", "daily"]}
    manifest = read(
        {"model.shop.orders": node("model", "orders", **told)},
        sources={"source.shop.erp.raw": {**node("source", "raw"), "description": "As it came.", "alias": None}},
        exposures={
            "exposure.shop.board": node("exposure", "board", url="https://bi.example.com/1"),
            "exposure.shop.other": node("exposure", "other", url="a page"),
        },
    )
    found = tasks(manifest)
    orders = found["model.shop.orders"]
    assert (orders.description, orders.tags, orders.links) == ("All orders.", ("daily", "pii"), {})
    assert found["exposure.shop.board"].links == {"page": "https://bi.example.com/1"}
    assert found["exposure.shop.other"].links == {}
    assert [dataset.description for dataset in manifest.datasets] == ["As it came."]


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


def said(**dataforge: Any) -> dict[str, Any]:
    return {"config": {"meta": {"dataforge": dataforge}}}


DAILY = {"kind": "daily", "start": "2026-11-02"}
WEEKLY = {"kind": "weekly", "start": "2026-11-02", "day_offset": 1}


def test_what_meta_says_of_a_model_holds_for_its_task_and_its_partitioning_for_the_relation() -> None:
    model = node("model", "stg", **said(partitioning=DAILY, run_after="PT30M", domain="sales", pools={"warehouse": 1}))
    manifest = read({"model.shop.stg": model})
    task = tasks(manifest)["model.shop.stg"]
    assert task.partitioning == Partitioning(kind="daily", start="2026-11-02")
    assert (task.run_after, task.domain, task.pools) == (timedelta(minutes=30), "sales", {"warehouse": 1})
    assert [dataset.partitioning for dataset in manifest.datasets] == [task.partitioning]


def test_meta_itself_says_the_same_as_the_meta_of_config() -> None:
    dataforge = {"partitioning": DAILY, "domain": "sales"}
    old = read({"model.shop.stg": node("model", "stg", meta={"dataforge": dataforge})})
    assert old == read({"model.shop.stg": node("model", "stg", **said(**dataforge))})


def test_a_sources_partitioning_is_its_datasets() -> None:
    manifest = read({}, sources={"source.shop.erp.orders": node("source", "orders", **said(partitioning=DAILY))})
    assert [dataset.partitioning and dataset.partitioning.kind for dataset in manifest.datasets] == ["daily"]


@pytest.mark.parametrize(
    ("upstream", "more", "kind"),
    [
        (("model.shop.day",), {}, "daily"),
        (("model.shop.day", "model.shop.other_day"), {}, "daily"),
        (("model.shop.day", "model.shop.week"), {}, None),
        (("model.shop.day", "model.shop.uncut"), {}, None),
        (("model.shop.day", "model.shop.week"), {"attached_node": "model.shop.week"}, "weekly"),
        (("model.shop.day",), said(partitioning={"kind": "none"}, mapping={"kind": "last"}), "none"),
        ((), {}, None),
    ],
)
def test_a_test_is_cut_as_what_it_tests_where_that_is_one_partitioning(
    upstream: tuple[str, ...], more: dict[str, Any], kind: str | None
) -> None:
    manifest = read(
        {
            "model.shop.day": node("model", "day", **said(partitioning=DAILY)),
            "model.shop.other_day": node("model", "other_day", **said(partitioning=DAILY)),
            "model.shop.week": node("model", "week", **said(partitioning=WEEKLY)),
            "model.shop.uncut": node("model", "uncut"),
            "test.shop.holds": node("test", "holds", upstream, **more),
        }
    )
    cut = tasks(manifest)["test.shop.holds"].partitioning
    assert (cut and cut.kind) == kind


def test_a_mapping_in_meta_is_that_of_every_edge_of_the_node() -> None:
    manifest = read(
        {"model.shop.day": node("model", "day"), "model.shop.week": node("model", "week")},
        exposures={
            "exposure.shop.board": node(
                "exposure", "board", ("model.shop.day", "model.shop.week"), **said(mapping={"kind": "all"})
            )
        },
    )
    assert [edge.mapping for edge in tasks(manifest)["exposure.shop.board"].consumes] == [All(), All()]


@pytest.mark.parametrize(
    ("dataforge", "field"),
    [
        ({"partitionning": DAILY}, "model.shop.stg.meta.dataforge.partitionning"),
        ({"name": "other"}, "model.shop.stg.meta.dataforge.name"),
        ("daily", "model.shop.stg.meta.dataforge"),
        ({"partitioning": {"kind": "dayly"}}, "tasks[0].partitioning.kind"),
        ({"run_after": "half an hour"}, "tasks[0].run_after"),
    ],
)
def test_what_meta_says_wrongly_is_bad_input_with_its_place(dataforge: object, field: str) -> None:
    model = node("model", "stg", unique_id="model.shop.stg", config={"meta": {"dataforge": dataforge}})
    with pytest.raises(InvalidInput) as refused:
        read({"model.shop.stg": model})
    assert refused.value.errors[0].field == field


@pytest.mark.parametrize("document", [b"{}", b"[]", b"{", {"metadata": {"project_name": "shop"}}, "manifest"])
def test_what_is_no_manifest_of_dbt_is_bad_input(document: object) -> None:
    with pytest.raises(InvalidInput):
        from_dbt(document, "prod-dbt", WAREHOUSE)
