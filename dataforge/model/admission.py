"""What lets a partition in or keeps it out although its upstreams are served: holds, gates, named facts, times, pools.

Guarantees reasons that say who ordered what and since when, and that each says by its code whether somebody has to act.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from dataforge.model.control import APPROVED, CANCELED, REFUSED, Order, Scalar, Scope
from dataforge.model.manifest import Requirement
from dataforge.model.upstream import Finding
from dataforge.model.verdict import Code, Reason


class Hold(msgspec.Struct, frozen=True):
    """That a task, its domain or its environment is paused or canceled."""

    scope: Scope
    order: Order


class Gate(msgspec.Struct, frozen=True):
    """An approval that a person must give, and what was said so far."""

    name: str
    order: Order | None = None


class External(msgspec.Struct, frozen=True):
    """A named fact that a task requires, and what it was set to."""

    requirement: Requirement
    order: Order | None = None


class Pool(msgspec.Struct, frozen=True):
    """A concurrency limit, and what is left of it. `slots` is None where no source declares it."""

    name: str
    wanted: int
    slots: int | None
    taken: int = 0


class Lease(msgspec.Struct, frozen=True):
    """The right of a worker to run the partition until a time. It may have run out."""

    worker: str
    attempt: int
    since: datetime
    expires_at: datetime

    def ran_out(self, now: datetime) -> bool:
        """Whether it is over, though its worker has not said so."""
        return self.expires_at <= now


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, for one partition of a task."""

    holds: tuple[Hold, ...] = ()
    gates: tuple[Gate, ...] = ()
    externals: tuple[External, ...] = ()
    pools: tuple[Pool, ...] = ()
    not_before: tuple[Order, ...] = ()
    lease: Lease | None = None
    rerun: Order | None = None  # an order to run again that no run has carried out yet


FREE = Admission()  # as nearly all


def keeping_out(admission: Admission, now: datetime) -> Iterator[Finding]:
    """Every reason against it. What the lease of another worker says is left to the caller, who knows the run."""
    for hold in admission.holds:
        yield Finding(_of_hold(hold))
    for gate in admission.gates:
        if gate.order is None or gate.order.value != APPROVED:
            yield Finding(_of_gate(gate))
    for external in admission.externals:
        if external.order is None or not _alike(external.order.value, external.requirement.equals):
            yield Finding(_of_external(external))
    for order in admission.not_before:
        due = datetime.fromisoformat(str(order.value))
        if now < due:
            message = f"it runs from {due:%Y-%m-%d %H:%M} UTC on, ordered{order.said}"
            yield Finding(Reason(code=Code.NOT_BEFORE, message=message, since=order.at, expected_at=due), passes=True)
    for pool in admission.pools:
        if pool.slots is None or pool.taken + pool.wanted > pool.slots:
            yield Finding(_of_pool(pool), passes=pool.slots is not None and pool.wanted <= pool.slots)


def _of_hold(hold: Hold) -> Reason:
    what = {"task": "it", "domain": "its domain", "environment": "the environment"}[hold.scope]
    order, canceled = hold.order, hold.order.value == CANCELED
    message = f"{what} {'was canceled' if canceled else 'is paused'}{order.said}"
    return Reason(code=Code.CANCELED if canceled else Code.PAUSED, message=message, since=order.at, owner=order.by)


def _of_gate(gate: Gate) -> Reason:
    order = gate.order
    if order is not None and order.value == REFUSED:
        message = f"the gate {gate.name} was refused{order.said}"
        return Reason(code=Code.GATE_PENDING, message=message, state=REFUSED, since=order.at, owner=order.by)
    return Reason(code=Code.GATE_PENDING, message=f"the gate {gate.name} waits for an approval", state="pending")


def _of_external(external: External) -> Reason:
    wanted, order = external.requirement, external.order
    message = (
        f"{wanted.fact} is {'not set' if order is None else shown(order.value)}, and has to be {shown(wanted.equals)}"
    )
    since, by = (order.at, order.by) if order else (None, None)
    return Reason(code=Code.CONDITION_UNMET, message=message, since=since, owner=by)


def _of_pool(pool: Pool) -> Reason:
    if pool.slots is None:
        message = f"it takes slots of the pool {pool.name}, which no source declares"
    elif pool.wanted > pool.slots:
        message = f"it takes {pool.wanted} slots of the pool {pool.name}, which has {pool.slots} in all"
    else:
        free = max(pool.slots - pool.taken, 0)
        message = f"the pool {pool.name} has {free} of {pool.slots} slots free, and it takes {pool.wanted}"
    return Reason(code=Code.POOL_FULL, message=message)


def _alike(value: Scalar, wanted: Scalar) -> bool:
    """Equal, and of one kind: JSON's true is not 1."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def shown(value: Scalar) -> str:
    """A value as JSON writes it."""
    return msgspec.json.encode(value).decode()
