"""The twin of the fold: from events to runs, to what each run says of partitions, to what is believed of them.

Plain and slow: everything is made anew from all events each time. The rules are those of docs/decisions/0001: within a
run precedence is attempt, evidence, rank of state, time; between runs of one partition the later started wins. An event
is a native one, as it is sent: all of them are reported, so of evidence nothing is left to decide here. What failed
checks and orders hold back is in `quarantine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dataforge.model.reference import node_id
from tests.twin.quarantine import Refusal, failing, held_since

if TYPE_CHECKING:
    from tests.twin.completeness import Whole

Event = dict[str, Any]
Place = tuple[str, str, str]  # task or dataset, its name, the partition
RunName = tuple[str, str]  # task, run

RANKS = ("queued", "running", "up_for_retry", "succeeded", "skipped", "canceled", "upstream_failed", "failed")
FINAL = RANKS[3:]
MADE = ("ready", "stale")  # a success, of a stream also one that data came late for
STREAM = "/~watermark"  # after the name of a run, what its watermark has passed
STATUS = {
    "succeeded": "ready",
    "skipped": "skipped",
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

    @property
    def last(self) -> Try:
        return self.tries[-1]

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


class Claim(NamedTuple):
    """What one run makes of one partition; `past` is a success before the attempt that counts now."""

    place: Place
    task: str
    run: str
    group: str
    number: int  # of the attempt
    status: str
    state: str
    began: datetime | None
    since: datetime | None
    version: str | None = None
    rows: int | None = None
    past: bool = False
    of: str = ""  # the partition that the run was for

    @property
    def of_run(self) -> str:
        """The run, also where its watermark made it."""
        return self.run.removesuffix(STREAM)


class State(NamedTuple):
    """What is believed of a partition."""

    status: str
    state: str
    since: datetime | None
    task: str
    run: str
    begun: datetime | None
    made: Claim | None  # the last success
    claims: tuple[Claim, ...]  # of the run that decides
    successes: tuple[Claim, ...]  # all that there ever were, the one that takes precedence last


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


Leads = Callable[[str, str, str, datetime | None], list[str]]


def to_its_own(_task: str, _dataset: str, partition: str, _at: datetime | None) -> list[str]:
    """Where an output is of which neither the event nor a declaration says the partition."""
    return [partition]


def claims_of(run: Run, leads: Leads = to_its_own) -> list[Claim]:
    """What a run says of its task's partition and of what it wrote. `leads` says of which partitions the outputs are
    where its events name none, by its task, the dataset, its own partition and its end."""
    last, tries = run.last, run.tries[:-1]
    found = [_own(run, last), *_written(run, last, leads)]
    if run.marked is not None:
        found = _as_marked(found, last, run.marked)
        tries = run.tries if run.marked.state == "queued" else tries
        last = last._replace(state=run.marked.state)
    before = next((each for each in reversed(tries) if each.state == "succeeded"), None)
    if before is None:
        return found
    standing = {claim.place: claim for claim in found}
    for claim in [_own(run, before), *_written(run, before, leads)]:
        now = standing.get(claim.place)
        if now is not None and now.status != "ready":
            found.append(claim._replace(past=True))
        elif now is None and claim.place[0] == "dataset":
            if last.status == "running" or last.state == "failed":  # it is taken to write again what it wrote before
                own = found[0]
                found.append(
                    claim._replace(
                        status=last.status, state=last.state, began=own.began, since=own.since, version=None, rows=None
                    )
                )
                found.append(claim._replace(past=True))
            else:
                found.append(claim)
    return found


def successes_before(run: Run, leads: Leads = to_its_own) -> list[Claim]:
    """The successes of all attempts before the one that counts now; of one that was cleared, before the next."""
    cleared = run.marked is not None and run.marked.state == "queued"
    tries = [each for each in (run.tries if cleared else run.tries[:-1]) if each.state == "succeeded"]
    return [claim for each in tries for claim in [_own(run, each), *_written(run, each, leads)]]


def _as_marked(claims: Sequence[Claim], last: Try, mark: Mark) -> list[Claim]:
    """What the run says once a person has marked it. What its platform says too changes no time; else it has been so
    since the mark, and where no begin is known, the end that it was given stands for that."""
    if last.state == mark.state and mark.state in FINAL:
        return list(claims)
    ended = mark.at if mark.state in FINAL else None
    began = last.began or (last.ended if last.state == mark.state else ended)
    status = STATUS.get(mark.state, "failed")
    since = [None if mark.state == "queued" or claim.place[0] == "task" else claim.since for claim in claims]
    return [
        claim._replace(
            status=status,
            state=mark.state,
            began=began if claim.place[0] == "task" else claim.began,
            since=max(each for each in (said, mark.at) if each is not None),
        )
        for claim, said in zip(claims, since, strict=True)
    ]


def _own(run: Run, each: Try) -> Claim:
    place = ("task", run.task, each.partition)
    began, since = each.began or each.ended, each.ended or each.began
    said = (each.number, each.status, each.state, began, since)
    return Claim(place, run.task, run.name, run.group, *said, of=each.partition)


def _written(run: Run, each: Try, leads: Leads) -> list[Claim]:
    """Outputs without a partition are of the run's own; one that is named says more."""
    found: dict[Place, Claim] = {}
    for (dataset, partition), output in sorted(each.outputs.items()):
        keys = [partition] if partition else leads(run.task, dataset, each.partition, each.ended or each.began)
        for place in (("dataset", dataset, key) for key in keys):
            found[place] = _own(run, each)._replace(place=place, version=output.version, rows=output.rows)
    return list(found.values())


