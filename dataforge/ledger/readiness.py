"""Asking whether tasks may run, for one partition or for a thousand on the same snapshot."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from dataforge.ledger.aging import questions
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked
from dataforge.model.question import Answers, Named
from dataforge.model.readiness import decide_all
from dataforge.model.reference import TaskRef
from dataforge.model.verdict import Code, Reason, Status, Unanswered, Verdict
from dataforge.storage import environment as environments
from dataforge.storage import readiness as storage
from dataforge.storage import reference
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Name

_CANDIDATES = 5


def verdict(database: Database, environment: str, question: Named, now: datetime) -> Verdict:
    """The verdict on one partition. Raises NotFound, with candidates, for a task or environment nobody knows."""
    with database.snapshot() as connection:
        here = environments.find(connection, environment)
        return verdict_in(connection, here, question, now)


def verdict_in(connection: Connection, here: Environment, question: Named, now: datetime) -> Verdict:
    """The same in a transaction that sees one snapshot."""
    nodes = Nodes(connection, here.id, here)
    asked = Asked(task_of(connection, here, nodes, question).id, question.partition)
    return _verdicts(connection, here, nodes, [asked], now)[asked]


def task_of(connection: Connection, here: Environment, nodes: Nodes, question: Named) -> TaskRef:
    """The task that is asked about. Raises NotFound, with candidates, for one that nobody knows."""
    found = next(iter(_named(nodes, [question])), None)
    return found or reference.resolve_task(connection, here.id, question.namespace, question.name)


def verdicts(connection: Connection, here: Environment, asked: Iterable[Asked], now: datetime) -> dict[Asked, Verdict]:
    """The verdicts on partitions of tasks that are known, in a transaction that sees one snapshot."""
    return _verdicts(connection, here, Nodes(connection, here.id, here), asked, now)


def _verdicts(
    connection: Connection, here: Environment, nodes: Nodes, asked: Iterable[Asked], now: datetime
) -> dict[Asked, Verdict]:
    return decide_all(questions(connection, here, asked, now, nodes=nodes))


def _named(nodes: Nodes, questions: Iterable[Named]) -> set[TaskRef]:
    """The tasks that are named with their namespace, as far as they are there under that very name."""
    wanted = {TaskRef(each.namespace, each.name) for each in questions if each.namespace is not None}
    found = nodes.subjects({each.id for each in wanted}) if wanted else {}
    nodes.remember()  # what is asked next begins with the same
    return wanted & {each.ref for each in found.values() if not each.step}


def readiness(database: Database, environment: str, questions: Sequence[Named], now: datetime) -> Answers:
    """The verdicts on many partitions. A name that fits no task, or several, has an item that says so."""
    with database.snapshot() as connection:
        here = environments.find(connection, environment)
        items = verdicts_on(connection, here, questions, now)
    return Answers(tuple(items), now, here.graph_version)


def verdicts_on(connection: Connection, here: Environment, questions: Sequence[Named], now: datetime) -> list[Verdict]:
    """The same in a transaction that sees one snapshot."""
    nodes = Nodes(connection, here.id, here)
    fitting = _fitting(connection, here, nodes, questions)
    asked = [
        Asked(found[0].id, each.partition) if len(found) == 1 else None
        for each, found in zip(questions, fitting, strict=True)
    ]
    found_on = _verdicts(connection, here, nodes, filter(None, asked), now)
    return [
        found_on[each] if each is not None else _unanswered(question, found, here, now)
        for question, each, found in zip(questions, asked, fitting, strict=True)
    ]


def _fitting(
    connection: Connection, here: Environment, nodes: Nodes, questions: Sequence[Named]
) -> list[Sequence[TaskRef]]:
    """The tasks that each name may mean, at most six."""
    known: dict[Name, list[TaskRef]] = {(task.namespace, task.name): [task] for task in _named(nodes, questions)}
    names = [(each.namespace, each.name) for each in questions]
    others = list(dict.fromkeys(name for name in names if name not in known))
    found = dict(zip(others, storage.resolve(connection, here.id, others) if others else (), strict=True))
    return [known[name] if name in known else found[name] for name in names]


def _unanswered(question: Named, found: Sequence[TaskRef], here: Environment, now: datetime) -> Unanswered:
    message = (
        f"{question.name!r} names more than one task: add its namespace"
        if found
        else f"there is no task named {question.name!r}"
        + (f" in the namespace {question.namespace!r}" if question.namespace is not None else "")
    )
    return Unanswered(
        task=TaskRef(question.namespace or "", question.name),
        partition=question.partition or None,
        runnable=False,
        status=Status.UNKNOWN,
        basis="observed",
        reasons=(Reason(code=Code.NO_SUCH_TASK, message=message),),
        warnings=(),
        observed_through={},
        decided_at=now,
        graph_version=here.graph_version,
        candidates=tuple(f"{each.namespace}/{each.name}" for each in found[:_CANDIDATES]),
    )
