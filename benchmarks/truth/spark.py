"""Spark: the ledger against what the jobs themselves wrote down, from the events alone and with the parents' outcomes.

`truth.csv` has a row an application, `steps.csv` a row a step of one; see the capture's README.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.truth.score import Check, Score, equal
from dataforge.ingest.paths import is_path, split
from dataforge.model.reference import DatasetRef
from dataforge.storage.database import Database

_BRACES = re.compile(r"^(?P<name>[^{]+)(?:\{(?P<partitions>[^}]*)\})?$")
# Spark's listener trims no version and no load id: the directory is a dataset of its own each time.
KEEPS = frozenset({"errorifexists"})  # what exists stays as it is
_UNNAMED = re.compile(r"v\d+|load_\d+\w*")


class Step(msgspec.Struct, frozen=True):
    """One step of an application, as the job recorded it."""

    scenario: str
    seq: str
    inputs: tuple[tuple[DatasetRef, tuple[str, ...]], ...]
    outputs: tuple[tuple[DatasetRef, tuple[str, ...]], ...]
    wanted: tuple[tuple[DatasetRef, tuple[str, ...]], ...]  # what a failed step would have written
    mode: str
    start: str

    @property
    def streaming(self) -> bool:
        """Whether a stream's own sink wrote, which no event names. What foreachBatch writes is named."""
        return self.mode.startswith("streaming")

    @property
    def named(self) -> bool:
        """Whether the events name the partition that the step wrote: in a path, or in the text of an INSERT."""
        return self.mode.endswith("PARTITION") or self.mode == "overwrite of the partition directory"


def read_steps(capture: Path) -> list[Step]:
    """The steps of every application."""
    return [
        Step(
            row["scenario"],
            row["seq"],
            _datasets(row["inputs"]),
            _datasets(row["outputs"]),
            _datasets(str(json.loads(row["extra"] or "{}").get("wanted", ""))),
            row["mode"],
            row["start"],
        )
        for row in _rows(capture / "steps.csv")
    ]


def _datasets(text: str) -> tuple[tuple[DatasetRef, tuple[str, ...]], ...]:
    found = []
    for part in filter(None, text.split(";")):
        match = _BRACES.match(part)
        assert match is not None, part
        keys = tuple(filter(None, (match["partitions"] or "").split(",")))
        name = match["name"]
        if any(_UNNAMED.fullmatch(key) for key in keys):
            name, keys = "/".join((name, *keys)), ()
        found.append((_named(name), keys))
    return tuple(found)


def _named(text: str) -> DatasetRef:
    if " " in text and not text.startswith("/"):
        return DatasetRef(*text.split(" ", 1))
    if "://" in text:
        scheme, _, rest = text.partition("://")
        bucket, _, key = rest.partition("/")
        return DatasetRef(f"{scheme}://{bucket}", key)
    return DatasetRef("file", text)


def read_truth(capture: Path) -> list[dict[str, str]]:
    """The applications."""
    return _rows(capture / "truth.csv")


def parents_outcomes(capture: Path, namespace: str) -> list[bytes]:
    """What the parents' platform would have said, as native events."""
    return [
        json.dumps(
            {
                "time": row["end"],
                "task": {"namespace": namespace, "name": row["parent_job"]},
                "run": row["parent_run_id"],
                "state": "succeeded" if row["outcome"] == "succeeded" else "failed",
            }
        ).encode()
        for row in read_truth(capture)
        if row["parent_run_id"]
    ]


APPLICATIONS = """
select a.source ->> 'application_id', t.name, a.state, a.evidence, a.parent_run, a.task_id, a.run
from attempt a join task t on t.environment = a.environment and t.id = a.task_id
join environment e on e.id = a.environment
where e.name = %s and t.platform = 'spark' and a.kind = 'task'
"""
STATES = """
select d.namespace, d.name, s.partition, s.status, s.evidence from partition_state s
join dataset d on d.environment = s.environment and d.id = s.node_id
join task t on t.environment = s.environment and t.id = s.task_id
join environment e on e.id = s.environment
where e.name = %s and s.node_kind = 'dataset' and t.platform = 'spark'
"""
TOUCHED = """
select app.source ->> 'application_id', x.direction, d.namespace, d.name,
    -- an RDD job that never ended looked at one file for the schema, whatever was read
    case when step.completed or step.source ->> 'job_type' <> 'RDD_JOB' then x.partition else '' end
from touch x join attempt step using (environment, task_id, run, attempt_id)
join attempt app on app.environment = step.environment and app.external_run = step.parent_run
join dataset d on d.environment = x.environment and d.id = x.dataset_id
join environment e on e.id = x.environment where e.name = %s
"""


