"""The manifest of a random DAG, with what its DAG file says of dependencies and nothing more."""

from typing import Any

from benchmarks.airflow_truth.spec import Dag, Task

NAMESPACE = "airflow"
FIRST_DAY = "2026-11-01"


def manifest(dags: list[Dag]) -> dict[str, Any]:
    """One source that declares the tasks of all these DAGs."""
    return {"source": "airflow-truth", "tasks": [_declared(dag, task) for dag in dags for task in dag.tasks]}


def ledger_name(dag: str, task: str) -> str:
    """What Airflow's task is called in the ledger, as OpenLineage names it."""
    return f"{dag}.{task}"


def depends_on(dag: Dag, task: Task) -> set[str]:
    """The tasks that the manifest makes this one wait for; itself where it waits for the day before."""
    prefix = f"{dag.name}."
    return {each["task"]["name"].removeprefix(prefix) for each in _declared(dag, task)["consumes"]}


def _declared(dag: Dag, task: Task) -> dict[str, Any]:
    consumes = [_edge(dag, above, "mapped_over" if above == task.mapped else "upstream") for above in task.upstream]
    consumes += [_edge(dag, above, "setup") for above in indirect_setups(dag, task)]
    consumes += [_edge(dag, above, "short_circuit") for above in indirect_short_circuits(dag, task)]
    consumes += [_past(dag, name) for name in _of_the_day_before(dag, task)]
    found: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": ledger_name(dag.name, task.name),
        "platform": "airflow",
        "partitioning": {"kind": "none"} if dag.days == 1 else {"kind": "daily", "start": FIRST_DAY},
        "trigger_rule": task.rule.value,
        "setup": task.setup,
        "branching": task.kind in ("branch", "short_circuit"),
        "consumes": consumes,
    }
    return found | ({"instances": task.mapped} if isinstance(task.mapped, int) else {})


def _edge(dag: Dag, above: str, role: str) -> dict[str, Any]:
    return {"task": {"namespace": NAMESPACE, "name": ledger_name(dag.name, above)}, "role": role}


def _past(dag: Dag, name: str) -> dict[str, Any]:
    mapping = {"kind": "window", "from": -1, "to": -1}
    return {**_edge(dag, name, "upstream"), "mapping": mapping, "condition": {"kind": "not_failed"}}


def _of_the_day_before(dag: Dag, task: Task) -> list[str]:
    if not task.depends_on_past:
        return []
    return [task.name, *(dag.downstream(task.name) if task.wait_for_downstream else ())]


def indirect_setups(dag: Dag, task: Task) -> list[str]:
    """The setups that a task works under and does not come directly after: those above it that have no teardown, or
    one that comes after the task. A teardown works under none."""
    if task.tears_down is not None:
        return []
    above = dag.above(task.name)
    return sorted(
        each.name
        for each in dag.tasks
        if each.setup and each.name in above and each.name not in task.upstream and _holds(dag, each, task)
    )


def indirect_short_circuits(dag: Dag, task: Task) -> list[str]:
    """The short circuits that may skip a task from afar; they never skip a teardown."""
    if task.tears_down is not None:
        return []
    above = dag.above(task.name) - set(task.upstream) - set(indirect_setups(dag, task))
    return sorted(each.name for each in dag.tasks if each.name in above and _cuts(each))


def _cuts(task: Task) -> bool:
    return task.kind == "short_circuit" and task.ignores_rules


def _holds(dag: Dag, setup: Task, task: Task) -> bool:
    teardowns = [each.name for each in dag.tasks if each.tears_down == setup.name]
    return not teardowns or any(task.name in dag.above(teardown) for teardown in teardowns)
