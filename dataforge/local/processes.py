"""Starting, stopping and showing the processes of one installation.

Guarantees that `up` may be repeated at any time: it starts what is missing, restarts what was started under
other settings or has lost its database, and leaves alone what runs; where it fails, it leaves nothing running that was
not before.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from dataforge.local import configuration, dagster, dagster_health, health, ports, workspace
from dataforge.local.layout import Layout
from dataforge.local.postgres import Server, database_url
from dataforge.local.supervision import ProcessState, Supervisor
from dataforge.model.errors import SettingsError
from dataforge.settings import Settings, as_environ

_START_SECONDS = 60
_DAGSTER_SECONDS = 120  # four processes that import Dagster, on two cores


def up(settings: Settings, load_history: Callable[[str, str], None]) -> None:
    """Brings everything up and waits until it is healthy.

    `load_history(database_url, environment)` is called unless the settings say otherwise; it must be
    repeatable too.
    """
    layout = Layout(settings.home)
    layout.create()
    supervisor = Supervisor(layout)
    with _one_at_a_time(layout):
        _require_new_ports(settings, supervisor)
        was_running = _stop_unless_usable(supervisor, configuration.render(settings, layout))
        try:
            _bring_up(settings, layout, supervisor, load_history)
        except BaseException:
            if not was_running:
                supervisor.stop()
            raise


def down(settings: Settings) -> bool:
    """Stops what `up` started; whether there was anything to stop."""
    layout = Layout(settings.home)
    return layout.home.exists() and Supervisor(layout).stop()


def status(settings: Settings) -> list[ProcessState]:
    """Every process of the installation in the order of its start, running or not."""
    layout = Layout(settings.home)
    found = Supervisor(layout).processes()
    return [
        found.get(name) or ProcessState(name, "STOPPED", None, None, layout.log(name))
        for name in configuration.process_names(settings, layout)
    ]


def trouble(settings: Settings) -> str | None:
    """What is amiss though every process runs, in a line with what to do; None where nothing is."""
    from dataforge.local import dagster_database

    if not settings.dagster:
        return None
    url = database_url(settings)
    if dagster_database.is_whole(url):
        return None
    return f"Dagster's database {dagster_database.name(url)} is lost: `make up` makes it anew"


def _bring_up(
    settings: Settings, layout: Layout, supervisor: Supervisor, load_history: Callable[[str, str], None]
) -> None:
    # Imported late: `status` and `down` need no database driver.
    from dataforge.storage.database import migrate

    _require_ports(settings, supervisor)
    server = Server.of(layout) if settings.database_url is None else None
    if server:
        server.prepare()
    nothing_runs = not supervisor.is_running()
    if nothing_runs:
        _start_supervisor(settings, layout, supervisor)
    if settings.dagster:
        # Before the database: they need none to load their definitions, which takes longest.
        _start(supervisor, configuration.code_servers(settings, layout))
    if server:
        _start_database(server, supervisor)
    url = database_url(settings)
    with _dagster_prepared(settings, layout, supervisor, server, nothing_runs=nothing_runs):
        migrate(url)
        _start(supervisor, [configuration.API, *configuration.workers(settings)])
    if settings.dagster:
        _start_dagster(settings, layout, supervisor)
    if settings.example:
        load_history(url, settings.environment)
    _wait_until_healthy(configuration.API, _START_SECONDS, supervisor, lambda: health.trouble(settings))
    for name in configuration.workers(settings):
        supervisor.require_up(name)
    if settings.dagster:
        _wait_until_healthy(
            configuration.WEBSERVER, _DAGSTER_SECONDS, supervisor, lambda: _dagster_trouble(settings, supervisor)
        )


def _start(supervisor: Supervisor, names: Iterable[str]) -> None:
    for name in names:
        supervisor.start_process(name)


def _start_supervisor(settings: Settings, layout: Layout, supervisor: Supervisor) -> None:
    environ = {**os.environ, **as_environ(settings)}
    if settings.dagster:
        dagster.write_home(settings, layout)
        environ.update(dagster.environ(settings, layout))
    supervisor.start(configuration.render(settings, layout), environ)


def _dagster_prepared(
    settings: Settings, layout: Layout, supervisor: Supervisor, server: Server | None, *, nothing_runs: bool
) -> AbstractContextManager[None]:
    """Dagster's storage made ready beside what the block does, unless Dagster is left out or runs on it already."""
    if not settings.dagster:
        return nullcontext()
    from dataforge.local import dagster_database

    if not dagster_database.is_whole(database_url(settings)):
        # What runs on a database that was dropped would find the new one, but takes its tables to be as they were.
        for name in (configuration.WEBSERVER, configuration.DAEMON):
            supervisor.stop_process(name)
    states = supervisor.processes()
    if states[configuration.WEBSERVER].is_up and states[configuration.DAEMON].is_up:
        return nullcontext()
    if server:
        server.create_database(dagster_database.name(server.url))
    else:
        dagster_database.create(database_url(settings))
    return dagster.storage_prepared(settings, layout, nothing_runs=nothing_runs)


