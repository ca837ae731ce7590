"""Asking whether built partitions are older than what they were built from, thousands of them on one snapshot.

Guarantees a number of queries that does not grow with the number of questions, and that what a partition is stale of,
near or far, is named with the way up to what changed (`ledger.staleness`).
"""

from collections.abc import Sequence
from datetime import datetime

from dataforge.ledger.staleness import FAR, MOST_TOLD, Staleness, staleness
from dataforge.model.freshness import BuiltBy, Freshness, FreshnessAnswers, FreshnessQuestion, FreshnessStatus
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef
from dataforge.model.verdict import Code, NodeRef, Reason
from dataforge.storage import environment as environments
from dataforge.storage import freshness as storage
from dataforge.storage import readiness
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Place

LEAST_TOLD = 5  # reasons of one partition that are told, where very many are asked about at once
MOST_TOLD_AT_ONCE = 20_000  # reasons in one answer


def freshness(
    database: Database, environment: str, questions: Sequence[FreshnessQuestion], now: datetime
) -> FreshnessAnswers:
    """One item for each question. A name that fits nothing, or several, has an item that says so."""
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environments.find(connection, environment)
        fitting = _resolve(connection, here, questions)
        places = [
            (question.kind, found[0].id, question.partition or "") if len(found) == 1 else None
            for question, found in zip(questions, fitting, strict=True)
        ]
        found = staleness(connection, here.id, filter(None, places), now, FAR)
    most = max(LEAST_TOLD, min(MOST_TOLD, MOST_TOLD_AT_ONCE // max(1, len(questions))))
    items = [
        _item(question, named[0], found, place, most) if place is not None else _unanswered(question, named)
        for question, place, named in zip(questions, places, fitting, strict=True)
    ]
    return FreshnessAnswers(tuple(items), now, here.graph_version)


def _resolve(
    connection: Connection, here: Environment, questions: Sequence[FreshnessQuestion]
) -> list[Sequence[TaskRef | DatasetRef]]:
    names = {kind: [(q.namespace, q.name) for q in questions if q.kind == kind] for kind in ("task", "dataset")}
    tasks = iter(readiness.resolve(connection, here.id, names["task"]))
    datasets = iter(storage.resolve(connection, here.id, names["dataset"]))
    return [next(tasks) if question.kind == "task" else next(datasets) for question in questions]


def _item(
    question: FreshnessQuestion, named: TaskRef | DatasetRef, found: Staleness, place: Place, most: int
) -> Freshness:
    built = found.compared[place].built
    return Freshness(
        node=NodeRef(question.kind, named.namespace, named.name),
        partition=question.partition or None,
        status=found.status(place),
        built_at=built.success.ended_at if built else None,
        built_by=BuiltBy(built.task, built.success.by[1]) if built else None,
        reasons=found.reasons(place, most),
        truncated=found.is_cut(place, most),
    )


_NOBODY: dict[NodeKind, Code] = {"task": Code.NO_SUCH_TASK, "dataset": Code.NO_SUCH_DATASET}


def _unanswered(question: FreshnessQuestion, found: Sequence[TaskRef | DatasetRef]) -> Freshness:
    within = f" in the namespace {question.namespace!r}" if question.namespace is not None else ""
    message = (
        f"{question.name!r} names more than one {question.kind}: add its namespace"
        if found
        else f"there is no {question.kind} named {question.name!r}{within}"
    )
    return Freshness(
        node=NodeRef(question.kind, question.namespace or "", question.name),
        partition=question.partition or None,
        status=FreshnessStatus.UNKNOWN,
        reasons=(Reason(code=_NOBODY[question.kind], message=message),),
    )
