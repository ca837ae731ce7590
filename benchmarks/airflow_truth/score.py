"""How our verdicts agree with Airflow's decisions: counted, with each disagreement named.

The exceptions are those that docs/truth.md gives the reasons of. They are narrow on purpose: a verdict that is not
exactly what an exception says counts as a disagreement.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from benchmarks.airflow_truth.manifest import depends_on
from benchmarks.airflow_truth.replay import Feed, Pair, Trace, rewritten
from benchmarks.airflow_truth.spec import Dag, Task
from dataforge.model.verdict import Code, Status, Verdict

Agreement = Literal[
    "agree",
    "undecided",
    "retry",
    "cascade",
    "conflict",
    "rewritten",
    "unheard",
    "over",
    "false-ready",
    "false-blocked",
    "wrong-fate",
]
DISAGREEMENTS: tuple[Agreement, ...] = ("false-ready", "false-blocked", "wrong-fate")
COLUMNS: dict[Feed, tuple[Agreement, ...]] = {
    "everything": ("agree", "undecided", "retry", "cascade", "conflict", "rewritten", *DISAGREEMENTS),
    "runs": ("agree", "unheard", "over", "false-ready"),
}


class Disagreement(msgspec.Struct, frozen=True):
    """One verdict that Airflow's decision refutes."""

    kind: Agreement
    rule: str
    ours: str
    pair: Pair

    def line(self) -> str:
        """It in a line, with the DAG and the step in which it can be found again."""
        decision = self.pair.decision
        where = f"{self.pair.dag} step {self.pair.step} {decision.task}[{decision.map_index}] ({self.rule})"
        said = "; ".join(reason.message for reason in self.pair.verdict.reasons)
        return f"{self.kind}: {where}: Airflow {decision.decision}, we {self.ours}: {said}"


class Score(msgspec.Struct, frozen=True):
    """All verdicts of a run of the comparison."""

    feed: Feed
    dags: int
    steps: int
    by_rule: dict[str, Counter[Agreement]]
    disagreements: list[Disagreement]

    @property
    def verdicts(self) -> int:
        return sum(counter.total() for counter in self.by_rule.values())

    def count(self, kind: Agreement) -> int:
        """How many verdicts are of this kind, of all rules together."""
        return sum(counter[kind] for counter in self.by_rule.values())

    def table(self) -> str:
        """The figures, a line for each trigger rule and one for all."""
        kinds = COLUMNS[self.feed]
        head = f"{'trigger rule':<28}{'verdicts':>9}" + "".join(f"{kind:>15}" for kind in kinds)
        rows = [(rule, counter) for rule, counter in sorted(self.by_rule.items())]
        rows.append(("all", sum((counter for _, counter in rows), Counter())))
        lines = [f"{rule:<28}{c.total():>9}" + "".join(f"{c[kind]:>15}" for kind in kinds) for rule, c in rows]
        return "\n".join([f"{self.dags} DAGs, {self.steps} scheduling steps, {self.verdicts} verdicts", head, *lines])


def score(dags: Iterable[Dag], traces: Sequence[Trace], pairs: Iterable[Pair], feed: Feed) -> Score:
    """Counts the verdicts by their tasks' trigger rules."""
    by_name = {dag.name: dag for dag in dags}
    steps = {trace.dag: len(trace.steps) for trace in traces}
    changed = {trace.dag: rewritten(trace) for trace in traces}
    by_rule: dict[str, Counter[Agreement]] = {}
    disagreements = []
    for pair in pairs:
        dag = by_name[pair.dag]
        task = dag.task(pair.decision.task)
        kind = agreement(task, pair) if feed == "everything" else soundness(dag, task, pair)
        if kind in DISAGREEMENTS and changed[dag.name] & {task.name, *depends_on(dag, task)}:
            kind = "rewritten" if feed == "everything" else "over"
        rule = task.rule.value
        by_rule.setdefault(rule, Counter())[kind] += 1
        if kind in DISAGREEMENTS:
            disagreements.append(Disagreement(kind, rule, said(pair.verdict), pair))
    return Score(feed, len(by_name), sum(steps.values()), by_rule, disagreements)


def merge(scores: list[Score]) -> Score:
    """Several scores as one."""
    by_rule: dict[str, Counter[Agreement]] = {}
    for each in scores:
        for rule, counter in each.by_rule.items():
            by_rule.setdefault(rule, Counter()).update(counter)
    return Score(
        feed=scores[0].feed,
        dags=sum(each.dags for each in scores),
        steps=sum(each.steps for each in scores),
        by_rule=by_rule,
        disagreements=[disagreement for each in scores for disagreement in each.disagreements],
    )


def agreement(task: Task, pair: Pair) -> Agreement:
    """Whether the verdict is Airflow's decision, an exception, or wrong, and how."""
    airflow, ours = pair.decision.decision, said(pair.verdict)
    if airflow == ours:
        return "agree"
    if (excepted := _exception(task, pair, airflow, ours)) is not None:
        return excepted
    if ours == "runnable":
        return "false-ready"
    return "false-blocked" if airflow == "runnable" else "wrong-fate"


def _exception(task: Task, pair: Pair, airflow: str, ours: str) -> Agreement | None:
    if ours == "undecided" and airflow in ("runnable", "skipped"):
        return "undecided"
    if ours == "running" and pair.decision.state == "up_for_retry":
        return "retry"
    if ours == "waiting" and airflow in _FATES and _marked(task, pair) == airflow:
        return "cascade"
    return "conflict" if isinstance(task.mapped, str) and {ours, airflow} == _FATES else None


_FATES = {"skipped", "upstream_failed"}


def _marked(task: Task, pair: Pair) -> str | None:
    """What Airflow marked, in the same step, the task that this one is mapped over."""
    return next((each.decision for each in pair.beside if each.task == task.mapped), None)


def soundness(dag: Dag, task: Task, pair: Pair) -> Agreement:
    """Where the ledger is told of runs alone it has to wait for much (`unheard`), and may never be ready too early.

    Of some ends nothing can tell it (`over`): an EmptyOperator that Airflow ended without running it, what `fail_stop`
    skips after a failure elsewhere, and a failed task that a branch skipped after all.
    """
    airflow, ready = pair.decision.decision, pair.verdict.runnable
    if not ready:
        return "unheard" if airflow == "runnable" else "agree"
    if airflow == "runnable":
        return "agree"
    silent = (task.kind == "empty" and airflow == "success") or (dag.fail_stop and airflow == "skipped")
    return "over" if silent and airflow == pair.decision.state else "false-ready"


def said(verdict: Verdict) -> str:
    """The verdict in Airflow's words."""
    if verdict.runnable:
        return "runnable"
    if verdict.fate is not None:
        return verdict.fate
    if verdict.status is Status.RUNNING:
        return "running"
    undecided = all(reason.code is Code.BRANCH_UNDECIDED for reason in verdict.reasons)
    return "undecided" if undecided else "waiting"
