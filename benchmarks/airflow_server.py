"""A real Airflow of one's own: scheduler and webserver with its REST API, on a copy of what `make airflow` left.

Guarantees that nothing outside a folder of its own is written, that it listens on loopback alone, and that its tasks
tell of themselves by Airflow's own OpenLineage provider, where somebody is named whom they can tell.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.airflow_truth.scheduler import PREPARED
from benchmarks.scratch import free_port

USER = PASSWORD = "hands"  # noqa: S105 - of a server that is gone with its test
_AIRFLOW = PREPARED / "venv" / "bin" / "airflow"
_READY_SECONDS = 120
_STOP_SECONDS = 20


class Airflow:
    """One that runs: where its pages are, and the folder from which it reads DAGs."""

    def __init__(self, folder: Path, port: int, environ: Mapping[str, str]) -> None:
        self.dags = folder / "dags"
        self.url = f"http://127.0.0.1:{port}"
        self.environ = environ

    def ask(self, method: str, path: str, **said: object) -> httpx.Response:
        """A question to its REST API, by its administrator."""
        url = f"{self.url}/api/v1{path}"
        return httpx.request(method, url, auth=(USER, PASSWORD), timeout=30, **said)  # type: ignore[arg-type]


@contextmanager
def airflow(folder: Path, lineage: str | None = None, namespace: str = "airflow") -> Iterator[Airflow]:
    """An Airflow in this empty folder, ready, and stopped at the end of the block. Its events go to `lineage`, the root
    of a ledger's API."""
    port = free_port()
    (folder / "dags").mkdir()
    shutil.copy(PREPARED / "home" / "airflow.db", folder)
    environ = {**os.environ, **_settings(folder, port, namespace, lineage)}
    named = {"username": USER, "password": PASSWORD, "firstname": "a", "lastname": "b", "email": "a@b.example"}
    options = [part for name, value in named.items() for part in (f"--{name}", value)]
    made = [str(_AIRFLOW), "users", "create", "--role", "Admin", *options]
    subprocess.run(made, env=environ, check=True, capture_output=True)
    running = [_start(part, folder, environ) for part in ("webserver", "scheduler")]
    try:
        one = Airflow(folder, port, environ)
        _wait_until_ready(one, folder, running)
        yield one
    finally:
        for process in running:
            _stop(process)


def _settings(folder: Path, port: int, namespace: str, lineage: str | None) -> dict[str, str]:
    transport = f'{{"type": "http", "url": "{lineage}", "endpoint": "api/v1/lineage"}}'
    told = {"AIRFLOW__OPENLINEAGE__NAMESPACE": namespace, "AIRFLOW__OPENLINEAGE__TRANSPORT": transport}
    return {
        "PATH": f"{_AIRFLOW.parent}{os.pathsep}{os.environ['PATH']}",  # a task is `airflow tasks run ...`
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        "AIRFLOW__WEBSERVER__WORKERS": "1",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        **(told if lineage else {"AIRFLOW__OPENLINEAGE__DISABLED": "True"}),
    }


def _start(part: str, folder: Path, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / f"{part}.log").open("wb") as log:
        command = [str(_AIRFLOW), part]
        return subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends it with all that it has started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(_STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _wait_until_ready(one: Airflow, folder: Path, running: "Sequence[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and all(process.poll() is None for process in running):
        try:
            if one.ask("GET", "/health").json()["scheduler"]["status"] == "healthy":
                return
        except (httpx.TransportError, ValueError):
            pass
        time.sleep(0.5)
    logs = "\n".join((folder / f"{part}.log").read_text()[-2_000:] for part in ("webserver", "scheduler"))
    raise TimeoutError(f"Airflow is not ready within {_READY_SECONDS} s: {logs}")
