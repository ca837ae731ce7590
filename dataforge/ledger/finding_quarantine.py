"""Whether a partition was quarantined when a run began to read it, as failed checks and orders tell of that time.

Guarantees that what a later run has made anew, or another version, is not taken for what was refused. Of the orders
about a partition the one counts that stood then.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from dataforge.model.attempt import EARLIEST
from dataforge.model.control import Order
from dataforge.model.finding_rule import CLOCKS_AGREE
from dataforge.model.freshness import RunKey
from dataforge.model.quality import Held
from dataforge.model.windows import INSTANT
from dataforge.storage import quality
from dataforge.storage import quarantine_order as orders
from dataforge.storage.database import Connection
from dataforge.storage.made import MadeThen
from dataforge.storage.quality import Reign
from dataforge.storage.readiness import Place


class Began(NamedTuple):
    """That a run began to read a partition, and what runs had made of that around then."""

    by: RunKey
    place: Place
    at: datetime
    made: Sequence[MadeThen]  # by whomever
    others: Sequence[MadeThen]  # that were to be waited for

    @property
    def moment(self) -> datetime:
        """What had happened by then, had happened before the run began, whosever clock is right."""
        return self.at - CLOCKS_AGREE


def held_then(connection: Connection, environment: int, began: Sequence[Began]) -> list[Held | None]:
    """Why each of these partitions was quarantined then; None where it was not, or nobody can tell, and where the run
    looked at it to judge it."""
    reigns = {at: reign for at, each in enumerate(began) if (reign := _reign(each)) is not None}
    stood = orders.stood(connection, environment, [(began[at].place, began[at].moment) for at in reigns])
    found: dict[int, Held] = {}
    asked: dict[int, Reign] = {}
    for (at, reign), order in zip(reigns.items(), stood, strict=True):
        if order is not None and (held := _ordered(order, reign)) is not None:
            found[at] = held
        if began[at].place[0] == "dataset":
            asked[at] = replace(reign, released_at=_released_at(order))
    for at, refused in zip(asked, quality.refused(connection, environment, list(asked.values())), strict=True):
        if refused is not None and (at not in found or refused.at < found[at].at):
            found[at] = refused
    for at in _judging(connection, environment, began, found):
        del found[at]
    return [found.get(at) for at in range(len(began))]


def _reign(began: Began) -> Reign | None:
    """What was there when the run began, and until when it was that which a check refuses: until another run began, or
    this one did. None where nothing was there, or the run itself had made it, or its own execution of the platform."""
    there = [each for each in began.made if each.at is not None and each.at <= began.moment]
    if not there:
        return None
    last = max(there, key=lambda each: (each.begun or EARLIEST, -each.by[0], each.by[1]))
    if last not in began.others:
        return None
    begun = last.begun or EARLIEST
    later = [each.begun - INSTANT for each in began.made if each.begun is not None and each.begun > begun]
    _, node, partition = began.place
    return Reign(
        dataset_id=node,
        partition=partition,
        run=(last.by[0], last.group_run),
        version=last.version,
        begun=begun,
        until=min([began.moment, *later]),
    )


def _ordered(order: Order, reign: Reign) -> Held | None:
    if order.value is not True or not reign.begun <= order.at <= reign.until:
        return None
    return Held(at=order.at, by=order.by, reason=order.reason)


def _released_at(order: Order | None) -> datetime | None:
    """Until when what had failed was let go."""
    return order.at if order is not None and order.value is not True else None


def _judging(connection: Connection, environment: int, began: Sequence[Began], found: Iterable[int]) -> list[int]:
    """Of those found the runs that looked at the partition to say how it is, as a test that is run again does."""
    places = list(found)
    asked = [(began[at].by, began[at].place[1], began[at].place[2]) for at in places]
    return [places[each] for each in quality.looked(connection, environment, asked)]
