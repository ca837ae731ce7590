"""The supervisor of one installation, spoken to over its own unix socket.

Guarantees that a process which fails to start is reported with the end of its log, and that after `stop`
nothing of the installation runs, also where the supervisor itself had been killed.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from xmlrpc.client import Fault, ServerProxy

from dataforge.local import leftovers
from dataforge.local.layout import Layout
from dataforge.model.errors import StartupError

_STOP_SECONDS = 90
_LOG_LINES = 15


class ProcessState(NamedTuple):
    """One supervised process as it stands."""

    name: str
    state: str  # supervisor's word: RUNNING, STARTING, BACKOFF, FATAL, EXITED, STOPPED, STOPPING
    pid: int | None
    since: datetime | None  # when it was started
    log: Path

    @property
    def is_up(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


class Supervisor:
    """The supervisord of one installation, whether it runs or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def is_running(self) -> bool:
        try:
            with self._calls() as supervisor:
                supervisor.getState()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def configuration(self) -> str:
        """What it was last started with; empty before the first start."""
        path = self._layout.supervisor_configuration
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def start(self, configuration: str, environ: Mapping[str, str]) -> None:
        """Starts it as a daemon, with no program running yet; `environ` is what its programs see."""
        path = self._layout.supervisor_configuration
        path.write_text(configuration, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", path],
            env={**environ, leftovers.MARK: str(self._layout.home)},
            preexec_fn=_let_be_interrupted,  # no thread is running yet
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            # What may follow a brace is the whole environment, secrets included.
            raise StartupError(f"the supervisor does not start: {done.stderr.partition('{')[0].strip()}")

    def stop(self) -> bool:
        """Stops it with all its programs; whether there was anything to stop."""
        running = self.is_running()
        if running:
            with self._calls() as supervisor:
                leftovers.stop_orphans(self._layout.home, supervisor.getPID())
                supervisor.shutdown()
            self._wait_until_gone()
        return bool(leftovers.stop(self._layout.home, _STOP_SECONDS)) or running

    def processes(self) -> dict[str, ProcessState]:
        """Its programs by name; none where it does not run."""
        if not self.is_running():
            return {}
        with self._calls() as supervisor:
            return {info["name"]: _process_state(info) for info in supervisor.getAllProcessInfo()}

    def start_process(self, name: str) -> None:
        """Starts a program unless it is up; it may take longer until it answers."""
        if not self.processes()[name].is_up:
            # A fault says that it failed at once or that it was started in between: its state will tell.
            with self._calls() as supervisor, suppress(Fault):
                supervisor.startProcess(name, False)

    def stop_process(self, name: str) -> None:
        """Stops a program and waits until it has ended; nothing where it does not run."""
        with self._calls() as supervisor, suppress(Fault):
            supervisor.stopProcess(name)

    def require_up(self, name: str) -> None:
        """Raises where a program has failed."""
        state = self.processes().get(name)
        if state is None or not state.is_up:
            raise self.failure(name, "failed to start")

    def failure(self, name: str, what: str) -> StartupError:
        """The error of a program, with the end of its log."""
        log = self._layout.log(name)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        tail = "\n".join(f"  {line}" for line in lines[-_LOG_LINES:]) or "  (nothing)"
        return StartupError(f"{name} {what}; the end of its log {log}:\n{tail}")

    def _wait_until_gone(self) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        while self._layout.supervisor_pid.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    @contextmanager
    def _calls(self) -> Iterator[Any]:
        """What supervisord can be asked, as its documentation names it."""
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self._layout.supervisor_socket}")
        with ServerProxy("http://supervisor", transport=transport) as server:
            yield server.supervisor


def _let_be_interrupted() -> None:
    """Undoes what a shell does to a command in its background: a code server stops as it would when interrupted, and
    with interrupts ignored it would not stop at all."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _process_state(info: dict[str, Any]) -> ProcessState:
    return ProcessState(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"] or None,
        since=datetime.fromtimestamp(info["start"], UTC) if info["start"] else None,
        log=Path(info["stdout_logfile"]),
    )