def _start_dagster(settings: Settings, layout: Layout, supervisor: Supervisor) -> None:
    """Starts the webserver and the daemon on code servers that answer: a daemon that finds none looks again only
    after a minute."""
    for location in workspace.locations(settings, layout):
        supervisor.start_process(location.process)
        _wait_for_socket(location.socket, location.process, supervisor)
    for name in (configuration.WEBSERVER, configuration.DAEMON):
        supervisor.start_process(name)


def _wait_for_socket(path: Path, name: str, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + _DAGSTER_SECONDS
    while not ports.answers(path):
        supervisor.require_up(name)
        if time.monotonic() > deadline:
            raise supervisor.failure(name, f"does not answer within {_DAGSTER_SECONDS} s")
        time.sleep(0.05)


def _dagster_trouble(settings: Settings, supervisor: Supervisor) -> str | None:
    supervisor.require_up(configuration.DAEMON)
    return dagster_health.trouble(settings, supervisor.processes()[configuration.DAEMON].since)


def _stop_unless_usable(supervisor: Supervisor, wanted: str) -> bool:
    """Whether the supervisor runs as wanted; what an outdated or a killed one had started is stopped."""
    usable = supervisor.is_running() and supervisor.configuration() == wanted
    if not usable:
        supervisor.stop()
    return usable


def _listeners(settings: Settings) -> list[tuple[str, int, str]]:
    """The processes that listen on a port, each with its port and the setting that chose it."""
    if not settings.dagster:
        return [(configuration.API, settings.port, "DATAFORGE_PORT")]
    if settings.port == settings.dagster_port:
        raise SettingsError("DAGSTER_PORT", settings.dagster_port, "another port than DATAFORGE_PORT")
    return [
        (configuration.API, settings.port, "DATAFORGE_PORT"),
        (configuration.WEBSERVER, settings.dagster_port, "DAGSTER_PORT"),
    ]


def _require_new_ports(settings: Settings, supervisor: Supervisor) -> None:
    """Refuses a port that somebody else has while our own server still serves at another: nothing is stopped for it."""
    states = supervisor.processes()
    for name, port, setting in _listeners(settings):
        state = states.get(name)
        if state is not None and state.is_up and state.pid and port not in ports.of_process(state.pid):
            ports.require_free(settings.host, port, setting)


def _require_ports(settings: Settings, supervisor: Supervisor) -> None:
    states = supervisor.processes()
    for name, port, setting in _listeners(settings):
        state = states.get(name)
        if state is None or not state.is_up:
            ports.require_free(settings.host, port, setting)


def _start_database(server: Server, supervisor: Supervisor) -> None:
    supervisor.start_process(configuration.POSTGRES)
    server.wait_until_ready(_START_SECONDS, lambda: supervisor.require_up(configuration.POSTGRES))
    server.create_database()


def _wait_until_healthy(name: str, seconds: float, supervisor: Supervisor, trouble: Callable[[], str | None]) -> None:
    deadline = time.monotonic() + seconds
    while found := trouble():
        supervisor.require_up(name)
        if time.monotonic() > deadline:
            raise supervisor.failure(name, f"is not healthy ({found})")
        time.sleep(0.1)


@contextmanager
def _one_at_a_time(layout: Layout) -> Iterator[None]:
    """Lets a second `up` of the same home wait for the first; the lock ends with its process."""
    with layout.start_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
