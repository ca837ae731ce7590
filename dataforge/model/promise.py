"""A question as it will stand once other partitions have been made: of those that one worker runs as one.

Guarantees that nothing is promised but success: what asks for another outcome, or for something that only a run itself
can report, cannot run as one with it.
"""

from collections.abc import Set

from msgspec.structs import replace

from dataforge.model.readiness import Question
from dataforge.model.report import UNSEEN
from dataforge.model.state import Evidence, PartitionStatus, RunState
from dataforge.model.upstream import State, Upstream
from dataforge.model.verdict import NodeRef

Made = Set[tuple[NodeRef, str]]  # tasks and datasets, each with a partition
_READY = State(status=PartitionStatus.READY, run_state=RunState.SUCCEEDED, evidence=Evidence.REPORTED)


def promised(question: Question, made: Made) -> Question:
    """The question with what will have been made, and made anew, by then."""
    return replace(question, upstreams=tuple(_promised(upstream, made) for upstream in question.upstreams))


def _promised(upstream: Upstream, made: Made) -> Upstream:
    keys = upstream.among or (upstream.partition,)
    if all((upstream.node, key) not in made for key in keys):
        return upstream
    lacks = tuple(each for each in upstream.lacks if (each.node, each.partition) not in made)
    if lacks:
        return replace(upstream, lacks=lacks)
    return replace(upstream, state=_READY, reported=UNSEEN, rerun=None, lacks=(), because=(), late=None)
