"""Drives Airflow's own scheduler through the random DAGs, one scheduling step at a time, and writes what it decided.

Runs in Airflow's environment (`.airflow/venv`), where nothing of ours is installed:
    python drive.py FOLDER SEED > TRACE
FOLDER holds the DAG files. Each line of the trace is one DAG: its structure as Airflow read it, and its steps. A
step holds what had happened since the last one (`events`) and then, for every task instance of one run that Airflow may
schedule, what `DagRun.update_state` made of it (`decisions`): runnable, waiting, skipped, upstream_failed.
"""

import contextlib
import json
import random
import sys
from datetime import timedelta
from pathlib import Path

import airflow.providers.fab.auth_manager.models  # noqa: F401 - the table of users, which notes of instances point to
from airflow import settings
from airflow.models.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.ti_deps.dependencies_states import SCHEDULEABLE_STATES
from airflow.utils import timezone
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, State, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy import event

MOST_IDLE = 6  # steps in which nothing happens
FIRST_DAY = timezone.datetime(2026, 11, 1)


def main(folder, seed):
    event.listen(settings.engine, "connect", lambda connection, _: connection.execute("pragma synchronous = off"))
    settings.engine.dispose()
    bag = DagBag(folder, include_examples=False, safe_mode=False)
    if bag.import_errors:
        raise SystemExit(f"Airflow refuses a DAG: {bag.import_errors}")
    for name in sorted(bag.dags):
        with create_session() as session:
            print(
                json.dumps(trace(bag.dags[name], days_of(bag.dags[name]), random.Random(f"{seed}/{name}"), session)),
                flush=True,
            )


def trace(dag, days, chance, session):
    open_runs = [create_run(dag, day, session) for day in range(days)]
    steps, events, idle = [], [], 0
    known = instances(dag, session)
    while open_runs and idle < MOST_IDLE:
        session.expire_all()
        run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=chance.choice(open_runs)).one()
        run.dag = dag
        ready, _ = run.update_state(session=session, execute_callbacks=False)
        decided = list(decisions(run.run_id, known, instances(dag, session), ready))
        steps.append({"run": run.run_id, "events": events, "decisions": decided})
        run.schedule_tis(ready, session=session)
        session.commit()
        if run.state != DagRunState.RUNNING:
            open_runs.remove(run.run_id)
        known, events = changed(known, instances(dag, session))
        for key in some_of(scheduled(dag, session), chance):
            execute(key, dag, session)
            known, more = changed(known, instances(dag, session))
            events += [{**each, "ran": (each["run"], each["task"], each["map_index"]) == key} for each in more]
        idle = 0 if events else idle + 1  # a task that waits for a failed run of the day before waits for ever
    return {"dag": dag.dag_id, "days": days, "structure": structure(dag), "steps": steps}


def days_of(dag):
    """How many runs there are at once: a tag of the DAG says so."""
    return next(int(tag.removeprefix("days=")) for tag in dag.tags if tag.startswith("days="))


def create_run(dag, day, session):
    when = FIRST_DAY + timedelta(days=day)
    run = dag.create_dagrun(
        run_id=f"{when:%Y-%m-%d}",
        run_type=DagRunType.SCHEDULED,
        state=DagRunState.RUNNING,
        execution_date=when,
        start_date=when,
        data_interval=(when, when + timedelta(days=1)),
        session=session,
    )
    session.commit()
    return run.run_id


def structure(dag):
    return {
        task.task_id: {
            "rule": str(task.trigger_rule),
            "upstream": sorted(task.upstream_task_ids),
            "setups": []
            if task.is_teardown
            else sorted({each.task_id for each in task.get_upstreams_only_setups()} - task.upstream_task_ids),
        }
        for task in dag.tasks
    }


def instances(dag, session):
    """State and try of every task instance, by run, task and map index."""
    session.flush()
    columns = [getattr(TaskInstance, name) for name in ("run_id", "task_id", "map_index", "state", "try_number")]
    return {tuple(row[:3]): tuple(row[3:]) for row in session.query(*columns).filter_by(dag_id=dag.dag_id)}


def decisions(run_id, before, after, ready):
    scheduled_keys = {(run_id, each.task_id, each.map_index) for each in ready}
    tasks = {task for _, task, _ in scheduled_keys}
    for key, (state, _) in sorted(before.items()):
        _, task, index = key
        if key[0] == run_id and state in SCHEDULEABLE_STATES:
            runs = task in tasks if index < 0 else key in scheduled_keys
            now = after.get(key, (None, 0))[0]
            decision = "runnable" if runs else now if now in State.finished else "waiting"
            yield {"task": task, "map_index": index, "state": state, "decision": decision}


def changed(before, after):
    """What is told of the way from one state of the runs to the next."""
    events = [
        {"run": key[0], "task": key[1], "map_index": key[2], "state": state, "try": number}
        for key, (state, number) in sorted(after.items())
        if state is not None and before.get(key) != (state, number)
    ]
    return after, events


def scheduled(dag, session):
    found = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, state=TaskInstanceState.SCHEDULED)
    return sorted((each.run_id, each.task_id, each.map_index) for each in found)


def some_of(waiting, chance):
    """At least one of those that wait for a worker, in any order; the others stay queued for the next step."""
    chance.shuffle(waiting)
    return waiting[: chance.randint(1, len(waiting))] if waiting else []


def execute(key, dag, session):
    """Runs one try, unless something that ran before it in this step has given it another state."""
    names = dict(zip(("run_id", "task_id", "map_index"), key, strict=True))
    instance = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, **names).one()
    if instance.state == TaskInstanceState.SCHEDULED:
        instance.task = dag.get_task(instance.task_id)
        with contextlib.suppress(Exception):  # the failure stands in the task instance's state
            instance._run_raw_task(session=session)
        session.commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
