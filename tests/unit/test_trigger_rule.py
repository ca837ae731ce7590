"""Airflow's trigger rules, each against the outcomes that Airflow 2.11's own code comes to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.edge import TriggerRule
from dataforge.model.state import RunState
from dataforge.model.trigger_rule import (
    ACCEPTS,
    ONE_IS_ENOUGH,
    Ruling,
    UpstreamTask,
    in_the_way,
    judge,
)

LETTERS = {
    "s": RunState.SUCCEEDED,
    "f": RunState.FAILED,
    "u": RunState.UPSTREAM_FAILED,
    "k": RunState.SKIPPED,
    "c": RunState.CANCELED,  # Airflow's "removed"
    "r": RunState.RUNNING,
    "t": RunState.UP_FOR_RETRY,
    "?": RunState.UNKNOWN,
    "-": None,
}
RULINGS = {
    "runs": Ruling("satisfied"),
    "waits": Ruling("waiting"),
    "skipped": Ruling("unreachable", RunState.SKIPPED),
    "upstream_failed": Ruling("unreachable", RunState.UPSTREAM_FAILED),
}
TABLE = {
    "all_success": "ss:runs s-:waits sr:waits st:waits s?:waits sc:waits "
    "sf:upstream_failed su:upstream_failed kf:upstream_failed sk:skipped k-:skipped f-:upstream_failed",
    "all_failed": "ff:runs fu:runs uu:runs f-:waits ft:waits fc:waits fs:skipped fk:skipped s-:skipped",
    "all_done": "ss:runs sf:runs ku:runs kk:runs cc:runs s-:waits sr:waits st:waits s?:waits",
    "all_done_setup_success": "sf:runs kk:runs s-:waits",
    "all_done_min_one_success": "sf:runs ss:runs s-:waits ff:upstream_failed sk:skipped k-:skipped kf:skipped",
    "all_skipped": "kk:runs k-:waits kr:waits kt:waits ks:skipped kf:skipped ku:skipped f-:skipped",
    "one_success": "s-:runs sf:runs sr:runs --:waits f-:waits kr:waits ft:waits "
    "ff:upstream_failed fk:upstream_failed uu:upstream_failed kk:skipped",
    "one_failed": "f-:runs u-:runs fs:runs fr:runs --:waits s-:waits t-:waits ts:waits ss:skipped sk:skipped",
    "one_done": "s-:runs f-:runs sk:runs --:waits k-:waits u-:waits t-:waits kk:skipped uu:skipped ku:skipped",
    "none_failed": "ss:runs sk:runs kk:runs s-:waits st:waits sf:upstream_failed u-:upstream_failed",
    "none_failed_min_one_success": "ss:runs sk:runs s-:waits k-:waits kk:skipped sf:upstream_failed ku:upstream_failed",
    "none_skipped": "ss:runs sf:runs fu:runs sc:runs s-:waits ft:waits sk:skipped k-:skipped",
    "always": "--:runs ff:runs kr:runs",
}
CASES = [(rule, *case.split(":")) for rule, cases in TABLE.items() for case in cases.split()]
upstream_lists = st.lists(st.builds(UpstreamTask, st.sampled_from(list(LETTERS.values())), st.booleans()), max_size=6)
rules = st.sampled_from(TriggerRule)


def _tasks(letters: str) -> list[UpstreamTask]:
    return [UpstreamTask(LETTERS[letter]) for letter in letters]


@pytest.mark.parametrize(("rule", "letters", "ruling"), CASES)
def test_a_rule_rules_as_airflow_does(rule: str, letters: str, ruling: str) -> None:
    assert judge(TriggerRule(rule), _tasks(letters)) == RULINGS[ruling]


def test_the_table_has_every_rule() -> None:
    assert set(TABLE) == set(TriggerRule)


@pytest.mark.parametrize(
    ("setup", "work", "ruling"),
    [
        ("s", "f", "runs"),
        ("k", "s", "skipped"),
        ("f", "s", "upstream_failed"),
        ("c", "s", "upstream_failed"),
        ("f", "-", "waits"),
    ],
)
def test_a_teardown_needs_one_of_its_setups(setup: str, work: str, ruling: str) -> None:
    upstreams = [UpstreamTask(LETTERS[setup], setup=True), UpstreamTask(LETTERS[work])]
    assert judge(TriggerRule.ALL_DONE_SETUP_SUCCESS, upstreams) == RULINGS[ruling]


@given(rules)
def test_a_task_without_upstreams_may_run(rule: TriggerRule) -> None:
    assert judge(rule, []) == RULINGS["runs"]


@given(rules, upstream_lists)
def test_the_order_of_upstreams_does_not_matter(rule: TriggerRule, upstreams: list[UpstreamTask]) -> None:
    mirrored = list(reversed(upstreams))
    assert judge(rule, mirrored) == judge(rule, upstreams)


@given(rules, upstream_lists.filter(bool))
def test_a_rule_that_is_not_met_names_who_is_in_the_way(rule: TriggerRule, upstreams: list[UpstreamTask]) -> None:
    if judge(rule, upstreams).kind != "satisfied":
        assert in_the_way(rule, upstreams)


@given(rules, upstream_lists, st.sampled_from([s for s in RunState if s.final]))
def test_a_ruling_stands_whatever_the_upstreams_that_are_not_done_become(
    rule: TriggerRule, upstreams: list[UpstreamTask], later: RunState
) -> None:
    """Only a ruling of waiting may change; Airflow acts on the others at once."""
    before = judge(rule, upstreams)
    after = judge(rule, [u if u.state and u.state.final else UpstreamTask(later, u.setup) for u in upstreams])
    if before.kind == "unreachable":
        assert after.kind == "unreachable"
    if before.kind == "satisfied":
        assert after.kind == "satisfied"


@given(rules, upstream_lists.filter(bool))
def test_where_one_is_enough_one_that_serves_decides(rule: TriggerRule, upstreams: list[UpstreamTask]) -> None:
    if rule in ONE_IS_ENOUGH:
        serves = any(upstream.state in ACCEPTS[rule] for upstream in upstreams)
        assert (judge(rule, upstreams).kind == "satisfied") == serves
