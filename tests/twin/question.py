"""The twin of questions: what is asked of a partition, what stands against it, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from tests.twin.claim import Place
from tests.twin.mapping import Group

Definition = dict[str, Any]
STRICTNESS = ("ignore", "warn", "block")
AHEAD = 2  # steps that are looked at to tell what comes by itself


class Lease(NamedTuple):
    """The right to run one attempt of a partition until a time."""

    claim: str
    task: str
    key: str
    run: str
    attempt: int
    since: datetime
    until: datetime
    pools: dict[str, int]


class Reason(NamedTuple):
    """Why a partition may not run, and whether that passes by itself."""

    code: str
    upstream: tuple[str, str] | None = None
    partition: str | None = None
    passes: bool = False

    @property
    def shown(self) -> tuple[str, tuple[str, str] | None, str | None]:
        return (self.code, self.upstream, self.partition or None)


class Need(NamedTuple):
    """A partition that an edge asks for, one of several that would do, and where it stands."""

    edge: Definition
    kind: str
    name: str
    key: str
    among: Group
    place: Place
    updates: bool = False  # it is written in place: only what is written before has to be there

    @property
    def condition(self) -> str:
        """Which outcome satisfies the edge."""
        return str(self.edge.get("condition", {}).get("kind", "succeeded"))

    @property
    def ruled(self) -> bool:
        """Whether the trigger rule speaks of the edge: of a task, unless the edge has a condition of its own."""
        return self.kind == "task" and self.condition == "succeeded"

    @property
    def strictness(self) -> tuple[bool, int]:
        """Where several edges ask for the same, the strictest counts."""
        return self.edge.get("required", True), STRICTNESS.index(self.edge.get("staleness", "warn"))


class Answer(NamedTuple):
    """What the ledger has to answer of one partition."""

    status: str
    reasons: frozenset[tuple[str, tuple[str, str] | None, str | None]]
    warnings: frozenset[tuple[str, tuple[str, str] | None, str | None]]
    basis: str
    fate: str | None
    own: bool  # whether only something of its own keeps it from running

    @property
    def runnable(self) -> bool:
        return not self.reasons
