"""What Airflow makes of a task, by how its upstream tasks stand: its trigger rule first, and beside it what no trigger
rule can set aside, the setups that it works under and the tasks that it is mapped over.

Guarantees the decision that Airflow 2.11's scheduler comes to (`TriggerRuleDep`, `MappedTaskUpstreamDep`,
`expand_mapped_task`), and that whatever is not satisfied is explained by at least one finding. What Airflow alone
knows, such as how long the list is that a task is mapped over, is not decided here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from dataforge.model.edge import TriggerRule
from dataforge.model.state import FINAL, RunState
from dataforge.model.trigger_rule import (
    ACCEPTS,
    ONE_IS_ENOUGH,
    SATISFIED,
    SKIPPED,
    UPSTREAM_FAILED,
    WAITING,
    Ruling,
    in_the_way,
    judge,
)
from dataforge.model.upstream import Finding, Upstream, unmet
from dataforge.model.verdict import Code, Reason

_SUCCEEDED = frozenset({RunState.SUCCEEDED})
_FAILURES = frozenset({RunState.FAILED, RunState.UPSTREAM_FAILED})


def concerns(upstream: Upstream) -> bool:
    """Whether Airflow's rules speak of it: of a task, unless the edge has a condition of its own."""
    return upstream.node.kind == "task" and upstream.condition == "succeeded"


def concerned(upstreams: Iterable[Upstream]) -> list[Upstream]:
    """The upstreams that Airflow's rules speak of, apart from optional ones."""
    return [upstream for upstream in upstreams if upstream.required and concerns(upstream)]


def ruling(
    rule: TriggerRule, upstreams: Sequence[Upstream], instances: int | None = None, *, held: bool = False
) -> Ruling:
    """What Airflow decides next. `upstreams` are those concerned; `instances` is how many the task is mapped to, where
    its definition says so. What something else holds back, such as the run of the day before, is not expanded yet."""
    if not upstreams and not held:  # as of most that may run: what has plainly succeeded is left out
        return _expansion(upstreams, instances)
    found = [_under_setups(rule, upstreams), _under_rule(rule, upstreams), _mapped_over(upstreams)]
    lost = next((each for each in found if each.kind == "unreachable"), None)
    if lost is not None:
        return lost
    return WAITING if held or WAITING in found else _expansion(upstreams, instances)


def findings(rule: TriggerRule, upstreams: Sequence[Upstream], instances: int | None, now: datetime) -> list[Finding]:
    """Why Airflow does not start the task; empty when it may."""
    if ruling(rule, upstreams, instances) == SATISFIED:
        return []
    found = _against_rule(rule, upstreams, now)
    if _under_setups(rule, upstreams) != SATISFIED:
        setups = [u for u in _setups(upstreams) if not _all_in(u, _SUCCEEDED)]
        found += [unmet(u, _SUCCEEDED, " (this task works under that setup)", now) for u in setups]
    sources = [u for u in _sources(upstreams) if not _settled_length(u)]
    found += [unmet(u, _SUCCEEDED, " (this task is mapped over what it returns)", now) for u in sources]
    return found or [Finding(Reason(code=Code.CONDITION_UNMET, message="it is mapped over nothing, so it never runs"))]


def _direct(upstreams: Iterable[Upstream]) -> list[Upstream]:
    return [u for u in upstreams if u.role in ("upstream", "mapped_over")]


def _setups(upstreams: Iterable[Upstream]) -> list[Upstream]:
    return [u for u in upstreams if u.role == "setup"]


def _sources(upstreams: Iterable[Upstream]) -> list[Upstream]:
    return [u for u in upstreams if u.role == "mapped_over"]


def _under_rule(rule: TriggerRule, upstreams: Sequence[Upstream]) -> Ruling:
    return judge(rule, [each for u in _direct(upstreams) for each in u.contributions])


def _under_setups(rule: TriggerRule, upstreams: Sequence[Upstream]) -> Ruling:
    """A setup that failed or was skipped decides at once. Airflow looks at none of them where it looks at no rule."""
    if rule is TriggerRule.ALWAYS or not _direct(upstreams):
        return SATISFIED
    states = {each.state for u in _setups(upstreams) for each in u.contributions}
    if states & _FAILURES:
        return UPSTREAM_FAILED
    if RunState.SKIPPED in states:
        return SKIPPED
    return SATISFIED if states <= _SUCCEEDED else WAITING


def _mapped_over(upstreams: Sequence[Upstream]) -> Ruling:
    """Of what it is mapped over, one that ended without success decides; a mapped one that has instances never does."""
    ended = {u.contribution.state for u in _sources(upstreams) if not u.expanded} & FINAL
    if ended & _FAILURES:
        return UPSTREAM_FAILED
    if RunState.SKIPPED in ended:
        return SKIPPED
    return SATISFIED if ended <= _SUCCEEDED else WAITING


def _expansion(upstreams: Sequence[Upstream], instances: int | None) -> Ruling:
    """Airflow expands a task as soon as its rule is met, and gives it up where the list is not there by then."""
    unsettled = [u for u in _sources(upstreams) if not _settled_length(u)]
    if unsettled:
        return WAITING if all(u.expanded and u.uncounted for u in unsettled) else UPSTREAM_FAILED
    return SKIPPED if instances == 0 else SATISFIED


def _settled_length(source: Upstream) -> bool:
    """Whether Airflow knows how much the upstream returned: a mapped one ended in each of its instances, anyhow."""
    return _all_in(source, FINAL if source.expanded else _SUCCEEDED)


def _all_in(upstream: Upstream, accepted: frozenset[RunState]) -> bool:
    return all(each.state in accepted for each in upstream.contributions)


def _against_rule(rule: TriggerRule, upstreams: Sequence[Upstream], now: datetime) -> list[Finding]:
    shares = [(u, each) for u in _direct(upstreams) for each in u.contributions]
    contributions = [each for _, each in shares]
    if judge(rule, contributions).kind == "satisfied":
        return []
    wanted = "" if rule is TriggerRule.ALL_SUCCESS else f" (the trigger rule is {rule})"
    named = {id(shares[place][0]): shares[place][0] for place in in_the_way(rule, contributions)}
    found = [unmet(upstream, ACCEPTS[rule], wanted, now) for upstream in named.values()]
    pending = any(each.state is None and upstream.expanded for upstream, each in shares)
    if rule in ONE_IS_ENOUGH and (pending or any(finding.passes for finding in found)):
        return [Finding(finding.reason, passes=True) for finding in found]
    return found
