"""dbt's events (dbt-ol), which name one node in two ways: by relation (artifact mode) and by unique id (log mode).

A node is the task (job namespace, unique id) in both, and in the manifest (dataforge.ingest.dbt_manifest); a test
loses the hash at its end, because artifact mode reports tests as assertions on the tested model and knows only
their names. An execution is (node, invocation).
"""

import re
from typing import Any

from msgspec.structs import replace

from dataforge.ingest import datasets, facets, run
from dataforge.ingest.envelope import Envelope
from dataforge.model.attempt import Attempt, AttemptKey, Source, Touch
from dataforge.model.event import EdgeFact, Facts, TaskFact
from dataforge.model.reference import TaskRef
from dataforge.model.state import Evidence, RunKind, RunState, Statement

PLATFORM = "dbt"
_NODE_TYPES = frozenset({"model", "seed", "snapshot", "test", "unit_test", "source", "operation", "analysis"})
_TEST_HASH = re.compile(r"\.[0-9a-f]{10}$")
_STATEMENT = re.compile(r"\.sql\.\d+$")
_ARTIFACT_SUFFIX = re.compile(r"(?:\.build)?\.(run|test|snapshot|seed)$")


def reads(envelope: Envelope) -> bool:
    """Whether the event is dbt's."""
    own = facets.section(envelope.run_facets)
    return run.integration(envelope) == PLATFORM or "dbt_run" in own or "dbt_version" in own


def task_name(unique_id: str) -> str:
    """The name of a node's task: its unique id, a test's without the hash."""
    return _TEST_HASH.sub("", unique_id) if unique_id.startswith("test.") else unique_id


def facts(envelope: Envelope) -> Facts:
    """The facts of one event of an invocation, a node, its tests or one SQL statement of it."""
    if envelope.kind != "run":
        return Facts()
    if run.job_type(envelope) == "JOB" or envelope.job.name.startswith("dbt-run-"):
        return _invocation_facts(envelope)
    if _STATEMENT.search(envelope.job.name):
        return _single(envelope, RunKind.STEP, envelope.job, envelope.run_id or "", {}, ())
    assertions = _assertions(envelope)
    unique_id = _unique_id(envelope)
    if assertions and not unique_id.startswith("test."):
        return _test_facts(envelope, assertions)
    return _node_facts(envelope, unique_id)


def _invocation(envelope: Envelope) -> str:
    above = run.parent(envelope)
    return (
        facets.text(envelope.run_facets, "dbt_run", "invocation_id")
        or (above.external_run if above else None)
        or envelope.run_id
        or ""
    )


def _invocation_facts(envelope: Envelope) -> Facts:
    invocation = _invocation(envelope)
    return _single(envelope, RunKind.DAG, envelope.job, invocation, {"invocation_id": invocation}, ())


def _node_facts(envelope: Envelope, unique_id: str) -> Facts:
    task = TaskRef(envelope.job.namespace, task_name(unique_id))
    is_test = unique_id.startswith("test.")
    # A test's output is where dbt keeps its failing rows: no dataset of anybody's.
    kept = envelope.inputs if is_test else (*envelope.inputs, *envelope.outputs)
    touched = tuple(t for t in datasets.touches(envelope) if t.direction == "input" or not is_test)
    source: Source = {"unique_id": unique_id, "invocation_id": _invocation(envelope)}
    found = _single(envelope, RunKind.TASK, task, _invocation(envelope), source, touched)
    return Facts(
        attempts=found.attempts,
        tasks=found.tasks,
        datasets=datasets.described(kept),
        edges=(*run.dataset_edges(task, touched), *_launch(envelope, task)),
    )


def _unique_id(envelope: Envelope) -> str:
    named = facets.text(envelope.job_facets, "dbt_node", "unique_id")
    if named and (run.job_type(envelope) != "TEST" or named.startswith("test.")):
        return named
    if envelope.job.name.partition(".")[0] in _NODE_TYPES:
        return envelope.job.name
    return named or _from_relation(envelope.job.name)


def _from_relation(name: str) -> str:
    """Older artifact mode gives no unique id: `db.schema.project.model[.build.run]`."""
    suffix = _ARTIFACT_SUFFIX.search(name)
    kind = suffix[1] if suffix and suffix[1] in ("snapshot", "seed") else "model"
    parts = _ARTIFACT_SUFFIX.sub("", name).split(".")
    return f"{kind}.{parts[-2]}.{parts[-1]}" if len(parts) >= 3 else name


def _launch(envelope: Envelope, task: TaskRef) -> tuple[EdgeFact, ...]:
    """The task above the invocation, where there is one: Airflow runs the project, and so each of its nodes."""
    above, top = run.parent(envelope), run.root(envelope)
    if above is None or top is None or top.task in (above.task, task):
        return ()
    return (EdgeFact(top.task, "runs", task),)


