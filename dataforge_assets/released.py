"""Which backfill of the ledger has released what a tick of automation asks to have run: the conditions know it, since
they have asked the ledger, and the sensor tags the runs with it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from dagster import AssetKey, RunRequest

BACKFILL = "dataforge/backfill"  # the tag of a run: the id of the backfill
_Released = dict[tuple[AssetKey, str | None], str]  # by asset and partition
_heard: ContextVar[_Released | None] = ContextVar("heard", default=None)


@contextmanager
def heard() -> Iterator[_Released]:
    """Collects what conditions tell in the block."""
    found: _Released = {}
    token = _heard.set(found)
    try:
        yield found
    finally:
        _heard.reset(token)


def tell(key: AssetKey, partition: str | None, backfill: str) -> None:
    """That this backfill has released the partition of the asset."""
    found = _heard.get()
    if found is not None:
        found[key, partition] = backfill


def tagged(request: RunRequest, released: Mapping[tuple[AssetKey, str | None], str]) -> RunRequest:
    """The request, with the backfills that have released what it asks for."""
    backfills = {released[each] for each in _targets(request) if each in released}
    if not backfills:
        return request
    return request.with_replaced_attrs(tags={**request.tags, BACKFILL: ",".join(sorted(backfills))})


def _targets(request: RunRequest) -> Iterator[tuple[AssetKey, str | None]]:
    subset = request.asset_graph_subset
    if subset is None:
        yield from ((key, request.partition_key) for key in request.asset_selection or ())
        return
    yield from ((key, None) for key in subset.non_partitioned_asset_keys)
    for key, partitions in subset.partitions_subsets_by_asset_key.items():
        yield from ((key, partition) for partition in partitions.get_partition_keys())
