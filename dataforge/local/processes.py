"""Starting, stopping and showing the processes of one installation.

Guarantees that `up` may be repeated at any time: it starts what is missing, restarts what was started under
other settings, and leaves alone what runs; where it fails, it leaves nothing running that was not before.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dataforge.local import configuration, health, ports
from dataforge.local.layout import Layout
from dataforge.local.postgres import Server, database_url
from dataforge.local.supervision import ProcessState, Supervisor
from dataforge.settings import Settings, as_environ

_START_SECONDS = 60


def up(settings: Settings, load_history: Callable[[str, str], None]) -> None:
    """Brings everything up and waits until it is healthy.

    `load_history(database_url, environment)` is called unless the settings say otherwise; it must be
    repeatable too.
    """
    layout = Layout(settings.home)
    layout.create()
    supervisor = Supervisor(layout)
    with _one_at_a_time(layout):
        _require_new_port(settings, supervisor)
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
        for name in configuration.process_names(settings)
    ]


def _bring_up(
    settings: Settings, layout: Layout, supervisor: Supervisor, load_history: Callable[[str, str], None]
) -> None:
    # Imported late: `status` and `down` need no database driver.
    from dataforge.storage.database import migrate

    _require_port(settings, supervisor)
    server = Server.of(layout) if settings.database_url is None else None
    if server:
        server.prepare()
    if not supervisor.is_running():
        supervisor.start(configuration.render(settings, layout), {**os.environ, **as_environ(settings)})
    if server:
        _start_database(server, supervisor)
    url = database_url(settings)
    migrate(url)
    supervisor.start_process(configuration.API)
    if settings.example:
        load_history(url, settings.environment)
    _wait_until_healthy(settings, supervisor)


def _stop_unless_usable(supervisor: Supervisor, wanted: str) -> bool:
    """Whether the supervisor runs as wanted; what an outdated or a killed one had started is stopped."""
    usable = supervisor.is_running() and supervisor.configuration() == wanted
    if not usable:
        supervisor.stop()
    return usable


def _require_new_port(settings: Settings, supervisor: Supervisor) -> None:
    """Refuses a port that somebody else has while our own API still serves at another: nothing is stopped for it."""
    api = supervisor.processes().get(configuration.API)
    if api is not None and api.is_up and api.pid and settings.port not in ports.of_process(api.pid):
        ports.require_free(settings.host, settings.port, "DATAFORGE_PORT")


def _require_port(settings: Settings, supervisor: Supervisor) -> None:
    api = supervisor.processes().get(configuration.API)
    if api is None or not api.is_up:
        ports.require_free(settings.host, settings.port, "DATAFORGE_PORT")


def _start_database(server: Server, supervisor: Supervisor) -> None:
    supervisor.start_process(configuration.POSTGRES)
    server.wait_until_ready(_START_SECONDS, lambda: supervisor.require_up(configuration.POSTGRES))
    server.create_database()


def _wait_until_healthy(settings: Settings, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while trouble := health.trouble(settings):
        supervisor.require_up(configuration.API)
        if time.monotonic() > deadline:
            raise supervisor.failure(configuration.API, f"is not healthy ({trouble})")
        time.sleep(0.05)


@contextmanager
def _one_at_a_time(layout: Layout) -> Iterator[None]:
    """Lets a second `up` of the same home wait for the first; the lock ends with its process."""
    with layout.start_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
