"""Fifty rounds of load in which the API, the worker or PostgreSQL is killed: what was acknowledged is there, and once.

Clients send batches, claim partitions, and keep their own account of what was acknowledged. PostgreSQL is stopped as by
`-m immediate`, the others by SIGKILL. `DATAFORGE_KILL_ROUNDS` says how many rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from threading import Event, Lock, Thread
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from benchmarks.scratch import free_port, scratch_database
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.local import health, processes
from dataforge.local.postgres import database_url
from dataforge.model import definition
from dataforge.settings import Settings, load
from dataforge.storage import event as event_log
from dataforge.storage.database import Database
from tests.twin.believed import believed, states
from tests.twin.claim import claims_by_place, claims_of
from tests.twin.fold import states_of
from tests.twin.run import runs_of

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("DATAFORGE_KILL_ROUNDS", "50"))
KILLS = {"api": signal.SIGKILL, "worker": signal.SIGKILL, "postgres": signal.SIGQUIT}
SENDERS, WORKERS = 3, 3
PATIENCE = 120.0  # seconds until everything must be up again
BEGIN = datetime(2026, 11, 1, 6, tzinfo=UTC)
MANIFEST = {
    "source": "kills",
    "valid_from": "2026-10-01T00:00:00Z",
    "tasks": [
        {"namespace": "ns", "name": "job", "partitioning": {"kind": "static", "keys": [f"k{n}" for n in range(999)]}}
    ],
}


@pytest.fixture
def settings() -> Iterator[Settings]:
    home = Path(tempfile.mkdtemp(prefix="dataforge-kills-"))
    made = load(
        {"DATAFORGE_HOME": str(home), "DATAFORGE_EXAMPLE": "0", "DATAFORGE_DAGSTER": "0"}, home / "dataforge.toml"
    )
    wanted = replace(made, port=free_port())
    yield wanted
    processes.down(wanted)
    shutil.rmtree(home)


@dataclass
class Account:
    """What the clients know: every event by its id, whether it was acknowledged, and who was granted what."""

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    granted: Counter[str] = field(default_factory=Counter)
    refusals: int = 0
    failures: int = 0
    lock: Lock = field(default_factory=Lock)
    numbers: Iterator[int] = field(default_factory=count)

    def batch(self, random: Random) -> list[dict[str, Any]]:
        """Some new events, each at a moment of its own."""
        with self.lock:
            numbers = [next(self.numbers) for _ in range(random.randint(1, 20))]
            made = {f"sent-{number}": _event(number, random) for number in numbers}
            self.sent |= made
        return list(made.values())

    def open(self) -> list[dict[str, Any]]:
        """What was sent and never acknowledged."""
        return [event for name, event in self.sent.items() if name not in self.acknowledged]


def _event(number: int, random: Random) -> dict[str, Any]:
    task, day = f"task{random.randrange(6)}", f"2026-11-{random.randint(1, 9):02}"
    event = {
        "id": f"sent-{number}",
        "time": (BEGIN + timedelta(seconds=number // 7, microseconds=number)).isoformat(),
        "task": {"namespace": "ns", "name": task},
        "run": f"r{random.randrange(40)}",
        "attempt": random.randint(1, 2),
        "partition": day,
        "state": random.choice(["running", "succeeded", "succeeded", "failed", "up_for_retry", "skipped"]),
    }
    return event | ({"outputs": [{"namespace": "lake", "name": task.replace("task", "d")}]} if number % 2 else {})


class Clients:
    """Senders and claimers of one round, each with a connection of its own."""

    def __init__(self, url: str, account: Account, number: int) -> None:
        self.url, self.account, self.number, self.stop = url, account, number, Event()
        self.threads = [Thread(target=self._send, args=[Random(f"{number}/{n}")], daemon=True) for n in range(SENDERS)]
        self.threads += [Thread(target=self._claim, args=[n], daemon=True) for n in range(WORKERS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _send(self, random: Random) -> None:
        with httpx.Client(base_url=self.url, timeout=10) as client:
            while not self.stop.is_set():
                batch = self.account.batch(random)
                if _taken(client, batch):
                    with self.account.lock:
                        self.account.acknowledged |= {event["id"] for event in batch}
                else:
                    with self.account.lock:
                        self.account.failures += 1
                    self.stop.wait(0.2)
                self.stop.wait(random.uniform(0, 0.05))

    def _claim(self, worker: int) -> None:
        """All workers want the same partitions; one whose answer is lost asks again under the same id."""
        with httpx.Client(base_url=self.url, timeout=10) as client:
            for place in range(4):
                body = {
                    "task": "job",
                    "partition": f"k{self.number * 4 + place}",
                    "worker": f"w{worker}",
                    "lease_seconds": 86_400,
                }
                body["claim"] = str(uuid4())
                deadline = time.monotonic() + PATIENCE
                while (status := _claimed(client, body)) not in (201, 409):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                with self.account.lock:
                    self.account.granted[str(body["partition"])] += status == 201
                    self.account.refusals += status == 409
                self.stop.wait(0.3)


def _taken(client: httpx.Client, batch: list[dict[str, Any]]) -> bool:
    try:
        return client.post("/api/v1/dev/events", json=batch).status_code == 200
    except httpx.HTTPError:
        return False


def _claimed(client: httpx.Client, body: dict[str, Any]) -> int:
    try:
        return client.post("/api/v1/dev/claims", json=body).status_code
    except httpx.HTTPError:
        return 0


def _kill(settings: Settings, name: str) -> None:
    """Until it is gone and the supervisor knows: else all seems to be up for as long as it takes to die."""
    (pid,) = [state.pid for state in processes.status(settings) if state.name == name]
    assert pid is not None
    process = psutil.Process(pid)
    os.kill(pid, KILLS[name])
    process.wait(PATIENCE)


def _wait_until_up(settings: Settings) -> None:
    """Until the API answers and every process runs again, none given up by the supervisor."""
    deadline = time.monotonic() + PATIENCE
    while (trouble := health.trouble(settings)) is not None or not _all_run(settings):
        assert time.monotonic() < deadline, (trouble, processes.status(settings))
        time.sleep(0.1)


def _all_run(settings: Settings) -> bool:
    return {state.state for state in processes.status(settings)} == {"RUNNING"}


def _recorded(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return [json.loads(event.body) for page in event_log.read_all(connection, 1) for event in page]


def test_whatever_is_killed_under_load_nothing_is_lost_and_nothing_is_there_twice(settings: Settings) -> None:
    processes.up(settings, lambda _url, _environment: None)
    url, account, random, killed = f"http://127.0.0.1:{settings.port}", Account(), Random(5), Counter[str]()
    httpx.put(f"{url}/api/v1/dev/definitions/kills", json=MANIFEST, timeout=60).raise_for_status()
    for number in range(ROUNDS):
        clients = Clients(url, account, number)
        clients.start()
        time.sleep(random.uniform(0.1, 1.5))
        name = random.choice(list(KILLS))
        killed[name] += 1
        _kill(settings, name)
        _wait_until_up(settings)
        clients.join()
        _examine(settings, account)
        with httpx.Client(base_url=url, timeout=60) as client:
            again = account.open()
            assert not again or _taken(client, again)
            account.acknowledged |= {event["id"] for event in again}
        _examine(settings, account)
        print(f"round {number + 1}: {name}, {len(account.sent)} events", flush=True)  # noqa: T201 - how far it is
    said = (
        f"{len(account.sent)} events, {account.failures} batches unanswered, {account.granted.total()} claims granted"
    )
    print(f"{ROUNDS} rounds, killed {dict(killed)}: {said}, {account.refusals} refused")  # noqa: T201 - the figures
    _compare(settings, account)


def _examine(settings: Settings, account: Account) -> None:
    """Every acknowledged event is recorded, none twice, and nothing that nobody sent."""
    database = Database(database_url(settings), max_size=1)
    try:
        found = Counter(event["id"] for event in _recorded(database) if event["id"].startswith("sent-"))
        with database.transaction() as connection:
            leases = connection.execute("select partition, count(*) from lease group by 1").fetchall()
    finally:
        database.close()
    assert account.acknowledged <= found.keys() <= account.sent.keys()
    assert set(found.values()) <= {1}
    assert dict(account.granted) == dict(leases)
    assert set(account.granted.values()) <= {1}


def _compare(settings: Settings, account: Account) -> None:
    """The state is that of a ledger that was told everything once and in order, and that of the plain twin."""
    lived = Database(database_url(settings), max_size=2)
    try:
        claimed = [event for event in _recorded(lived) if not event["id"].startswith("sent-")]
        everything = sorted([*account.sent.values(), *claimed], key=lambda event: datetime.fromisoformat(event["time"]))
        assert verify(lived, "dev").found.agrees
        with scratch_database() as fresh:
            declare(fresh, "dev", definition.parse(MANIFEST))
            assert record_native(fresh, "dev", list(everything), NOTHING).applied == len(everything)
            assert digest(fresh, "dev") == digest(lived, "dev")
        twin = states_of(claims_by_place(claim for run in runs_of(everything).values() for claim in claims_of(run)))
        assert believed(lived, "dev") == states(twin)
    finally:
        lived.close()
