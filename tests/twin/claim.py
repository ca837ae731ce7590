"""The twin of claims: what each run says of partitions, of its task's own and of those that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from dataforge.model.reference import node_id
from tests.twin.quarantine import Refusal, failing
from tests.twin.run import FINAL, STATUS, Mark, Run, RunName, Try

Place = tuple[str, str, str]  # task or dataset, its name, the partition
STREAM = "/~watermark"  # after the name of a run, what its watermark has passed


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
    evidence: str = "reported"
    makers: tuple[str, ...] = ()  # the tasks that the run answers for, its own and those above
    by: RunName | None = None  # of a Spark job its application

    @property
    def of_run(self) -> str:
        """The run whose doing it is, also where its watermark made it."""
        return self.by[1] if self.by is not None else self.run.removesuffix(STREAM)

    @property
    def of_task(self) -> str:
        """The task of that run."""
        return self.by[0] if self.by is not None else self.task


Leads = Callable[[Sequence[str], str, str, datetime | None], list[str]]


def to_its_own(_makers: Sequence[str], _dataset: str, partition: str, _at: datetime | None) -> list[str]:
    """Where an output is of which neither the event nor a declaration says the partition."""
    return [partition]


def claims_of(run: Run, leads: Leads = to_its_own) -> list[Claim]:
    """What a run says of its task's partition and of what it wrote. `leads` says of which partitions the outputs are
    where its events name none, by its tasks, the dataset, its own partition and its end."""
    if run.is_job:
        return _written(run, run.last, leads)
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
                again = claim._replace(
                    status=last.status,
                    state=last.state,
                    began=own.began,
                    since=own.since,
                    of=own.of,
                    evidence=own.evidence,
                )
                found.append(again._replace(version=None, rows=None))
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
        return [claim._replace(evidence="operator") for claim in claims]
    ended = mark.at if mark.state in FINAL else None
    began = last.began or (last.ended if last.state == mark.state else ended)
    status = STATUS.get(mark.state, "failed")
    since = [None if mark.state == "queued" or claim.place[0] == "task" else claim.since for claim in claims]
    return [
        claim._replace(
            status=status,
            state=mark.state,
            evidence="operator",
            began=began if claim.place[0] == "task" else claim.began,
            since=max(each for each in (said, mark.at) if each is not None),
        )
        for claim, said in zip(claims, since, strict=True)
    ]


def _own(run: Run, each: Try) -> Claim:
    place = ("task", run.task, each.partition)
    began, since = each.began or each.ended, each.ended or each.began
    said = (each.number, each.status, each.state, began, since)
    whose: dict[str, Any] = {"of": each.partition, "evidence": each.evidence, "makers": run.makers, "by": run.by}
    return Claim(place, run.task, run.name, run.group, *said, **whose)


def _written(run: Run, each: Try, leads: Leads) -> list[Claim]:
    """Outputs without a partition are of the run's own; one that is named says more."""
    found: dict[Place, Claim] = {}
    for (dataset, partition), output in sorted(each.outputs.items()):
        keys = [partition] if partition else leads(run.makers, dataset, each.partition, each.ended or each.began)
        for place in (("dataset", dataset, key) for key in keys):
            found[place] = _own(run, each)._replace(place=place, version=output.version, rows=output.rows)
    return list(found.values())


def refused_by(run: Run, leads: Leads) -> Iterator[tuple[Place, Refusal]]:
    """What the checks of a run refuse, in any try: the partition that they name, else what it was for or wrote. Of
    several failures of one try about a partition the last counts."""
    for each in run.tries:
        last: dict[tuple[str, Place], Refusal] = {}
        for said in sorted(failing(each.events), key=lambda said: said.at):
            own = said.listed == "outputs"
            wrote = (
                leads(run.makers, said.dataset, each.partition, each.ended or each.began) if own else [each.partition]
            )
            for key in [said.partition] if said.partition else wrote:
                by = (run.task, run.name, each.number) if own else None
                last[said.listed, ("dataset", said.dataset, key)] = Refusal(said.at, said.version, by)
        yield from ((place, refusal) for (_, place), refusal in last.items())


def claims_by_place(claims: Iterable[Claim], canonical: Callable[[str], str] = str) -> dict[Place, list[Claim]]:
    """Claims by the place that they are on. `canonical` gives the name that stands for a dataset."""
    found: dict[Place, list[Claim]] = {}
    for claim in claims:
        kind, name, key = claim.place
        found.setdefault((kind, canonical(name) if kind == "dataset" else name, key), []).append(claim)
    return found


def order(claim: Claim) -> tuple[bool, float, int, str, str]:
    """The later started wins; where nobody knows of a start, names decide. Of what a mapped task made, the later."""
    began = claim.began.timestamp() if claim.began else 0.0
    version = claim.version if claim.number else ""
    return (claim.began is not None, began, -node_id("ns", claim.task), claim.run, version or "")
