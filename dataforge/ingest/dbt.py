"""dbt's events (dbt-ol), which name one node in two ways: by relation (artifact mode) and by unique id (log mode).

A node is the task (job namespace, unique id) in both, and in the manifest (dataforge.ingest.dbt_manifest); a test
loses the hash at its end, because artifact mode reports tests as assertions on the tested model and knows only
their names. An execution is (node, invocation), in one attempt: all that events say of a node in an invocation merges.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from dataforge.ingest import datasets, facets, report, run
from dataforge.ingest.envelope import Envelope
from dataforge.model.attempt import Attempt, AttemptKey, RunPointer, Source, Touch
from dataforge.model.event import EdgeFact, Facts, TaskFact
from dataforge.model.reference import TaskRef
from dataforge.model.report import NOTHING, reported
from dataforge.model.state import RunKind, RunState, Statement

PLATFORM = "dbt"
_NODE_TYPES = frozenset({"model", "seed", "snapshot", "test", "unit_test", "source", "operation", "analysis"})
_HASHED_TEST = re.compile(r"(test\.[^.]+\..+)\.[0-9a-f]{10}")  # generic tests only: a singular test has three parts
_THRESHOLD = re.compile(r"\s*(>=|<=|!=|<>|=|>|<)\s*(\d+)\s*")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "<>": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_STATEMENT = re.compile(r"\.sql\.\d+$")
_ARTIFACT_SUFFIX = re.compile(r"(?:\.build)?\.(run|test|snapshot|seed)$")


def reads(envelope: Envelope) -> bool:
    """Whether the event is dbt's."""
    own = facets.section(envelope.run_facets)
    return run.integration(envelope) == PLATFORM or "dbt_run" in own or "dbt_version" in own


def task_name(unique_id: str) -> str:
    """The name of a node's task: its unique id, a test's without the hash."""
    hashed = _HASHED_TEST.fullmatch(unique_id)
    return hashed[1] if hashed else unique_id


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
    kept = _used(envelope, unique_id)
    touched = datasets.touches(kept)
    source: Source = {"unique_id": unique_id, "invocation_id": _invocation(envelope)}
    found = _single(envelope, RunKind.TASK, task, _invocation(envelope), source, touched)
    return Facts(
        attempts=found.attempts,
        tasks=found.tasks,
        datasets=datasets.described(kept.inputs, kept.outputs),
        edges=(*run.dataset_edges(task, touched), *_launch(envelope, task)),
    )


def _used(envelope: Envelope, unique_id: str) -> Envelope:
    """The event with the datasets that its node really reads and writes. A test's output is where dbt keeps its
    failing rows: no dataset of anybody's. A unit test reads the rows in its own definition, and nothing else."""
    if unique_id.startswith("unit_test."):
        return replace(envelope, inputs=(), outputs=())
    return replace(envelope, outputs=()) if unique_id.startswith("test.") else envelope


def _unique_id(envelope: Envelope) -> str:
    named = facets.text(envelope.job_facets, "dbt_node", "unique_id")
    if named:  # of an event with assertions the tested node's; a database may be called `test`, so no name decides
        return named
    if envelope.job.name.partition(".")[0] in _NODE_TYPES:
        return envelope.job.name
    return _from_relation(envelope.job.name)


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
    node = kind is RunKind.TASK
    key = AttemptKey(task, run_key, run_key if node else envelope.run_id or "")
    attempt = _attempt(envelope, key, kind, _statement(envelope) if node else run.statement(envelope))
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
        ended_at=envelope.at if statement.state.final else None,
        interval=run.interval(envelope),
        parent=_parent(envelope),
        root=run.root(envelope),
        error=run.error(envelope),
    )


def _parent(envelope: Envelope) -> RunPointer | None:
    """The run above, by the name of its task: the statements of a test name it with the hash."""
    above = run.parent(envelope)
    return above and RunPointer(replace(above.task, name=task_name(above.task.name)), above.external_run)


def _statement(envelope: Envelope) -> Statement:
    """What an event says of its node. ABORT: dbt skipped it, because something before it failed. OTHER: dbt let go
    of it without a result, which is how it skips batches, ephemeral models and what reads those. FAIL of a test
    that reads something and counted no rows: skipped, as far as artifact mode tells (see `_uncounted`)."""
    counts = [facets.text(test, "actual") for test in facets.items(envelope.run_facets, "test", "tests")]
    uncounted = envelope.type == "FAIL" and envelope.inputs and counts and not any(counts)
    skipped = envelope.type in ("ABORT", "OTHER") or uncounted
    return run.statement(envelope, RunState.SKIPPED if skipped else None)


def _fact(envelope: Envelope, task: TaskRef, kind: RunKind) -> TaskFact:
    return TaskFact(task, kind, PLATFORM, datasets.stated(envelope.job_facets), run.interval(envelope))


