"""Lists for people: one line an item, times short and in UTC, colour on a terminal only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_WIDE = 10_000  # of a line: nothing is cut, and a terminal that is too narrow wraps it
_STYLES = {
    "failed": "red",
    "upstream_failed": "red",
    "quarantined": "red",
    "up_for_retry": "yellow",
    "stale": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "ready": "green",
}


def show(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints the rows to standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=True)
    for row in rows:
        cells = [printable(value) for value in row]
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells))
    Console(width=_WIDE).print(table)


def printable(value: object) -> str:
    """A value as text. What a platform calls its runs may hold anything, also what would steer a terminal."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def moment(at: datetime | None) -> str | None:
    """A time to the second, in UTC."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def duration(start: datetime | None, end: datetime | None) -> str | None:
    """How long something took, in its two largest units."""
    return None if start is None or end is None else span((end - start).total_seconds())


def span(taken: float | None) -> str | None:
    """So many seconds in their two largest units."""
    if taken is None:
        return None
    seconds = max(0, round(taken))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m {seconds % 60:02}s"
    return f"{seconds // 3_600}h {seconds % 3_600 // 60:02}m"


def several(values: Sequence[str]) -> str | None:
    """The first of several values, and how many more there are."""
    if len(values) < 2:
        return values[0] if values else None
    return f"{values[0]} +{len(values) - 1}"
