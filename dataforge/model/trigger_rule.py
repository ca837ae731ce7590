"""When Airflow starts a task, by what became of its direct upstream tasks: every trigger rule, exactly.

Guarantees the outcome that Airflow 2.11 itself comes to (its `TriggerRuleDep`; all_done_min_one_success is
Airflow 3's), and says of a rule that is not met whether it still can be.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from dataforge.model.edge import TriggerRule
from dataforge.model.state import FINAL, RunState

Rule = TriggerRule
_FAILURES = frozenset({RunState.FAILED, RunState.UPSTREAM_FAILED})


class UpstreamTask(msgspec.Struct, frozen=True):
    """What an upstream task contributes: its state (None before it has any) and whether it is a setup task. Of a
    mapped one those of its instances that are in one state contribute together."""

    state: RunState | None
    setup: bool = False
    count: int = 1


class Ruling(msgspec.Struct, frozen=True):
    """Whether a rule is met, may yet be, or cannot be any more; then with the state that Airflow gives the task."""

    kind: Literal["satisfied", "waiting", "unreachable"]
    outcome: Literal[RunState.SKIPPED, RunState.UPSTREAM_FAILED] | None = None  # of one that is unreachable


SATISFIED = Ruling("satisfied")
WAITING = Ruling("waiting")
SKIPPED = Ruling("unreachable", RunState.SKIPPED)
UPSTREAM_FAILED = Ruling("unreachable", RunState.UPSTREAM_FAILED)


class _Counts(msgspec.Struct, frozen=True):
    """Airflow's own figures. What is not final counts in the total alone: a try with tries left is not done."""

    total: int
    done: int
    success: int
    skipped: int
    failed: int
    upstream_failed: int
    setups: int
    success_setups: int
    skipped_setups: int

    @property
    def failures(self) -> int:
        return self.failed + self.upstream_failed


def _count(upstreams: Sequence[UpstreamTask]) -> _Counts:
    all_, setups = _by_state(upstreams), _by_state(each for each in upstreams if each.setup)
    return _Counts(
        total=sum(all_.values()),
        done=sum(count for state, count in all_.items() if state in FINAL),
        success=all_.get(RunState.SUCCEEDED, 0),
        skipped=all_.get(RunState.SKIPPED, 0),
        failed=all_.get(RunState.FAILED, 0),
        upstream_failed=all_.get(RunState.UPSTREAM_FAILED, 0),
        setups=sum(setups.values()),
        success_setups=setups.get(RunState.SUCCEEDED, 0),
        skipped_setups=setups.get(RunState.SKIPPED, 0),
    )


def _by_state(upstreams: Iterable[UpstreamTask]) -> dict[RunState | None, int]:
    """How many there are in each state: a Counter takes five times as long for a handful of them."""
    found: dict[RunState | None, int] = {}
    for each in upstreams:
        found[each.state] = found.get(each.state, 0) + each.count
    return found


def judge(rule: TriggerRule, upstreams: Sequence[UpstreamTask]) -> Ruling:
    """What the rule says of these direct upstream tasks; a task without any may always run."""
    counts = _count(upstreams)
    if counts.total == 0 or _MET[rule](counts):
        return SATISFIED
    return _FATE[rule](counts) or WAITING


def _done(c: _Counts) -> bool:
    return c.done == c.total


_MET: dict[TriggerRule, Callable[[_Counts], bool]] = {
    Rule.ALWAYS: lambda _: True,
    Rule.ALL_SUCCESS: lambda c: c.success == c.total,
    Rule.ALL_FAILED: lambda c: c.failures == c.total,
    Rule.ALL_DONE: _done,
    Rule.ALL_DONE_SETUP_SUCCESS: lambda c: _done(c) and (c.setups == 0 or c.success_setups > 0),
    Rule.ALL_DONE_MIN_ONE_SUCCESS: lambda c: _done(c) and c.success > 0 and c.skipped == 0,
    Rule.ALL_SKIPPED: lambda c: c.skipped == c.total,
    Rule.ONE_SUCCESS: lambda c: c.success > 0,
    Rule.ONE_FAILED: lambda c: c.failures > 0,
    Rule.ONE_DONE: lambda c: c.success + c.failed > 0,
    Rule.NONE_FAILED: lambda c: c.success + c.skipped == c.total,
    Rule.NONE_FAILED_MIN_ONE_SUCCESS: lambda c: c.success + c.skipped == c.total and c.success > 0,
    Rule.NONE_SKIPPED: lambda c: _done(c) and c.skipped == 0,
}


