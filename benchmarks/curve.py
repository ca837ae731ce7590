"""Recording on top of days of history, for half an hour and with autovacuum running: whether it slows down meanwhile.

The world's own events, hour after hour, in batches of 500, while somebody asks for verdicts over HTTP five times a
second. What it takes to draw the events is not counted; the history is held against the world's truth before anything
is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from random import Random

import httpx
import numpy as np

from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.processor import Spent, spent
from benchmarks.scratch import scratch_database
from benchmarks.served import served
from benchmarks.size import total
from benchmarks.world import World
from benchmarks.world.event import native, said
from benchmarks.world.graph import NAMESPACE
from benchmarks.world.hours import statements
from benchmarks.world.truth import truth, wrong
from dataforge.ingest.batch import record_native
from dataforge.ingest.garbage import collect_less
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.storage.database import Database

DAYS = 3  # of history
MINUTES = 30  # of recording
STEP = 5  # minutes that make one figure
_BATCH, _AT_ONCE = 500, 20_000  # events
_ASKED = 2_000  # partitions that are asked about
_PAUSE = 0.2  # seconds between two questions
_YEAR = 24 * 365  # hours: more than is recorded in the time
_Part = tuple[Spent, int]  # what it took, and how many events


def main(factor: float) -> None:
    """Measures each five minutes, and the last beside the first."""
    collect_less()
    world = World(factor)
    with scratch_database({}) as database:
        bench = Bench("curve", server_version(database))
        _declared(database, world)
        _history(database, world)
        begun = total(database)
        with served(database.url) as one, _asking(one.url, world) as asked:
            recorded = _recorded(database, world)
            first = 0.0
            for step in range(STEP, MINUTES + 1, STEP):
                taken, events = _step(recorded)
                rate = events / taken.clock
                first = first or rate
                bench.rate(f"curve.record.{step:02}", rate, "the first five minutes", rate / first, factor)
                bench.cost(f"curve.python.{step:02}", taken.python / events, factor)
                bench.cost(f"curve.postgres.{step:02}", taken.postgres / events, factor)
                bench.times(f"curve.verdict.{step:02}", asked(), factor=factor)
                bench.size(f"curve.size.{step:02}", total(database), "before", total(database) / begun, factor)


def _declared(database: Database, world: World) -> None:
    for manifest in world.manifests():
        if manifest["tasks"]:
            declare(database, "dev", definition.parse(manifest), now=datetime(2026, 5, 31, tzinfo=UTC))


def _history(database: Database, world: World) -> None:
    hours = range(24 * DAYS)
    events = _events(world, hours)
    while batch := list(islice(events, _BATCH)):
        assert not record_native(database, "dev", batch, NOTHING).rejected, "the world says what is refused"
    with database.transaction() as connection:
        found = wrong(connection, "dev", truth(world, hours))
    assert not found, f"the ledger believes otherwise: {found[0]}"


def _events(world: World, hours: range) -> Iterator[bytes]:
    return (native(each) for some in statements(world, hours) for each in said(world, some))


def _recorded(database: Database, world: World) -> Iterator[_Part]:
    """Records what comes after the history, part by part."""
    events = _events(world, range(24 * DAYS, _YEAR))
    while drawn := list(islice(events, _AT_ONCE)):
        yield spent(database, partial(_record, database, drawn)), len(drawn)


def _record(database: Database, events: Sequence[bytes]) -> None:
    for begin in range(0, len(events), _BATCH):
        record_native(database, "dev", events[begin : begin + _BATCH], NOTHING)


def _step(recorded: Iterator[_Part]) -> _Part:
    taken, events = Spent(0.0, 0.0, 0.0), 0
    while taken.clock < 60 * STEP:
        more, number = next(recorded)
        taken, events = Spent(*map(sum, zip(taken, more, strict=True))), events + number
    return taken, events


@contextmanager
def _asking(url: str, world: World) -> Iterator[Callable[[], list[float]]]:
    """Asks whether partitions may run, one after the other, in a process of its own; gives what the answers took since
    it was asked last, in seconds."""
    context = get_context("spawn")
    waits: SimpleQueue[float] = context.SimpleQueue()
    asker = context.Process(target=_ask, args=(url, _some(world), waits), daemon=True)
    asker.start()
    try:
        yield lambda: list(_drained(waits))
    finally:
        asker.terminate()
        asker.join()


def _some(world: World) -> list[dict[str, str]]:
    """Some of what ran on the second day, as often as it ran: most of it every five minutes, and a daily task, which
    needs some two thousand partitions, once."""
    random = np.random.default_rng(5)
    day = (each for hour in range(24, 48) for each in statements(world, range(hour, hour + 1)))
    taken = (each.of(random.random(len(each.at)) < _ASKED / _a_day(world)) for each in day)
    said_then = (one for each in taken for one in said(world, each))
    return [{"name": one.task, "namespace": NAMESPACE, "partition": one.partition} for one in said_then]


def _a_day(world: World) -> float:
    """About how many statements there are of a day's runs."""
    return 250 * world.size


def _drained(waits: SimpleQueue[float]) -> Iterator[float]:
    while not waits.empty():
        yield waits.get()


def _ask(url: str, named: Sequence[dict[str, str]], waits: SimpleQueue[float]) -> None:
    random = Random(5)
    with httpx.Client(base_url=url, timeout=60) as client:
        while True:
            time.sleep(_PAUSE)
            waits.put(timed(partial(_answered, client, random.choice(named))))


def _answered(client: httpx.Client, named: dict[str, str]) -> None:
    client.get("/dev/readiness", params=named).raise_for_status()
