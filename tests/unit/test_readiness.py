"""The rule of readiness: every reason named, and the answer a function of the question alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dataforge.model.admission import FREE, Admission, Gate
from dataforge.model.attempt import Interval
from dataforge.model.edge import TriggerRule
from dataforge.model.readiness import Problem, Question, decide, decide_all, obstacle
from dataforge.model.reference import TaskRef
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.trigger_rule import UpstreamTask
from dataforge.model.upstream import CONDITIONS, History, State, Upstream
from dataforge.model.verdict import Code, NodeRef, Reason, Status, Verdict

NOW = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
KEY = "2026-11-01"
ENDED = Interval(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
OPEN = Interval(datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
SINCE = datetime(2026, 11, 2, 0, 10, tzinfo=UTC)
STATUS_OF = {
    RunState.SUCCEEDED: PartitionStatus.READY,
    RunState.SKIPPED: PartitionStatus.SKIPPED,
    RunState.FAILED: PartitionStatus.FAILED,
    RunState.UPSTREAM_FAILED: PartitionStatus.FAILED,
    RunState.CANCELED: PartitionStatus.FAILED,
}


def _state(run_state: str, evidence: Evidence = Evidence.REPORTED, status: PartitionStatus | None = None) -> State:
    run = RunState(run_state)
    derived = status or STATUS_OF.get(run, PartitionStatus.RUNNING)
    return State(status=derived, run_state=run, evidence=evidence, since=SINCE, started_at=SINCE)


def _task(name: str, state: State | None = None, **more: Any) -> Upstream:
    more = {"owner": "team", "window": ENDED, **more}
    return Upstream(node=NodeRef("task", "airflow", name), partition=KEY, state=state, **more)


def _dataset(name: str, state: State | None = None, **more: Any) -> Upstream:
    more = {"owner": "team", "window": ENDED, **more}
    return Upstream(node=NodeRef("dataset", "s3", name), partition=KEY, state=state, **more)


def _question(*upstreams: Upstream, **more: Any) -> Question:
    more = {"task": TaskRef("airflow", "load"), "partition": KEY, "now": NOW, "graph_version": 7, **more}
    return Question(upstreams=upstreams, **more)


def _codes(verdict: Verdict) -> list[str]:
    return [reason.code.value for reason in verdict.reasons]


def _warned(verdict: Verdict) -> list[str]:
    return [reason.code.value for reason in verdict.warnings]


def test_a_task_whose_upstreams_are_ready_may_run() -> None:
    verdict = decide(_question(_task("a", _state("succeeded")), _dataset("d", _state("succeeded"))))
    assert (verdict.runnable, verdict.status, verdict.reasons, verdict.warnings) == (True, Status.RUNNABLE, (), ())


@pytest.mark.parametrize(
    ("upstream", "code", "status", "shown"),
    [
        (_task("a"), "upstream_missing", "waiting", "missing"),
        (_task("a", known=False), "upstream_missing", "blocked", "missing"),
        (_task("a", obstacle="b failed"), "upstream_missing", "blocked", "missing"),
        (_task("a", _state("queued")), "upstream_running", "waiting", "queued"),
        (_task("a", _state("running")), "upstream_running", "waiting", "running"),
        (_task("a", _state("up_for_retry")), "upstream_running", "waiting", "up_for_retry"),
        (_task("a", _state("failed")), "upstream_failed", "blocked", "failed"),
        (_task("a", _state("upstream_failed")), "upstream_failed", "blocked", "upstream_failed"),
        (_task("a", _state("canceled")), "upstream_failed", "blocked", "canceled"),
        (_task("a", _state("skipped")), "upstream_skipped", "blocked", "skipped"),
        (_task("a", _state("unknown", Evidence.INFERRED)), "upstream_unconfirmed", "blocked", "unknown"),
        (_task("a", _state("succeeded", Evidence.INFERRED)), "upstream_unconfirmed", "blocked", "ready"),
        (
            _task("a", _state("succeeded", status=PartitionStatus.QUARANTINED)),
            "upstream_quarantined",
            "blocked",
            "quarantined",
        ),
    ],
)
def test_an_unmet_upstream_is_named_with_its_state_and_owner(
    upstream: Upstream, code: str, status: str, shown: str
) -> None:
    for each in (upstream, replace(upstream, node=NodeRef("dataset", "s3", "d"))):
        verdict = decide(_question(each))
        assert (verdict.runnable, verdict.status) == (False, status)
        [reason] = verdict.reasons
        assert (reason.code, reason.upstream, reason.partition) == (code, each.node, KEY)
        assert (reason.state, reason.owner) == (shown, "team")
        assert reason.since == (SINCE if each.state else ENDED.end)


def test_what_is_missing_is_late_only_after_its_window() -> None:
    [reason] = decide(_question(_task("a", window=OPEN))).reasons
    assert reason.since is None
    assert "its window ends 2026-11-03 00:00 UTC" in reason.message


@pytest.mark.parametrize(
    ("own", "runnable", "status", "codes"),
    [
        ("succeeded", False, "succeeded", ["already_done"]),
        ("skipped", False, "skipped", ["already_done"]),
        ("running", False, "running", ["already_running"]),
        ("up_for_retry", False, "running", ["already_running"]),
        ("unknown", False, "unknown", ["already_running"]),
        ("canceled", False, "blocked", ["canceled"]),
        ("failed", True, "failed", []),
        ("upstream_failed", True, "upstream_failed", []),
    ],
)
def test_a_task_whose_upstreams_are_ready_may_run_unless_it_did(
    own: str, runnable: bool, status: str, codes: list[str]
) -> None:
    verdict = decide(_question(_task("a", _state("succeeded")), own=_state(own)))
    assert (verdict.runnable, verdict.status, _codes(verdict)) == (runnable, status, codes)


def test_a_failed_task_waits_for_its_upstreams_like_any_other() -> None:
    verdict = decide(_question(_task("a", _state("running")), own=_state("failed")))
    assert (verdict.runnable, verdict.status, _codes(verdict)) == (False, "failed", ["upstream_running"])


def test_a_rule_that_one_upstream_can_meet_waits_for_the_others() -> None:
    upstreams = (_task("a", _state("failed")), _task("b", _state("running")))
    verdict = decide(_question(*upstreams, rule=TriggerRule.ONE_SUCCESS))
    assert (verdict.status, _codes(verdict)) == ("waiting", ["upstream_failed", "upstream_running"])
    assert decide(_question(*upstreams, rule=TriggerRule.ONE_FAILED)).runnable


def test_an_upstream_that_ended_otherwise_than_the_rule_wants_is_an_unmet_condition() -> None:
    verdict = decide(_question(_task("a", _state("succeeded")), rule=TriggerRule.ONE_FAILED, platform="airflow"))
    assert (verdict.status, _codes(verdict)) == ("blocked", ["condition_unmet"])
    assert "the trigger rule is one_failed" in verdict.reasons[0].message
    assert "Airflow marks it skipped" in verdict.warnings[0].message


def test_a_trigger_rule_does_not_speak_of_datasets() -> None:
    verdict = decide(_question(_dataset("d", _state("failed")), rule=TriggerRule.ALL_DONE))
    assert _codes(verdict) == ["upstream_failed"]


def test_an_inferred_failure_does_not_start_what_waits_for_failures() -> None:
    weak = _task("a", _state("failed", Evidence.INFERRED))
    verdict = decide(_question(weak, rule=TriggerRule.ONE_FAILED))
    assert _codes(verdict) == ["upstream_unconfirmed"]


@pytest.mark.parametrize(
    ("condition", "state", "codes"),
    [
        ("failed", "failed", []),
        ("failed", "succeeded", ["condition_unmet"]),
        ("finished", "skipped", []),
        ("finished", "running", ["upstream_running"]),
        ("skipped", "skipped", []),
    ],
)
def test_a_condition_of_an_edge_is_judged_by_itself(condition: str, state: str, codes: list[str]) -> None:
    upstream = _task("a", _state(state), condition=condition)
    assert _codes(decide(_question(upstream, _task("b", _state("succeeded"))))) == codes


@pytest.mark.parametrize(
    ("staleness", "codes", "warnings"),
    [("ignore", [], []), ("warn", [], ["upstream_stale"]), ("block", ["upstream_stale"], [])],
)
def test_a_stale_upstream_counts_as_its_edge_says(staleness: str, codes: list[str], warnings: list[str]) -> None:
    state = _state("succeeded", status=PartitionStatus.STALE)
    verdict = decide(_question(_dataset("d", state, staleness=staleness)))
    assert (_codes(verdict), _warned(verdict)) == (codes, warnings)


def test_an_optional_upstream_only_warns() -> None:
    verdict = decide(_question(_task("a", required=False), _dataset("d", _state("failed"), required=False)))
    assert verdict.runnable
    assert _warned(verdict) == ["upstream_failed", "upstream_missing"]


def test_nobody_knows_what_it_depends_on() -> None:
    verdict = decide(_question(dependencies_known=False))
    assert (verdict.status, _codes(verdict)) == ("blocked", ["dependencies_unknown"])


def test_an_unknown_rule_is_no_answer_but_lists_the_upstreams() -> None:
    verdict = decide(_question(_task("a", _state("failed")), _task("b", _state("succeeded")), rule=None))
    assert _codes(verdict) == ["dependencies_unknown"]
    assert "declare its trigger_rule" in verdict.reasons[0].message
    assert [(w.upstream.name if w.upstream else None, w.state) for w in verdict.warnings] == [
        ("a", "failed"),
        ("b", "ready"),
    ]


@pytest.mark.parametrize(
    ("own", "branch", "codes"),
    [
        (None, "succeeded", ["branch_undecided"]),
        (None, "skipped", ["upstream_skipped"]),
        (_state("queued"), "succeeded", ["already_running"]),
        (_state("failed"), "succeeded", []),
    ],
)
def test_what_lies_behind_a_branch_is_undecided_until_its_own_state_is_known(
    own: State | None, branch: str, codes: list[str]
) -> None:
    verdict = decide(_question(_task("choose", _state(branch), branching=True), own=own))
    assert _codes(verdict) == codes


def test_a_misfit_is_the_only_reason() -> None:
    misfit = Reason(code=Code.NO_SUCH_PARTITION, message="no")
    verdict = decide(_question(_task("a"), misfit=misfit, own=_state("running")))
    assert (verdict.status, verdict.reasons) == ("unknown", (misfit,))


def test_an_edge_that_cannot_be_mapped_is_named() -> None:
    reason = Reason(code=Code.PARTITION_UNKNOWN, message="?", upstream=NodeRef("dataset", "s3", "d"))
    assert decide(_question(problems=(Problem(reason, required=True),))).reasons == (reason,)
    assert decide(_question(problems=(Problem(reason, required=False),))).warnings == (reason,)


def test_nothing_runs_before_its_time() -> None:
    verdict = decide(_question(window=OPEN, run_after=timedelta(minutes=30)))
    assert (verdict.status, _codes(verdict)) == ("waiting", ["not_before"])
    assert verdict.reasons[0].expected_at == OPEN.end + timedelta(minutes=30)
    assert decide(_question(window=ENDED, run_after=timedelta(minutes=30))).runnable


def test_nothing_runs_for_a_window_that_has_not_ended() -> None:
    verdict = decide(_question(window=OPEN))
    assert (verdict.status, _codes(verdict), verdict.reasons[0].expected_at) == ("waiting", ["not_before"], OPEN.end)
    assert decide(_question(window=ENDED)).runnable


def test_what_runs_is_expected_its_median_duration_after_its_start() -> None:
    history = History(durations=(timedelta(minutes=5), timedelta(minutes=50), timedelta(minutes=10)))
    [reason] = decide(_question(_task("a", _state("running"), history=history))).reasons
    assert reason.expected_at == SINCE + timedelta(minutes=10)


def test_what_is_missing_is_expected_its_median_lag_after_its_window() -> None:
    history = History(lags=(timedelta(hours=1), timedelta(hours=3)))
    [reason] = decide(_question(_task("a", window=OPEN, history=history))).reasons
    assert reason.expected_at == OPEN.end + timedelta(hours=2)


@pytest.mark.parametrize("upstream", [_task("a"), _task("a", _state("running")), _task("a", window=None)])
def test_without_history_nothing_is_expected(upstream: Upstream) -> None:
    assert decide(_question(upstream)).reasons[0].expected_at is None


def test_a_failure_behind_a_missing_upstream_is_an_obstacle() -> None:
    assert obstacle(_question(_task("a", _state("failed")))) == f"a for {KEY} failed"
    assert obstacle(_question(own=_state("failed"))) == "load failed"
    assert obstacle(_question(_task("a", obstacle="b failed"))) == "b failed"
    assert obstacle(_question(_task("a"))) is None
    assert obstacle(_question(dependencies_known=False)) is None


states = st.one_of(
    st.none(),
    st.builds(
        State,
        status=st.sampled_from(PartitionStatus),
        run_state=st.sampled_from(RunState),
        evidence=st.sampled_from(Evidence),
        since=st.just(SINCE),
        started_at=st.just(SINCE),
    ),
)
upstreams = st.builds(
    Upstream,
    node=st.builds(NodeRef, st.sampled_from(["task", "dataset"]), st.just("ns"), st.sampled_from("abcdef")),
    partition=st.sampled_from(["", KEY, "2026-10-31"]),
    state=states,
    window=st.sampled_from([None, ENDED, OPEN]),
    condition=st.sampled_from(sorted(CONDITIONS)),
    required=st.booleans(),
    staleness=st.sampled_from(["ignore", "warn", "block"]),
    known=st.booleans(),
    branching=st.booleans(),
)
questions = st.builds(
    Question,
    task=st.just(TaskRef("ns", "load")),
    partition=st.just(KEY),
    now=st.just(NOW),
    graph_version=st.just(1),
    platform=st.sampled_from(["airflow", "dbt"]),
    own=states,
    dependencies_known=st.booleans(),
    rule=st.one_of(st.none(), st.sampled_from(TriggerRule)),
    upstreams=st.lists(upstreams, max_size=5, unique_by=lambda u: (u.node, u.partition)).map(tuple),
)


@given(questions)
def test_it_is_runnable_exactly_when_nothing_is_against_it(question: Question) -> None:
    verdict = decide(question)
    assert verdict.runnable == (not verdict.reasons)
    assert not (verdict.status in ("waiting", "blocked", "running", "succeeded") and verdict.runnable)


@given(questions, st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_of_the_upstreams(question: Question, random: Any) -> None:
    shuffled = list(question.upstreams)
    random.shuffle(shuffled)
    assert decide(replace(question, upstreams=tuple(shuffled))) == decide(question)


@given(questions)
def test_a_ready_upstream_never_stands_in_the_way_of_success(question: Question) -> None:
    """Of rules that want success; one that wants a failure may well be disappointed."""
    ready = _task("z", _state("succeeded"))
    for rule in (TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE, TriggerRule.NONE_FAILED, TriggerRule.ONE_SUCCESS):
        before = decide(replace(question, rule=rule))
        after = decide(replace(question, rule=rule, upstreams=(*question.upstreams, ready)))
        assert after.runnable or not before.runnable or not _has_tasks(question)


def _has_tasks(question: Question) -> bool:
    return any(upstream.node.kind == "task" and upstream.required for upstream in question.upstreams)


@given(questions)
def test_under_all_success_every_unmet_required_upstream_is_named(question: Question) -> None:
    verdict = decide(replace(question, rule=TriggerRule.ALL_SUCCESS))
    named = {(reason.upstream, reason.partition) for reason in verdict.reasons}
    for upstream in question.upstreams:
        if upstream.required and not upstream.serves(CONDITIONS[upstream.condition]):
            assert (upstream.node, upstream.partition or None) in named


@given(questions)
def test_what_has_plainly_succeeded_may_be_left_out_where_all_have_to(question: Question) -> None:
    whole = replace(question, rule=TriggerRule.ALL_SUCCESS)
    left = replace(whole, upstreams=tuple(u for u in whole.upstreams if not _is_met(u)))
    assert decide(left) == decide(whole)
    assert obstacle(left) == obstacle(whole)


def _is_met(upstream: Upstream) -> bool:
    plain = upstream.state is not None and upstream.state.plain
    return plain and upstream.condition == "succeeded" and not upstream.branching


_UNTOLD = Reason(code=Code.PARTITION_UNKNOWN, message="?", upstream=NodeRef("dataset", "s3", "d"))
bare = st.builds(
    Question,
    task=st.builds(TaskRef, st.just("ns"), st.sampled_from("ab")),
    partition=st.sampled_from(["", KEY, "2026-10-31"]),
    now=st.sampled_from([NOW, NOW + timedelta(days=2)]),
    graph_version=st.integers(1, 2),
    platform=st.sampled_from(["airflow", "dbt"]),
    basis=st.sampled_from(["declared", "observed"]),
    misfit=st.sampled_from([None, None, Reason(code=Code.NO_SUCH_PARTITION, message="no")]),
    own=st.one_of(st.none(), st.none(), states),
    window=st.sampled_from([None, ENDED, OPEN]),
    run_after=st.sampled_from([None, timedelta(days=1)]),
    dependencies_known=st.booleans(),
    rule=st.sampled_from([None, TriggerRule.ALL_SUCCESS, TriggerRule.ONE_FAILED]),
    instances=st.sampled_from([None, 0, 3]),
    upstreams=st.one_of(st.just(()), st.just(()), st.lists(upstreams, min_size=1, max_size=1).map(tuple)),
    problems=st.sampled_from([(), (), (Problem(_UNTOLD, required=True),)]),
    changed=st.sampled_from([(), (), (_UNTOLD,)]),
    admission=st.sampled_from([FREE, FREE, Admission(gates=(Gate("audit"),))]),
    observed_through=st.sampled_from([{}, {"ns": NOW}, {"ns": SINCE}]),
)


@given(st.lists(bare, max_size=8))
def test_on_many_it_is_decided_as_on_each(asked: list[Question]) -> None:
    assert decide_all(dict(enumerate(asked))) == {place: decide(each) for place, each in enumerate(asked)}


def test_a_partition_that_stands_itself_is_decided_on_alone() -> None:
    asked = {place: _question(own=own) for place, own in enumerate([None, _state("succeeded"), _state("running")])}
    assert [decide_all(asked)[place] for place in asked] == [decide(each) for each in asked.values()]


@given(bare, st.data())
def test_no_two_questions_are_alike_that_have_different_answers(one: Question, data: st.DataObject) -> None:
    """Of each two of which one field differs, so that no field is forgotten."""
    field = data.draw(st.sampled_from(Question.__struct_fields__))
    other = replace(one, **{field: getattr(data.draw(bare), field)})
    assert decide_all({1: one, 2: other}) == {1: decide(one), 2: decide(other)}


@given(questions)
def test_what_is_inferred_never_satisfies(question: Question) -> None:
    weak = tuple(
        replace(u, required=True, state=replace(u.state, evidence=Evidence.INFERRED) if u.state else None)
        for u in question.upstreams
    )
    verdict = decide(replace(question, upstreams=weak, rule=TriggerRule.ALL_SUCCESS))
    assert verdict.runnable <= (not weak)
    assert all(u.contribution == UpstreamTask(None) for u in weak)


@given(questions)
def test_waiting_needs_nobody_and_blocked_needs_somebody(question: Question) -> None:
    verdict = decide(replace(question, rule=TriggerRule.ALL_SUCCESS, own=None))
    passing = {"upstream_running", "branch_undecided"}
    if verdict.status is Status.WAITING:
        assert set(_codes(verdict)) <= passing | {"upstream_missing"}
    if verdict.status is Status.BLOCKED:
        assert set(_codes(verdict)) - passing
