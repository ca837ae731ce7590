"""The twin of quarantines, by docs/quarantine.md: what failed checks and orders hold back, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

Event = dict[str, Any]
Written = tuple[str, str, int]  # by an attempt: its task, run and number


class Failing(NamedTuple):
    """That blocking checks failed, as an attempt says of a dataset that it read or wrote, under the name it used."""

    at: datetime
    listed: str  # inputs or outputs
    dataset: str
    partition: str
    version: str | None


class Refusal(NamedTuple):
    """The same of one partition, as it holds that back; of what an attempt wrote itself, by which."""

    at: datetime
    version: str | None
    own: Written | None


def failing(events: Sequence[Event]) -> tuple[Failing, ...]:
    """What the checks of one attempt refuse: of each dataset and partition the last failure."""
    found: dict[tuple[str, str, str], Failing] = {}
    for event in events:
        at = datetime.fromisoformat(event["time"])
        for listed in ("inputs", "outputs"):
            for each in event.get(listed, ()):
                if any(_blocks(check) for check in each.get("checks", ())):
                    said = Failing(at, listed, each["name"], each.get("partition") or "", each.get("version"))
                    known = found.get(said[1:4])
                    found[said[1:4]] = said if known is None or known.at < at else known
    return tuple(found.values())


def _blocks(check: Event) -> bool:
    return not check["success"] and check.get("severity", "error") == "error"


def held_since(
    made: Sequence[tuple[Written, str | None]],
    begun: datetime | None,
    orders: Iterable[tuple[datetime, bool]],
    refusals: Iterable[Refusal],
) -> datetime | None:
    """Since when data is held back, or None. `made` are the attempts that made it, each with its version, `begun` is
    when the first of them began; of the orders, each with whether it holds back or lets go, the latest counts."""
    last = max(orders, default=None)
    versions = {version for _, version in made if version is not None}
    found = [last[0]] if last is not None and last[1] and (begun is None or last[0] >= begun) else []
    for each in refusals:
        other = each.version is not None and bool(versions) and each.version not in versions
        concerned = (
            each.own in [by for by, _ in made] if each.own else not other and (begun is None or each.at >= begun)
        )
        if concerned and (last is None or last[1] or last[0] < each.at):
            found.append(each.at)
    return min(found, default=None)
