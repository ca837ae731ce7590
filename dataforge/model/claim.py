"""Claims: what a worker asks for, what it is granted, and what it says when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dataforge.model.errors import Conflict
from dataforge.model.verdict import Verdict

LONGEST_LEASE = 86_400  # seconds; who needs longer sends heartbeats, and who dies keeps nobody waiting for a year
MOST_TOGETHER = 10_000  # partitions that are claimed together: ten models for three years of days, less a little
MOST_EACH = 1_000  # partitions that are claimed each for itself: each that is refused has a verdict in the answer
MOST_REFUSED = 100  # verdicts that a refusal carries
# How a worker says that an attempt has ended.
Said = Literal["completed", "failed", "released", "skipped", "canceled", "upstream_failed"]
Ending = Literal["completed", "failed", "released", "skipped", "canceled", "upstream_failed", "expired"]


RunName = Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]
AttemptNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Claiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim as a worker puts it; without a namespace the task's name must be unique in the environment."""

    name: str
    namespace: str | None = None
    partition: str = ""
    worker: str
    lease_seconds: int
    claim: str | None = None  # a UUID of the worker's own, so that it may ask again when an answer was lost


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the partitions that a worker claims together. A platform with runs of its own names the run and the
    attempt, so that what it tells of them by other ways is told of the same."""

    name: str
    namespace: str | None = None
    partition: str = ""
    claim: str | None = None  # a UUID of the worker's own, so that it may ask again when an answer was lost
    run: RunName | None = None
    attempt: AttemptNumber | None = None


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That what is done already is to be run again, by whom and why."""

    by: str
    reason: str


class ClaimingTogether(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker claims all or none of, to run it as one; what one of them makes, another may wait for."""

    partitions: tuple[Member, ...]
    worker: str
    lease_seconds: int
    source: dict[str, str | int] = {}  # what its events say of where they come from, such as a URL of its run
    again: Again | None = None


class ClaimingEach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker claims each for itself, to run it side by side: one that is refused hinders no other."""

    partitions: tuple[Member, ...]
    worker: str
    lease_seconds: int
    source: dict[str, str | int] = {}


class Granted(msgspec.Struct, frozen=True):
    """The right to run one attempt."""

    claim: Annotated[str, Meta(description="Names the claim in what follows: heartbeat, complete, fail, release.")]
    attempt: Annotated[int, Meta(description="The attempt's number; a higher one fences it.")]
    expires_at: Annotated[datetime, Meta(description="Until when; a heartbeat before then extends it.")]


class Ended(msgspec.Struct, frozen=True):
    """That a claim has ended, as its worker said."""

    claim: Annotated[str, Meta(description="The claim.")]
    attempt: Annotated[int, Meta(description="The attempt's number.")]
    ended_at: Annotated[datetime, Meta(description="When it ended.")]


class Together(msgspec.Struct, frozen=True):
    """The right to run one attempt of each."""

    granted: Annotated[tuple[Granted, ...], Meta(description="A claim for each partition, in the order asked.")]


class Refused(msgspec.Struct, frozen=True):
    """Why one of those that were claimed each for itself was not granted."""

    place: Annotated[int, Meta(description="Which of those asked, counted from 0.")]
    message: Annotated[str, Meta(description="Why, in a sentence.")]
    verdict: Annotated[Verdict, Meta(description="The verdict.")]


class ClaimedEach(msgspec.Struct, frozen=True):
    """What became of partitions that were claimed each for itself."""

    granted: Annotated[
        tuple[Granted | None, ...], Meta(description="A claim for each partition, in the order asked; null: refused.")
    ]
    refused: Annotated[tuple[Refused, ...], Meta(description="Those that were refused.")] = ()


class Lost(msgspec.Struct, frozen=True):
    """A claim of which nothing is recorded any more."""

    claim: Annotated[str, Meta(description="The claim.")]
    message: Annotated[str, Meta(description="Why, and what to do.")]


class Beaten(msgspec.Struct, frozen=True):
    """What became of leases that were to be extended."""

    held: Annotated[tuple[Granted, ...], Meta(description="Those that run on.")]
    lost: Annotated[tuple[Lost, ...], Meta(description="Those that do not: their work is to be stopped.")] = ()


class AllEnded(msgspec.Struct, frozen=True):
    """What became of claims that were to end."""

    ended: Annotated[tuple[Ended, ...], Meta(description="Those that have, as was said.")]
    lost: Annotated[tuple[Lost, ...], Meta(description="Those that had ended otherwise: nothing is recorded.")] = ()


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker says of its attempt when it ends: datasets in the shape of native events."""

    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    error: str | None = None


DONE = Outcome()  # and nothing to say of it


class EndOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the attempt of one claim ended, in the words of its worker."""

    claim: str
    ending: Said
    outcome: Outcome = DONE


class Beating(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leases that are to run on, for how long from now."""

    claims: tuple[str, ...]
    lease_seconds: int


class SayingEnds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How several attempts ended."""

    ends: tuple[EndOf, ...]


class ClaimRefused(Conflict):
    """The partition may not be run now, or not by whoever asks; the verdict says why. Of what was claimed together it
    is that of the first which may not, and `others` are those of further ones."""

    def __init__(self, message: str, verdict: Verdict, others: Sequence[Verdict] = ()) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.others = tuple(others)


class Fenced(Conflict):
    """The claim is no longer its worker's: it ran out, or it has ended otherwise. Nothing was recorded."""
