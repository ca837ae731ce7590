"""Claims: what a worker asks for, what it is granted, and what it says when it is done."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dataforge.model.errors import Conflict
from dataforge.model.verdict import Verdict

LONGEST_LEASE = 86_400  # seconds; who needs longer sends heartbeats, and who dies keeps nobody waiting for a year


class Claiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim as a worker puts it; without a namespace the task's name must be unique in the environment."""

    name: str
    namespace: str | None = None
    partition: str = ""
    worker: str
    lease_seconds: int
    claim: str | None = None  # a UUID of the worker's own, so that it may ask again when an answer was lost


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


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker says of its attempt when it ends: datasets in the shape of native events."""

    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    error: str | None = None


DONE = Outcome()  # and nothing to say of it


class ClaimRefused(Conflict):
    """The partition may not be run now, or not by whoever asks; the verdict says why."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class Fenced(Conflict):
    """The claim is no longer its worker's: it ran out, or it has ended otherwise. Nothing was recorded."""