def _assertions(envelope: Envelope) -> list[tuple[dict[str, Any], Touch]]:
    """The tests that a TEST event of artifact mode reports, each with the dataset it was made on and its outcome."""
    found = []
    for mention in envelope.inputs:
        listed = facets.items(mention.input_facets, "dataQualityAssertions", "assertions")
        listed = listed or facets.items(mention.facets, "dataQualityAssertions", "assertions")
        dataset = datasets.describe(mention).dataset
        for assertion in (each for each in listed if isinstance(each, dict)):
            said = reported(report.checks([assertion]), envelope.at, envelope.id)
            touch = Touch("input", dataset, "", envelope.at, envelope.at, report=said)
            found.append((assertion, touch))
    return found


def _test_facts(envelope: Envelope, assertions: list[tuple[dict[str, Any], Touch]]) -> Facts:
    """A run of each test; the event's own outcome is that of all of them together and tells nothing of one."""
    attempts, tasks, edges = [], [], []
    counted = any(facets.text(assertion, "actual") for assertion, _ in assertions)
    for assertion, touch in assertions:
        if _of_another_project(envelope, assertion):
            continue
        task = TaskRef(envelope.job.namespace, _test_name(envelope, assertion, touch))
        attempts.append(_test_attempt(envelope, task, assertion, touch, counted))
        tasks.append(TaskFact(task, RunKind.TASK, PLATFORM))
        edges += [*run.dataset_edges(task, (touch,)), *_launch(envelope, task)]
    return Facts(
        attempts=tuple(attempts),
        tasks=tuple(tasks),
        datasets=datasets.described(envelope.inputs),
        edges=tuple(edges),
    )


def _of_another_project(envelope: Envelope, assertion: dict[str, Any]) -> bool:
    """Whether a singular test on a package's model may be the root project's: its own event tells which it is."""
    singular = facets.text(assertion, "name") == facets.text(assertion, "assertion")
    root = facets.text(envelope.run_facets, "dbt_run", "project_name")
    return singular and root is not None and root != _project(envelope)


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


def _test_attempt(envelope: Envelope, task: TaskRef, assertion: dict[str, Any], touch: Touch, counted: bool) -> Attempt:
    invocation = _invocation(envelope)
    final = run.STATES[envelope.type].final
    statement = run.statement(envelope, _test_state(envelope, assertion, counted) if final else None)
    attempt = _attempt(envelope, AttemptKey(task, invocation, invocation), RunKind.TASK, statement)
    source: Source = {"unique_id": task.name, "invocation_id": invocation}
    if severity := facets.text(assertion, "severity"):
        source["severity"] = severity
    error = _test_error(assertion) if statement.state is RunState.FAILED else None
    if not final or statement.state is RunState.SKIPPED:
        touch = replace(touch, report=NOTHING)
    return replace(attempt, source=source, touches=(touch,), error=error)


def _test_state(envelope: Envelope, assertion: dict[str, Any], counted: bool) -> RunState:
    """A test that finds rows, but is of severity warn or below its threshold for errors, has warned: to dbt, and so
    here, that is no failure. A dbt-ol that neither counts rows nor names tests tells of no test that it was skipped.
    """
    if assertion.get("success") is True:
        return RunState.SUCCEEDED
    if not facets.text(assertion, "actual") and (counted or facets.text(assertion, "name")):
        return _uncounted(envelope, assertion, counted)
    warned = facets.text(assertion, "severity") == "warn" or not _too_many(assertion)
    return RunState.SUCCEEDED if warned else RunState.FAILED


def _uncounted(envelope: Envelope, assertion: dict[str, Any], counted: bool) -> RunState:
    """What became of a test without a count of failing rows: dbt skipped it, or its SQL broke.

    `dbt test` skips nothing. A build skips the tests of a model all together, so one without a count among others
    that have theirs broke; except that a relationships test may stand here and wait for its other model.
    """
    relation = _unique_id(envelope).partition(".")[2]
    build = envelope.job.name.endswith(f"{relation}.build.test")
    skipped = not counted or facets.text(assertion, "assertion") == "relationships"
    return RunState.SKIPPED if build and skipped else RunState.FAILED


def _too_many(assertion: dict[str, Any]) -> bool:
    """Whether the rows found are an error by the test's `error_if`; yes where that cannot be read."""
    threshold = _THRESHOLD.fullmatch(facets.text(assertion, "expected") or "")
    actual = facets.text(assertion, "actual") or ""
    return not threshold or not actual.isdecimal() or _COMPARE[threshold[1]](int(actual), int(threshold[2]))


def _test_error(assertion: dict[str, Any]) -> str:
    expected, actual = facets.text(assertion, "expected"), facets.text(assertion, "actual")
    return f"expected {expected} failing rows, found {actual}" if actual else "the test failed"
