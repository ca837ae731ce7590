"""What the ledger knows of an asset and Dagster cannot hold, that partitions are running or have failed elsewhere: one
check an asset, answered by the ledger.

Guarantees that a result is a function of the ledger's answer alone: who executes the check and the sensor that keeps it
current make the same, and the sensor knows by its digest whether it is news.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetSpec,
    MetadataValue,
    multi_asset_check,
)

from dataforge_assets.check_result import DIGEST, digest_of, row, table
from resources import LedgerResource
from resources.identity import dataset_of
from resources.model import Change, DatasetRef, PartitionStatus

CHECK = "ledger_state"
LAST_PARTITIONS = 30  # of each asset; of older ones the events of the partition tell
AT_ONCE = 1_000  # assets of one question
MOST_ROWS = 50  # of the table; it is stored with each result
MOST_ERROR = 500  # characters
SEVERE = (PartitionStatus.FAILED, PartitionStatus.QUARANTINED)
AMISS = (*SEVERE, PartitionStatus.RUNNING)
_COLUMNS = ("partition", "status", "since", "run", "task", "owner", "error")


def ledger_state_of(specs: Iterable[AssetSpec]) -> AssetChecksDefinition:
    """The check of these assets, as far as the ledger knows them; it blocks nothing."""
    named = {spec.key: dataset for spec in specs if (dataset := dataset_of(spec.metadata))}

    @multi_asset_check(
        name=CHECK,
        specs=[
            AssetCheckSpec(CHECK, asset=key, description="No recent partition has failed or is running elsewhere.")
            for key in named
        ],
        can_subset=True,
    )
    def ledger_state(context: AssetCheckExecutionContext, ledger: LedgerResource) -> Iterator[AssetCheckResult]:
        wanted = {key.asset_key: named[key.asset_key] for key in context.selected_asset_check_keys}
        yield from results(ledger, wanted)

    return ledger_state


def results(ledger: LedgerResource, assets: dict[AssetKey, DatasetRef]) -> list[AssetCheckResult]:
    """The result of each of these assets: by one question, or one for each thousand."""
    datasets = sorted(set(assets.values()))
    found: dict[DatasetRef, list[Change]] = {dataset: [] for dataset in datasets}
    for begin in range(0, len(datasets), AT_ONCE):
        for change in ledger.latest(datasets[begin : begin + AT_ONCE], each=LAST_PARTITIONS, statuses=AMISS):
            found.setdefault(DatasetRef(change.namespace, change.name), []).append(change)
    return [result_of(key, found[dataset], ledger.page_of) for key, dataset in assets.items()]


def result_of(key: AssetKey, amiss: Sequence[Change], page: Callable[[Change], str | None]) -> AssetCheckResult:
    """What the check of one asset says, given what is amiss of its partitions: the worst first, in one sentence."""
    ordered = sorted(amiss, key=lambda change: AMISS.index(change.status))  # each status by partition, the newest first
    severe = any(change.status in SEVERE for change in amiss)
    rows = [_row(change) for change in ordered]
    link = page(ordered[0]) if ordered else None
    return AssetCheckResult(
        asset_key=key,
        check_name=CHECK,
        passed=not amiss,
        severity=AssetCheckSeverity.ERROR if severe else AssetCheckSeverity.WARN,
        description=_description(ordered) if ordered else "None of the recent partitions has failed or is running.",
        metadata={
            DIGEST: digest_of(json.dumps(rows)),
            **({"dataforge/partitions": table(_COLUMNS, rows, MOST_ROWS)} if rows else {}),
            **({"dataforge/ledger": MetadataValue.url(link)} if link else {}),
        },
    )


def _description(ordered: Sequence[Change]) -> str:
    """How many partitions are in which state, and the first of them with its reason."""
    first, counts = ordered[0], Counter(str(change.status) for change in ordered)
    counted = ", ".join(f"{number} {status}" for status, number in counts.items())
    about = f"partition {first.partition}" if first.partition else "it"
    since = f" since {first.since:%Y-%m-%d %H:%M} UTC" if first.since else ""
    by = f" by run {first.producer.run} of {first.producer.task.name}" if first.producer else ""
    return f"{counted}: {about} is {first.status}{since}{by}{_because(first)}."


def _because(change: Change) -> str:
    error = _error(change)
    return f": {error.splitlines()[0].rstrip('.')}" if error else ""


def _error(change: Change) -> str:
    return ((change.producer.error if change.producer else None) or "").strip()[:MOST_ERROR]


def _row(change: Change) -> dict[str, str]:
    producer = change.producer
    values = (
        change.partition,
        str(change.status),
        f"{change.since:%Y-%m-%d %H:%M:%S} UTC" if change.since else None,
        producer.run if producer else None,
        f"{producer.task.namespace} / {producer.task.name}" if producer else None,
        change.owner,
        _error(change),
    )
    return row(_COLUMNS, values)
