"""`make bench` and `make bench-full`: every group of measurements, or those named.

`--full` measures at a hundredth, a tenth and the whole of the size to hold, and goes on where it was stopped: what was
measured of this commit is not measured again.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from benchmarks import (
    answers,
    backfill,
    curve,
    dispatch,
    graph,
    hands,
    ingest,
    location,
    manifest,
    mirror,
    report,
    shards,
    size,
    start,
    window,
)
from benchmarks.figure import RESULTS, commit

SCALED: dict[str, Callable[[float], None]] = {"answers": answers.main, "dispatch": dispatch.main, "graph": graph.main}
LONG: dict[str, Callable[[float], None]] = {"curve": curve.main}  # takes an hour, so only where it is named
OTHERS: dict[str, Callable[[], None]] = {
    "ingest": ingest.main,
    "backfill": backfill.main,
    "hands": hands.main,
    "location": location.main,
    "manifest": manifest.main,
    "mirror": mirror.main,
    "shards": shards.main,
    "size": size.main,
    "start": start.main,
    "window": window.main,
}
FACTOR, FACTORS = 0.02, (0.01, 0.1, 1.0)
_DONE = RESULTS / "full.jsonl"  # the parts of `--full` that have come to their end


class Part(msgspec.Struct, frozen=True):
    """A group, measured at a size where it has one."""

    group: str
    factor: float | None

    def measure(self) -> None:
        """Runs it."""
        if self.factor is None:
            OTHERS[self.group]()
        else:
            (SCALED | LONG)[self.group](self.factor)


class _Done(msgspec.Struct, frozen=True):
    part: Part
    commit: str
    at: str


def main() -> int:
    """Runs the named groups; all of them where none is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join((*SCALED, *OTHERS, *LONG))}")
    parser.add_argument("--factor", type=float, default=FACTOR, help="the size, 1 being 120,000 tasks")
    parser.add_argument("--full", action="store_true", help="at three sizes, going on where it was stopped")
    asked = parser.parse_args()
    if unknown := set(asked.groups) - {*SCALED, *OTHERS, *LONG}:
        parser.error(f"no group is named {min(unknown)}: choose of {', '.join((*SCALED, *OTHERS, *LONG))}")
    for part in _parts(asked.groups or [*SCALED, *OTHERS], FACTORS if asked.full else (asked.factor,)):
        if asked.full and _is_done(part):
            print(f"{part.group} at {part.factor or 'its size'} is measured already")
            continue
        part.measure()
        report.main()
        if asked.full:
            _note(part)
    return 0


def _parts(groups: list[str], factors: tuple[float, ...]) -> list[Part]:
    scaled = [Part(group, factor) for factor in factors for group in groups if group in SCALED | LONG]
    return [*(Part(group, None) for group in groups if group in OTHERS), *scaled]


def _is_done(part: Part) -> bool:
    lines = _DONE.read_bytes().splitlines() if _DONE.exists() else []
    done = (msgspec.json.decode(line, type=_Done) for line in lines)
    return any((each.part, each.commit) == (part, commit()) for each in done)


def _note(part: Part) -> None:
    RESULTS.mkdir(exist_ok=True)
    with _DONE.open("ab") as file:
        file.write(msgspec.json.encode(_Done(part, commit(), datetime.now(UTC).isoformat())) + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
