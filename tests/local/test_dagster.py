"""Dagster as a part of one installation: its processes are really started, killed and stopped.

Most tests share one installation, which each leaves running; its definitions are a few lines of their own, so that
what is tested here is how Dagster is run, not what the example defines.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from click.testing import CliRunner

from benchmarks.scratch import free_port
from dataforge.cli.main import cli
from dataforge.local import dagster_database, leftovers, processes
from dataforge.local.layout import Layout
from dataforge.local.postgres import ROLE, Server, database_url
from dataforge.settings import Settings, as_environ, load

PATIENCE = 60.0  # seconds for a process to come back, or for a run to be seen
DEFINITIONS = """
    import time

    from dagster import Definitions, RunRequest, SensorResult, asset, sensor

    @asset
    def waits():
        time.sleep(3600)

    @sensor(target=waits)
    def never():
        return SensorResult(run_requests=[])

    defs = Definitions(assets=[waits], sensors=[never])
"""
LAUNCH = """
    mutation { launchRun(executionParams: { mode: "default", selector: {
      repositoryLocationName: "shop", repositoryName: "__repository__", jobName: "__ASSET_JOB",
      assetSelection: [{ path: ["waits"] }] } }) {
        __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def _new_settings(definitions: str) -> Settings:
    # Not pytest's own folder, which only its owner may pass: as root, PostgreSQL has another account.
    home = Path(tempfile.mkdtemp(prefix="dataforge-dagster-"))
    (home / "code").mkdir()
    (home / "code" / "shop_definitions.py").write_text(dedent(definitions))
    workspace = home / "code" / "workspace.yaml"
    workspace.write_text("load_from: [{python_module: {module_name: shop_definitions, location_name: shop}}]")
    given = {"DATAFORGE_HOME": str(home), "DATAFORGE_EXAMPLE": "0", "DATAFORGE_WORKSPACE": str(workspace)}
    return replace(load(given, home / "dataforge.toml"), port=free_port(), dagster_port=free_port())


def _removed(settings: Settings) -> None:
    processes.down(settings)
    shutil.rmtree(settings.home)


pytestmark = pytest.mark.xdist_group("dagster-installation")  # one for the module, so one process


@pytest.fixture(scope="module")
def installation() -> Iterator[Settings]:
    """One installation for the module."""
    settings = _new_settings(DEFINITIONS)
    yield settings
    _removed(settings)


@pytest.fixture
def settings(installation: Settings) -> Settings:
    """The module's installation, up whatever the test before has killed."""
    processes.up(installation, _no_history)
    return installation


@pytest.fixture
def stopped() -> Iterator[Settings]:
    """An installation of which nothing has been started."""
    settings = _new_settings(DEFINITIONS)
    yield settings
    _removed(settings)


def test_every_process_is_listed_and_the_page_is_shown_and_answers(settings: Settings) -> None:
    names = ["postgres", "api", "worker", "dagster-code-shop", "dagster-webserver", "dagster-daemon"]
    assert [state.name for state in processes.status(settings) if state.is_up] == names
    shown = CliRunner().invoke(cli, ["status"], env=as_environ(settings))
    assert shown.exit_code == 0
    page = f"http://127.0.0.1:{settings.dagster_port}"
    assert page in shown.output
    graph = f"{page}/asset-groups"
    assert f"  {graph}  " in CliRunner().invoke(cli, ["up"], env=as_environ(settings)).output
    assert httpx.get(graph).status_code == 200
    assert httpx.get(page).status_code == 200


def test_a_second_up_starts_nothing_anew(settings: Settings) -> None:
    before = _pids(settings)
    processes.up(settings, _no_history)
    assert _pids(settings) == before
    assert None not in before.values()


def test_dagster_stores_in_a_database_of_its_own(settings: Settings) -> None:
    ledger = database_url(settings)
    dagster = ledger.replace("/dataforge?", f"/{dagster_database.name(ledger)}?")
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(ledger) as ours, psycopg.connect(dagster) as theirs:
        mine = {name for (name,) in ours.execute(tables)}
        its = {name for (name,) in theirs.execute(tables)}
    assert {"runs", "event_logs", "daemon_heartbeats"} <= its
    assert not mine & its - {"alembic_version"}
    assert "daemon_heartbeats" not in mine


def test_code_is_served_to_the_owner_alone(settings: Settings) -> None:
    found = Layout(settings.home).code_server_socket(0).stat()
    assert stat.S_IMODE(found.st_mode) & 0o077 == 0


@pytest.mark.parametrize("name", ["dagster-daemon", "dagster-webserver", "dagster-code-shop"])
def test_what_is_killed_comes_back_and_leaves_nothing_orphaned(settings: Settings, name: str) -> None:
    killed = _killed(settings, name)
    _eventually(lambda: _pids(settings)[name] not in (killed, None), f"{name} is started again")
    processes.up(settings, _no_history)
    supervised = {pid for pid in _pids(settings).values() if pid}
    assert {each.pid for each in _marked(settings) if "-m dagster" in _command(each)} <= supervised


def test_a_run_outlives_the_daemon_and_ends_with_the_installation(settings: Settings) -> None:
    run = _launched(settings)
    daemon = _killed(settings, "dagster-daemon")
    _eventually(lambda: _pids(settings)["dagster-daemon"] not in (daemon, None), "the daemon is started again")
    processes.up(settings, _no_history)
    assert _run_status(settings, run) == "STARTED"
    assert processes.down(settings)
    assert _marked(settings) == []
    processes.up(settings, _no_history)
    assert _run_status(settings, run) in ("FAILURE", "CANCELED")


def test_a_run_that_was_killed_with_everything_else_is_failed_by_the_next_up(settings: Settings) -> None:
    run = _launched(settings)
    everything = _marked(settings)
    for process in everything:  # the supervisor first: it would start the others again
        process.kill()
    psutil.wait_procs(everything, PATIENCE)
    processes.up(settings, _no_history)
    assert _run_status(settings, run) == "FAILURE"


@pytest.mark.parametrize("anew", [False, True])
def test_up_makes_a_database_anew_that_was_dropped_while_it_ran(settings: Settings, *, anew: bool) -> None:
    """`anew`: somebody has created it again, so that it is there, and empty."""
    before = _pids(settings)
    _drop_dagster(settings, anew=anew)
    shown = CliRunner().invoke(cli, ["status"], env=as_environ(settings))
    assert shown.exit_code == 1
    assert "trouble: Dagster's database dataforge_dagster is lost: `make up` makes it anew" in shown.output
    done = CliRunner().invoke(cli, ["up"], env=as_environ(settings))
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(cli, ["status"], env=as_environ(settings)).exit_code == 0
    restarted = {name for name, pid in _pids(settings).items() if pid != before[name]}
    assert restarted == {"dagster-webserver", "dagster-daemon"}
    assert _run_status(settings, _launched(settings)) == "STARTED"


@pytest.mark.parametrize("supervised", [True, False])
def test_down_stops_the_runs_that_a_killed_code_server_leaves(settings: Settings, *, supervised: bool) -> None:
    _launched(settings)
    if not supervised:
        os.kill(int(Layout(settings.home).supervisor_pid.read_text()), signal.SIGKILL)
        code_server = next(each for each in _marked(settings) if " grpc " in _command(each))
        code_server.kill()
    else:
        _killed(settings, "dagster-code-shop")
    began = time.monotonic()
    assert processes.down(settings)
    assert time.monotonic() - began < PATIENCE
    assert _marked(settings) == []


def test_a_taken_port_names_itself_and_its_setting_and_nothing_starts(stopped: Settings) -> None:
    with socket.create_server((stopped.host, stopped.dagster_port)):
        result = CliRunner().invoke(cli, ["up"], env=as_environ(stopped))
    assert result.exit_code == 2
    assert f"error: port {stopped.dagster_port} on 127.0.0.1 is taken" in result.stderr
    assert "DAGSTER_PORT" in result.stderr
    assert _marked(stopped) == []


def test_one_port_for_two_servers_is_refused(stopped: Settings) -> None:
    result = CliRunner().invoke(cli, ["up"], env=as_environ(replace(stopped, dagster_port=stopped.port)))
    assert result.exit_code == 2
    assert "DAGSTER_PORT" in result.stderr


def test_definitions_that_do_not_load_are_one_error_and_nothing_stays_up(stopped: Settings) -> None:
    (stopped.home / "code" / "shop_definitions.py").write_text("raise ValueError('the manifest is missing')\n")
    result = CliRunner().invoke(cli, ["up"], env=as_environ(stopped))
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: the code location shop cannot be loaded: ValueError: the manifest is missing"
    ]
    assert _marked(stopped) == []


@pytest.mark.parametrize(
    "entry", ["{python_file: shop.py}", "{python_module: shop_definitions}", "{python_module: {module_name: x}}"]
)
def test_a_workspace_that_names_no_location_is_refused(stopped: Settings, entry: str) -> None:
    assert stopped.workspace is not None
    stopped.workspace.write_text(f"load_from: [{entry}]")
    result = CliRunner().invoke(cli, ["up"], env=as_environ(stopped))
    assert result.exit_code == 2
    assert "location_name" in result.stderr


def _no_history(url: str, environment: str) -> None:
    raise AssertionError(f"loaded into {environment} of {url}")


def _pids(settings: Settings) -> dict[str, int | None]:
    return {state.name: state.pid for state in processes.status(settings)}


def _killed(settings: Settings, name: str) -> int:
    """The process id of one process, which a crash has just ended."""
    pid = _pids(settings)[name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def _drop_dagster(settings: Settings, *, anew: bool) -> None:
    """Drops Dagster's database under its running processes; with `anew` an empty one takes its place."""
    name = dagster_database.name(database_url(settings))
    with psycopg.connect(Server.of(Layout(settings.home)).superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        if anew:
            connection.execute(f"CREATE DATABASE {name} OWNER {ROLE}".encode())


def _marked(settings: Settings) -> list[psutil.Process]:
    """Every process that the installation's supervisor started, itself first, at any remove."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get(leftovers.MARK) == str(settings.home)
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _command(process: psutil.Process) -> str:
    """The command line of a process; nothing of one that has ended since it was found."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _ask(settings: Settings, query: str, **variables: str) -> Any:
    page = f"http://127.0.0.1:{settings.dagster_port}/graphql"
    shape = httpx.post(page, json={"query": query, "variables": variables}, timeout=30).json()
    assert "errors" not in shape, shape["errors"]
    return shape["data"]


def _launched(settings: Settings) -> str:
    """A run that goes on until it is stopped."""
    launched = _ask(settings, LAUNCH)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run: str = launched["run"]["runId"]
    _eventually(lambda: _run_status(settings, run) == "STARTED", "the run has started")
    return run


def _run_status(settings: Settings, run: str) -> str:
    status: str = _ask(settings, STATUS, id=run)["runOrError"]["status"]
    return status


def _eventually(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline, f"after {PATIENCE:g} s still not true: {what}"
        time.sleep(0.1)
