"""Which assets of this code location stand for what in the ledger: the window through which both mirrors look.

Guarantees that it is read from the definitions alone (`resources.identity`), so that a renamed asset or a new one is
known as such before anything is written.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DagsterUnknownPartitionError,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    RepositoryDefinition,
    TimeWindowPartitionsDefinition,
    partition_loading_context,
)
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph, BaseAssetNode

from dataforge_assets.ledger_state import CHECK
from resources.identity import TOLD_BY, Identity, identity_of, is_claimed
from resources.model import DatasetRef, InvalidInput, TaskRef

WATCHED = "dataforge/watched"  # tag of an asset, of any value


class NoPlace(LookupError):
    """A partition that the asset has not, and that Dagster would take without a word."""


class TooEarly(LookupError):
    """A partition that the asset will have once its window has ended."""


@dataclass(frozen=True)
class Asset:
    """One asset as far as the mirrors need it; `dataset` or `task` is None where its spec names none."""

    key: AssetKey
    dataset: DatasetRef | None
    task: TaskRef | None
    platform: str
    partitions: PartitionsDefinition[Any] | None
    only_observed: bool = False  # Dagster plans a materialization of it, and looks at it instead
    told_elsewhere: bool = False  # what makes it tells the ledger of itself, or whoever launches it does
    claimed: bool = False  # its step tells the ledger of its begin and end itself
    watched: bool = False  # Dagster's automation waits for it, or a person has tagged it: its states come first
    shows_state: bool = False  # it has the check that tells what Dagster cannot hold

    @property
    def name(self) -> bytes:
        """Four bytes that name the asset together with its dataset: of 5,000 assets a new one is taken for a known
        one once in 800,000 times, and all of them take 27 kB in a cursor, which each tick stores anew."""
        shown = (self.dataset.namespace, self.dataset.name) if self.dataset else ()
        return blake2b("\0".join((self.key.to_string(), *shown)).encode(), digest_size=4).digest()

    def key_of(self, partition: str | None) -> str | None:
        """Dagster's own key of a partition that the ledger names; of two dimensions it carries them as tags.

        To be asked within `partitions_of`. Raises NoPlace, which says why, or TooEarly for one that is to come.
        """
        if self.partitions is None or partition is None:
            if self.partitions is None and partition is None:
                return None
            raise NoPlace(self._refusal(partition))
        if _has(self.partitions, partition):
            if isinstance(self.partitions, MultiPartitionsDefinition):
                return self.partitions.get_partition_key_from_str(partition)
            return partition
        raise TooEarly(partition) if _will_have(self.partitions, partition) else NoPlace(self._refusal(partition))

    def misfit(self, partition: str | None) -> str | None:
        """Why a partition is none of the asset's as it is now; None for one that is. To be asked within
        `partitions_of`."""
        try:
            self.key_of(partition)
        except NoPlace as error:
            return str(error)
        except TooEarly:
            return f"partition {partition} of {self.key.to_user_string()}, whose window has not ended"
        return None

    def _refusal(self, partition: str | None) -> str:
        given = "a state without a partition" if partition is None else f"partition {partition}"
        has = "is not partitioned" if self.partitions is None else "has no such partition"
        return f"{given} of {self.key.to_user_string()}, which {has}"


@dataclass(frozen=True)
class Window:
    """The assets of a repository, by key and by the dataset that they show."""

    assets: Mapping[AssetKey, Asset]
    by_dataset: Mapping[DatasetRef, tuple[Asset, ...]]

    @classmethod
    def of(cls, repository: RepositoryDefinition) -> "Window":
        """The window of a repository's asset graph."""
        watched = _watched(repository.asset_graph)
        return cls.holding(
            Asset(
                key=node.key,
                **_read(node)._asdict(),
                platform="dbt" if "dbt" in node.kinds else "dagster",
                partitions=node.partitions_def,
                only_observed=node.is_observable,
                told_elsewhere=TOLD_BY in node.metadata,
                claimed=is_claimed(node.metadata),
                watched=node.key in watched,
                shows_state=AssetCheckKey(node.key, CHECK) in node.check_keys,
            )
            for node in repository.asset_graph.asset_nodes
        )

    @classmethod
    def holding(cls, assets: Iterable[Asset]) -> "Window":
        """The window of these assets."""
        by_key = {asset.key: asset for asset in sorted(assets, key=lambda asset: asset.key)}
        by_dataset: dict[DatasetRef, list[Asset]] = defaultdict(list)
        for asset in by_key.values():
            if asset.dataset:
                by_dataset[asset.dataset].append(asset)
        return cls(by_key, {dataset: tuple(found) for dataset, found in by_dataset.items()})

    def without(self, assets: Iterable[Asset]) -> "Window":
        """The window less these assets."""
        left_out = {asset.key for asset in assets}
        return Window.holding(asset for asset in self.assets.values() if asset.key not in left_out)

    @property
    def mirrored(self) -> tuple[Asset, ...]:
        """The assets that show a dataset of the ledger, in the order of their keys."""
        return tuple(asset for asset in self.assets.values() if asset.dataset)

    @property
    def unnamed(self) -> tuple[Asset, ...]:
        """The assets of which the ledger knows nothing, since their specs do not name a dataset."""
        return tuple(asset for asset in self.assets.values() if not asset.dataset)


def partitions_of(instance: DagsterInstance) -> AbstractContextManager[Any]:
    """The context in which keys are looked up: one present moment, and the instance's dynamic partitions."""
    return partition_loading_context(dynamic_partitions_store=instance)


def _watched(graph: BaseAssetGraph[Any]) -> set[AssetKey]:
    """The assets that are tagged as such, those that a condition of automation runs, and all upstream of the latter."""
    tagged = {node.key for node in graph.asset_nodes if WATCHED in node.tags}
    waiting = [node.key for node in graph.asset_nodes if node.automation_condition is not None]
    found = {*waiting}
    while waiting:
        waiting = [key for key in graph.get(waiting.pop()).parent_keys if key not in found] + waiting
        found |= {*waiting}
    return tagged | found


def _has(partitions: PartitionsDefinition[Any], partition: str) -> bool:
    try:
        return partitions.has_partition_key(partition)
    except DagsterUnknownPartitionError:  # of other dimensions
        return False


def _will_have(partitions: PartitionsDefinition[Any], partition: str) -> bool:
    """Whether it is a window of the definition that only has not ended yet."""
    if not isinstance(partitions, TimeWindowPartitionsDefinition):
        return False
    try:
        begin = partitions.start_time_for_partition_key(partition)
    except ValueError:
        return False
    with partition_loading_context(effective_dt=begin + timedelta(days=400)):  # longer than any window
        return _has(partitions, partition)


def _read(node: BaseAssetNode) -> Identity:
    """What the asset is in the ledger; one whose metadata nobody can read is nothing there, and reported as such."""
    try:
        return identity_of(node)
    except InvalidInput:
        return Identity(None, None)
