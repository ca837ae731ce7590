"""Drives Airflow's own scheduler through the random DAGs, one scheduling step at a time, and writes what it decided.

Runs in Airflow's environment (`.airflow/venv`), where nothing of ours is installed:
    python drive.py FOLDER SEED > TRACE
FOLDER holds the DAG files. Each line of the trace is one DAG run: the DAG's structure as Airflow read it, and its
steps. A step holds what had happened since the last one (`events`) and then, for every task instance that Airflow
may schedule, what `DagRun.update_state` made of it (`decisions`): runnable, waiting, skipped, upstream_failed.
"""

import contextlib
import json
import random
import sys
from pathlib import Path

import airflow.providers.fab.auth_manager.models  # noqa: F401 - the table of users, which notes of instances point to
from airflow import settings
from airflow.models.dagbag import DagBag
from airflow.models.taskinstance import TaskInstance
from airflow.ti_deps.dependencies_states import SCHEDULEABLE_STATES
from airflow.utils import timezone
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, State, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy import event

MOST_STEPS = 200
WHEN = timezone.datetime(2026, 11, 1)


def main(folder, seed):
    event.listen(settings.engine, "connect", lambda connection, _: connection.execute("pragma synchronous = off"))
    settings.engine.dispose()
    bag = DagBag(folder, include_examples=False, safe_mode=False)
    if bag.import_errors:
        raise SystemExit(f"Airflow refuses a DAG: {bag.import_errors}")
    for name in sorted(bag.dags):
        with create_session() as session:
            print(json.dumps(trace(bag.dags[name], random.Random(f"{seed}/{name}"), session)), flush=True)


def trace(dag, chance, session):
    run = dag.create_dagrun(
        run_id="r",
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        execution_date=WHEN,
        start_date=WHEN,
        data_interval=(WHEN, WHEN),
        session=session,
    )
    session.commit()
    steps, events = [], []
    known = instances(run, session)
    for _ in range(MOST_STEPS):
        session.expire_all()
        ready, _ = run.update_state(session=session, execute_callbacks=False)
        session.flush()
        steps.append({"events": events, "decisions": list(decisions(known, instances(run, session), ready))})
        run.schedule_tis(ready, session=session)
        session.commit()
        if run.state != DagRunState.RUNNING:
            break
        known, events = changed(known, instances(run, session))
        for task, index in some_of(scheduled(run, session), chance):
            execute(run.get_task_instance(task, map_index=index, session=session), dag, session)
            known, more = changed(known, instances(run, session))
            events += more
    else:
        raise SystemExit(f"{dag.dag_id} has not ended after {MOST_STEPS} steps")
    return {"dag": dag.dag_id, "state": run.state, "structure": structure(dag), "steps": steps}


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


def instances(run, session):
    """State and try of every task instance, by task and map index."""
    session.flush()
    rows = session.query(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state, TaskInstance.try_number)
    return {(row[0], row[1]): (row[2], row[3]) for row in rows.filter_by(dag_id=run.dag_id, run_id=run.run_id)}


def decisions(before, after, ready):
    scheduled_keys = {(each.task_id, each.map_index) for each in ready}
    tasks = {task for task, _ in scheduled_keys}
    for (task, index), (state, _) in sorted(before.items()):
        if state in SCHEDULEABLE_STATES:
            gone = (task, index) not in after or (index < 0 and (task, 0) in after)
            runs = task in tasks if gone or index < 0 else (task, index) in scheduled_keys
            now = after.get((task, index), (None, 0))[0]
            decision = "runnable" if runs else now if now in State.finished else "waiting"
            yield {"task": task, "map_index": index, "state": state, "decision": decision}


def changed(before, after):
    """What is told of the way from one state of the run to the next."""
    events = [
        {"task": task, "map_index": index, "state": state, "try": number}
        for (task, index), (state, number) in sorted(after.items())
        if state is not None and before.get((task, index)) != (state, number)
    ]
    return after, events


def scheduled(run, session):
    found = session.query(TaskInstance).filter_by(
        dag_id=run.dag_id, run_id=run.run_id, state=TaskInstanceState.SCHEDULED
    )
    return sorted((each.task_id, each.map_index) for each in found)


def some_of(waiting, chance):
    """At least one of those that wait for a worker, in any order; the others stay queued for the next step."""
    chance.shuffle(waiting)
    return waiting[: chance.randint(1, len(waiting))] if waiting else []


def execute(instance, dag, session):
    """Runs one try, unless something that ran before it in this step has given it another state."""
    if instance.state == TaskInstanceState.SCHEDULED:
        instance.task = dag.get_task(instance.task_id)
        with contextlib.suppress(Exception):  # the failure stands in the task instance's state
            instance._run_raw_task(session=session)
        session.commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