def _applications(database: Database, environment: str) -> dict[str, dict[str, Any]]:
    names = ("id", "name", "state", "evidence", "parent_run", "task", "run")
    with database.transaction() as connection:
        rows = connection.execute(APPLICATIONS, [environment]).fetchall()
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def _states(database: Database, environment: str) -> dict[DatasetRef, dict[str, tuple[str, str]]]:
    found: dict[DatasetRef, dict[str, tuple[str, str]]] = {}
    with database.transaction() as connection:
        for namespace, name, key, status, evidence in connection.execute(STATES, [environment]):
            found.setdefault(DatasetRef(namespace, name), {})[key] = (status, evidence)
    return found


def score_events_alone(database: Database, environment: str, capture: Path) -> Score:
    """Every application and attempt is there; nothing is falsely ready; what the events cannot tell is weak."""
    truth, found = read_truth(capture), _applications(database, environment)
    checks = [equal("applications", sorted(found), sorted(row["spark_app_id"] for row in truth))]
    for row in truth:
        app = found.get(row["spark_app_id"], {})
        wrong = app.get("state") in ("succeeded", "failed") and app["state"] != _outcome(row)
        checks.append(
            Check(
                f"{row['scenario']}: not known better than it can be",
                not wrong or app["evidence"] == "inferred",
                str(app),
            )
        )
        checks.append(equal(f"{row['scenario']}: parent", app.get("parent_run"), row["parent_run_id"] or None))
    checks += _attempts(truth, found)
    checks += _nothing_falsely_ready(database, environment, capture)
    return Score("Spark, from the events alone", tuple(checks))


def _outcome(row: dict[str, str]) -> str:
    return "succeeded" if row["outcome"] == "succeeded" else "failed"


def _attempts(truth: list[dict[str, str]], found: dict[str, dict[str, Any]]) -> list[Check]:
    """Applications of one name under one parent task and root run are attempts of one run."""
    groups: dict[tuple[str, ...], set[str]] = {}
    for row in truth:
        root = row["root_run_id"] or row["parent_run_id"] or row["spark_app_id"]
        groups.setdefault((row["app_name"], row["parent_job"], root), set()).add(row["spark_app_id"])
    runs: dict[tuple[Any, Any], set[str]] = {}
    for app in found.values():
        runs.setdefault((app["task"], app["run"]), set()).add(app["id"])
    return [equal("attempts", sorted(map(sorted, runs.values())), sorted(map(sorted, groups.values())))]


def _written(capture: Path, *, good: bool) -> dict[DatasetRef, set[str]]:
    """The partitions by dataset that good applications wrote ('' for all of it), or that good steps of failed
    applications without a parent did: nobody tells of the failure of those."""
    rows = {row["scenario"]: row for row in read_truth(capture)}
    found: dict[DatasetRef, set[str]] = {}
    for step in read_steps(capture):
        succeeded = _outcome(rows[step.scenario]) == "succeeded"
        if succeeded if good else not succeeded and not rows[step.scenario]["parent_run_id"]:
            for dataset, keys in step.outputs:
                found.setdefault(dataset, {""}).update(_key(dataset, key) for key in keys)
    return found


def _nothing_falsely_ready(database: Database, environment: str, capture: Path) -> list[Check]:
    good, untold = _written(capture, good=True), _written(capture, good=False)
    return [
        Check(
            f"{dataset.name}[{key}] is not falsely ready",
            status != "ready"
            or key in good.get(dataset, ())
            or (key in untold.get(dataset, ()) and evidence == "inferred"),
            f"{status}, {evidence}",
        )
        for dataset, states in sorted(_states(database, environment).items())
        for key, (status, evidence) in sorted(states.items())
    ]


