"""Airflow: the ledger's runs against Airflow's own tables `task_instance` and `dag_run`."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.truth.score import Check, Score, equal
from dataforge.storage.database import Database

# What Airflow tells nobody but its own tables. A task that was scheduled and then skipped has a try that it never ran;
# marking a DAG run failed calls no listener; mapped instances that never ran, and those removed because the list
# shrank, have no events (the DAG's last event has one state for all of them); a cleared task that no longer comes to
# run has no state.
UNTOLD = frozenset(
    {
        "fail_stop/scheduled__2026-06-01T00:00:00+00:00/other/-1",
        "times_out/scheduled__2026-06-01T00:00:00+00:00/after/-1",
        "given_up/manual_1",
        "given_up/manual_1/slow/-1",
        "given_up/manual_1/after/-1",
        "mapped_edge/manual_1/each.second/0",
        "mapped_edge/manual_1/never/0",
        "mapped_edge/manual_1/never/1",
        "no other task instance",  # mapped_edge.never, as one instance with the state of both
        "shrinking/scheduled__2026-06-01T00:00:00+00:00/of_each/1",
        "shrinking/scheduled__2026-06-01T00:00:00+00:00/end/-1",
    }
)
STATES = {"succeeded": "success"}  # the others have the same names in both

RUNS = """
select r.source, r.state, r.attempt, r.interval_start, r.interval_end, r.kind, t.name
from run r join task t on t.environment = r.environment and t.id = r.task_id
join environment e on e.id = r.environment
where e.name = %s and t.platform = 'airflow' and r.kind in ('task', 'dag')
"""


def _runs(database: Database, environment: str, kind: str) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        rows = connection.execute(RUNS, [environment]).fetchall()
    return [
        {**source, "state": STATES.get(state, state), "attempt": attempt, "start": start, "end": end}
        for source, state, attempt, start, end, row_kind, _name in rows
        if row_kind == kind
    ]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def score(database: Database, environment: str, capture: Path, untold: frozenset[str] = frozenset()) -> Score:
    """Every task instance and DAG run as in Airflow's tables, and nothing that Airflow did not have."""
    return Score(
        "Airflow: task instances and DAG runs",
        (*_instances(database, environment, capture), *_dag_runs(database, environment, capture)),
        untold,
    )


def _instances(database: Database, environment: str, capture: Path) -> list[Check]:
    found = {
        (run["dag_id"], run["run_id"], run["task_id"], run["map_index"]): (
            run["state"],
            run["try_number"],
            run["attempt"],
            run["start"],
            run["end"],
        )
        for run in _runs(database, environment, "task")
    }
    expected = {
        (row["dag_id"], row["run_id"], row["task_id"], int(row["map_index"])): (
            row["state"],
            int(row["try_number"]),
            int(row["try_number"]),
            _time(row["data_interval_start"]),
            _time(row["data_interval_end"]),
        )
        for row in _rows(capture / "task_instances.csv")
    }
    checks = [equal("/".join(map(str, key)), found.get(key), truth) for key, truth in sorted(expected.items())]
    return [*checks, equal("no other task instance", sorted(found.keys() - expected.keys()), [])]


def _dag_runs(database: Database, environment: str, capture: Path) -> list[Check]:
    found = {
        (run["dag_id"], run["run_id"]): (run["state"], run["start"], run["end"])
        for run in _runs(database, environment, "dag")
    }
    expected = {
        (row["dag_id"], row["run_id"]): (
            row["state"],
            _time(row["data_interval_start"]),
            _time(row["data_interval_end"]),
        )
        for row in _rows(capture / "dag_runs.csv")
    }
    checks = [equal("/".join(key), found.get(key), truth) for key, truth in sorted(expected.items())]
    return [*checks, equal("no other DAG run", sorted(found.keys() - expected.keys()), [])]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
