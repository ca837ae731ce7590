"""An acknowledged event is durable and none is applied twice, whatever is killed while events are coming in."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from benchmarks.scratch import free_port
from dataforge.ingest.replay import verify
from dataforge.local import processes
from dataforge.local.postgres import database_url
from dataforge.settings import Settings, load
from dataforge.storage.database import Database

NUMBER = 400
PATIENCE = 90.0  # seconds until everything must have been taken


@pytest.fixture
def settings() -> Iterator[Settings]:
    home = Path(tempfile.mkdtemp(prefix="dataforge-crash-"))
    settings = load(
        {"DATAFORGE_HOME": str(home), "DATAFORGE_EXAMPLE": "0", "DATAFORGE_DAGSTER": "0"}, home / "dataforge.toml"
    )
    yield replace(settings, port=free_port())
    processes.down(settings)
    shutil.rmtree(home)


class Producer(Thread):
    """Sends numbered events one by one, each until it is acknowledged, and keeps its own account of them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{settings.port}/api/v1/dev/events"
        self.acknowledged: list[str] = []
        self.repeated = 0
        self.halfway = Event()

    def run(self) -> None:
        deadline = time.monotonic() + PATIENCE
        with httpx.Client(timeout=5) as client:
            for number in range(NUMBER):
                while not self._taken(client, number) and time.monotonic() < deadline:
                    self.repeated += 1
                if number in (NUMBER // 4, NUMBER // 2):
                    self.halfway.set()

    def _taken(self, client: httpx.Client, number: int) -> bool:
        run = f"run-{number:04}"
        body = {
            "time": f"2026-11-01T06:{number // 60:02}:{number % 60:02}Z",
            "task": {"namespace": "crash", "name": f"task-{number % 7}"},
            "run": run,
            "partition": f"p{number % 11}",
            "state": "succeeded",
            "outputs": [{"namespace": "s3://lake", "name": "orders"}],
        }
        try:
            answer = client.post(self._url, json=body)
        except httpx.HTTPError:
            return False
        if answer.status_code == 200:
            self.acknowledged.append(run)
        return answer.status_code == 200


def _kill(settings: Settings, name: str) -> None:
    (pid,) = [state.pid for state in processes.status(settings) if state.name == name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_nothing_acknowledged_is_lost_and_nothing_is_applied_twice(settings: Settings) -> None:
    processes.up(settings, lambda _url, _environment: None)
    producer = Producer(settings)
    producer.start()
    for name in ("postgres", "api"):
        assert producer.halfway.wait(PATIENCE)
        producer.halfway.clear()
        _kill(settings, name)
    producer.join(PATIENCE)
    assert len(producer.acknowledged) == NUMBER
    assert producer.repeated > 0, "nothing was interrupted"
    database = Database(database_url(settings), max_size=1)
    try:
        with database.transaction() as connection:
            runs = [row[0] for row in connection.execute("select run from run order by run")]
            events = connection.execute("select count(*) from event").fetchone()
        assert runs == sorted(producer.acknowledged)
        assert events == (NUMBER,)
        assert verify(database, "dev").difference is None
    finally:
        database.close()
