"""The DAG file of a random DAG: plain Airflow, to be read and run by itself."""

from benchmarks.airflow_truth.spec import Dag, Task

_HEAD = '''"""Made by benchmarks.airflow_truth; `acts` lies beside it."""

from datetime import timedelta

import pendulum
from acts import act
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.utils.task_group import TaskGroup

with DAG(
    {name!r},
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    default_args={{"retry_delay": timedelta(0)}},
    fail_stop={fail_stop},
    tags=["days={days}"],
) as dag:
'''
_OPERATORS = {
    "python": "PythonOperator",
    "empty": "EmptyOperator",
    "branch": "BranchPythonOperator",
    "short_circuit": "ShortCircuitOperator",
}


def source(dag: Dag) -> str:
    """The text of the file."""
    groups = sorted({task.group for task in dag.tasks if task.group})
    lines = [f"    {group} = TaskGroup({group!r})" for group in groups]
    lines += ["    made = {}"]
    lines += [f"    made[{task.name!r}] = {_operator(task)}" for task in dag.tasks]
    lines += [f"    made[{task.name!r}].as_setup()" for task in dag.tasks if task.setup]
    lines += [f"    made[{above!r}] >> made[{task.name!r}]" for task in dag.tasks for above in task.upstream]
    lines += [
        f"    made[{task.name!r}].as_teardown(setups=made[{task.tears_down!r}])"
        for task in dag.tasks
        if task.tears_down
    ]
    return _HEAD.format(name=dag.name, fail_stop=dag.fail_stop, days=dag.days) + "\n".join(lines) + "\n"


def _operator(task: Task) -> str:
    name, arguments = _OPERATORS[task.kind], _arguments(task)
    if task.mapped is None:
        return f"{name}({arguments})"
    over = f"made[{task.mapped!r}].output" if isinstance(task.mapped, str) else [[each] for each in range(task.mapped)]
    return f"{name}.partial({arguments}).expand(op_args={over})"


def _arguments(task: Task) -> str:
    given = [f"task_id={task.name.rpartition('.')[2]!r}", f"retries={task.retries}"]
    if task.depends_on_past:
        given += ["depends_on_past=True", f"wait_for_downstream={task.wait_for_downstream}"]
    if task.tears_down is None:
        given.append(f"trigger_rule={task.rule.value!r}")
    if task.group:
        given.append(f"task_group={task.group}")
    if task.kind != "empty":
        given += ["python_callable=act", f"op_kwargs={{'ends': {task.ends!r}, 'returns': {_returned(task)}}}"]
    if task.kind == "short_circuit":
        given.append(f"ignore_downstream_trigger_rules={task.ignores_rules}")
    return ", ".join(given)


def _returned(task: Task) -> object:
    """A task that others are mapped over returns a list; of a mapped one each instance returns one item of it."""
    if task.kind == "branch":
        return task.chooses
    if task.kind == "short_circuit":
        return task.goes_on
    if task.returns is None:
        return None
    listed: list[object] = [[each] for each in range(task.returns)]
    return [0] if task.mapped is not None else listed
