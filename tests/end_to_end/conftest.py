"""One real installation with the example in it: PostgreSQL, the API, Dagster's webserver and daemon.

It is shared by the tests of this folder, which run in one process (xdist's group `shop`) and in this order: `pages`
look at what the recording left, `round_trip` adds to it, `survival` kills what runs.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from benchmarks.scratch import free_port
from dataforge.local import processes
from dataforge.local.layout import Layout
from dataforge.local.postgres import Server
from dataforge.settings import Settings, as_environ, load
from tests.end_to_end.dagster_api import DagsterApi

_T = TypeVar("_T")


@dataclass(frozen=True)
class Shop:
    """What the tests drive: the installation's settings, the ledger's API and Dagster's."""

    settings: Settings
    ledger: httpx.Client
    dagster: DagsterApi

    def kill(self, name: str) -> None:
        """Kills a process of the installation as a crash would; the supervisor starts it again."""
        (pid,) = [state.pid for state in processes.status(self.settings) if state.name == name]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def run(self, *verb: str) -> "subprocess.CompletedProcess[str]":
        """Runs a verb of the command line on the installation."""
        return _run(self.settings, *verb)

    def wait_for_database(self, seconds: float) -> None:
        """Returns as soon as PostgreSQL takes connections again."""
        Server.of(Layout(self.settings.home)).wait_until_ready(seconds)

    def verdict(self, name: str, partition: str) -> dict[str, Any]:
        """The ledger's verdict on one partition of a task."""
        answer = self.ledger.get("/api/v1/dev/readiness", params={"name": name, "partition": partition})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """The example's installation, as `dataforge up` leaves it."""
    # Not pytest's own folder, which only its owner may pass: as root, PostgreSQL has another account.
    home = Path(tempfile.mkdtemp(prefix="dataforge-shop-"))
    settings = load({"DATAFORGE_HOME": str(home)}, home / "dataforge.toml")
    settings = replace(settings, port=free_port(), dagster_port=free_port())
    try:
        done = _run(settings, "up")
        assert done.returncode == 0, done.stderr
        dagster_url = f"http://127.0.0.1:{settings.dagster_port}"
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=60) as ledger,
            httpx.Client(base_url=dagster_url, timeout=60) as dagster,
        ):
            yield Shop(settings, ledger, DagsterApi(dagster))
    finally:
        processes.down(settings)
        shutil.rmtree(home)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stops the installation after the last of its tests: the fixture ends with its process, which has other tests to
    run, and until then the installation would take an eighth of a core from them."""
    shop = item.funcargs.get("shop") if isinstance(item, pytest.Function) else None
    if isinstance(shop, Shop) and (nextitem is None or nextitem.path.parent != item.path.parent):
        processes.down(shop.settings)


def _run(settings: Settings, *verb: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("dataforge")), *verb]
    environ = os.environ | as_environ(settings)
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)


def eventually(look: Callable[[], _T | None], seconds: float, what: str) -> _T:
    """The first answer that is neither None nor False; fails when there is none in time. A server that is just
    being started again, and cannot be connected to, counts as no answer; one that answers with an error does not."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except httpx.TransportError:
            found = None
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"after {seconds:g} s still not true: {what}"
        time.sleep(0.5)
