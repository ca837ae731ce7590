"""dbt: the ledger's runs against run_results.json, and one task a node whatever the naming mode."""

import json
from pathlib import Path
from typing import Any, LiteralString

from benchmarks.truth.score import Check, Score, equal
from dataforge.ingest.dbt import task_name
from dataforge.storage.database import Database

STATES = {"success": "succeeded", "pass": "succeeded", "warn": "succeeded", "skipped": "skipped"}

RUNS = """
select t.namespace, t.name, r.source ->> 'invocation_id', r.state from run r
join task t on t.environment = r.environment and t.id = r.task_id join environment e on e.id = r.environment
where e.name = %s and t.platform = 'dbt' and r.kind = 'task'
"""
TASKS = """
select t.namespace, t.name from task t join environment e on e.id = t.environment
where e.name = %s and t.platform = 'dbt' and t.kind = 'task' and (t.seen or t.definition is not null)
"""

DATASETS = """
select distinct c.name from dataset d join environment e on e.id = d.environment
join dataset c on c.environment = d.environment and c.id = d.canonical_id where e.name = %s
"""
NOT_IN_RESULTS = frozenset({"model.shop.eph_orders"})  # dbt lists no ephemeral model, but log mode tells of it
EPHEMERAL = "test.main_staging.eph_orders"  # and takes it for a table


def score(database: Database, environment: str, capture: Path, namespace: str) -> Score:
    """Every model and test once, with its result. Artifact mode sends nothing of seeds, so they have no run."""
    results = json.loads((capture / "run_results.json").read_text())
    manifest = json.loads((capture / "manifest.json").read_text())
    invocation = results["metadata"]["invocation_id"]
    with database.transaction() as connection:
        rows = connection.execute(RUNS, [environment]).fetchall()
        names = sorted(name for ns, name in connection.execute(TASKS, [environment]) if ns == namespace)
    found: dict[str, list[Any]] = {}
    for ns, name, run_invocation, state in rows:
        if ns == namespace and run_invocation == invocation:
            found.setdefault(name, []).append(state)
    expected = {
        task_name(result["unique_id"]): [STATES.get(result["status"], "failed")]
        for result in results["results"]
        if not result["unique_id"].startswith("seed.")
    }
    checks: list[Check] = [equal(name, found.get(name), states) for name, states in sorted(expected.items())]
    checks.append(equal("no other run", sorted(found.keys() - expected.keys()), []))
    checks.append(equal("every node once", names, sorted(map(task_name, manifest["nodes"]))))
    return Score("dbt: models and tests, artifact mode with manifest", tuple(checks))


def score_modes(database: Database, environment: str, namespace: str) -> Score:
    """The same project in both naming modes: each model and test is one task, with one run an invocation."""
    with database.transaction() as connection:
        rows = connection.execute(RUNS, [environment]).fetchall()
    found: dict[str, dict[str, list[str]]] = {}
    for ns, name, invocation, state in rows:
        if ns == namespace and not name.startswith("seed."):
            found.setdefault(name, {}).setdefault(invocation, []).append(state)
    nodes = [
        "model.shop.orders_total",
        "model.shop.stg_orders",
        "test.shop.not_null_stg_orders_id",
        "test.shop.unique_stg_orders_id",
    ]
    checks = [equal("every node once", sorted(found), nodes)]
    checks += [
        equal(name, sorted(runs.values()), [["succeeded"], ["succeeded"]]) for name, runs in sorted(found.items())
    ]
    return Score("dbt: one task a node in both naming modes", tuple(checks))


def score_edge(database: Database, environment: str, captures: Path, namespace: str) -> Score:
    """Several invocations of one project with a package, in both naming modes, and its manifest: every node that
    any event tells of has one run an invocation, with its result, and is one task."""
    rows = _rows(database, environment, RUNS)
    checks: list[Check] = []
    for invocation in sorted(path.parent for path in captures.glob("*/run_results.json")):
        checks += _invocation_checks(invocation, [row for row in rows if row[0] == namespace])
    manifest = json.loads((captures / "manifest.json").read_text())
    declared = {task_name(name) for section in ("nodes", "unit_tests", "exposures") for name in manifest[section]}
    names = {name for ns, name in _rows(database, environment, TASKS) if ns == namespace}
    checks.append(equal("every node once", sorted(names), sorted(filter(_runs, declared))))
    datasets = {name for (name,) in _rows(database, environment, DATASETS)} - {EPHEMERAL}
    checks.append(equal("every table once", sorted(datasets), sorted(_tables(manifest))))
    return Score("dbt: a project of edge cases, both modes, with manifest", tuple(checks))


def _rows(database: Database, environment: str, query: LiteralString) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(query, [environment]).fetchall()


def _tables(manifest: dict[str, Any]) -> set[str]:
    """What the project's nodes and sources are in the warehouse. Where a test keeps its failing rows is no table."""
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed", "snapshot")]
    nodes = [node for node in nodes if node["config"]["materialized"] != "ephemeral"]
    sources = manifest["sources"].values()
    tables = [(node, node["alias"]) for node in nodes] + [(source, source["identifier"]) for source in sources]
    return {f"{node['database']}.{node['schema']}.{name}" for node, name in tables}


def _runs(unique_id: str) -> bool:
    return not unique_id.startswith("operation.")


def _invocation_checks(capture: Path, rows: list[tuple[Any, ...]]) -> list[Check]:
    results = json.loads((capture / "run_results.json").read_text())
    expected: dict[str, set[str]] = {}
    for result in results["results"]:
        if _told(capture.name, result):
            state = STATES.get(result["status"], "failed")
            expected.setdefault(task_name(result["unique_id"]), set()).add(state)
    found: dict[str, list[str]] = {}
    for _, name, invocation, state in rows:
        if invocation == results["metadata"]["invocation_id"] and name not in NOT_IN_RESULTS:
            found.setdefault(name, []).append(state)
    checks = [equal(f"{capture.name}: {name}", found.get(name), sorted(s)) for name, s in sorted(expected.items())]
    return [*checks, equal(f"{capture.name}: no other run", sorted(found.keys() - expected.keys()), [])]


def _told(capture: str, result: dict[str, Any]) -> bool:
    """Whether any event tells of a node: none of a hook or an exposure; and in artifact mode none of a seed, a
    unit test, a skipped model or snapshot, nor of a generic test on a seed or a snapshot."""
    kind, _, name = result["unique_id"].partition(".")
    if kind in ("operation", "exposure") or capture.endswith("_logs"):
        return kind not in ("operation", "exposure")
    if kind == "test":
        return not any(untold in name for untold in ("raw_customers_id", "customers_history_id"))
    return kind in ("model", "snapshot") and result["status"] != "skipped"
