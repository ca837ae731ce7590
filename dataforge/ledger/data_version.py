"""Which versions partitions of datasets had, once it is told where each success wrote.

Guarantees two queries at most, and that an attempt before a run's last counts for the partitions that it would count
for were it the last (`ledger.settle_runs`).
"""

from collections.abc import Iterable, Mapping

from dataforge.ledger.completeness import products_of, written_keys
from dataforge.model.data_version import Version
from dataforge.storage import data_version as storage
from dataforge.storage.completeness import Product
from dataforge.storage.data_version import Written
from dataforge.storage.database import Connection
from dataforge.storage.readiness import Place


def successes(connection: Connection, environment: int, places: Iterable[Place]) -> dict[Place, list[Version]]:
    """The successes that wrote each of these partitions of datasets, the one that takes precedence first."""
    written = storage.successes(connection, environment, places)
    products = products_of(connection, environment, {each.dataset for each in written if each.unplaced is not None})
    found: dict[Place, list[Version]] = {}
    for each in written:
        if _is_there(each, products):
            found.setdefault(each.place, []).append(each.version)
    return found


def _is_there(written: Written, products: Mapping[tuple[int, int], Product]) -> bool:
    """Whether it is this partition that was written: the declared mapping leads there, else it is one of the run's."""
    if written.unplaced is None:
        return True
    product = products.get((written.version.by[0], written.dataset))
    keys = written_keys(product, written.unplaced, written.version.since) if product else ()
    return written.place[2] in (keys or written.unplaced or ("",))
