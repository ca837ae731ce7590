"""The twin of streams, by docs/streams.md: what follows from watermarks and late data, worked out from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.twin.claim import STREAM, Claim
from tests.twin.run import Event
from tests.twin.windows import Cut, partitions, windowed

_JUST_AFTER = timedelta(microseconds=1)


class Output(NamedTuple):
    """What a streaming task has partitions of: itself, or a dataset that it writes."""

    kind: str
    name: str
    cut: Cut
    lateness: timedelta


class Told(NamedTuple):
    """How far an output had come, as an event said."""

    said: datetime
    run: str
    watermark: datetime


def lateness(defined: Event, otherwise: timedelta = timedelta()) -> timedelta:
    """What a definition declares, in minutes or hours."""
    said = defined.get("lateness")
    if said is None:
        return otherwise
    unit = timedelta(hours=1) if said.endswith("H") else timedelta(minutes=1)
    return int(said.strip("PTHM")) * unit


def streaming(events: Sequence[Event]) -> set[str]:
    """The tasks that ever told of a watermark."""
    return {
        event["task"]["name"]
        for event in events
        if "watermark" in event or any("watermark" in each for each in event.get("outputs", ()))
    }


def passed(events: Sequence[Event], task: str, output: Output, same: Callable[[str, str], bool]) -> Iterator[Claim]:
    """The partitions of an output that watermarks have passed, each since the first event that said so, or stale since
    the first data that came after that. `same` says whether two names mean one dataset."""
    if not windowed(output.cut):
        return
    mine = [event for event in events if event["task"]["name"] == task]
    told = sorted(each for event in mine for each in _told(event, output, same))
    for tile in partitions(output.cut):
        first = next((each for each in told if each.watermark >= tile.end + output.lateness), None)
        if first is None:
            continue
        late = [at for event in mine for at, key in _late(event, output, same) if key == tile.key and at > first.said]
        yield Claim(
            place=(output.kind, output.name, tile.key),
            task=task,
            run=first.run + STREAM,
            group=first.run + STREAM,
            number=0,
            status="stale" if late else "ready",
            state="succeeded",
            began=first.said + _JUST_AFTER,
            since=min(late, default=first.said),
        )


def _told(event: Event, output: Output, same: Callable[[str, str], bool]) -> Iterator[Told]:
    said, run = datetime.fromisoformat(event["time"]), event.get("run") or event.get("partition") or "default"
    if "watermark" in event:
        yield Told(said, run, datetime.fromisoformat(event["watermark"]))
    for each in event.get("outputs", ()):
        if "watermark" in each and output.kind == "dataset" and same(each["name"], output.name):
            yield Told(said, run, datetime.fromisoformat(each["watermark"]))


def _late(event: Event, output: Output, same: Callable[[str, str], bool]) -> Iterator[tuple[datetime, str]]:
    for each in event.get("late", ()):
        of = each.get("dataset")
        if of is None or (output.kind == "dataset" and same(of["name"], output.name)):
            yield datetime.fromisoformat(event["time"]), each["partition"]
