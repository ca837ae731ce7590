"""What Dagster's processes need before they start: their home, their environment and their storage's tables.

Guarantees that both start on a storage that is complete, since two that create its tables at once get in each other's
way, and that a password is in their environment only, never in a file or on a command line. Dagster itself is run by
other processes: nothing here imports it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from dataforge.local import workspace
from dataforge.local.layout import Layout
from dataforge.local.postgres import Server
from dataforge.model.errors import StartupError
from dataforge.settings import Settings, as_environ

INSTANCE = "dagster.yaml"
_LOG_LINES = 15


def instance_configuration() -> str:
    """Dagster's configuration, the same for every installation; what differs is in the environment."""
    return workspace.shipped(INSTANCE).read_text(encoding="utf-8")


def workspace_file(layout: Layout) -> Path:
    """The workspace that the webserver and the daemon are given."""
    return layout.dagster / workspace.FILE


def write_home(settings: Settings, layout: Layout) -> None:
    """Puts into Dagster's home what the processes read at their start."""
    (layout.dagster / INSTANCE).write_text(instance_configuration(), encoding="utf-8")
    served = workspace.served(workspace.locations(settings, layout))
    workspace_file(layout).write_text(served, encoding="utf-8")


def environ(settings: Settings, layout: Layout) -> dict[str, str]:
    """The environment of Dagster's processes, and of those that they start: code servers, runs, dbt."""
    from dataforge.local.dagster_database import storage_url

    programs = str(Path(sys.executable).parent)
    return {
        **as_environ(settings),
        "DAGSTER_HOME": str(layout.dagster),
        "DATAFORGE_DAGSTER_URL": storage_url(settings.database_url or Server.of(layout).url),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        # Dagster looks for dbt on the path, and must find the one it was installed with.
        "PATH": os.pathsep.join(filter(None, [programs, os.environ.get("PATH")])),
    }


@contextmanager
def storage_prepared(settings: Settings, layout: Layout, *, nothing_runs: bool) -> Iterator[None]:
    """Brings the storage's tables up to date beside what the block does; done when it ends.

    `nothing_runs`: no process of the installation is left from before, so that a run which the storage still calls
    running has lost its process, and is marked failed.
    """
    command = [sys.executable, "-m", "resources.instance", *(["--nothing-runs"] if nothing_runs else [])]
    environment = {**os.environ, **environ(settings, layout)}
    with (
        layout.log("dagster-storage").open("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            command, env=environment, cwd=layout.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            log.seek(0)
            raise StartupError(f"Dagster's storage cannot be prepared; the end of {log.name}:\n{_end(log.read())}")


def pruned(settings: Settings, before: datetime, *, apply: bool) -> bytes:
    """What of the event log is older than a moment and may go, as JSON; with `apply` it goes. Raises StartupError where
    there is no Dagster to ask."""
    from dataforge.local.dagster_database import is_whole, name
    from dataforge.local.postgres import database_url

    layout = Layout(settings.home)
    url = database_url(settings)
    if not (layout.dagster / INSTANCE).is_file() or not is_whole(url):
        raise StartupError(f"Dagster's database {name(url)} is not there: `make up` makes it")
    command = [sys.executable, "-m", "dataforge_sensors.prune", "--before", before.isoformat()]
    done = subprocess.run(
        [*command, *(["--apply"] if apply else [])],
        env={**os.environ, **environ(settings, layout)},
        cwd=layout.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise StartupError(
            f"Dagster's event log cannot be pruned; the end of what was said:\n{_end(done.stderr.decode())}"
        )
    return done.stdout


def _end(said: str) -> str:
    return "\n".join(f"  {line}" for line in said.splitlines()[-_LOG_LINES:])
