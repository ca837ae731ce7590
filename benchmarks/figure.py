"""A measured figure, as one JSON line beside the floor it is compared with."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

RESULTS = Path(__file__).parent / "results"


class Figure(msgspec.Struct, frozen=True):
    """One line of a results file. Times in milliseconds, sizes in bytes, rates in events a second, cost in
    microseconds of processor time an event."""

    figure: str
    value: float
    unit: str
    floor: str  # what `ratio` compares with; '' where it stands alone
    ratio: float | None
    factor: float  # the size of the world measured in, 1 being 120,000 tasks
    cores: int
    postgres: str
    commit: str
    at: str
    p50: float | None = None
    p99: float | None = None
    max: float | None = None
    load: float | None = None  # of the machine in the minute before


class Bench:
    """Where a run of benchmarks writes its figures: to the terminal and to results/."""

    def __init__(self, topic: str, postgres: str) -> None:
        self._path = RESULTS / f"{topic}.jsonl"
        self._postgres = postgres

    def rate(
        self, figure: str, value: float, floor: str = "", ratio: float | None = None, factor: float = 0.001
    ) -> None:
        """A rate in events a second, and its ratio to the floor's."""
        self._write(figure, value, "events/s", floor, ratio, factor)

    def cost(self, figure: str, seconds: float, factor: float = 0.001) -> None:
        """Processor time an event, in microseconds: it moves less than a rate does where others use the machine."""
        self._write(figure, 1e6 * seconds, "us/event", "", None, factor)

    def size(
        self, figure: str, value: float, floor: str = "", ratio: float | None = None, factor: float = 0.001
    ) -> None:
        """A size in bytes."""
        self._write(figure, value, "bytes", floor, ratio, factor)

    def times(
        self, figure: str, seconds: Sequence[float], floor: str = "", ratio: float | None = None, factor: float = 0.001
    ) -> None:
        """Durations as their P95 in milliseconds, with P50, P99 and the maximum."""
        self._write(figure, 1_000 * percentile(seconds, 95), "ms", floor, ratio, factor, seconds)

    def _write(
        self,
        figure: str,
        value: float,
        unit: str,
        floor: str,
        ratio: float | None,
        factor: float,
        seconds: Sequence[float] = (),
    ) -> None:
        spread = {name: round(1_000 * percentile(seconds, at), 3) for name, at in _SPREAD.items()} if seconds else {}
        line = Figure(
            figure=figure,
            value=round(value, 3),
            unit=unit,
            floor=floor,
            ratio=round(ratio, 4) if ratio is not None else None,
            factor=factor,
            cores=os.cpu_count() or 0,
            postgres=self._postgres,
            commit=commit(),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            load=round(os.getloadavg()[0], 1),
            **spread,
        )
        RESULTS.mkdir(exist_ok=True)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        beside = f"   {line.ratio} of {floor}" if floor else ""
        tail = f"   p50 {line.p50}  p99 {line.p99}  max {line.max}" if seconds else ""
        sys.stdout.write(f"{figure:<26} {line.value:>12,.2f} {unit:<9}{beside}{tail}\n")
        sys.stdout.flush()


_SPREAD = {"p50": 50, "p99": 99, "max": 100}


def percentile(values: Sequence[float], at: float) -> float:
    """The value that `at` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(at) // 100) - 1))]


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def commit() -> str:
    """What is measured."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the developer's own git
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()
