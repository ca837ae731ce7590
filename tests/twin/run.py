"""The twin of runs: from events to attempts, and to what each run comes to.

Within a run precedence is attempt, evidence, rank of state, time (docs/decisions/0001). An event is a native one, as it
is sent: all of them are reported. What rests on more or less than that is in `spark`, and in what people mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

Event = dict[str, Any]
RunName = tuple[str, str]  # task, run

RANKS = (
    "unknown",
    "queued",
    "running",
    "up_for_retry",
    "succeeded",
    "skipped",
    "canceled",
    "upstream_failed",
    "failed",
)
TOLD = RANKS[1:]  # by events of a run
FINAL = RANKS[4:]
EVIDENCE = ("inferred", "reported", "confirmed", "operator")
STATUS = {
    "succeeded": "ready",
    "skipped": "skipped",
    "unknown": "running",
    "queued": "running",
    "running": "running",
    "up_for_retry": "running",
}


class Output(NamedTuple):
    """What an attempt says that it wrote of one dataset."""

    partition: str
    version: str | None
    rows: int | None


class Try(NamedTuple):
    """All that the events of one attempt say."""

    number: int
    partition: str
    state: str
    began: datetime | None
    ended: datetime | None
    outputs: dict[tuple[str, str], Output]  # by dataset and partition
    inputs: dict[tuple[str, str], tuple[datetime, str | None]]  # when it was first read, and at which version
    instances: int | None
    events: Sequence[Event] = ()
    evidence: str = "reported"
    external: str = ""  # of an application, what its jobs call it
    above: RunName | None = None  # of an application, the run that started it

    @property
    def status(self) -> str:
        return STATUS.get(self.state, "failed")


class Mark(NamedTuple):
    """What a person says of a run as a whole: it succeeded, failed, was skipped, or is queued again (cleared)."""

    at: datetime
    state: str
    partition: str


class Run(NamedTuple):
    """One execution; the instances of a mapped task are runs that share a group."""

    task: str
    name: str
    group: str
    tries: list[Try]  # one at least: of a run that only a person has told of, what was said
    mark: Mark | None = None  # the latest
    by: RunName | None = None  # of a Spark job its application, whose doing it is
    started: RunName | None = None  # what started that; the application itself, where that told nothing
    is_job: bool = False  # of Spark: it has no partition of its own

    @property
    def last(self) -> Try:
        return self.tries[-1]

    @property
    def makers(self) -> tuple[str, ...]:
        """The tasks that it answers for: its own, the application that it is a job of, and what started that."""
        return (self.task, *(above[0] for above in (self.by, self.started) if above is not None))

    @property
    def marked(self) -> Mark | None:
        """The mark, as long as it stands: until an attempt has begun after it."""
        begins = [each.began or each.ended for each in self.tries]
        late = self.mark is not None and any(each is not None and each > self.mark.at for each in begins)
        return None if late else self.mark

    @property
    def told(self) -> int | None:
        """How many instances there are: as the last attempt says, else as any does."""
        said = [each.instances for each in self.tries if each.instances is not None]
        return self.last.instances if self.last.instances is not None else max(said, default=None)


def precedes(said: tuple[str, str]) -> tuple[int, int]:
    """Of two statements about one attempt, each a state with its evidence, the greater is believed."""
    return EVIDENCE.index(said[1]), RANKS.index(said[0])


def never_short(_task: str, _events: Sequence[Event]) -> bool:
    """Of runs without shards."""
    return False


def runs_of(
    events: Iterable[Event], marks: Iterable[Event] = (), is_short: Callable[[str, Sequence[Event]], bool] = never_short
) -> dict[RunName, Run]:
    """Every run that events and people speak of, with its attempts in order. `is_short` says of a task and of all
    events of a run whether too much of it is undone for a success."""
    by_try: dict[tuple[str, str, int], list[Event]] = {}
    by_run: dict[RunName, list[Event]] = {}
    groups: dict[RunName, str] = {}
    for event in events:
        group = event.get("run") or event.get("partition") or "default"
        name = group if "map_index" not in event else f"{group}[{event['map_index']}]"
        groups[event["task"]["name"], name] = group
        by_try.setdefault((event["task"]["name"], name, event.get("attempt", 1)), []).append(event)
        by_run.setdefault((event["task"]["name"], name), []).append(event)
    found: dict[RunName, Run] = {}
    for task, name, number in sorted(by_try):
        run = found.setdefault((task, name), Run(task, name, groups[task, name], []))
        each = _try(number, by_try[task, name, number])
        fallen = each.state == "succeeded" and is_short(task, by_run[task, name])
        run.tries.append(each._replace(state="failed") if fallen else each)
    for said in sorted(marks, key=_at):
        task, name = said["task"]["name"], said.get("run") or said.get("partition") or "default"
        mark = Mark(_at(said), said.get("state", "queued"), said.get("partition") or "")
        known = found.get((task, name))
        alone = known is None or not known.tries[0].number
        found[task, name] = Run(task, name, name, [_alone(mark)] if alone or known is None else known.tries, mark)
    return found


def _alone(mark: Mark) -> Try:
    """A run that only a person has told of."""
    ended = mark.at if mark.state in FINAL else None
    return Try(0, mark.partition, mark.state, None, ended, {}, {}, None)


def _try(number: int, events: Sequence[Event]) -> Try:
    state = max((event["state"] for event in events), key=RANKS.index)
    starts = [_at(event) for event in events if event["state"] == "running"]
    ends = [_at(event) for event in events if event["state"] == (state if state in FINAL else "up_for_retry")]
    return Try(
        number=number,
        partition=max(event.get("partition") or "" for event in events),
        state=state,
        began=min(starts, default=None),
        ended=max(ends, default=None),
        outputs=_outputs(events),
        inputs=_inputs(events),
        instances=max((event["instances"] for event in events if "instances" in event), default=None),
        events=events,
    )


def _at(event: Event) -> datetime:
    return datetime.fromisoformat(event["time"])


def _outputs(events: Sequence[Event]) -> dict[tuple[str, str], Output]:
    """Of an output the version that was said last counts, and the greatest number of rows."""
    said: dict[tuple[str, str], list[tuple[Event, dict[str, Any]]]] = {}
    for event in events:
        for each in event.get("outputs", ()):
            said.setdefault((each["name"], each.get("partition") or ""), []).append((event, each))
    return {
        place: Output(
            place[1],
            max(((_at(event), each["version"]) for event, each in group if "version" in each), default=(None, None))[1],
            max((each["rows"] for _, each in group if "rows" in each), default=None),
        )
        for place, group in said.items()
    }


def _inputs(events: Sequence[Event]) -> dict[tuple[str, str], tuple[datetime, str | None]]:
    """Of an input the version counts that the run began with."""
    said: dict[tuple[str, str], list[tuple[datetime, str | None]]] = {}
    for event in events:
        for each in event.get("inputs", ()):
            place = (each["name"], each.get("partition") or "")
            said.setdefault(place, []).append((_at(event), each.get("version")))
    return {
        place: (
            min(at for at, _ in group),
            min(((at, version) for at, version in group if version is not None), default=(None, None))[1],
        )
        for place, group in said.items()
    }
