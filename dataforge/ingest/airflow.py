"""Airflow 2's events (provider apache-airflow-providers-openlineage): DAG runs, task instances, trigger rules.

A task instance is (dag_id, run_id, task_id, map_index): OpenLineage's runId changes with every try and when a
task is cleared. What no event says (skipped and upstream_failed tasks, EmptyOperators) stands in the task
states of the DAG's last event, which speak for a task as a whole and so never for one of its map indexes.
"""

import re
from datetime import UTC, datetime
from typing import Any

from dataforge.ingest import datasets, facets, paths, run
from dataforge.ingest.envelope import Envelope
from dataforge.model.attempt import Attempt, AttemptKey, Interval, RunPointer, Source, Touch, merge_touches
from dataforge.model.event import EdgeFact, Facts, Outcome, TaskFact
from dataforge.model.reference import TaskRef
from dataforge.model.state import Evidence, RunKind, RunState, Statement

PLATFORM = "airflow"
# The start of a DAG run where the event does not tell it: before any that does.
NO_INCARNATION = datetime(2000, 1, 1, tzinfo=UTC)
TASK_STATES = {  # airflow.utils.state.TaskInstanceState
    "success": RunState.SUCCEEDED,
    "failed": RunState.FAILED,
    "skipped": RunState.SKIPPED,
    "upstream_failed": RunState.UPSTREAM_FAILED,
    "removed": RunState.CANCELED,
    "up_for_retry": RunState.UP_FOR_RETRY,
    "running": RunState.RUNNING,
    "restarting": RunState.RUNNING,
    "deferred": RunState.RUNNING,
    "up_for_reschedule": RunState.RUNNING,
    "queued": RunState.QUEUED,
    "scheduled": RunState.QUEUED,
}
_MOST_TRIGGERS, _LONGEST_RUN_ID = 50, 64
_ASSET_URI = re.compile(r"(?:'uri':\s*|uri=)'([^']+)'")


def reads(envelope: Envelope) -> bool:
    """Whether the event is Airflow's."""
    own = facets.section(envelope.run_facets)
    return run.integration(envelope) == PLATFORM or "airflow" in own or "airflowDagRun" in own


def facts(envelope: Envelope) -> Facts:
    """The facts of one event of a DAG run or of a task instance."""
    if envelope.kind != "run" or not _dag_run(envelope):
        return Facts()
    if run.job_type(envelope) == "DAG" or "airflowDagRun" in facets.section(envelope.run_facets):
        return _dag_facts(envelope)
    return _task_facts(envelope)


def _dag_run(envelope: Envelope) -> dict[str, Any]:
    return facets.section(envelope.run_facets, "airflow", "dagRun") or facets.section(
        envelope.run_facets, "airflowDagRun", "dagRun"
    )


def _dag(envelope: Envelope) -> dict[str, Any]:
    return facets.section(envelope.run_facets, "airflow", "dag") or facets.section(
        envelope.run_facets, "airflowDagRun", "dag"
    )


def _incarnation(envelope: Envelope) -> datetime:
    """The start of the DAG run: it moves when the run is cleared, and when it is deleted and created anew."""
    return facets.moment(_dag_run(envelope), "start_date") or NO_INCARNATION


def _interval(envelope: Envelope) -> Interval | None:
    own = _dag_run(envelope)
    return run.between(
        facets.moment(own, "data_interval_start"), facets.moment(own, "data_interval_end")
    ) or run.interval(envelope)


def _run_id(envelope: Envelope) -> str:
    return facets.text(_dag_run(envelope), "run_id") or envelope.run_id or ""


def _dag_facts(envelope: Envelope) -> Facts:
    clear_number = facets.count(_dag_run(envelope), "clear_number") or 0
    incarnation, run_id = _incarnation(envelope), _run_id(envelope)
    attempt = Attempt(
        key=AttemptKey(envelope.job, run_id, f"{incarnation.isoformat()}/{clear_number}"),
        kind=RunKind.DAG,
        platform=PLATFORM,
        statement=run.statement(envelope),
        external_run=envelope.run_id or "",
        group_run=run_id,
        number=min(clear_number + 1, 2**31 - 1),
        incarnation=incarnation,
        completed=envelope.type == "COMPLETE",
        started_at=run.started_at(envelope),
        ended_at=run.ended_at(envelope),
        interval=_interval(envelope),
        parent=run.parent(envelope),
        root=run.root(envelope),
        error=run.error(envelope),
        source={"dag_id": _dag_id(envelope), "run_id": run_id, **_triggered_by(envelope)},
    )
    return Facts(
        attempts=(attempt,),
        tasks=(_dag_fact(envelope), *_listed_tasks(envelope)),
        edges=_triggers(envelope),
        outcomes=_outcomes(envelope, attempt),
    )


