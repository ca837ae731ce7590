"""What Airflow makes of a task beside its trigger rule: mapped upstreams, setups, and what it is mapped over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dataforge.model import scheduling
from dataforge.model.edge import Role, TriggerRule
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.trigger_rule import SATISFIED, SKIPPED, UPSTREAM_FAILED, WAITING, judge
from dataforge.model.upstream import State, Upstream
from dataforge.model.verdict import NodeRef

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SUCCEEDED, FAILED, SKIP = RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED
_STATUS = {SUCCEEDED: PartitionStatus.READY, SKIP: PartitionStatus.SKIPPED, RunState.RUNNING: PartitionStatus.RUNNING}
states = st.sampled_from([None, RunState.RUNNING, SUCCEEDED, FAILED, SKIP, RunState.UPSTREAM_FAILED, RunState.CANCELED])


def _upstream(state: RunState | None, role: Role = "upstream", **more: Any) -> Upstream:
    found = None
    if state is not None:
        status = _STATUS.get(state, PartitionStatus.FAILED)
        found = State(status=status, run_state=state, evidence=Evidence.REPORTED, **more)
    return Upstream(node=NodeRef("task", "airflow", "a"), partition="", state=found, role=role)


def _mapped(*instances: RunState | None, role: Role = "upstream") -> Upstream:
    """A mapped task of these instances, and beside them a state as the ledger sums them up."""
    ended = all(each is not None for each in instances)
    worst = FAILED if FAILED in instances else SUCCEEDED if ended else RunState.RUNNING
    return _upstream(worst, role, instances=tuple((each, 1) for each in instances))


@pytest.mark.parametrize(
    ("rule", "instances", "expected"),
    [
        (TriggerRule.ONE_SUCCESS, (SUCCEEDED, None), SATISFIED),
        (TriggerRule.ONE_FAILED, (FAILED, None), SATISFIED),
        (TriggerRule.ALL_DONE, (FAILED, None), WAITING),
        (TriggerRule.ALL_SUCCESS, (SUCCEEDED, SUCCEEDED), SATISFIED),
        (TriggerRule.ALL_SUCCESS, (SUCCEEDED, SKIP), SKIPPED),
        (TriggerRule.ALL_SUCCESS, (FAILED, None), UPSTREAM_FAILED),
        (TriggerRule.ALL_FAILED, (FAILED, SUCCEEDED), SKIPPED),
        (TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, (SKIP, SUCCEEDED), SATISFIED),
        (TriggerRule.ALL_SKIPPED, (SKIP, SUCCEEDED), SKIPPED),
    ],
)
def test_each_instance_of_a_mapped_upstream_counts(
    rule: TriggerRule, instances: tuple[RunState | None, ...], expected: object
) -> None:
    assert scheduling.ruling(rule, [_mapped(*instances)]) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [(SUCCEEDED, SATISFIED), (None, WAITING), (FAILED, UPSTREAM_FAILED), (SKIP, SKIPPED), (RunState.RUNNING, WAITING)],
)
def test_a_setup_must_have_succeeded_whatever_the_rule(state: RunState | None, expected: object) -> None:
    upstreams = [_upstream(FAILED), _upstream(state, "setup")]
    assert scheduling.ruling(TriggerRule.ONE_FAILED, upstreams) == expected
    assert scheduling.ruling(TriggerRule.ALWAYS, upstreams) == SATISFIED


@pytest.mark.parametrize(
    ("state", "expected"),
    [(SUCCEEDED, SATISFIED), (FAILED, UPSTREAM_FAILED), (SKIP, SKIPPED), (RunState.CANCELED, WAITING)],
)
def test_a_task_is_not_mapped_over_what_did_not_succeed(state: RunState, expected: object) -> None:
    assert scheduling.ruling(TriggerRule.ALL_DONE, [_upstream(state, "mapped_over")]) == expected


def test_a_task_whose_rule_is_met_before_its_list_is_there_is_given_up() -> None:
    waiting = [_upstream(None, "mapped_over")]
    assert scheduling.ruling(TriggerRule.ALWAYS, waiting) == UPSTREAM_FAILED
    assert scheduling.ruling(TriggerRule.ALL_DONE, waiting) == WAITING


def test_what_is_held_back_by_something_else_is_not_expanded_yet() -> None:
    missing = [_upstream(None, "mapped_over")]
    assert scheduling.ruling(TriggerRule.ALWAYS, missing, held=True) == WAITING
    assert scheduling.ruling(TriggerRule.ALL_SUCCESS, [], 0, held=True) == WAITING
    assert scheduling.ruling(TriggerRule.ALL_SUCCESS, [_upstream(FAILED)], held=True) == UPSTREAM_FAILED


def test_a_mapped_task_that_never_said_how_many_it_is_has_not_ended() -> None:
    seen = replace(_mapped(SUCCEEDED, SUCCEEDED), mapped=True)
    assert seen.contribution.state is None
    assert scheduling.ruling(TriggerRule.ALL_DONE, [seen]) == WAITING
    told = replace(seen, total=2)
    assert scheduling.ruling(TriggerRule.ALL_DONE, [told]) == SATISFIED


def test_a_list_is_there_once_every_instance_ended_anyhow() -> None:
    ended = [_mapped(FAILED, SUCCEEDED, role="mapped_over")]
    assert scheduling.ruling(TriggerRule.ALL_DONE, ended) == SATISFIED
    assert scheduling.ruling(TriggerRule.ALWAYS, [_mapped(SUCCEEDED, None, role="mapped_over")]) == UPSTREAM_FAILED


def test_a_task_mapped_over_nothing_is_skipped_when_its_turn_comes() -> None:
    assert scheduling.ruling(TriggerRule.ALL_SUCCESS, [_upstream(None)], 0) == WAITING
    assert scheduling.ruling(TriggerRule.ALL_SUCCESS, [_upstream(SUCCEEDED)], 0) == SKIPPED


roles: st.SearchStrategy[Role] = st.sampled_from(["upstream", "mapped_over", "setup"])
upstream_lists = st.lists(
    st.builds(_upstream, states, roles) | st.builds(lambda s: _mapped(*s), st.lists(states, min_size=1, max_size=3)),
    max_size=5,
)
rules = st.sampled_from(TriggerRule)
counts = st.sampled_from([None, 0, 2])


@given(rules, upstream_lists, counts)
def test_what_is_not_satisfied_is_explained(rule: TriggerRule, upstreams: list[Upstream], count: int | None) -> None:
    satisfied = scheduling.ruling(rule, upstreams, count) == SATISFIED
    assert satisfied == (scheduling.findings(rule, upstreams, count, NOW) == [])


@given(rules, st.lists(st.builds(_upstream, states), max_size=5))
def test_of_plain_upstreams_the_rule_decides_alone(rule: TriggerRule, upstreams: list[Upstream]) -> None:
    alone = judge(rule, [upstream.contribution for upstream in upstreams])
    assert scheduling.ruling(rule, upstreams) == alone
