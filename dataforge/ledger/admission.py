"""What keeps partitions out or lets them in beside their upstreams, read for many of them at once.

Guarantees a number of queries that does not grow with the number of partitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime

import msgspec

from dataforge.ledger.need import Asked
from dataforge.model.admission import FREE, Admission, External, Gate, Hold, Lease, Pool
from dataforge.model.control import ENVIRONMENT, ControlSubject, Order, outstanding
from dataforge.model.manifest import Requirement
from dataforge.storage import admission as storage
from dataforge.storage import control as controls
from dataforge.storage import lease as leases
from dataforge.storage import readiness
from dataforge.storage.control import Standing
from dataforge.storage.database import Connection
from dataforge.storage.maker import makers as makers_of
from dataforge.storage.readiness import Place, Subject

_Orders = Mapping[controls.Subject, Sequence[Standing]]


class Orders(msgspec.Struct, frozen=True):
    """The orders that stand around some partitions, and what a claim of them would meet."""

    by_subject: _Orders
    begun: Mapping[Place, datetime]  # when the last run of what is to be run again began
    makers: Mapping[Place, Collection[Place]]  # of datasets that are to be made again the partitions of tasks that do
    leases: Mapping[tuple[int, str], Lease]
    pools: Mapping[str, tuple[int, int]]

    def reruns(self, places: Set[Place]) -> set[Place]:
        """Those of which an order to make them again stands, carried out or not."""
        return {place for place in places & self.by_subject.keys() if _one(self.by_subject, place, "rerun") is not None}

    def rerun(self, place: Place) -> Order | None:
        """The order to make a partition again, where no run has carried it out yet; of a dataset's partition, where one
        of those has not that make it and had been ordered to by then."""
        order = _one(self.by_subject, place, "rerun")
        if order is None:
            return None
        makers = [_one(self.by_subject, each, "rerun") for each in self.makers.get(place, ()) if self._waits(each)]
        ordered = any(each is not None and each.at <= order.at for each in makers)
        return order if ordered or outstanding(order, self.begun.get(place)) else None

    def _waits(self, maker: Place) -> bool:
        return outstanding(_one(self.by_subject, maker, "rerun"), self.begun.get(maker))


def orders(
    connection: Connection,
    environment: int,
    subjects: Mapping[int, Subject],
    asked: Iterable[Asked],
    upstreams: Iterable[Place],
    now: datetime,
) -> Orders:
    """What stands of these partitions and of the upstream places they need."""
    wanted, about, places = set(asked), set[controls.Subject](), set(upstreams)
    for one in wanted:
        about.update(_subjects(subjects[one.task_id], one))
        places.add(("task", *one))
    about |= places
    stands = storage.standing(connection, environment, about, wanted)
    found = _by_subject(stands.orders)
    again = [place for place in places & found.keys() if _one(found, place, "rerun") is not None]
    made = makers_of(connection, environment, [place for place in again if place[0] == "dataset"])
    makers = {place: {maker for maker, _ in each} for place, each in made.items()}
    more = set[controls.Subject]().union(*makers.values()) - about
    found |= _by_subject(storage.standing(connection, environment, more).orders)
    pools = {name for one in wanted for name in subjects[one.task_id].pools}
    return Orders(
        by_subject=found,
        begun=_begun(connection, environment, again, made) if again else {},
        makers=makers,
        leases=stands.leases,
        pools=leases.pools(connection, environment, pools, now),
    )


def _by_subject(orders: Iterable[Standing]) -> dict[controls.Subject, list[Standing]]:
    found: dict[controls.Subject, list[Standing]] = {}
    for standing in orders:
        found.setdefault(standing.subject, []).append(standing)
    return found


def _begun(
    connection: Connection,
    environment: int,
    again: Iterable[Place],
    made: Mapping[Place, Sequence[tuple[Place, datetime | None]]],
) -> dict[Place, datetime]:
    """When the last run began of each; of a dataset's partition that several make the last of theirs."""
    makers = {maker for each in made.values() for maker, _ in each}
    found = readiness.begun(connection, environment, {*again, *makers})
    for place, each in made.items():
        known = [at for at in (found.get(place), *(at for _, at in each)) if at is not None]
        found |= {place: max(known)} if known else {}
    return found


def admission(found: Orders, subject: Subject, asked: Asked) -> Admission:
    """What was read, as the rule takes it."""
    by_subject, lease = found.by_subject, found.leases.get(asked)
    if not (by_subject or lease or subject.gates or subject.requires or subject.pools):
        return FREE
    own: list[controls.Subject] = [("task", asked.task_id, key) for key in dict.fromkeys((asked.partition, ""))]
    holds = [(each, _one(by_subject, each, "hold")) for each in _holding(subject, own)]
    times = [_one(by_subject, each, "not_before") for each in own]
    return Admission(
        holds=tuple(Hold(each[0], order) for each, order in holds if order is not None and order.value is not None),
        gates=tuple(Gate(name, _one(by_subject, own[0], "gate", name)) for name in subject.gates),
        externals=tuple(_external(by_subject, required, asked) for required in _required(subject)),
        pools=tuple(_pool(found.pools, name, wanted) for name, wanted in subject.pools.items()),
        not_before=tuple(order for order in times if order is not None),
        lease=lease,
        rerun=found.rerun(("task", asked.task_id, asked.partition)),
    )


def _subjects(subject: Subject, asked: Asked) -> Iterable[controls.Subject]:
    own: list[controls.Subject] = [("task", asked.task_id, asked.partition), ("task", asked.task_id, "")]
    holding = _holding(subject, own)
    return [*holding, *(_fact(required, asked) for required in _required(subject))] if subject.requires else holding


_EVERYTHING: controls.Subject = (ENVIRONMENT.scope, ENVIRONMENT.id, "")


def _holding(subject: Subject, own: Sequence[controls.Subject]) -> list[controls.Subject]:
    if subject.domain is None:
        return [*own, _EVERYTHING]
    return [*own, _EVERYTHING, ("domain", ControlSubject("domain", "", subject.domain).id, "")]


def _required(subject: Subject) -> list[Requirement]:
    return [msgspec.convert(each, Requirement) for each in subject.requires]


def _fact(required: Requirement, asked: Asked) -> controls.Subject:
    partition = asked.partition if required.each_partition else ""
    return ("fact", ControlSubject("fact", "", required.fact).id, partition)


def _external(found: _Orders, required: Requirement, asked: Asked) -> External:
    return External(required, _one(found, _fact(required, asked), "fact"))


def _pool(pools: Mapping[str, tuple[int, int]], name: str, wanted: int) -> Pool:
    slots, taken = pools.get(name, (None, 0))
    return Pool(name, wanted, slots, taken)


def _one(found: _Orders, subject: controls.Subject, kind: str, name: str = "") -> Order | None:
    standing = found.get(subject)
    if standing is None:  # as nearly always
        return None
    return next((each.order for each in standing if (each.kind, each.name) == (kind, name)), None)