def _dag_id(envelope: Envelope) -> str:
    return facets.text(_dag(envelope), "dag_id") or facets.text(_dag_run(envelope), "dag_id") or envelope.job.name


def _dag_fact(envelope: Envelope) -> TaskFact:
    return TaskFact(envelope.job, RunKind.DAG, PLATFORM, _common_registers(envelope), _interval(envelope))


def _common_registers(envelope: Envelope) -> dict[str, Any]:
    timetable = facets.section(_dag(envelope), "timetable")
    found = {
        "owner": datasets.owner(envelope.job_facets),
        "description": datasets.description(envelope.job_facets),
        "timetable": [facets.text(timetable, "expression"), facets.text(timetable, "timezone") or "UTC"],
    }
    if not found["timetable"] or found["timetable"][0] is None:
        del found["timetable"]
    return {field: value for field, value in found.items() if value}


def _listed_tasks(envelope: Envelope) -> tuple[TaskFact, ...]:
    """The tasks of the DAG's structure, each with its upstreams: the whole list, so the latest one replaces."""
    listed = facets.section(envelope.job_facets, "airflow", "tasks")
    upstreams: dict[str, set[str]] = {task_id: set() for task_id in listed}
    for task_id, task in listed.items():
        for below in facets.names(facets.section(task).get("downstream_task_ids")) or ():
            upstreams.setdefault(below, set()).add(task_id)
    common = _common_registers(envelope)
    return tuple(
        TaskFact(
            _sibling(envelope, task_id),
            RunKind.TASK,
            PLATFORM,
            {**common, **_operator(listed.get(task_id), "operator"), "upstreams": _names(envelope, above)},
            _interval(envelope),
        )
        for task_id, above in sorted(upstreams.items())
    )


def _sibling(envelope: Envelope, task_id: str) -> TaskRef:
    return TaskRef(envelope.job.namespace, f"{_dag_id(envelope)}.{facets.plain(task_id)}")


def _names(envelope: Envelope, task_ids: set[str] | list[str]) -> list[str]:
    return sorted(_sibling(envelope, task_id).name for task_id in task_ids)


def _operator(task: object, field: str) -> dict[str, Any]:
    """The operator's class without its module: `BranchPythonOperator` tells that what follows may be skipped."""
    path = facets.text(task, field)
    return {"operator": path.rsplit(".", 1)[-1]} if path else {}


def _triggers(envelope: Envelope) -> tuple[EdgeFact, ...]:
    """The tasks whose dataset events triggered this DAG run (the jobDependencies facet)."""
    edges = []
    for entry in facets.items(envelope.run_facets, "jobDependencies", "upstream"):
        namespace, name = facets.text(entry, "job", "namespace"), facets.text(entry, "job", "name")
        if namespace and name and TaskRef(namespace, name) != envelope.job:
            edges.append(EdgeFact(envelope.job, "consumes", TaskRef(namespace, name)))
    return tuple(edges)


def _triggered_by(envelope: Envelope) -> Source:
    """The runs whose dataset events triggered this one, as OpenLineage calls them; the first of very many."""
    entries = facets.items(envelope.run_facets, "jobDependencies", "upstream")
    named = {facets.text(entry, "run", "runId") for entry in entries}
    found = sorted(name for name in named if name and len(name) <= _LONGEST_RUN_ID and not name.count(" "))
    return {"triggered_by": " ".join(found[:_MOST_TRIGGERS])} if found else {}


def _outcomes(envelope: Envelope, dag: Attempt) -> tuple[Outcome, ...]:
    """What the DAG's last event says of each task. A task that never got a state says nothing."""
    states = facets.section(envelope.run_facets, "airflowState", "tasksState")
    return tuple(
        Outcome(
            task=_sibling(envelope, task_id),
            group_run=dag.key.run,
            incarnation=dag.incarnation or NO_INCARNATION,
            state=TASK_STATES[state],
            parent=RunPointer(envelope.job, dag.external_run),
            interval=dag.interval,
            source={**dag.source, "task_id": facets.plain(task_id), "map_index": -1},
        )
        for task_id, state in sorted(states.items())
        if isinstance(state, str) and state in TASK_STATES
    )


