"""Asking whether tasks may run, as a client puts it and as it is answered."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.model.verdict import Verdict


class Named(msgspec.Struct, frozen=True):
    """A question as a client puts it; without a namespace the name must be unique in the environment."""

    name: str
    namespace: str | None = None
    partition: str = ""


class Answers(msgspec.Struct, frozen=True):
    """Verdicts in the order of the questions, all of one moment. The item of a task that no name, or more than
    one, fits has a code and candidates as well."""

    items: Annotated[tuple[Verdict, ...], Meta(description="A verdict for each question, in the order asked.")]
    decided_at: Annotated[datetime, Meta(description="The moment they all hold for.")]
    graph_version: Annotated[int, Meta(description="The version of the graph they were decided on.")]