def score_with_parents(database: Database, environment: str, capture: Path) -> Score:
    """With the parents' outcomes: good outputs are ready, refuted ones are not, every dataset is joined."""
    found, states = _applications(database, environment), _states(database, environment)
    checks = []
    for row in read_truth(capture):
        app = found[row["spark_app_id"]]
        if row["parent_run_id"]:
            checks.append(
                equal(f"{row['scenario']}: outcome", (app["state"], app["evidence"]), (_outcome(row), "confirmed"))
            )
    steps = read_steps(capture)
    for step in steps:
        if not step.streaming and _outcome_of(capture, step) == "succeeded":
            lasting = [output for output in step.outputs if not _tried_again(step, *output, steps)]
            checks += [_ready(step, dataset, keys, states) for dataset, keys in lasting]
    checks += _nothing_falsely_ready(database, environment, capture)
    return Score("Spark, with the outcomes of the parents", (*checks, *_joined(database, environment, capture)))


def _tried_again(step: Step, dataset: DatasetRef, keys: tuple[str, ...], steps: list[Step]) -> bool:
    """Whether a later step failed to write the same: the dataset is as that one left it."""
    return any(
        (later := dict(other.wanted).get(dataset)) is not None
        and other.start > step.start
        and (not later or not keys or bool({*later} & {*keys}))
        and other.mode not in KEEPS
        for other in steps
    )


def _outcome_of(capture: Path, step: Step) -> str:
    return next(_outcome(row) for row in read_truth(capture) if row["scenario"] == step.scenario)


def _ready(
    step: Step, dataset: DatasetRef, keys: tuple[str, ...], states: dict[DatasetRef, dict[str, tuple[str, str]]]
) -> Check:
    """An output is ready, in the partition that the job wrote where the events name one, else as a whole."""
    known = states.get(dataset, {})
    written = {_key(dataset, key) for key in keys}
    named = written if step.named and written else (written or {""}) & known.keys() or known.keys()
    ready = [known.get(key, ("missing",))[0] == "ready" for key in named]
    return Check(f"{step.scenario}/{step.seq}: {dataset.name} is ready", bool(ready) and all(ready), str(known))


def _key(dataset: DatasetRef, key: str) -> str:
    path = f"{dataset.name}/{key}" if is_path(dataset.namespace) else f"/x/{key}"
    return split("file", path)[1] or ""


def _joined(database: Database, environment: str, capture: Path) -> list[Check]:
    touched: dict[str, dict[str, set[DatasetRef]]] = {}
    partitions: dict[tuple[str, DatasetRef], set[str]] = {}
    with database.transaction() as connection:
        for app, direction, namespace, name, key in connection.execute(TOUCHED, [environment]):
            touched.setdefault(app, {}).setdefault(direction, set()).add(DatasetRef(namespace, name))
            if key:
                partitions.setdefault((app, DatasetRef(namespace, name)), set()).add(key)
    ids = {row["scenario"]: row["spark_app_id"] for row in read_truth(capture)}
    checks = []
    for step in read_steps(capture):
        known = touched.get(ids[step.scenario], {})
        for direction, listed in (("input", step.inputs), ("output", () if step.streaming else step.outputs)):
            for dataset, _ in listed:
                holds = dataset in known.get(direction, set())
                name = f"{step.scenario}/{step.seq}: {direction} {dataset.name} is joined"
                checks.append(Check(name, holds, str(known.get(direction))))
    return checks + _no_false_partition(capture, ids, partitions)


def _no_false_partition(
    capture: Path, ids: dict[str, str], found: dict[tuple[str, DatasetRef], set[str]]
) -> list[Check]:
    """No application is said to have touched a partition of a dataset other than those it did."""
    true: dict[tuple[str, DatasetRef], set[str]] = {}
    for step in read_steps(capture):
        for dataset, keys in (*step.inputs, *step.outputs, *step.wanted):
            true.setdefault((ids[step.scenario], dataset), set()).update(_key(dataset, key) for key in keys)
    return [
        Check(
            f"{app}: partitions of {dataset.name} are true",
            not known or found.get((app, dataset), set()) <= known,
            str(found.get((app, dataset))),
        )
        for (app, dataset), known in sorted(true.items())
        if (app, dataset) in found
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
