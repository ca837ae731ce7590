"""Makes of a recording what the example holds: `python publish.py WORK`.

Writes ../events/airflow.jsonl and ../events/spark.jsonl, ../lake and before/. Guarantees that all events of one DAG
run are moved by one constant, to when its schedule would have started it, and that nothing else of them changes but
what is left out for its size or names a machine.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

SHOP = Path(__file__).parents[1]
AFTER_INTERVAL = timedelta(seconds=5)
CLEARED = datetime.fromisoformat("2026-11-13T09:00:04+00:00")  # when somebody cleared 2026-11-05
SPARK = "shop-spark"
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.|\+00:00|Z)")
# Facets and fields from which no state, name or edge follows.
LEFT_OUT = frozenset(
    {
        "_producer",
        "_schemaURL",
        "columnLineage",
        "dataSource",
        "debug",
        "depends_on_past",
        "documentation",
        "downstream_group_edges",
        "downstream_task_edges",
        "driverHost",
        "duration",
        "emits_ol_events",
        "environment-properties",
        "execution_date",
        "executor_config",
        "external_trigger",
        "fileloc",
        "ignore_first_depends_on_past",
        "inputStatistics",
        "is_setup",
        "is_teardown",
        "log_url",
        "multiple_outputs",
        "owner_links",
        "pool",
        "priority_weight",
        "processing_engine",
        "queue",
        "queued_dttm",
        "retry_exponential_backoff",
        "sourceCode",
        "spark_properties",
        "stackTrace",
        "tags",
        "taskGroups",
        "taskTree",
        "taskUuid",
        "tasksDuration",
        "timetable_summary",
        "ui_color",
        "ui_fgcolor",
        "ui_label",
        "unknownSourceAttribute",
        "userName",
        "wait_for_downstream",
        "wait_for_past_depends_before_skipping",
    }
)
Event = dict[str, Any]


class DagRun(NamedTuple):
    """A DAG run from one start to its end; one that is cleared starts anew."""

    run_id: str
    start: datetime
    shift: timedelta


def main(work: Path) -> None:
    """Replaces what an earlier recording left."""
    events = [json.loads(line) for line in (work / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    began = min(_start(dag_run) for dag_run in map(_facet, events) if dag_run)
    placed = sorted(_placed(events), key=lambda pair: pair[0].start + pair[0].shift)
    lines: dict[str, list[str]] = {"airflow": [], "spark": []}
    for dag_run, event in placed:
        text = json.dumps(_cut(event), separators=(",", ":"), ensure_ascii=False)
        lines["spark" if event["job"]["namespace"] == SPARK else "airflow"].append(_moved(text, dag_run, began))
    for name, found in lines.items():
        (SHOP / "events" / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
    for source, target in ((work / "lake", SHOP / "lake"), (work / "before", SHOP / "record" / "before")):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def _facet(event: Event) -> dict[str, Any] | None:
    """What an event of Airflow says of its DAG run."""
    facets = event["run"]["facets"]
    found: Event = facets.get("airflow") or facets.get("airflowDagRun") or {}
    return found.get("dagRun")


def _start(dag_run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(dag_run["start_date"])


def _dag_run(facet: dict[str, Any]) -> DagRun:
    """Moved by whole seconds, so that the fractions stay as they were."""
    start = _start(facet)
    planned = CLEARED if facet["clear_number"] else datetime.fromisoformat(facet["data_interval_end"]) + AFTER_INTERVAL
    return DagRun(facet["run_id"], start, planned - start.replace(microsecond=0))


def _placed(events: list[Event]) -> Iterator[tuple[DagRun, Event]]:
    """Each event with its DAG run; a job of Spark belongs to its application's, and that to its Airflow task's."""
    by_run: dict[str, DagRun] = {}
    for event in events:
        if facet := _facet(event):
            by_run[event["run"]["runId"]] = _dag_run(facet)
    for event in events:
        if event["job"]["namespace"] == SPARK:
            above = event["run"]["facets"]["parent"]["run"]["runId"]
            by_run[event["run"]["runId"]] = by_run[above]
        facet = _facet(event)
        yield _dag_run(facet) if facet else by_run[event["run"]["runId"]], event


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(part) for name, part in value.items() if name not in LEFT_OUT}
    return [_cut(part) for part in value] if isinstance(value, list) else value


def _moved(text: str, dag_run: DagRun, began: datetime) -> str:
    """The event with each time of the recording moved; data intervals lie before it and stay."""

    def moved(match: re.Match[str]) -> str:
        time = datetime.fromisoformat(f"{match[0]}+00:00")
        return match[0] if time < began.replace(microsecond=0) else (time + dag_run.shift).isoformat()[:19]

    return TIME.sub(moved, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
