"""The page docs/benchmarks.md, written from the results: the last line of each figure and size, beside its goal.

Guarantees that nothing is left out and nothing typed by hand; what misses its goal is said as plainly as what does not.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.figure import RESULTS, Figure

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_TITLES = {
    "ingest": "Ingestion",
    "curve": "Half an hour",
    "answers": "Answers",
    "dispatch": "Claims and wake-ups",
    "backfill": "Backfills",
    "mirror": "The mirror in Dagster",
    "hands": "Hands",
    "graph": "The graph in memory",
    "manifest": "A manifest of 100,000 edges",
    "size": "Size on disk",
    "shards": "Shards",
    "window": "The window",
    "location": "Locations that declare themselves",
    "start": "The command line",
}
_HEAD = """# Measured

`make bench` measures, and writes this page from the lines that it leaves in `benchmarks/results`. Each figure is the
last that was measured, with the commit it was measured on and the load of the machine just then (1.0 is one of its
cores). PostgreSQL is beside it, with `fsync` and `synchronous_commit` on. A factor of 1 is a platform of 120,000 tasks,
2.5 million edges and 15 million runs a day. Compare ratios rather than figures: machines differ, and one differs from
itself.
"""
_LINEAR = 1.1  # n log n, from a hundredth of the size to the whole: more than it would be n to a power of 1.1
_GROWTH = """## Cost against size

By which power of the size a figure grows, where `make bench-full` measured it at several. 1 is in proportion to all
there is, 0 whatever there is; what grows faster than n log n is set in bold.

| figure | values | power |
|---|---|---|
"""


class Goal(NamedTuple):
    """What a figure should reach: at least `value`, or with `most` at most that. With `ratio` its ratio should."""

    value: float
    most: bool = False
    ratio: bool = False

    def met(self, figure: Figure) -> bool:
        """Whether the figure reaches it."""
        found = figure.ratio if self.ratio else figure.value
        return found is not None and (found <= self.value if self.most else found >= self.value)

    def said(self, unit: str) -> str:
        """It in words."""
        amount = f"{self.value:.2f} of the floor" if self.ratio else f"{self.value:,.0f} {unit}"
        return f"{'at most' if self.most else 'at least'} {amount}"


GOALS = {
    "ingest.record": Goal(0.33, ratio=True),
    "ingest.openlineage.large": Goal(2_500),
    "ingest.http.single": Goal(5_000),
    "ingest.http.batch": Goal(20_000),
    "ingest.kafka": Goal(20_000),
    "write.p95": Goal(25, most=True),
    "verdict.p95": Goal(2, most=True),
    "verdict.http.p95": Goal(10, most=True),
    "verdict.batch1000": Goal(100, most=True),
    "claim.p95": Goal(10, most=True),
    "wakeup.1": Goal(100, most=True),
    "wakeup.100": Goal(100, most=True),
    "wakeup.10000": Goal(100, most=True),
    "backfill.plan": Goal(2_000, most=True),
    "window.load": Goal(5_000, most=True),
    "window.load.memory": Goal(300_000_000, most=True),
    "window.load.checks": Goal(5_000, most=True),
    "window.load.checks.memory": Goal(300_000_000, most=True),
    "window.checks": Goal(5_000, most=True),
    "graph.load": Goal(2_000, most=True),
    "graph.memory": Goal(200_000_000, most=True),
    "graph.load.memory": Goal(200_000_000, most=True),
    "graph.closure": Goal(50, most=True),
    "graph.page": Goal(10, most=True),
    "graph.follow": Goal(20, most=True),
    "declare.task": Goal(20, most=True),
    "graph.manifest": Goal(3_000, most=True),
}


def main() -> None:
    """Writes the page."""
    DOCUMENT.write_text(render(), encoding="utf-8")


def render() -> str:
    """The page as the results give it."""
    parts = [_HEAD]
    grown: list[list[Figure]] = []
    for topic, title in _TITLES.items():
        lines = _lines(topic)
        if latest := _latest(lines):
            parts.append(f"\n## {title}\n\n{_table(latest)}")
            grown += filter(None, (_sizes(lines, each) for each in latest))
    if grown:
        parts.append(f"\n{_GROWTH}{''.join(map(_growth, grown))}")
    return "".join(parts)


def _lines(topic: str) -> list[Figure]:
    path = RESULTS / f"{topic}.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Figure) for line in lines]


def _latest(lines: list[Figure]) -> list[Figure]:
    """The last line of each figure, in the order in which they were first measured."""
    return list({figure.figure: figure for figure in lines}.values())


def _sizes(lines: list[Figure], latest: Figure) -> list[Figure]:
    """A figure at each size, of the commit that was measured last at more than one; nothing where none was."""
    found: dict[str, dict[float, Figure]] = {}
    for each in lines:
        if each.figure == latest.figure:
            found.setdefault(each.commit, {})[each.factor] = each
    several = [sizes for sizes in found.values() if len(sizes) > 1]
    return [several[-1][factor] for factor in sorted(several[-1])] if several else []


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """By which power of the size the value grows: the slope of a line through their logarithms."""
    across, up = [math.log(each) for each in sizes], [math.log(each) for each in values]
    return statistics.linear_regression(across, up).slope


def _growth(figures: list[Figure]) -> str:
    power = exponent([each.factor for each in figures], [each.value for each in figures])
    shown = f"{power:.2f}" if power <= _LINEAR else f"**{power:.2f}**"
    values = ", ".join(f"{each.value:,.1f} at {each.factor:g}" for each in figures)
    return f"| `{figures[0].figure}` | {values} {figures[0].unit} | {shown} |\n"


def _table(figures: list[Figure]) -> str:
    head = (
        "| figure | value | goal | beside it | P50, P99, maximum | factor | measured |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(f"| {' | '.join(_cells(each))} |\n" for each in figures)


def _cells(figure: Figure) -> list[str]:
    goal = GOALS.get(figure.figure)
    verdict = f"{goal.said(figure.unit)}: {'reached' if goal.met(figure) else '**missed**'}" if goal else ""
    beside = f"{figure.ratio:g} of {figure.floor}" if figure.ratio is not None else figure.floor
    spread = ", ".join(f"{each:,.1f}" for each in (figure.p50, figure.p99, figure.max) if each is not None)
    load = f", load {figure.load:.1f}" if figure.load is not None else ""
    at = f"{figure.at[:10]}, {figure.commit}{load}, {figure.cores} cores"
    postgres = f", PostgreSQL {figure.postgres}" if figure.postgres else ""
    named = f"`{figure.figure}`" + (" (P95)" if figure.unit == "ms" else "")
    return [named, f"{figure.value:,.1f} {figure.unit}", verdict, beside, spread, f"{figure.factor:g}", at + postgres]


if __name__ == "__main__":
    main()
