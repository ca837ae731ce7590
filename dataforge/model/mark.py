"""Marks: what a person says of a run as a whole, that it succeeded, failed or was skipped, or is to be run again.

A mark outranks all that the platform says of the attempts that had begun by then, also what it says of them later: the
person has decided how that execution counts. An attempt that begins after it counts by itself; where no begin is known
the attempt's end stands for it. Guarantees that this follows from the times that are told, in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from dataforge.model.event import Mark, Outcome
from dataforge.model.run import Belief, Run, Standing, ended_at
from dataforge.model.state import Evidence, RunKind, RunState

CLEARED = RunState.QUEUED  # what a run that is to be run again stands as until its new attempt begins


def latest(marks: Iterable[Mark]) -> Mark | None:
    """The mark that stands, of those of a run and of the mapped run that it is an instance of."""
    return max(marks, key=lambda mark: mark.precedence, default=None)


def stands(mark: Mark, standings: Iterable[Standing], outcome: Outcome | None) -> bool:
    """Whether no attempt has begun since: neither one that told of itself, nor one in a DAG run that began later."""
    begun = [each.attempt.started_at or ended_at(each.attempt) for each in standings]
    begun.append(outcome.incarnation if outcome else None)
    return all(each is None or each <= mark.at for each in begun)


def marked(run: Run | None, mark: Mark) -> Run:
    """The run as a person marked it; None is a run that nobody else has told of."""
    belief = Belief(mark.state, Evidence.OPERATOR)
    if run is None:
        return _alone(mark, belief)
    if run.belief.state is mark.state:  # it was so before: since when, and what came of it, stays
        return replace(run, belief=belief)
    error = mark.reason if mark.state is RunState.FAILED else None
    return replace(run, belief=belief, ended_at=mark.at if mark.state.final else None, error=error)


def _alone(mark: Mark, belief: Belief) -> Run:
    return Run(
        kind=RunKind.TASK,
        group_run=mark.run,
        map_index=-1,
        belief=belief,
        ordinal=0,
        attempt_id=None,
        partitions=(mark.partition,) if mark.partition else (),
        partition_from="event" if mark.partition else None,
        started_at=None,
        ended_at=mark.at if mark.state.final else None,
        interval=None,
        error=mark.reason if mark.state is RunState.FAILED else None,
        source={},
    )
