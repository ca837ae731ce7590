"""What people and systems order: to hold or cancel, to approve, to quarantine and release, to run again, to wait; and
which keys a dynamic set holds.

An order is a fact like any other: it is an event, and of all orders about one thing the latest stands, so that they may
come in any order. Guarantees that what an order says can be told from its value alone, without a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from dataforge.model.reference import NodeKind, node_id

ControlKind = Literal["hold", "gate", "fact", "quarantine", "rerun", "not_before", "key"]
Scope = Literal["environment", "domain", "task", "dataset", "fact", "set"]
Scalar = str | int | float | bool | None
PAUSED, CANCELED = "paused", "canceled"  # values of a hold; None lifts it
APPROVED, REFUSED = "approved", "refused"  # of a gate


class ControlSubject(msgspec.Struct, frozen=True, order=True):
    """What an order is about. Only tasks and datasets have a namespace, and the environment has no name either."""

    scope: Scope
    namespace: str = ""
    name: str = ""

    @property
    def id(self) -> int:
        """What stands for it in keys."""
        return 0 if self.scope == "environment" else node_id(self.namespace, self.name)


ENVIRONMENT = ControlSubject("environment")


class ControlKey(msgspec.Struct, frozen=True, order=True):
    """Which orders replace each other."""

    subject: ControlSubject
    partition: str  # '' is the whole subject
    kind: ControlKind
    name: str = ""  # the gate's

    @property
    def places(self) -> list[tuple[NodeKind, int, str]]:
        """The partition that it is about: none of what is no task and no dataset."""
        match self.subject.scope:
            case "task" | "dataset" as kind:
                return [(kind, self.subject.id, self.partition)]
            case _:
                return []


class Control(msgspec.Struct, frozen=True):
    """One order."""

    key: ControlKey
    value: Scalar
    at: datetime
    event: bytes
    by: str
    reason: str | None = None

    @property
    def precedence(self) -> tuple[datetime, bytes]:
        """Of two orders with the same key the greater stands."""
        return (self.at, self.event)


def standing(controls: Iterable[Control]) -> dict[ControlKey, Control]:
    """Of each key the order that stands."""
    found: dict[ControlKey, Control] = {}
    for control in controls:
        known = found.get(control.key)
        if known is None or control.precedence > known.precedence:
            found[control.key] = control
    return found


class Order(msgspec.Struct, frozen=True):
    """An order that stands, as rules see it."""

    value: Scalar
    at: datetime
    by: str
    reason: str | None = None

    @property
    def said(self) -> str:
        """By whom and why, to end a sentence with."""
        return f" by {self.by}: {self.reason}" if self.reason else f" by {self.by}"


def quarantined(order: Order | None, begun: datetime | None) -> bool:
    """Whether an order keeps what a run has made from being used: one that was given after that run began. A run that
    began later has made it anew, and needs no release."""
    return order is not None and order.value is True and (begun is None or order.at >= begun)


def outstanding(order: Order | None, begun: datetime | None) -> bool:
    """Whether an order to run again is still to be carried out: no run has begun since it was given."""
    return order is not None and order.value is True and (begun is None or begun < order.at)
