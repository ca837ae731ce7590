"""Verdicts in GraphQL: may these tasks run for these partitions, and if not, what exactly is missing."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import strawberry
from msgspec import Meta

from dataforge.api.graphql.reading import MOST_AT_ONCE, Within
from dataforge.api.graphql.shape import link, takes
from dataforge.ledger import readiness
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.question import Named
from dataforge.model.verdict import Code, Verdict


class OfTask(msgspec.Struct, frozen=True):
    """Which task is meant, and which of its partitions."""

    name: Annotated[str, Meta(description="The task's name.")]
    namespace: Annotated[str, Meta(description="Its namespace; may be left out where the name is unique.")] | None = (
        None
    )
    partition: Annotated[str, Meta(description="Its partition, such as 2026-11-01, where it has any.")] | None = None


@strawberry.input(description="A task and its partition, of which a verdict is wanted.")
class Question:
    """One question of many."""

    name: str = strawberry.field(description="The task's name.")
    namespace: str | None = strawberry.field(
        default=None, description="Its namespace; may be left out where the name is unique."
    )
    partition: str | None = strawberry.field(default=None, description="Its partition, where it has any.")


@takes(OfTask)
def one(within: Within, asked: OfTask) -> Verdict:
    """Raises NotFound, with candidates, for a task that nobody knows."""
    named = Named(asked.name, asked.namespace, asked.partition or "")
    here, now = within.here, within.reading.now
    return within.read(lambda connection, _: readiness.verdict_in(connection, here, named, now))


def many(
    parent: strawberry.Parent[Any],
    questions: Annotated[list[Question], strawberry.argument(description="Up to 1,000 questions.")],
) -> list[Verdict]:
    """In the order asked; a task that nobody knows has an item with a code."""
    if len(questions) > MOST_AT_ONCE:
        problem = FieldError("questions", len(questions), f"at most {MOST_AT_ONCE:,} questions")
        raise InvalidInput(f"{problem.value:,} questions are asked: expected {problem.expected}", [problem])
    named = [Named(each.name, each.namespace, each.partition or "") for each in questions]
    here, now = parent.here, parent.reading.now
    found: list[Verdict] = parent.read(lambda connection, _: readiness.verdicts_on(connection, here, named, now))
    return found


@link(Verdict, "code", Code | None, "no_such_task where no task fits the question, or several do; else null.")
def _code(parent: strawberry.Parent[Any]) -> Code | None:
    return getattr(parent, "code", None)


@link(Verdict, "candidates", list[str], "Where none or several fit: up to five tasks that may be meant.")
def _candidates(parent: strawberry.Parent[Any]) -> list[str]:
    return list(getattr(parent, "candidates", ()))
