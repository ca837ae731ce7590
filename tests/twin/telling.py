"""What the state machine tells the ledger and its twin alike: definitions, events, orders, while time passes.

Guarantees that both are told the same, at moments that are no other's; and keeps what either owes for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.declaration import CycleError
from dataforge.model.errors import Conflict, InvalidInput
from dataforge.storage.database import Database
from tests.twin import applications, drawn, plans, watermarks
from tests.twin.agreement import create
from tests.twin.claim import Place
from tests.twin.cuts import registrations
from tests.twin.facts import Facts
from tests.twin.ledger import View
from tests.twin.partition_set import holds
from tests.twin.question import Answer, Definition
from tests.twin.refusal import problem
from tests.twin.sharing import rarely
from tests.twin.turn import rings
from tests.twin.verdict import answer
from tests.twin.windows import few_keys

BEGIN = datetime(2026, 10, 27, 5, 0, tzinfo=UTC)
END = datetime(2026, 11, 1, tzinfo=UTC)  # the clock stays within what the twin has a calendar for
_environments = count()


class Telling(RuleBasedStateMachine):
    """One environment of the ledger and one twin, told the same; what is asked of them is not its business."""

    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.name = f"twin{next(_environments)}"
        create(self.database, self.name)
        self.facts, self.now, self.tick = Facts(), BEGIN, count(1)
        self.told: list[tuple[Definition, datetime]] = []  # the declarations that the ledger took, in its order
        self.late: list[Definition] = []
        self.owed: set[tuple[str, str]] = set()  # what has become runnable and waits to be claimed
        self.ended: list[str] = []
        self.together = False  # whether several tasks make one dataset, for somebody who reads it
        self.crashed = 0  # how many facts there were at the last crash

    # Time

    def moment(self, minutes_ago: int = 0) -> datetime:
        """A moment that is no other's, so that no two things happen at once."""
        return self.now - timedelta(minutes=minutes_ago) + timedelta(microseconds=next(self.tick))

    @rule(minutes=st.sampled_from([1, 30, 60, 600, 1_500, 3_000]))
    def pass_time(self, minutes: int) -> None:
        self.now = min(self.now + timedelta(minutes=minutes), END)

    # Definitions

    @property
    def cuts(self) -> dict[str, Any]:
        view = self.facts.view
        return {
            **{name: view.declared_cut("task", name) for name in view.tasks},
            **{name: view.declared_cut("dataset", name) for name in view.datasets},
        }

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.together = data.draw(rarely(2))
        for source in ("north", "south"):
            self.declare(data, source)

    @rule(data=st.data(), source=st.sampled_from(["north", "south"]))
    def declare(self, data: st.DataObject, source: str) -> None:
        self._declare(data.draw(plans.manifests(source, self.cuts, together=self.together)), self.moment())

    @precondition(lambda self: self.facts.declared)
    @rule(data=st.data(), minutes=st.integers(1, 3_000))
    def declare_late(self, data: st.DataObject, minutes: int) -> None:
        """What held from an earlier moment on is a part of the past where its source has declared another since."""
        source = data.draw(st.sampled_from(["north", "south"]))
        since = self.moment(minutes)
        manifest = data.draw(plans.manifests(source, self.cuts))
        self._declare({**manifest, "valid_from": since.isoformat()}, self.moment(), since)

    @rule(source=st.sampled_from(["north", "south"]), again=st.booleans())
    def retire_or_repeat(self, source: str, again: bool) -> None:
        standing = self.facts.view.manifests.get(source)
        nothing: Definition = {"source": source, "tasks": [], "datasets": [], "pools": []}
        self._declare(standing if again and standing is not None else nothing, self.moment())

    def _declare(self, manifest: Definition, now: datetime, since: datetime | None = None) -> None:
        since = since or now
        before = list(self.facts.declared)
        standing = self.facts.view.manifests.get(manifest["source"])
        told = {key: value for key, value in manifest.items() if key != "valid_from"}
        self.facts.declared.append((since, len(before), told))
        self.facts.changed()
        stands = self.facts.view.manifests[manifest["source"]] is told
        refused = self._refused(told, standing) if stands and told != standing else None
        try:
            declare(self.database, self.name, definition.parse(manifest), now=now)
            answered = None
        except (Conflict, CycleError, InvalidInput) as error:
            answered = str(error)
        if answered is not None:
            self.facts.declared = before
            self.facts.changed()
            assert refused or not stands or _overdrawn(told), f"the ledger refused: {answered}"
            return
        assert refused in (None, "perhaps"), f"the ledger took what is a {refused}"
        if stands:  # wake-ups are owed for facts, as they lead by the edges of now
            self.owed.clear()
        self.told.append((manifest, now))

    def _refused(self, manifest: Definition, standing: Definition | None) -> str | None:
        others = [each for source, each in self.facts.view.manifests.items() if source != manifest["source"]]
        elsewhere = {task["name"] for each in others for task in each["tasks"]}
        if elsewhere & {task["name"] for task in manifest["tasks"]}:
            return "conflict"
        return "overdrawn" if _overdrawn(manifest) else problem(self.facts.view, manifest, standing)

    # Events and orders

    @rule(data=st.data(), hold_back=rarely(5))
    def events(self, data: st.DataObject, hold_back: bool) -> None:
        drawn = data.draw(st.lists(plans.events(self.facts.view.tasks, self.cuts), min_size=1, max_size=4))
        stamped = [self._stamped(event, data.draw(st.integers(0, 600))) for event in drawn]
        if hold_back:
            self.late += stamped
        else:
            self._record(stamped)

    @precondition(lambda self: self.facts.declared)
    @rule(data=st.data(), ago=st.sampled_from([0, 20, 600]), hold_back=rarely(5))
    def stream(self, data: st.DataObject, ago: int, hold_back: bool) -> None:
        tasks = self.facts.view.tasks
        passed = sorted({(claim.task, claim.place[2]) for claim in self.facts.view.passed()})
        if bool(passed) and data.draw(st.booleans()):
            drawn = data.draw(watermarks.late(passed, tasks))
        else:
            names = [name for name in plans.TASKS if name != plans.MAPPED]
            drawn = data.draw(watermarks.streams(names, tasks, self.cuts))
        told = watermarks.said(self._stamped(drawn, ago))
        if hold_back:
            self.late.append(told)
        else:
            self._record([told])

    @rule(data=st.data(), hold_back=rarely(4))
    def applications(self, data: st.DataObject, hold_back: bool) -> None:
        """A Spark application says something of itself or of its jobs, and perhaps what runs it does."""
        told = data.draw(applications.told(self.facts.view.tasks, self.cuts))
        stamped = [self._stamped(event, data.draw(st.integers(0, 60))) for event in told]
        if hold_back:
            self.late += stamped
        else:
            self._record(stamped)

    @rule(data=st.data(), ago=st.sampled_from([0, 60, 600]))
    def read_in_turn(self, data: st.DataObject, ago: int) -> None:
        self._record([self._stamped(event, ago) for event in data.draw(rings(self.cuts))])

    @precondition(lambda self: self.late or self.facts.events)
    @rule(data=st.data())
    def deliver_late_and_again(self, data: st.DataObject) -> None:
        again = data.draw(st.lists(st.sampled_from(self.facts.events), max_size=2)) if self.facts.events else []
        batch = data.draw(st.permutations([*self.late, *again]))
        self.late = []
        self._record(list(batch))

    @precondition(lambda self: self.facts.declared)
    @rule(data=st.data(), ago=st.integers(0, 30))
    def succeed_with_all(self, data: st.DataObject, ago: int) -> None:
        """Every partition of some tasks has run and written what it writes, as on a good night."""
        for task in data.draw(st.lists(st.sampled_from(plans.TASKS), min_size=1, max_size=3)):
            night, notes = data.draw(st.integers(1, 3)), data.draw(st.booleans())
            version = data.draw(st.sampled_from([None, "v1", "v1", "v2"]))
            reported = {"rows": 7, **({"checks": data.draw(drawn.MILD)} if data.draw(st.booleans()) else {})}
            reported["columns"] = data.draw(drawn.COLUMNS)
            self._succeed(task, night, version, reported, notes, ago)

    def _succeed(self, task: str, night: int, version: str | None, reported: Definition, notes: bool, ago: int) -> None:
        view, batch = self.facts.view, []
        for key in few_keys(view.cut("task", task)):
            said: Definition = {"task": {"namespace": "ns", "name": task}, "run": f"night {night} {key}"}
            said |= {"partition": key} if key else {}
            written = [data_of(place, version, **reported) for place in view.written(task, key, self.now)]
            read = list(self._noted(task, key)) if notes else []
            begins = {**said, "state": "running", **({"inputs": read} if read else {})}
            ends = {**said, "state": "succeeded", **({"outputs": written} if written else {})}
            batch += [self._stamped(begins, ago), self._stamped(ends, ago)]
        self._record(batch)

    def _noted(self, task: str, key: str) -> Iterator[Definition]:
        """What a run reads, with the versions that it finds."""
        view = self.facts.view
        for place in sorted({need.place for need in view.needs(task, key, self.now)[0] if need.kind == "dataset"}):
            state = view.states.get(place)
            if state is not None and state.made is not None and state.made.version is not None:
                yield data_of(place, state.made.version)

    @rule(data=st.data(), ago=st.integers(0, 100))
    def order(self, data: st.DataObject, ago: int) -> None:
        wanted = st.one_of(*[plans.orders(self.cuts)] * 4, registrations())
        drawn = self._stamped(data.draw(wanted), ago)
        if drawn["control"] == "not_before":
            drawn["until"] = (self.now + timedelta(minutes=data.draw(st.integers(-60, 600)))).isoformat()
        self._record([drawn])

    def _stamped(self, event: Definition, minutes_ago: int) -> Definition:
        said = "eventTime" if "eventType" in event else "time"
        return {**event, said: self.moment(minutes_ago).isoformat()}

    def _record(self, batch: list[Definition]) -> None:
        with Owing(self):
            result = record_any(self.database, self.name, [json.dumps(each).encode() for each in batch], NOTHING)
            assert result.rejected == [], result.rejected
            self.facts.record(batch)

    def partitions(self) -> list[tuple[str, str]]:
        view = self.facts.view
        known = sorted({*view.tasks, *view.seen})
        return [(task, key) for task in known for key in {*few_keys(view.cut("task", task)), ""}]

    @property
    def looked_at(self) -> list[Place]:
        """The partitions of datasets that are ready or held back."""
        states = self.facts.view.states
        return sorted(p for p, each in states.items() if p[0] == "dataset" and each.status in ("ready", "quarantined"))

    @precondition(lambda self: self.looked_at)
    @rule(data=st.data(), ago=st.sampled_from([0, 0, 5, 30, 300]))
    def look(self, data: st.DataObject, ago: int) -> None:
        """Somebody checks what was made, or lets it go."""
        place = data.draw(st.sampled_from(self.looked_at))
        state = self.facts.view.states[place]
        version = state.made.version if state.made else None
        said = data.draw(drawn.looks(place, version, state.status == "quarantined"))
        self._record([self._stamped(said, ago)])

    @property
    def triggered(self) -> list[Definition]:
        return [task for _, task in sorted(self.facts.view.tasks.items()) if "trigger" in task]

    @precondition(lambda self: self.triggered)
    @rule(data=st.data(), ago=st.integers(0, 30))
    def update(self, data: st.DataObject, ago: int) -> None:
        """Datasets are written that trigger a task, and it may run on that."""
        events = data.draw(plans.updates(data.draw(st.sampled_from(self.triggered)), self.cuts))
        self._record([self._stamped(event, ago) for event in events])