def _skipped_if(condition: bool) -> Ruling | None:
    return SKIPPED if condition else None


def _all_success(c: _Counts) -> Ruling | None:
    return UPSTREAM_FAILED if c.failures else _skipped_if(c.skipped > 0)


def _none_failed_min_one_success(c: _Counts) -> Ruling | None:
    return UPSTREAM_FAILED if c.failures else _skipped_if(c.skipped == c.total)


def _without_success(c: _Counts) -> Ruling | None:
    """All are done and none succeeded: skipped when all were, else a failure."""
    if not _done(c):
        return None
    return SKIPPED if c.skipped == c.total else UPSTREAM_FAILED


def _none_skipped_min_one_success(c: _Counts) -> Ruling | None:
    """Airflow 3's all_done_min_one_success, which does not count a skipped task as done."""
    return SKIPPED if c.skipped else _without_success(c)


def _without_setup(c: _Counts) -> Ruling | None:
    if not _done(c):
        return None
    return SKIPPED if c.skipped_setups >= c.setups else UPSTREAM_FAILED


_FATE: dict[TriggerRule, Callable[[_Counts], Ruling | None]] = {  # of a rule that is not met
    Rule.ALWAYS: lambda _: None,
    Rule.ALL_SUCCESS: _all_success,
    Rule.ALL_FAILED: lambda c: _skipped_if(c.success + c.skipped > 0),
    Rule.ALL_DONE: lambda _: None,
    Rule.ALL_DONE_SETUP_SUCCESS: _without_setup,
    Rule.ALL_DONE_MIN_ONE_SUCCESS: _none_skipped_min_one_success,
    Rule.ALL_SKIPPED: lambda c: _skipped_if(c.success + c.failures > 0),
    Rule.ONE_SUCCESS: _without_success,
    Rule.ONE_FAILED: lambda c: _skipped_if(_done(c)),
    Rule.ONE_DONE: lambda c: _skipped_if(_done(c)),
    Rule.NONE_FAILED: lambda c: UPSTREAM_FAILED if c.failures else None,
    Rule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    Rule.NONE_SKIPPED: lambda c: _skipped_if(c.skipped > 0),
}

ACCEPTS: dict[TriggerRule, frozenset[RunState]] = {  # the upstream states that serve a rule
    Rule.ALWAYS: frozenset(RunState),
    Rule.ALL_SUCCESS: frozenset({RunState.SUCCEEDED}),
    Rule.ALL_FAILED: _FAILURES,
    Rule.ALL_DONE: FINAL,
    Rule.ALL_DONE_SETUP_SUCCESS: FINAL,
    Rule.ALL_DONE_MIN_ONE_SUCCESS: FINAL - {RunState.SKIPPED},
    Rule.ALL_SKIPPED: frozenset({RunState.SKIPPED}),
    Rule.ONE_SUCCESS: frozenset({RunState.SUCCEEDED}),
    Rule.ONE_FAILED: _FAILURES,
    Rule.ONE_DONE: frozenset({RunState.SUCCEEDED, RunState.FAILED}),
    Rule.NONE_FAILED: frozenset({RunState.SUCCEEDED, RunState.SKIPPED}),
    Rule.NONE_FAILED_MIN_ONE_SUCCESS: frozenset({RunState.SUCCEEDED, RunState.SKIPPED}),
    Rule.NONE_SKIPPED: FINAL - {RunState.SKIPPED},
}
ONE_IS_ENOUGH = frozenset({Rule.ONE_SUCCESS, Rule.ONE_FAILED, Rule.ONE_DONE})


def in_the_way(rule: TriggerRule, upstreams: Sequence[UpstreamTask]) -> list[int]:
    """The places of the upstream tasks that a rule which is not met waits for or breaks on; never none of them.

    Where each would do by itself, as when all were skipped and one must succeed, all of them are in the way.
    """
    found = [place for place, upstream in enumerate(upstreams) if upstream.state not in ACCEPTS[rule]]
    return found or list(range(len(upstreams)))
