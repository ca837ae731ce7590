"""Airflow in its own environment, as `make airflow` leaves it: random DAGs go in, traces come out.

Guarantees that nothing outside a folder of its own is written, and that the DAGs are shared among processes, each
with its own copy of Airflow's empty database.
"""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec

from benchmarks.airflow_truth import dag_file
from benchmarks.airflow_truth.manifest import indirect_setups
from benchmarks.airflow_truth.replay import Trace
from benchmarks.airflow_truth.spec import Dag

_HERE = Path(__file__).parent
PREPARED = _HERE.parents[1] / ".airflow"
PYTHON = PREPARED / "venv" / "bin" / "python"


def prepared() -> bool:
    """Whether Airflow is there to be run."""
    return (PREPARED / ".installed").exists()


def traces(dags: list[Dag], seed: int, folder: Path, processes: int = 2) -> list[Trace]:
    """What Airflow decided, DAG by DAG, in the order of the DAGs. `seed` is of what runs in which order.

    Raises ValueError where a run fails, or where Airflow reads a DAG otherwise than the ledger is told of it.
    """
    shares = [share for share in (dags[place::processes] for place in range(processes)) if share]
    running = [_start(share, seed, folder / str(place)) for place, share in enumerate(shares)]
    by_name: dict[str, Trace] = {}
    for process, output in running:
        if process.wait():
            raise ValueError(f"Airflow's side failed: {(output / 'errors').read_text()[-2000:]}")
        lines = (output / "trace").read_bytes().splitlines()
        by_name |= {trace.dag: trace for trace in (msgspec.json.decode(line, type=Trace) for line in lines)}
    for dag in dags:
        _check(dag, by_name[dag.name])
    return [by_name[dag.name] for dag in dags]


def _start(dags: list[Dag], seed: int, folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    files = folder / "dags"
    files.mkdir(parents=True)
    shutil.copy(_HERE / "acts.py", files)
    for dag in dags:
        (files / f"{dag.name}.py").write_text(dag_file.source(dag))
    shutil.copy(PREPARED / "home" / "airflow.db", folder)
    settings = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": str(files),
    }
    command = [str(PYTHON), "-W", "ignore", str(_HERE / "drive.py"), str(files), str(seed)]
    with (folder / "trace").open("wb") as output, (folder / "errors").open("wb") as errors:
        return subprocess.Popen(command, stdout=output, stderr=errors, env={**os.environ, **settings}), folder


def _check(dag: Dag, trace: Trace) -> None:
    """That the ledger is told of the same tasks, rules, upstreams and setups as Airflow read from the file."""
    for task in dag.tasks:
        seen = trace.structure[task.name]
        told = (task.rule.value, task.upstream, indirect_setups(dag, task))
        if (seen.rule, seen.upstream, seen.setups) != told:
            raise ValueError(f"{dag.name}.{task.name} is {seen} in Airflow, and {told} in the ledger")
