"""What happens in each hour of a world: runs with their attempts, and when each statement about them arrives.

Of the runs of an hour all that follows is drawn at once, so that how a partition really stands needs no look at other
hours: a partition belongs to the hour in which its window ended.
"""

from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.world.graph import CLIENTS, Cadence, Ints, World

SECOND = 1_000_000  # all times are microseconds since the world's first day began
HOUR = 3_600 * SECOND
NO_CLIENT = -1
# How often a run is tried again, fails, is skipped; a failed one is mended by a new run, a good one run anew.
RETRIED, FAILED, SKIPPED, MENDED, RERUN = 0.03, 0.02, 0.01, 0.5, 0.003
REPEATED, LATE = 0.02, 0.01  # of statements: said twice, or up to six hours late
LATE_DATA = 0.05  # of a stream's hours
LATENESS = 600 * SECOND  # that streams declare

RUNNING, UP_FOR_RETRY, SUCCEEDED, FAILED_STATE, SKIPPED_STATE, PASSED, CAME_LATE = range(7)
STATES = ("running", "up_for_retry", "succeeded", "failed", "skipped", "running", "running")


class Runs(NamedTuple):
    """Runs, column by column; `again` are those that somebody started anew."""

    task: Ints
    window: Ints  # when it begins
    client: Ints
    again: NDArray[np.bool_]
    began: Ints
    retried: NDArray[np.bool_]
    ended: Ints
    state: Ints  # the last

    def of(self, chosen: NDArray[np.bool_] | Ints) -> "Runs":
        return Runs._make(column[chosen] for column in self)


class Statements(NamedTuple):
    """What is said of runs, one statement a row."""

    run: Runs
    at: Ints
    arrives: Ints
    attempt: Ints
    state: Ints

    def of(self, chosen: NDArray[np.bool_] | Ints) -> "Statements":
        return Statements(self.run.of(chosen), *(column[chosen] for column in self[1:]))

    def and_those(self, other: "Statements") -> "Statements":
        """These statements and the others."""
        run = Runs._make(np.concatenate(pair) for pair in zip(self.run, other.run, strict=True))
        return Statements(run, *(np.concatenate(pair) for pair in zip(self[1:], other[1:], strict=True)))


def runs(world: World, hour: int) -> Runs:
    """The runs for all windows that end with this hour, in the order of their tasks; `hour` 0 is the first."""
    random = np.random.default_rng([world.seed, 1, hour])
    task, window, client = _due(world, hour)
    size = len(task)
    began = (hour + 1) * HOUR + world.layer[task] * 300 * SECOND + random.integers(0, 300 * SECOND, size)
    took = np.minimum(random.lognormal(3.5, 1.2, size), 10_000) * SECOND  # half of them in half a minute
    retried, outcome = random.random(size) < RETRIED, random.random(size)
    state = np.where(outcome < FAILED, FAILED_STATE, np.where(outcome < FAILED + SKIPPED, SKIPPED_STATE, SUCCEEDED))
    retried &= state != SKIPPED_STATE
    ended = began + took.astype(np.int64) * np.where(retried, 3, 1) + SECOND
    first = Runs(task, window, client, np.zeros(size, bool), began, retried, ended, state)
    drawn = random.random(size)
    old = first.of(((state == FAILED_STATE) & (drawn < MENDED)) | ((state == SUCCEEDED) & (drawn < RERUN)))
    begun = old.ended + random.integers(600, 7_200, len(old.task)) * SECOND
    again = old._replace(
        again=~old.again,
        began=begun,
        retried=old.again,
        ended=begun + 60 * SECOND,
        state=np.full(len(old.task), SUCCEEDED),
    )
    return Runs._make(np.concatenate(pair) for pair in zip(first, again, strict=True))


class Hours(NamedTuple):
    """Hours of streams, column by column: when the watermark passed each, and when late data came (0: none did)."""

    task: Ints
    window: Ints
    passed: Ints
    late: Ints


