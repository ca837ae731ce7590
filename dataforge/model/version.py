"""When each version of a definition held, as a function of all that sources have declared.

The rule: what a source declares holds from its time until the time of the next that the same source declares, so a
declaration that comes late takes its place in the past and moves nothing outside of it. Guarantees that the order of
arrival makes no difference: declarations are ordered by what they are, and two spans of one version that meet are one.

What stood of a task at a moment is the version whose span holds it. Now one source at most declares a task; in a past
that was imported two may, and then the span that began last stands, of two that began at once the least source's.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from dataforge.model.reference import NodeKind


class Declaration(msgspec.Struct, frozen=True, order=True):
    """That a source declared a manifest. The order is that in which declarations replace each other: by the time
    from which they hold, then by their receipt (a correction of the same time comes later), then by their content."""

    valid_from: datetime
    received_at: datetime
    manifest: bytes  # its hash
    source: str
    stated: bool  # the manifest says its time itself; else it holds from its receipt on


class Span(msgspec.Struct, frozen=True, order=True):
    """That a version held from one moment to just before another; None while it holds."""

    valid_from: datetime
    valid_to: datetime | None
    version: bytes

    def holds(self, at: datetime) -> bool:
        """Whether it held at that moment."""
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)


Node = tuple[NodeKind, int]  # a task or dataset by its id


def overwritten(
    spans: Iterable[Span], valid_from: datetime, valid_to: datetime | None, version: bytes | None
) -> list[Span]:
    """The spans of one thing by one source, once `version` (None: nothing) holds from `valid_from` to `valid_to`."""
    kept = [part for span in spans for part in _outside(span, valid_from, valid_to)]
    if version is not None:
        kept.append(Span(valid_from, valid_to, version))
    joined: list[Span] = []
    for span in sorted(kept, key=lambda span: span.valid_from):
        if joined and joined[-1].valid_to == span.valid_from and joined[-1].version == span.version:
            span = Span(joined.pop().valid_from, span.valid_to, span.version)  # noqa: PLW2901  # grown by its forerunner
        joined.append(span)
    return joined


def _outside(span: Span, valid_from: datetime, valid_to: datetime | None) -> list[Span]:
    """What is left of a span before and after a stretch of time."""
    parts = []
    if span.valid_from < valid_from:
        end = valid_from if span.valid_to is None else min(span.valid_to, valid_from)
        parts.append(Span(span.valid_from, end, span.version))
    if valid_to is not None and (span.valid_to is None or valid_to < span.valid_to):
        parts.append(Span(max(span.valid_from, valid_to), span.valid_to, span.version))
    return parts


class SourcedSpan(msgspec.Struct, frozen=True):
    """A span, and the source that declared it."""

    source: str
    span: Span
