"""The twin of conditions on what was reported, by docs/conditions.md: rows, and how quality checks came out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from tests.twin.claim import Claim, Place, claims_of
from tests.twin.ledger import View
from tests.twin.question import Definition

_SEVERITIES = ("none", "warn", "error")
_HOLDS = {"=": int.__eq__, "<": int.__lt__, ">": int.__gt__}


class Outcome(NamedTuple):
    """How a check came out, as an event says."""

    at: datetime
    severity: str  # none where it succeeded

    @property
    def worse(self) -> int:
        return _SEVERITIES.index(self.severity)


def short_of(view: View, where: Definition, place: Place) -> bool | None:
    """None where a dataset's partition has reported what is asked; else whether that may come: a check that nobody has
    made yet does, anything else that its run did not report never."""
    truth = _truth(view, where, place)
    if truth is True:
        return None
    unknown = [each for each in _comparisons(where) if _truth(view, each, place) is None]
    return truth is None and all(each["field"].startswith("check.") for each in unknown)


def _comparisons(where: Definition) -> Iterator[Definition]:
    if "field" in where:
        yield where
    for part in [where["not"]] if "not" in where else [*where.get("all", ()), *where.get("any", ())]:
        yield from _comparisons(part)


def _truth(view: View, where: Definition, place: Place) -> bool | None:
    """A comparison, or all, any, or not of some; of what was never reported nobody can say."""
    if "not" in where:
        inner = _truth(view, where["not"], place)
        return None if inner is None else not inner
    if "field" not in where:
        decisive = "any" in where
        parts = [_truth(view, each, place) for each in where["any" if decisive else "all"]]
        return decisive if decisive in parts else None if None in parts else not decisive
    told, wanted = _told(view, where["field"], place), where["value"]
    if where["field"].endswith(".severity"):
        wanted = _SEVERITIES.index(wanted)
    return None if told is None else bool(_HOLDS[where["op"]](told, wanted))


def _told(view: View, field: str, place: Place) -> int | None:
    """What a partition's last success reported, its mapped instances together; of a check what others that read the
    partition said since, if any did. A success is 1 or 0, a severity its place among them."""
    made = view.states[place].made
    if made is None:
        return None
    group = list(_behind(view, place, made))
    if field == "rows":
        counts = [claim.rows for claim in group]
        return sum(each for each in counts if each is not None) if counts and None not in counts else None
    _, name, what = field.split(".")
    since = [claim.since for claim in group if claim.since is not None]
    later = [each for each in _looked(view, name, place) if not since or each.at >= max(since)]
    own = [outcome for claim in group for outcome in _own(view, name, claim)]
    outcome = max(later, default=None) or max(own, key=lambda each: each.worse, default=None)
    if outcome is None:
        return None
    return outcome.worse if what == "severity" else int(outcome.severity == "none")


def _behind(view: View, place: Place, made: Claim) -> Iterator[Claim]:
    """The claims of the instances behind a success."""
    for run in view.runs.values():
        for claim in claims_of(run, view.leads):
            same = (claim.task, claim.group, claim.place[0], claim.place[2]) == (
                made.task,
                made.group,
                place[0],
                place[2],
            )
            if claim.status == "ready" and same and view.canonical(claim.place[1]) == place[1]:
                yield claim


def _own(view: View, name: str, claim: Claim) -> Iterator[Outcome]:
    """The last outcome of a check that an attempt made of what it wrote, where it named the partition or none."""
    events = next(each.events for each in view.runs[claim.task, claim.run].tries if each.number == claim.number)
    said = [(event, each) for event in events for each in event.get("outputs", ()) if each["name"] == claim.place[1]]
    named = [(event, each) for event, each in said if each.get("partition") == (claim.place[2] or None)]
    plain = [(event, each) for event, each in said if "partition" not in each]
    found = [outcome for event, each in named or plain for outcome in _outcomes(event, each, name)]
    yield from [max(found)] if found else []


def _looked(view: View, name: str, place: Place) -> Iterator[Outcome]:
    """Every outcome of a check that a run made of a partition that it read: the one it named, else its own."""
    for run in view.runs.values():
        for attempt in run.tries:
            for event in attempt.events:
                for each in event.get("inputs", ()):
                    key = each.get("partition") or attempt.partition
                    if (view.canonical(each["name"]), key) == place[1:]:
                        yield from _outcomes(event, each, name)


def _outcomes(event: dict[str, Any], said: dict[str, Any], name: str) -> Iterator[Outcome]:
    at = datetime.fromisoformat(event["time"])
    for check in said.get("checks", ()):
        if check["name"] == name:
            yield Outcome(at, "none" if check["success"] else check.get("severity", "error"))
