"""The API as it runs: a process of its own on a free loopback port, for tests and measurements."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.scratch import free_port

_START_SECONDS = 60


class Served:
    """A process of the API, and where it listens."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.port = port
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/api/v1"


@contextmanager
def served(database_url: str) -> Iterator[Served]:
    """The API on that database, ready, and stopped at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="dataforge-served-") as home:
        port = free_port()
        named = {"DATAFORGE_HOME": home, "DATAFORGE_DATABASE_URL": database_url, "DATAFORGE_PORT": str(port)}
        log = Path(home, "log")
        with log.open("wb") as output:
            command = [sys.executable, "-m", "dataforge.api"]
            process = subprocess.Popen(command, env={**os.environ, **named}, stderr=output)
        try:
            one = Served(process, port)
            _wait_until_ready(one, log)
            yield one
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(one: Served, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and one.process.poll() is None:
        try:
            if httpx.get(f"{one.root}/ready", timeout=10).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(f"the API is not ready within {_START_SECONDS} s: {log.read_text()[-2_000:]}")
