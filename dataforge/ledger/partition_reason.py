"""Why partitions of a list serve nobody: who or which check holds them back, what came late, which shares they lack, or
that the declared partitioning does not have them.

Guarantees a price that does not depend on the ledger: a handful of queries for a page, and of the partitions that
several runs make no more are judged than `MOST_SHORT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dataforge.ledger.completeness import Lack, Shortfall, shortfalls
from dataforge.ledger.need import cut_of
from dataforge.model.partition import InvalidPartitionKey, Partitioning, window_of
from dataforge.model.state import PartitionStatus
from dataforge.storage import readiness
from dataforge.storage import stream as streams
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place

MOST_SHORT = 100  # partitions of one page that are judged, each by up to 2,000 claims: the first that may lack a share
_MOST_NAMED = 3  # shares of one partition
_OPEN = frozenset({PartitionStatus.MISSING, PartitionStatus.RUNNING})


def reasons(connection: Connection, environment: int, stands: Mapping[Place, PartitionStatus]) -> dict[Place, str]:
    """Of these partitions (datasets by canonical id), as they stand, what is to be said beyond their states."""
    quarantined = [place for place, status in stands.items() if status is PartitionStatus.QUARANTINED]
    late = [place for place, status in stands.items() if status is PartitionStatus.STALE]
    short = [place[1:] for place, status in stands.items() if place[0] == "dataset" and status in _OPEN]
    found: dict[Place, str] = {
        ("dataset", *place): _short(each)
        for place, each in shortfalls(connection, environment, short[:MOST_SHORT]).items()
    }
    found |= {place: f"it {each.said}" for place, each in streams.late_data(connection, environment, late).items()}
    held = readiness.states(connection, environment, quarantined) if quarantined else {}
    found |= {place: f"quarantined{state.held.said}" for place, state in held.items() if state.held}
    return found | _outside(connection, environment, stands)


def _outside(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, str]:
    """Which of these the declared partitioning of their task or dataset does not have. What events say of them is kept
    as a fact; no edge leads there."""
    nodes = readiness.nodes(connection, environment, {place[:2] for place in places})
    found: dict[Place, str] = {}
    for place in places:
        node = nodes[place[:2]]
        cut = cut_of(node.partitioning, declared=True) if node.declared_cut else None
        if cut is not None and (said := _misfit(cut, place[2])) is not None:
            found[place] = said
    return found


def _misfit(cut: Partitioning, key: str) -> str | None:
    if not key:
        return None if cut.kind == "none" else f"of no partition, and {cut.kind} ones are declared"
    try:
        window_of(cut, key)
    except InvalidPartitionKey as error:
        return str(error)
    return None


def _short(found: Shortfall) -> str:
    enough = f", {found.needed} are needed" if found.needed < found.shares else ""
    lacks = [_named(each) for each in found.lacks[:_MOST_NAMED]]
    if more := len(found.lacks) - len(lacks):
        lacks.append(f"{more} more")
    return f"{found.there} of {found.shares} shares there{enough}: {_listed(lacks)}"


def _named(lack: Lack) -> str:
    """A share that is not there, and how it stands."""
    key, state = lack.standing.due.share.key, lack.standing.status.value
    if lack.product is None:
        return f"{key} {state}"
    return f"{lack.product.name} for {key} {state}" if key else f"{lack.product.name} {state}"


def _listed(named: Sequence[str]) -> str:
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
