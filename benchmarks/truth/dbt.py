"""dbt: the ledger's runs against run_results.json, and one task a node whatever the naming mode."""

import json
from pathlib import Path
from typing import Any

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
