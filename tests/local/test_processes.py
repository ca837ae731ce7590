"""One installation, really started and stopped in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from click.testing import CliRunner

from benchmarks.scratch import free_port
from dataforge.cli.main import cli
from dataforge.local import health, leftovers, processes
from dataforge.local.configuration import API, POSTGRES, WORKER
from dataforge.local.layout import Layout
from dataforge.local.postgres import MAJOR_VERSION, database_url
from dataforge.local.supervision import Supervisor
from dataforge.model.errors import DatabaseUnavailable, SettingsError, StartupError
from dataforge.settings import Settings, as_environ, load


@pytest.fixture
def settings() -> Iterator[Settings]:
    # Not pytest's own folder, which only its owner may pass: as root, PostgreSQL has another account.
    home = Path(tempfile.mkdtemp(prefix="dataforge-home-"))
    settings = load(
        {"DATAFORGE_HOME": str(home), "DATAFORGE_EXAMPLE": "0", "DATAFORGE_DAGSTER": "0"}, home / "dataforge.toml"
    )
    yield replace(settings, port=free_port())
    processes.down(settings)
    shutil.rmtree(home)


def test_up_is_healthy_repeatable_and_leaves_nothing_after_down(settings: Settings) -> None:
    processes.up(settings, _no_history)
    assert health.trouble(settings) is None
    first = _pids(settings)
    processes.up(settings, _no_history)
    assert _pids(settings) == first
    assert None not in first.values()
    with psycopg.connect(database_url(settings)) as connection:
        assert _settings_of(connection) == ["on", "", "off"]
    assert processes.down(settings)
    assert _left_running(settings) == []
    assert not processes.down(settings)


def test_the_history_goes_into_the_environment_of_the_settings(settings: Settings) -> None:
    loaded: list[tuple[str, str]] = []
    wanted = replace(settings, example=True, environment="staging")
    processes.up(wanted, lambda url, environment: loaded.append((url, environment)))
    assert loaded == [(database_url(wanted), "staging")]


def test_changed_settings_restart_what_depends_on_them(settings: Settings) -> None:
    processes.up(settings, _no_history)
    moved = replace(settings, port=free_port())
    processes.up(moved, _no_history)
    assert health.trouble(moved) is None
    assert health.trouble(settings) is not None


@pytest.mark.long
def test_what_cannot_start_while_the_database_is_away_starts_when_it_is_back(settings: Settings) -> None:
    processes.up(settings, _no_history)
    supervisor = Supervisor(Layout(settings.home))
    supervisor.stop_process(POSTGRES)
    for name in (API, WORKER):
        os.kill(supervisor.processes()[name].pid or 0, signal.SIGKILL)
    time.sleep(15)  # longer than a supervisor's three tries take
    supervisor.start_process(POSTGRES)
    deadline = time.monotonic() + 90
    while (trouble := health.trouble(settings)) is not None:
        assert time.monotonic() < deadline, trouble
        time.sleep(0.5)
    assert all(state.is_up for state in supervisor.processes().values())


def test_what_a_killed_supervisor_leaves_behind_is_cleared_away(settings: Settings) -> None:
    processes.up(settings, _no_history)
    os.kill(int(Layout(settings.home).supervisor_pid.read_text()), signal.SIGKILL)
    processes.up(settings, _no_history)
    assert health.trouble(settings) is None
    os.kill(int(Layout(settings.home).supervisor_pid.read_text()), signal.SIGKILL)
    assert processes.down(settings)
    assert _left_running(settings) == []


def test_a_named_database_is_used_instead_of_the_embedded_one(settings: Settings, database_url: str) -> None:
    wanted = replace(settings, database_url=database_url)
    processes.up(wanted, _no_history)
    assert [state.name for state in processes.status(wanted)] == ["api", "worker"]
    assert not Layout(settings.home).postgres.exists()


def test_a_taken_port_names_itself_and_its_setting_and_nothing_starts(settings: Settings) -> None:
    with socket.create_server((settings.host, settings.port)):
        result = CliRunner().invoke(cli, ["up"], env=as_environ(settings))
    assert result.exit_code == 2
    assert f"error: port {settings.port} on 127.0.0.1 is taken" in result.stderr
    assert "DATAFORGE_PORT" in result.stderr
    assert _left_running(settings) == []


def test_a_process_that_fails_to_start_shows_the_end_of_its_log(settings: Settings) -> None:
    layout = Layout(settings.home)
    (layout.postgres / "data").mkdir(parents=True)
    (layout.postgres / "data" / "PG_VERSION").write_text(f"{MAJOR_VERSION}\n")
    with pytest.raises(StartupError) as failed:
        processes.up(settings, _no_history)
    assert str(layout.log("postgres")) in str(failed.value)
    assert "postgresql.conf" in str(failed.value) or "permissions" in str(failed.value)
    assert _left_running(settings) == []


def test_a_data_folder_of_another_major_version_is_refused(settings: Settings) -> None:
    folder = Layout(settings.home).postgres
    (folder / "data").mkdir(parents=True)
    (folder / "major_version").write_text("16\n")
    with pytest.raises(StartupError, match=f"made by PostgreSQL 16.*runs PostgreSQL {MAJOR_VERSION}"):
        processes.up(settings, _no_history)


def test_a_home_that_the_supervisor_cannot_read_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="DATAFORGE_HOME"):
        processes.up(replace(settings, home=settings.home / "100%"), _no_history)


def test_sockets_of_a_deep_home_still_fit(settings: Settings) -> None:
    deep = Layout(settings.home / ("x" * 120))
    other = Layout(settings.home / ("y" * 120))
    assert len(str(deep.postgres_sockets / ".s.PGSQL.5432")) < 104
    assert deep.sockets != other.sockets


def test_status_of_what_never_ran_is_stopped_and_no(settings: Settings) -> None:
    result = CliRunner().invoke(cli, ["status"], env=as_environ(settings))
    assert result.exit_code == 1
    assert [state.state for state in processes.status(settings)] == ["STOPPED", "STOPPED", "STOPPED"]


def test_a_database_that_is_down_says_how_to_start_it(settings: Settings) -> None:
    with pytest.raises(DatabaseUnavailable, match="make up"):
        database_url(settings)


def _no_history(url: str, environment: str) -> None:
    raise AssertionError(f"loaded into {environment} of {url}")


def _pids(settings: Settings) -> dict[str, int | None]:
    return {state.name: state.pid for state in processes.status(settings)}


def _left_running(settings: Settings) -> list[str]:
    """Everything whose environment or command line says that it belongs to the installation."""
    home = str(settings.home)
    found = []
    for process in psutil.process_iter():
        try:
            said = [process.environ().get(leftovers.MARK, ""), *process.cmdline()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(home in text for text in said):
            found.append(process.name())
    return found


def _settings_of(connection: psycopg.Connection[tuple[object, ...]]) -> list[object]:
    names = ("fsync", "listen_addresses", "is_superuser")
    query = "SELECT current_setting(name) FROM unnest(%s::text[]) WITH ORDINALITY AS n (name, at) ORDER BY at"
    return [value for (value,) in connection.execute(query, [list(names)])]


def test_a_new_port_that_is_taken_stops_nothing_that_runs(settings: Settings) -> None:
    processes.up(settings, _no_history)
    before = _pids(settings)
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(StartupError, match=str(taken)):
        processes.up(replace(settings, port=taken), _no_history)
    assert _pids(settings) == before
    assert health.trouble(settings) is None
