"""Which versions partitions of datasets had, once it is told where each success wrote.

Guarantees two queries at most, and that an attempt before a run's last counts for the partitions that it would count
for were it the last (`ledger.settle_runs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from msgspec.structs import replace

from dataforge.ledger.completeness import products_of, written_keys
from dataforge.model.data_version import Part, Version, whole
from dataforge.storage import data_version as storage
from dataforge.storage.attempt import RunKey
from dataforge.storage.completeness import Product
from dataforge.storage.data_version import Written
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place


def successes(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, list[Version]]:
    """The successes that wrote each of these partitions of datasets, the one that takes precedence first; the instances
    of a mapped run are one."""
    written = storage.successes(connection, environment, places)
    products = products_of(connection, environment, {each.dataset for each in written if each.unplaced is not None})
    found: dict[Place, list[Written]] = {}
    for each in written:
        if _is_there(each, products):
            found.setdefault(each.place, []).append(each)
    return {place: [each.version for each in _runs(group)] for place, group in found.items()}


def _runs(written: Sequence[Written]) -> list[Written]:
    """The successes of runs, in their order; those of instances as their mapped runs."""
    found = [each for each in written if each.instance is None]
    mapped: dict[tuple[int, RunKey], list[Written]] = {}
    for each in written:
        if each.instance is not None:
            mapped.setdefault((each.dataset, each.version.by), []).append(each)
    for group in mapped.values():
        parts = [Part(each.instance or "", each.started_at, each.version) for each in group]
        found += [
            replace(group[0], started_at=each.started_at, version=each.version)
            for each in whole(parts, group[0].instances)
        ]
    return sorted(found, key=_order) if mapped else found


def _order(written: Written) -> tuple[float, int]:
    """What takes precedence comes first: the later started, then by the run."""
    started = written.started_at
    return (-started.timestamp() if started is not None else inf, written.rank)


def _is_there(written: Written, products: Mapping[tuple[int, int], Product]) -> bool:
    """Whether it is this partition that was written: the declared mapping leads there, else it is one of the run's."""
    if written.unplaced is None:
        return True
    product = products.get((written.version.by[0], written.dataset))
    keys = written_keys(product, written.unplaced, written.version.since) if product else ()
    return written.place[2] in (keys or written.unplaced or ("",))