def streamed(world: World, hour: int) -> Hours:
    """What each stream made of one hour."""
    random = np.random.default_rng([world.seed, 3, hour])
    task = np.flatnonzero(world.cadence == Cadence.STREAM)
    size = len(task)
    passed = (hour + 1) * HOUR + LATENESS + random.integers(1, 300, size) * SECOND
    late = np.where(random.random(size) < LATE_DATA, passed + random.integers(60, 10_000, size) * SECOND, 0)
    return Hours(task, np.full(size, hour * HOUR), passed, late)


def _due(world: World, hour: int) -> tuple[Ints, Ints, Ints]:
    """The partitions whose windows end within this hour: tasks, when the windows begin, clients."""
    parts = [
        _windows(world, Cadence.HOURLY, [hour * HOUR]),
        _windows(world, Cadence.FIVE_MINUTES, [hour * HOUR + step * HOUR // 12 for step in range(12)]),
        _windows(world, Cadence.BY_CLIENT_HOURLY, [hour * HOUR], clients=True),
    ]
    if hour % 24 == 23:
        day = (hour - 23) * HOUR
        parts += [_windows(world, Cadence.DAILY, [day]), _windows(world, Cadence.BY_CLIENT, [day], clients=True)]
    task, window, client = (np.concatenate(column) for column in zip(*parts, strict=True))
    return task, window, client


def _windows(world: World, cadence: Cadence, windows: list[int], *, clients: bool = False) -> tuple[Ints, Ints, Ints]:
    each = np.arange(CLIENTS) if clients else np.array([NO_CLIENT])
    tasks = np.flatnonzero(world.cadence == cadence)
    grid = np.meshgrid(tasks, np.array(windows, np.int64), each, indexing="ij")
    task, window, client = (column.ravel().astype(np.int64) for column in grid)
    return task, window, client


def _said(run: Runs, hours: Hours, random: np.random.Generator) -> Statements:
    """All that is said of runs and streams: each begin and end, some late, some twice."""
    retried, third = run.of(run.retried), (run.ended - run.began) // 3
    between = third[run.retried]
    parts = [
        _stated(run, run.began, 1, np.full(len(run.task), RUNNING)),
        _stated(retried, retried.began + between, 1, np.full(len(between), UP_FOR_RETRY)),
        _stated(retried, retried.began + 2 * between, 2, np.full(len(between), RUNNING)),
        _stated(run, run.ended, 1, run.state),
    ]
    parts[3] = parts[3]._replace(attempt=np.where(run.retried, 2, 1))
    said = reduce(Statements.and_those, [*parts, _told(hours)])
    size = len(said.at)
    delay = random.exponential(2, size) * SECOND + np.where(
        random.random(size) < LATE, random.random(size) * 6 * HOUR, 0
    )
    said = said._replace(arrives=said.at + delay.astype(np.int64))
    twice = said.of(random.random(size) < REPEATED)
    return said.and_those(twice._replace(arrives=twice.arrives + random.integers(0, HOUR, len(twice.at))))


def _told(hours: Hours) -> Statements:
    """What streams say of an hour: that their watermark has passed it, and of late data."""
    behind = Hours._make(column[hours.late > 0] for column in hours)
    return _of_streams(hours, hours.passed, PASSED).and_those(_of_streams(behind, behind.late, CAME_LATE))


def _of_streams(hours: Hours, at: Ints, state: int) -> Statements:
    size = len(hours.task)
    none, never = np.zeros(size, np.int64), np.zeros(size, bool)
    run = Runs(hours.task, hours.window, none + NO_CLIENT, never, at, never, at, none + state)
    return _stated(run, at, 1, run.state)


def _stated(run: Runs, at: Ints, attempt: int, state: Ints) -> Statements:
    return Statements(run, at, at, np.full(len(at), attempt), state)


def statements(world: World, hours: range) -> Iterator[Statements]:
    """What arrives in each hour, in the order in which it does; with the last hour all that is left."""
    waiting: Statements | None = None
    for hour in hours:
        said = _said(runs(world, hour), streamed(world, hour), np.random.default_rng([world.seed, 2, hour]))
        waiting = said if waiting is None else waiting.and_those(said)
        now = waiting.arrives < (hour + 2) * HOUR if hour != hours[-1] else np.ones(len(waiting.at), bool)
        arrived = waiting.of(now)
        yield arrived.of(np.argsort(arrived.arrives, kind="stable"))
        waiting = waiting.of(~now)
