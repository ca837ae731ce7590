"""What history alone shows to be wrong, as every interface shows it.

A finding is about a run, an edge or a source. It says what it rests on in one sentence, whose it is, since when, and of
a run which partitions were built from what it made and still stand on it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from dataforge.model.reference import NodeKind
from dataforge.model.verdict import NodeRef

MOST_SHOWN = 20  # inputs of a run, and partitions built from it; all of them are counted


class FindingCode(StrEnum):
    """What kind of thing was found."""

    STARTED_TOO_EARLY = "started_too_early"
    STARTED_ON_QUARANTINED = "started_on_quarantined"
    INPUT_CHANGED = "input_changed"
    SOURCE_SILENT = "source_silent"
    OBSERVED_CYCLE = "observed_cycle"
    EDGE_NEVER_DECLARED = "edge_never_declared"
    EDGE_NEVER_OBSERVED = "edge_never_observed"


class Severity(StrEnum):
    """How soon somebody should look; the worst comes first."""

    HIGH = "high"  # what was built is probably wrong
    MEDIUM = "medium"  # what was built may be wrong, or will be
    LOW = "low"  # good to know


_SEVERITIES = list(Severity)
_CODES = list(FindingCode)


class FoundInput(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream partition that was not as it should be when the run read it."""

    node: Annotated[NodeRef, Meta(description="The task or dataset.")]
    partition: Annotated[str | None, Meta(description="Its partition; null for what has no partitions.")]
    owner: Annotated[str | None, Meta(description="Who answers for it.")]
    at: Annotated[
        datetime | None,
        Meta(description="When it became ready, was written again or quarantined; null if it has never been ready."),
    ]
    run: Annotated[
        str | None, Meta(description="The run that made it then, or whose check failed, by its platform's own id.")
    ]


class FoundPartition(msgspec.Struct, frozen=True, order=True):
    """A partition that somebody made."""

    kind: Annotated[NodeKind, Meta(description="Whether it is a task's or a dataset's.")]
    namespace: Annotated[str, Meta(description="The namespace of the task or dataset.")]
    name: Annotated[str, Meta(description="Its name.")]
    partition: Annotated[str | None, Meta(description="The key; null for what has no partitions.")]


class BuiltFromIt(msgspec.Struct, frozen=True, kw_only=True):
    """What was built from what the run made, and still stands on it."""

    items: Annotated[tuple[FoundPartition, ...], Meta(description=f"The first {MOST_SHOWN} of them.")] = ()
    count: Annotated[int, Meta(description="How many there are.")] = 0
    complete: Annotated[bool, Meta(description="False where the search ended before all was looked at.")] = True


NOTHING_BUILT = BuiltFromIt()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that history shows to be wrong. What does not apply is null or empty."""

    code: Annotated[FindingCode, Meta(description="What kind of finding it is.")]
    severity: Annotated[Severity, Meta(description="How soon somebody should look.")]
    message: Annotated[str, Meta(description="The finding in a sentence.")]
    node: Annotated[NodeRef | None, Meta(description="The task it is about.")] = None
    upstream: Annotated[NodeRef | None, Meta(description="Of an edge what the task consumes or produces.")] = None
    source: Annotated[str | None, Meta(description="Of a silent source its namespace; of an edge who declares.")] = None
    partitions: Annotated[tuple[str, ...], Meta(description="The partitions that the run was for.")] = ()
    run: Annotated[str | None, Meta(description="The run, by its platform's own id.")] = None
    owner: Annotated[str | None, Meta(description="Who answers for the task.")] = None
    since: Annotated[datetime, Meta(description="Since when it is so: of a run its start.")]
    inputs: Annotated[
        tuple[FoundInput, ...], Meta(description=f"What was not ready, or changed; the worst {MOST_SHOWN} first.")
    ] = ()
    made: Annotated[tuple[FoundPartition, ...], Meta(description="What the run itself wrote.")] = ()
    built_from_it: Annotated[BuiltFromIt, Meta(description="What was built from that since.")] = NOTHING_BUILT

    @property
    def order(self) -> tuple[int, int, int, float, str]:
        """Where it stands among others: the worst first, then what most was built from, then the latest."""
        rank, code = _SEVERITIES.index(self.severity), _CODES.index(self.code)
        return (rank, -self.built_from_it.count, code, -self.since.timestamp(), self.message)
