"""The expanded graph of a run: read back from what its platform said, and after the definition has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dataforge.ingest.batch import record_any
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.run_graph import run_graph
from dataforge.model import definition
from dataforge.model.errors import NotFound
from dataforge.model.filter import RunFilter
from dataforge.model.run_graph import RunGraph
from dataforge.model.state import RunKind
from dataforge.storage.database import Database

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
NOW = datetime(2026, 11, 26, tzinfo=UTC)
SETUP = "scheduled__2026-06-01T00:00:00+00:00"


def _record(database: Database, *names: str) -> None:
    bodies: list[object] = []
    for name in names:
        bodies += (CAPTURES / name).read_bytes().splitlines()
    assert record_any(database, "dev", bodies, NOTHING).rejected == []


def _edges(found: RunGraph) -> set[tuple[str, str]]:
    return {(edge.from_.name.rpartition(".")[2], edge.to.name.rpartition(".")[2]) for edge in found.edges}


def _runs(database: Database, kind: RunKind) -> Sequence[Any]:
    return catalog.runs(database, "dev", RunFilter(kind=kind, limit=500)).items


def test_a_dag_run_has_its_instances_by_map_index_and_the_edges_of_its_tasks(database: Database) -> None:
    _record(database, "airflow_edge/events.jsonl")
    found = run_graph(database, "dev", (None, "mapped_edge"), "manual_1", NOW)
    mapped = {(each.name, each.map_index) for each in found.instances if each.map_index >= 0}
    assert len(mapped) > len({name for name, _ in mapped})
    assert all(each.state.final for each in found.instances)
    names = {each.name for each in found.instances}
    assert all({edge.from_.name, edge.to.name} <= names for edge in found.edges)
    assert not found.truncated


def test_it_is_read_back_after_the_definition_has_changed(database: Database) -> None:
    _record(database, "airflow_edge/events.jsonl")
    (namespace,) = {each.namespace for each in _runs(database, RunKind.DAG)}
    before = run_graph(database, "dev", (namespace, "setup_and_teardown"), SETUP, NOW)
    first, *_, last = [{"namespace": namespace, "name": each.name} for each in before.instances]
    declare(database, "dev", definition.parse({"source": "new", "tasks": [{**first, "consumes": [{"task": last}]}]}))
    after = run_graph(database, "dev", (namespace, "setup_and_teardown"), SETUP, NOW)
    assert after == before
    assert len(_edges(after)) == 5


def test_updates_that_triggered_a_dag_run_are_links_to_the_runs_that_made_them(database: Database) -> None:
    _record(database, "airflow_edge/events.jsonl")
    (triggered,) = [each for each in _runs(database, RunKind.DAG) if each.name == "joined"]
    links = run_graph(database, "dev", (None, "joined"), triggered.run, NOW).links
    assert {(link.kind, link.from_.name, link.to.run) for link in links} == {
        ("dataset", "eu.berlin.report", triggered.run),
        ("dataset", "every_six_hours.load", triggered.run),
    }


def test_a_spark_application_shows_its_jobs_and_the_run_that_ran_it(database: Database) -> None:
    _record(database, "airflow/events.jsonl", "spark/events.jsonl")
    shown = 0
    for each in _runs(database, RunKind.TASK):
        if "application_id" in each.source:
            found = run_graph(database, "dev", (each.namespace, each.name), each.run, NOW)
            assert all(one.kind is RunKind.STEP for one in found.instances)
            assert all(link.kind == "ran" for link in found.links)
            shown += len(found.instances)
    assert shown > 20


def test_a_dbt_invocation_shows_its_nodes_and_what_each_read(database: Database) -> None:
    manifest = json.loads((CAPTURES / "dbt" / "manifest.json").read_bytes())
    declare(database, "dev", from_dbt(manifest, "prod-dbt", "duckdb://shop.duckdb"))
    _record(database, "dbt/events.jsonl")
    invocations = _runs(database, RunKind.DAG)
    graphs = [run_graph(database, "dev", (each.namespace, each.name), each.run, NOW) for each in invocations]
    assert any(edge.dataset is not None for found in graphs for edge in found.edges)


def _event(name: str, run: str, run_id: str, parent: tuple[str, str] | None, kind: str) -> dict[str, Any]:
    facets: dict[str, Any] = {"airflow": {"dagRun": {"run_id": run, "start_date": "2026-11-02T00:00:00Z"}}}
    if kind == "DAG":
        facets = {"airflowDagRun": {"dagRun": facets["airflow"]["dagRun"], "dag": {"dag_id": name}}}
    if parent is not None:
        facets["parent"] = {"job": {"namespace": "af", "name": parent[0]}, "run": {"runId": parent[1]}}
    return {
        "eventTime": "2026-11-02T00:01:00Z",
        "eventType": "COMPLETE",
        "producer": "https://airflow",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
        "run": {"runId": run_id, "facets": facets},
        "job": {
            "namespace": "af",
            "name": name,
            "facets": {"jobType": {"integration": "AIRFLOW", "jobType": kind, "processingType": "BATCH"}},
        },
        "inputs": [],
        "outputs": [],
    }


def test_a_run_that_a_task_triggered_is_a_link_from_both_ends(database: Database) -> None:
    ids = [f"01a16c2c-3940-70b2-8f5d-{number:012}" for number in range(4)]
    events = [
        _event("outer", "o1", ids[0], None, "DAG"),
        _event("outer.start", "o1", ids[1], ("outer", ids[0]), "TASK"),
        _event("inner", "i1", ids[2], ("outer.start", ids[1]), "DAG"),
        _event("inner.work", "i1", ids[3], ("inner", ids[2]), "TASK"),
    ]
    assert record_any(database, "dev", [json.dumps(event).encode() for event in events], NOTHING).rejected == []
    for name, run in (("outer", "o1"), ("inner", "i1")):
        (link,) = run_graph(database, "dev", ("af", name), run, NOW).links
        assert (link.kind, link.from_.name, link.to.name) == ("triggered", "outer.start", "inner")


def test_a_run_that_nobody_knows_is_not_found(database: Database) -> None:
    _record(database, "airflow/events.jsonl")
    with pytest.raises(NotFound, match="there is no run 'nowhere'"):
        run_graph(database, "dev", (None, _runs(database, RunKind.DAG)[0].name), "nowhere", NOW)
