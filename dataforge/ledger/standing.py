"""What is known of a task itself, before anything is asked of its upstreams.

Guarantees that nothing is taken for declared that was only observed, and no rule for known that nobody has said.
"""

from collections.abc import Mapping, Sequence

from dataforge.ledger.need import Sketch
from dataforge.model.edge import TriggerRule, trigger_rule
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.trigger import Queue
from dataforge.model.upstream import State
from dataforge.model.verdict import Basis, Code, Reason
from dataforge.storage.readiness import EdgeRow, Place, Subject


def going_on(own: State | None, queue: Queue) -> State | None:
    """The run of a triggered task that has not ended; one that has is over and done, and the question is of the next.
    A DAG's own runs have no partition state."""
    if own is not None and own.status is PartitionStatus.RUNNING:
        return own
    if queue.start is None or not queue.start.running:
        return None
    began = queue.start.began
    return State(
        status=PartitionStatus.RUNNING,
        run_state=RunState.RUNNING,
        evidence=Evidence.REPORTED,
        since=began,
        started_at=began,
    )


def never_cut(subject: Subject, sketch: Sketch, states: Mapping[Place, State]) -> Reason | None:
    """A task of which no partitioning is known may have any key, unless it was seen to run without one."""
    task_id, key = sketch.asked
    if sketch.cut is not None or ("task", task_id, key) in states or ("task", task_id, "") not in states:
        return None
    message = f"{subject.name} has only ever run without a partition, so {key!r} is none of its partitions"
    return Reason(code=Code.NO_SUCH_PARTITION, message=message)


def basis_of(subject: Subject, key: str, *, observed: bool) -> Basis:
    """Whether all that an answer rests on was declared; `observed` says whether an edge was not."""
    observed = observed or (key != "" and subject.partitioning_origin == "observed")
    return "observed" if observed or not subject.declared else "declared"


def rule_of(subject: Subject, used: Sequence[EdgeRow]) -> TriggerRule | None:
    """The trigger rule; None where the platform has rules and nobody has said which. Airflow's events do not show
    the rule of an operator that sends none of its own; who declares upstreams and no rule means the default."""
    spelling = subject.declared_rule or subject.observed_rule
    if spelling is not None:
        return trigger_rule(spelling)
    waits = any(edge.origin == "observed" and edge.node[0] == "task" for edge in used)
    return None if waits and subject.platform == "airflow" else TriggerRule.ALL_SUCCESS
