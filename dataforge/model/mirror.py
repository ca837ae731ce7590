"""Mirrors: whoever shows the ledger's states elsewhere, or tells it of what happens there, and how far behind each is.

Guarantees that a mirror that has died is seen to fall behind: its lag goes on from the last that it said.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

MOST_NAME = 200  # characters
MOST_MIRRORS = 1_000  # in one answer


class MirrorReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a mirror has come."""

    shown_through: Annotated[datetime, Meta(tz=True, description="All that changed before this is shown.")]
    waiting: Annotated[int, Meta(ge=0, le=2**53, description="Changes that it knows to wait.")] = 0


class MirrorItem(msgspec.Struct, frozen=True, kw_only=True):
    """How far a mirror had come when it last said so."""

    name: Annotated[str, Meta(description="What it calls itself.")]
    shown_through: Annotated[datetime, Meta(description="All that changed before this is shown.")]
    waiting: Annotated[int, Meta(description="Changes that it knew to wait; there may be more.")]
    told_at: Annotated[datetime, Meta(description="When it said so.")]
    lag_seconds: Annotated[float, Meta(description="How old what it shows may be by now.")]


class Mirrors(msgspec.Struct, frozen=True):
    """The mirrors of an environment."""

    items: Annotated[tuple[MirrorItem, ...], Meta(description="By name.")]


def lag(shown_through: datetime, now: datetime) -> float:
    """How many seconds a mirror is behind."""
    return max(0.0, (now - shown_through).total_seconds())