def _task_facts(envelope: Envelope) -> Facts:
    own = facets.section(envelope.run_facets, "airflow")
    task, instance = facets.section(own, "task"), facets.section(own, "taskInstance")
    mapped = facets.count(instance, "map_index")  # -1 of what is not mapped
    map_index = mapped if mapped is not None else -1
    run_id, touched = _run_id(envelope), _touches(envelope, task)
    source: Source = {
        "dag_id": _dag_id(envelope),
        "run_id": run_id,
        "task_id": facets.text(task, "task_id") or envelope.job.name.partition(".")[2],
        "map_index": map_index,
        "try_number": facets.count(instance, "try_number") or 1,
    }
    attempt = Attempt(
        key=AttemptKey(envelope.job, _instance(run_id, map_index), _try(envelope, source)),
        kind=RunKind.TASK,
        platform=PLATFORM,
        statement=_statement(envelope, task, instance),
        external_run=envelope.run_id or "",
        group_run=run_id,
        map_index=map_index,
        number=facets.count(instance, "try_number") or 1,
        incarnation=_incarnation(envelope),
        completed=envelope.type == "COMPLETE",
        started_at=run.started_at(envelope),
        ended_at=run.ended_at(envelope),
        interval=_interval(envelope),
        parent=run.parent(envelope),
        root=run.root(envelope),
        error=run.error(envelope),
        source=source,
        touches=touched,
    )
    return Facts(
        attempts=(attempt,),
        tasks=(_task_fact(envelope, task),),
        datasets=datasets.described(envelope.inputs, envelope.outputs),
        edges=run.dataset_edges(envelope.job, touched),
    )


def _instance(run_id: str, map_index: int) -> str:
    return f"{run_id}[{map_index}]" if map_index >= 0 else run_id


def _try(envelope: Envelope, source: Source) -> str:
    return f"{_incarnation(envelope).isoformat()}/{source['try_number']}"


def _statement(envelope: Envelope, task: dict[str, Any], instance: dict[str, Any]) -> Statement:
    """FAIL of a try that is not the last is no failure yet. After a clear the event no longer tells how many
    tries are left (Airflow counts on from the try that was cleared), so a failure then is only inferred."""
    retries = facets.number(task, "retries") or 0
    tried = facets.count(instance, "try_number") or 1
    if envelope.type != "FAIL":
        return run.statement(envelope)
    if tried <= retries:
        return run.statement(envelope, RunState.UP_FOR_RETRY)
    cleared = bool(facets.number(_dag_run(envelope), "clear_number")) and retries > 0
    return run.statement(envelope, RunState.FAILED, Evidence.INFERRED if cleared else Evidence.REPORTED)


def _task_fact(envelope: Envelope, task: dict[str, Any]) -> TaskFact:
    registers = _common_registers(envelope) | _operator(task, "operator_class")
    upstreams = facets.names(task.get("upstream_task_ids"))
    if upstreams is not None:
        registers["upstreams"] = _names(envelope, upstreams)
    if rule := facets.text(task, "trigger_rule"):
        registers["trigger_rule"] = rule
    if task.get("is_setup") is True:
        registers["setup"] = True
    return TaskFact(envelope.job, RunKind.TASK, PLATFORM, registers, _interval(envelope))


def _touches(envelope: Envelope, task: dict[str, Any]) -> tuple[Touch, ...]:
    """The datasets that the operator's extractor found, and those its author named as inlets and outlets."""
    touched = datasets.touches(envelope)
    for field, direction in (("inlets", "input"), ("outlets", "output")):
        for uri in _ASSET_URI.findall(str(task.get(field) or "")):
            if (dataset := paths.of_uri(uri.replace("\0", ""))) is not None:
                root, key = paths.split(dataset.namespace, dataset.name)
                touch = Touch("input" if direction == "input" else "output", root, key or "", envelope.at, envelope.at)
                touched = merge_touches(touched, (touch,))
    return touched