def refused_by(run: Run, leads: Leads) -> Iterator[tuple[Place, Refusal]]:
    """What the checks of a run refuse, in any try: the partition that they name, else what it was for or wrote."""
    for each in run.tries:
        for said in failing(each.events):
            own = said.listed == "outputs"
            written = (
                leads(run.task, said.dataset, each.partition, each.ended or each.began) if own else [each.partition]
            )
            for key in [said.partition] if said.partition else written:
                by = (run.task, run.name, each.number) if own else None
                yield ("dataset", said.dataset, key), Refusal(said.at, said.version, by)


Judge = Callable[[Place, Sequence[Claim]], "Whole | None"]


def claims_by_place(claims: Iterable[Claim], canonical: Callable[[str], str] = str) -> dict[Place, list[Claim]]:
    """Claims by the place that they are on. `canonical` gives the name that stands for a dataset."""
    found: dict[Place, list[Claim]] = {}
    for claim in claims:
        kind, name, key = claim.place
        found.setdefault((kind, canonical(name) if kind == "dataset" else name, key), []).append(claim)
    return found


def states_of(
    claims: dict[Place, list[Claim]],
    before: dict[Place, list[Claim]] | None = None,
    quarantines: dict[Place, list[tuple[datetime, bool]]] | None = None,
    refused: dict[Place, list[Refusal]] | None = None,
    judged: Judge = lambda _place, _claims: None,
) -> dict[Place, State]:
    """What is believed of each partition, by the claims on it and the successes `before` those. `quarantines` are the
    orders about a place, each with whether it holds back or lets go; `refused` is what checks found; `judged` says what
    the claims on a partition come to that several runs make."""
    before, quarantines, refused = before or {}, quarantines or {}, refused or {}
    found = {
        place: _state(here, quarantines.get(place, ()), refused.get(place, ()), judged(place, here))
        for place, here in claims.items()
        if any(not claim.past for claim in here)
    }
    return {
        place: state._replace(successes=_successes(claims[place], before.get(place, ())))
        for place, state in found.items()
        if state is not None
    }