def _single(
    envelope: Envelope, kind: RunKind, task: TaskRef, run_key: str, source: Source, touched: tuple[Touch, ...]
) -> Facts:
    attempt = _attempt(envelope, AttemptKey(task, run_key, envelope.run_id or ""), kind, _statement(envelope))
    attempt = replace(attempt, source=source, touches=touched)
    return Facts(attempts=(attempt,), tasks=(_fact(envelope, task, kind),))


def _attempt(envelope: Envelope, key: AttemptKey, kind: RunKind, statement: Statement) -> Attempt:
    return Attempt(
        key=key,
        kind=kind,
        platform=PLATFORM,
        statement=statement,
        external_run=envelope.run_id or "",
        group_run=key.run,
        completed=envelope.type == "COMPLETE",
        started_at=run.started_at(envelope),
        ended_at=run.ended_at(envelope),
        interval=run.interval(envelope),
        parent=run.parent(envelope),
        root=run.root(envelope),
        error=run.error(envelope),
    )


def _statement(envelope: Envelope) -> Statement:
    """dbt says ABORT of a node it skipped because something before it failed."""
    return run.statement(envelope, RunState.SKIPPED if envelope.type == "ABORT" else None)


def _fact(envelope: Envelope, task: TaskRef, kind: RunKind) -> TaskFact:
    registers = {
        "owner": datasets.owner(envelope.job_facets),
        "description": facets.text(envelope.job_facets, "documentation", "description"),
    }
    kept = {field: value for field, value in registers.items() if value}
    return TaskFact(task, kind, PLATFORM, kept, run.interval(envelope))


def _assertions(envelope: Envelope) -> list[tuple[dict[str, Any], Touch]]:
    """The tests that a TEST event of artifact mode reports, each with the dataset it was made on."""
    found = []
    for mention in envelope.inputs:
        listed = facets.items(mention.input_facets, "dataQualityAssertions", "assertions")
        listed = listed or facets.items(mention.facets, "dataQualityAssertions", "assertions")
        dataset = datasets.describe(mention).dataset
        touch = Touch("input", dataset, "", envelope.at, envelope.at)
        found += [(assertion, touch) for assertion in listed if isinstance(assertion, dict)]
    return found


def _test_facts(envelope: Envelope, assertions: list[tuple[dict[str, Any], Touch]]) -> Facts:
    """A run of each test; the event's own outcome is that of all of them together and tells nothing of one."""
    attempts, tasks, edges = [], [], []
    for assertion, touch in assertions:
        name = _test_name(envelope, assertion, touch)
        task = TaskRef(envelope.job.namespace, name)
        attempts.append(_test_attempt(envelope, task, assertion, touch))
        tasks.append(TaskFact(task, RunKind.TASK, PLATFORM))
        edges += [*run.dataset_edges(task, (touch,)), *_launch(envelope, task)]
    return Facts(
        attempts=tuple(attempts),
        tasks=tuple(tasks),
        datasets=datasets.described(envelope.inputs),
        edges=tuple(edges),
    )


def _test_name(envelope: Envelope, assertion: dict[str, Any], touch: Touch) -> str:
    """`test.<project>.<name>`; where the event has no name, dbt's own default for generic tests."""
    parts = (
        facets.text(assertion, "assertion"),
        touch.dataset.name.rpartition(".")[2],
        facets.text(assertion, "column"),
    )
    name = facets.text(assertion, "name") or "_".join(part for part in parts if part)
    return f"test.{_project(envelope)}.{name}"


def _project(envelope: Envelope) -> str:
    unique_id = facets.text(envelope.job_facets, "dbt_node", "unique_id") or _from_relation(envelope.job.name)
    parts = unique_id.split(".")
    return parts[1] if len(parts) > 2 else facets.text(envelope.run_facets, "dbt_run", "project_name") or "dbt"


def _test_attempt(envelope: Envelope, task: TaskRef, assertion: dict[str, Any], touch: Touch) -> Attempt:
    invocation = _invocation(envelope)
    key = AttemptKey(task, invocation, f"{envelope.run_id}/{task.name}")
    attempt = _attempt(envelope, key, RunKind.TASK, _test_statement(envelope, assertion))
    failed = attempt.statement.state is RunState.FAILED
    source: Source = {"unique_id": task.name, "invocation_id": invocation}
    if severity := facets.text(assertion, "severity"):
        source["severity"] = severity
    return replace(attempt, source=source, touches=(touch,), error=_test_error(assertion) if failed else None)


def _test_statement(envelope: Envelope, assertion: dict[str, Any]) -> Statement:
    """A test of severity warn that finds rows has warned: to dbt, and so here, that is no failure."""
    if not run.STATES[envelope.type].final:
        return run.statement(envelope)
    passed = assertion.get("success") is True or facets.text(assertion, "severity") == "warn"
    return run.statement(envelope, RunState.SUCCEEDED if passed else RunState.FAILED, Evidence.REPORTED)


def _test_error(assertion: dict[str, Any]) -> str:
    expected, actual = facets.text(assertion, "expected"), facets.text(assertion, "actual")
    return f"expected {expected} failing rows, found {actual}" if actual else "the test failed"
