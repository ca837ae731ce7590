"""The ledger for programs: the same verbs over HTTP and straight to its database.

    from dataforge.client import Client, Named, PartitionFilter, each

    with Client("http://127.0.0.1:8700", environment="dev") as ledger:
        ledger.record([{
            "time": "2026-11-01T06:10:00Z",
            "task": {"namespace": "shell", "name": "orders.export"},
            "partition": "2026-11-01",
            "state": "succeeded",
        }])
        for verdict in ledger.readiness([Named("orders.report", partition="2026-11-01")]).items:
            print(verdict.status, [reason.message for reason in verdict.reasons])
        for partition in each(ledger.partitions, PartitionFilter(name="orders.export")):
            print(partition.partition, partition.state)

What the ledger refuses, and what it cannot answer, is raised as an error of `dataforge.model.errors`.

The way straight to the database is imported when it is asked for: it takes longer to load than all else here together,
and who asks over HTTP, as a code location of Dagster's, never needs it.
"""

from typing import TYPE_CHECKING, Any

from dataforge.client.http import Client
from dataforge.client.ledger import Ledger, each
from dataforge.model.arrival import ArrivalQuestion
from dataforge.model.claim import ClaimRefused, Fenced, Outcome
from dataforge.model.filter import (
    DatasetFilter,
    FindingFilter,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    TaskFilter,
    UpdateFilter,
)
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.partition_set import KeyFilter
from dataforge.model.question import Named

if TYPE_CHECKING:
    from dataforge.client.direct import DirectClient

__all__ = [
    "ArrivalQuestion",
    "ClaimRefused",
    "Client",
    "DatasetFilter",
    "DirectClient",
    "Fenced",
    "FindingFilter",
    "FreshnessQuestion",
    "KeyFilter",
    "Ledger",
    "Named",
    "Outcome",
    "PartitionFilter",
    "RejectFilter",
    "RunFilter",
    "TaskFilter",
    "UpdateFilter",
    "each",
]


def __getattr__(name: str) -> Any:
    if name != "DirectClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dataforge.client.direct import DirectClient

    return DirectClient