def _state(
    claims: Sequence[Claim], orders: Iterable[tuple[datetime, bool]], refusals: Iterable[Refusal], whole: Whole | None
) -> State | None:
    """The state of a place; nothing where of several that make it none has begun."""
    latest = max((claim for claim in claims if not claim.past), key=order)
    groups = {(latest.task, latest.group)} if whole is None else whole.groups
    group = [c for c in claims if not c.past and (c.task, c.group) in groups]
    if not group:
        return None
    status, state = _together(group)
    if whole is not None and whole.status != "ready":  # which what came late for a stream may make stale
        status = whole.status
    since = max((claim.since for claim in group if claim.since), default=None)
    begun = min((claim.began for claim in group if claim.began), default=None)
    held = held_since([((c.task, c.run, c.number), c.version) for c in group], begun, orders, refusals)
    if status in MADE and held is not None:
        status, since = "quarantined", max(each for each in (since, held) if each)
    successes = (claim for claim in claims if _made(claim, claims) and (whole is None or whole.made))
    made = max(successes, key=order, default=None)
    task = min((claim.task for claim in group), key=lambda name: node_id("ns", name))
    run = min(claim.of_run for claim in group if claim.task == task)
    return State(status, state, since, task, run, begun, made, tuple(group), ())


def _successes(claims: Sequence[Claim], before: Sequence[Claim]) -> tuple[Claim, ...]:
    """Every success, each attempt's as it is said now. The instances of a mapped task are one."""
    ready = [claim for claim in claims if claim.status in MADE]
    known = {(claim.task, claim.run, claim.number, claim.place) for claim in ready}
    ready += [c for c in before if (c.task, c.run, c.number, c.place) not in known]
    alone = [claim for claim in ready if claim.run == claim.group]
    groups: dict[tuple[str, str], set[str]] = {}
    for claim in claims:
        if claim.run != claim.group:
            groups.setdefault((claim.task, claim.group), set()).add(claim.run)
    for (task, group), instances in groups.items():
        alone += _wholes([c for c in ready if (c.task, c.group) == (task, group) and c.run in instances], instances)
    return tuple(sorted(alone, key=order))


def _wholes(successes: Sequence[Claim], instances: set[str]) -> list[Claim]:
    """What all instances had made, at the end of each success: of those that had ended by then the one that takes
    precedence of each instance, once there is one of every."""
    found: list[Claim] = []
    for moment in sorted({claim.since for claim in successes if claim.since is not None}):
        there = {
            claim.run: claim
            for claim in sorted(successes, key=order)
            if claim.since is not None and claim.since <= moment
        }
        if there.keys() == instances:
            found.append(_whole(list(there.values())))
    return found


def _whole(group: Sequence[Claim]) -> Claim:
    """The success of a mapped task, whose version is all of theirs."""
    words = {claim.version for claim in group if claim.version is not None}
    told = all(claim.version is not None for claim in group)
    return group[0]._replace(
        run=group[0].group,
        number=0,
        began=max((claim.began for claim in group if claim.began), default=None),
        since=max((claim.since for claim in group if claim.since), default=None),
        version=" ".join(sorted(words)) if told else None,
    )


def order(claim: Claim) -> tuple[bool, float, int, str, str]:
    """The later started wins; where nobody knows of a start, names decide. Of what a mapped task made, the later."""
    began = claim.began.timestamp() if claim.began else 0.0
    version = claim.version if claim.number else ""
    return (claim.began is not None, began, -node_id("ns", claim.task), claim.run, version or "")


def _together(group: Sequence[Claim]) -> tuple[str, str]:
    """The instances of a mapped task are one run: as bad as the worst of them, and over when all of them are."""
    statuses = [claim.status for claim in group]
    if "failed" in statuses:
        return "failed", max((claim.state for claim in group), key=RANKS.index)
    if "running" in statuses:
        return "running", min((claim.state for claim in group), key=RANKS.index)
    if set(statuses) == {"skipped"}:
        return "skipped", "skipped"
    return "stale" if "stale" in statuses else "ready", "succeeded"


def _made(claim: Claim, claims: Sequence[Claim]) -> bool:
    """Whether the claim is a success that stood: of a mapped task when each instance has succeeded or been skipped, now
    or by an attempt before."""
    if claim.status not in MADE:
        return False
    if claim.run == claim.group:
        return True
    others = [c for c in claims if (c.task, c.group, c.place) == (claim.task, claim.group, claim.place)]
    undone = {c.run for c in others if c.status in ("failed", "running")}
    return undone <= {c.run for c in others if c.past}