class Owing:
    """What a fact makes runnable, or held by something of its own alone, is owed a wake-up; so is what is so already
    when its set comes to hold the key of it. A key that its set does not hold is owed none (docs/dynamic.md), nor is
    what was seen to write itself what it had waited for (docs/completeness.md)."""

    def __init__(self, machine: Telling) -> None:
        self.machine = machine

    def __enter__(self) -> None:
        self.before = self.machine.facts.view

    def __exit__(self, *_: object) -> None:
        machine, now = self.machine, self.machine.moment()
        for each in machine.partitions():
            if not _holds(machine.facts.view, *each):
                continue
            after, new = answer(machine.facts.view, *each, now), not _holds(self.before, *each)
            before = answer(self.before, *each, now)
            if after.own and after.basis == "declared" and (new or not (before.own or self._let_go(each, before, now))):
                machine.owed.add(each)

    def _let_go(self, asked: tuple[str, str], before: Answer, now: datetime) -> bool:
        """Whether it no longer needs what it had waited for."""
        needed = {need.place for need in self.machine.facts.view.needs(*asked, now)[0]}
        waited = {(*upstream, key) for _, upstream, key in before.reasons if upstream is not None and key is not None}
        return not waited <= needed


def _holds(view: View, task: str, key: str) -> bool:
    return holds(view.cut("task", task), key)


def data_of(place: Place, version: str | None, **more: Any) -> Definition:
    """What is said of a partition of a dataset that is read or written."""
    named = {"partition": place[2]} if place[2] else {}
    return {"namespace": "lake", "name": place[1], **named, **({"version": version} if version else {}), **more}


def _overdrawn(manifest: Definition) -> bool:
    slots = {pool["name"]: pool["slots"] for pool in manifest["pools"]}
    return any(
        wanted > slots.get(pool, wanted) for task in manifest["tasks"] for pool, wanted in task.get("pools", {}).items()
    )
