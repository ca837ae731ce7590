"""The twin of readiness: may a task run for a partition now, and if not, every reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.twin import condition, rules, trigger
from tests.twin.claim import Place
from tests.twin.completeness import Standing
from tests.twin.evidence import unserving, unwanted_as
from tests.twin.fold import MADE, State
from tests.twin.ledger import View
from tests.twin.question import AHEAD, Answer, Definition, Need, Reason
from tests.twin.run import FINAL
from tests.twin.staleness import stale_inputs
from tests.twin.turn import waits_in_turn
from tests.twin.windows import is_key, window

_OWN = ("paused", "canceled", "gate_pending", "condition_unmet", "not_before", "pool_full")
_FINAL = ("upstream_failed", "upstream_quarantined", "canceled", "paused", "gate_pending", "pool_full")
_SHOWN = {
    "running": "running",
    "ready": "succeeded",
    "stale": "succeeded",
    "skipped": "skipped",
    "failed": "failed",
    "quarantined": "blocked",
}
_OF_RUN = {"unknown": "unknown", "upstream_failed": "upstream_failed", "canceled": "blocked"}


def answer(view: View, task: str, key: str, now: datetime, ahead: int = AHEAD, aged: bool = True) -> Answer:
    """The verdict. `ahead` is how many steps further upstream are looked at for what will not come by itself; only what
    was asked for itself is looked at for staleness (`aged`)."""
    return _Asked(view, task, key, now, ahead, aged).answer()


class _Asked:
    def __init__(self, view: View, task: str, key: str, now: datetime, ahead: int, aged: bool) -> None:
        self.view, self.task, self.key, self.now, self.ahead, self.aged = view, task, key, now, ahead, aged
        self.defined: Definition = view.tasks.get(task, {})
        self.cut = view.cut("task", task)
        self.place: Place = ("task", task, key)
        self.triggered = "trigger" in self.defined
        self.own = trigger.going_on(view, task) if self.triggered else view.states.get(self.place)
        self.lease = next((each for each in view.leases if (each.task, each.key) == (task, key)), None)
        self.again = view.to_rerun(self.place)
        spelled = str(self.defined.get("trigger_rule", "all_success"))
        self.rule = rules.LEGACY.get(spelled, spelled)

    def answer(self) -> Answer:
        observed = any("observed" in edge for edge in self.view.consumed(self.task))
        observed = observed or (self.key != "" and "partitioning" not in self.defined) or not self.defined
        basis = "observed" if observed else "declared"
        if (code := self.misfit()) is not None:
            return Answer("unknown", frozenset({(code, None, None)}), frozenset(), basis, None, False)
        self.needs, self.untold, self.updates = self.view.needs(self.task, self.key, self.now)
        self.asked = self.upstreams()
        reasons = list(self.reasons())
        return Answer(
            status=self.status(reasons),
            reasons=frozenset(reason.shown for reason in reasons),
            warnings=frozenset(reason.shown for reason in self.warnings()),
            basis=basis,
            fate=self.fate(),
            own=all(reason.code in _OWN and reason.upstream is None for reason in reasons),
        )

    def misfit(self) -> str | None:
        if self.cut is None:
            alone = self.own is None and ("task", self.task, "") in self.view.states
            return "no_such_partition" if alone and self.key else None
        if self.cut["kind"] != "none" and not self.key:
            return "partition_unknown"
        return None if is_key(self.cut, self.key) else "no_such_partition"

    def upstreams(self) -> list[Need]:
        """One for each partition and condition; where several edges ask for the same, the strictest counts. What waits
        in turn for what was asked for is none to wait for."""
        found: dict[Any, Need] = {}
        for need in sorted(self.view.chosen(self.needs, self.serves), key=lambda need: need.strictness):
            found[need.place, str(need.edge.get("condition"))] = need
        return [
            need._replace(edge=need.edge | {"required": False, "turn": True})
            if self.aged and self.turns(need)
            else need
            for need in found.values()
        ]

    def turns(self, need: Need) -> bool:
        return waits_in_turn(self.view, (self.task, self.key), need, self.now)

    # Its own state

    @property
    def standing(self) -> State | None:
        """What was cleared or is to be run again has no state, nor has an attempt whose lease ran out."""
        if self.view.marked(self.own) == "queued":
            return None
        if self.own is not None and self.own.status == "running":
            lease = self.lease
            over = lease is not None and lease.until <= self.now
            began = self.view.runs[self.own.task, self.own.run].last.began
            return None if over and lease is not None and began == lease.since else self.own
        return None if self.again else self.own

    def status(self, reasons: list[Reason]) -> str:
        own = self.standing
        if own is not None:
            return _OF_RUN.get(own.state, _SHOWN[own.status])
        if not reasons:
            return "runnable"
        return "waiting" if all(reason.passes for reason in reasons) else "blocked"

    def reasons(self) -> Iterator[Reason]:
        yield from self.of_its_own()
        if not self.defined and not self.view.consumed(self.task):
            yield Reason("dependencies_unknown")
        yield from self.kept_out()
        required = [need for need in self.asked if need.edge.get("required", True)]
        yield from self.against_rule([need for need in required if need.ruled])
        for need in required:
            yield from self.against(need)
        if self.triggered and not self.again and self.view.marked(self.own) != "queued":
            awaited, comes = trigger.waited_for(self.view, self.task)
            yield from (Reason("upstream_missing", ("dataset", name), passes=comes) for name in awaited)
        for need in self.updates:
            if need.edge.get("required", True):
                yield from self.incomplete(need)
        for edge, code in self.untold:
            if edge.get("required", True):
                yield Reason(code, self.view.node(edge))

    def of_its_own(self) -> Iterator[Reason]:
        """That it is done already, or is being done."""
        own = self.standing
        if own is not None and own.status == "running":
            yield Reason("already_running", passes=True)
        elif own is not None and own.state == "canceled":
            yield Reason("canceled")
        elif own is not None and own.status != "failed":
            yield Reason("already_done")
        running = self.own is not None and self.own.status == "running" and self.view.marked(self.own) != "queued"
        if self.lease is not None and self.lease.until > self.now and not running:
            yield Reason("already_running", passes=True)

    def against(self, need: Need) -> Iterator[Reason]:
        """What one required upstream says against it, beside the trigger rule."""
        if not need.ruled:
            yield from self.judged(need)
        branching = need.kind == "task" and self.view.tasks.get(need.name, {}).get("branching", False)
        if branching and self.own is None and self.whole(need) in (None, "succeeded"):
            yield self.about(need, "branch_undecided", passes=True)
        if need.edge.get("staleness", "warn") == "block" and self.is_stale(need):
            yield self.about(need, "upstream_stale")
        if self.to_rerun(need) and self.waits(need):
            yield self.about(need, "upstream_stale", passes=True)

    def to_rerun(self, need: Need) -> bool:
        """What was never made is missing, and not stale."""
        return need.place in self.view.states and self.view.to_rerun(need.place)

    def kept_out(self) -> Iterator[Reason]:
        """Times, holds, gates, facts and pools."""
        mine = window(self.cut, self.key)
        wait = timedelta(minutes=int(self.defined.get("run_after", "PT0M").strip("PTM")))
        if mine is not None and self.now < mine.end + wait:
            yield Reason("not_before", passes=True)
        domain = self.defined.get("domain")
        subjects: list[dict[str, Any]] = [{"task": self.task}, {}]
        subjects += [{"task": self.task, "partition": self.key}] if self.key else []
        subjects += [{"domain": domain}] if domain else []
        for about in subjects:
            hold = self.view.order(["pause", "cancel", "resume"], **about)
            if hold is not None and hold["control"] != "resume":
                yield Reason("paused" if hold["control"] == "pause" else "canceled")
        for about in subjects:
            order = self.view.order(["not_before"], **about) if "task" in about else None
            if order is not None and self.now < datetime.fromisoformat(order["until"]):
                yield Reason("not_before", passes=True)
        for gate in self.defined.get("gates", ()):
            said = self.view.order(["approve", "refuse"], task=self.task, partition=self.key or None, gate=gate)
            if said is None or said["control"] == "refuse":
                yield Reason("gate_pending")
        for required in self.defined.get("requires", ()):
            partition = (self.key or None) if required.get("each_partition") else None
            said = self.view.order(["set"], fact=required["fact"], partition=partition)
            if said is None or said["value"] != required.get("equals", True):
                yield Reason("condition_unmet")
        yield from self.crowded_out()

    def crowded_out(self) -> Iterator[Reason]:
        for pool, wanted in self.defined.get("pools", {}).items():
            slots = self.view.pools.get(pool)
            held = [each for each in self.view.leases if each.until > self.now]
            taken = sum(each.pools.get(pool, 0) for each in held)
            if slots is None or taken + wanted > slots:
                yield Reason("pool_full", passes=slots is not None and wanted <= slots)

    # Its upstreams

    def against_rule(self, needs: list[Need]) -> Iterator[Reason]:
        shares = [(need, state) for need in needs for state in self.each(need)]
        states = [state for _, state in shares]
        if rules.met(self.rule, states):
            return
        wanted = rules.WANTED[self.rule]
        in_the_way = [need for need, state in shares if state not in wanted] or needs
        found = [self.unmet(need, wanted) for need in needs if need in in_the_way]
        pending = any(state is None and self.instances(need) for need, state in shares)
        comes = self.rule in rules.ONE_IS_ENOUGH and (pending or any(reason.passes for reason in found))
        yield from (reason._replace(passes=True) for reason in found) if comes else found

    def judged(self, need: Need) -> Iterator[Reason]:
        """An edge that is judged by itself: on a dataset, or with another condition than success."""
        if "turn" in need.edge:
            yield self.about(need, "observed_cycle")
            return
        if not self.serves(need):
            yield from list(self.incomplete(need)) or [self.unmet(need, rules.CONDITIONS[need.condition])]
            return
        where = need.edge.get("condition", {}).get("where")
        comes = condition.short_of(self.view, where, need.place) if where is not None else None
        if comes is not None:
            yield self.about(need, "condition_unmet", passes=comes)

    def incomplete(self, need: Need) -> Iterator[Reason]:
        """Of what several make: each who has yet to bring a share."""
        yield from (self.to_come(need, each) for each in self.view.lacks(need))

    def to_come(self, need: Need, each: Standing) -> Reason:
        """By its run on the partition, where there is one; else as its own partition stands."""
        task, key = each.share.task, each.share.partition
        about = self.about(need, "") if task is None else Reason("", ("task", task), each.share.key)
        if each.too_old:
            return about._replace(code="upstream_missing")
        if each.latest is not None and (each.latest.state == "unknown" or each.status == "ready"):
            return about._replace(code="upstream_unconfirmed")
        if each.latest is not None or task is None or key is None:
            return about._replace(code=f"upstream_{each.status}", passes=each.status in ("missing", "running"))
        bringer = _bringer(task, key)
        if self.outcome(bringer) == "succeeded":  # and nothing shows that it wrote it
            return about._replace(code="upstream_missing")
        return self.unmet(bringer, ("succeeded",))

    def serves(self, need: Need) -> bool:
        return self.whole(need) in rules.CONDITIONS[need.condition]

    def outcome(self, need: Need) -> str | None:
        state = self.view.states.get(need.place)
        if state is None:
            return None
        if state.status in MADE:
            return "succeeded"
        return state.state if state.status in ("failed", "skipped") else None

    def instances(self, need: Need) -> list[str | None]:
        """How the instances of a mapped upstream ended; None for one that has not, or of which nothing was seen."""
        state = self.view.states.get(need.place)
        if state is None or need.kind != "task" or not any(c.run != c.group for c in state.claims):
            return []
        found: list[str | None] = [c.state if c.state in FINAL else None for c in state.claims]
        told = [self.view.runs[c.task, c.run].told for c in state.claims]
        missing = max((each for each in told if each is not None), default=0) - len(found)
        return found + [None] * max(missing, 0)

    def each(self, need: Need) -> list[str | None]:
        """What an upstream task contributes to a trigger rule: of a mapped one each instance by itself."""
        return self.instances(need) or [self.whole(need)]

    def whole(self, need: Need) -> str | None:
        """How an upstream ended as a whole: of a mapped one a failure at once, else nothing before all have ended."""
        found, state = self.outcome(need), self.view.states.get(need.place)
        if state is None or not state.settled:
            return None
        unseen = len(self.instances(need)) > len(state.claims)
        return None if unseen and found in ("succeeded", "skipped") else found

    def unmet(self, need: Need, wanted: tuple[str | None, ...]) -> Reason:
        code = self.code(need, wanted)
        comes = code == "upstream_running" or (code == "upstream_missing" and self.will_come(need))
        return self.about(need, code, passes=comes)

    def code(self, need: Need, wanted: tuple[str | None, ...]) -> str:
        instances = self.instances(need)
        unwanted = [state for state in instances if state is not None and state not in wanted]
        if unwanted:
            return unwanted_as(max(unwanted, key=FINAL.index))
        if None in instances:
            return "upstream_running"
        state = self.view.states.get(need.place)
        if state is None:
            return "upstream_missing"
        if state.status == "quarantined":
            return "upstream_quarantined"
        return unserving(state, self.outcome(need), wanted)

    def about(self, need: Need, code: str, passes: bool = False) -> Reason:
        return Reason(code, (need.kind, need.name), need.place[2], passes)

    def will_come(self, need: Need) -> bool:
        """Whether what is missing comes by itself: it is known, and nothing that failed stands behind it."""
        view = self.view
        if need.kind == "task":
            known = need.name in view.tasks or need.name in view.told
        else:
            known = need.name in view.datasets or bool(view.writers(need.name))
        return known and not self.obstructed(need)

    def obstructed(self, need: Need) -> bool:
        if not self.ahead:
            return False
        makers = (
            [(need.name, need.place[2])]
            if need.kind == "task"
            else self.view.makers(need.name, need.place[2], self.now)
        )
        return any(self.will_fail(maker) for maker in makers)

    def will_fail(self, maker: tuple[str, str]) -> bool:
        """Of one whose failure many wait for, found out once."""
        place = (*maker, self.now, self.ahead - 1)
        if place not in self.view.failing:
            self.view.failing[place] = _Asked(self.view, *maker, self.now, self.ahead - 1, aged=False).fails()
        return self.view.failing[place]

    def fails(self) -> bool:
        """Whether this partition, which something waits for, will not come by itself, as far as a failure is known."""
        found = self.answer()
        if found.status in ("failed", "upstream_failed"):
            return True
        if found.status != "blocked":
            return False
        if any(code in _FINAL for code, _, _ in found.reasons):
            return True
        required = [need for need in [*self.asked, *self.updates] if need.edge.get("required", True)]
        behind = [one for need in required for one in self.behind(need)]
        return any(self.obstructed(one) for one in behind if one.place not in self.view.states)

    def behind(self, need: Need) -> list[Need]:
        """What has to come: of what several make the partitions of those who have begun nothing yet."""
        lacks = self.view.lacks(need)
        shares = [each.share for each in lacks if each.latest is None]
        found = [
            _bringer(share.task, share.partition) for share in shares if share.task and share.partition is not None
        ]
        return found if lacks or need.updates else [need]

    def is_stale(self, need: Need) -> bool:
        state = self.view.states.get(need.place)
        if state is None or state.status not in MADE:
            return False
        return state.status == "stale" or (self.aged and bool(stale_inputs(self.view, need.place, self.now)))

    def waits(self, need: Need) -> bool:
        """Whether it waits for an upstream that is to be run again: where it is itself, or takes nothing stale."""
        return self.again or need.edge.get("staleness", "warn") == "block"

    # What is only told

    def warnings(self) -> Iterator[Reason]:
        for need in self.asked:
            yield from self.told_of(need)
        for need in [each for each in self.updates if not each.edge.get("required", True)]:
            yield from self.incomplete(need)
        for edge, code in self.untold:
            if not edge.get("required", True):
                yield Reason(code, self.view.node(edge))
        yield from self.told_of_itself()

    def told_of_itself(self) -> Iterator[Reason]:
        if self.again:
            yield Reason("rerun_ordered")
        if self.view.marked(self.own) is not None:
            yield Reason("marked")
        if self.own is not None and self.own.status == "stale":
            yield Reason("upstream_stale")
        if self.own is not None and self.own.status in MADE:
            for kind, name, key in stale_inputs(self.view, self.place, self.now):
                yield Reason("upstream_stale", (kind, name), key)
        if self.fate() is not None:
            yield Reason("condition_unmet")

    def told_of(self, need: Need) -> Iterator[Reason]:
        required, staleness = need.edge.get("required", True), need.edge.get("staleness", "warn")
        if not required:
            yield from self.judged(need)
        if staleness == "warn" or (staleness == "block" and not required):
            if self.is_stale(need):
                yield self.about(need, "upstream_stale")
            if self.to_rerun(need) and not self.waits(need):
                yield self.about(need, "upstream_stale")

    def fate(self) -> str | None:
        """What Airflow makes of its own task that it can no longer start."""
        if self.defined.get("platform") != "airflow" or self.own is not None:
            return None
        ruled = [need for need in self.asked if need.edge.get("required", True) and need.ruled]
        states = [state for need in ruled for state in self.each(need)]
        return None if rules.met(self.rule, states) else rules.fate(self.rule, states)


def _bringer(task: str, key: str) -> Need:
    """The partition of a task that is to bring a share."""
    return Need({}, "task", task, key, (), ("task", task, key))
