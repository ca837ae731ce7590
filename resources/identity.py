"""How an asset says what it is in the ledger: entries of its metadata; and what it is there without them.

Guarantees that whoever reads an asset's metadata, as it was declared or as Dagster has stored it, finds the same names.
An asset that the code location makes itself always has some: what names no task is made by one that is called as it is
(`own_task`), and what names nothing is a dataset of that name too.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from dagster import AssetKey, AssetsDefinition, AssetSpec, DagsterRun
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetNode

from dataforge.model.decoding import convert
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.reference import DatasetRef, TaskRef
from resources.configuration import webserver

TASK = "dataforge/task"  # what produces the asset
DATASET = "dataforge/dataset"  # what the asset is
TOLD_BY = "dataforge/told_by"  # who tells the ledger how the asset is made, where that is not the mirror of Dagster
CLAIMED = "dataforge/claimed"  # that its step claims what it makes, and tells the ledger of its begin and end itself
NAMESPACE = "dagster"  # of what an asset is called that names nothing
_Ref = TypeVar("_Ref", TaskRef, DatasetRef)


def ledger_metadata(
    task: tuple[str, str] | None = None, dataset: tuple[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """The metadata of an asset that this task makes, or that is this dataset: each a namespace and a name."""
    named = {TASK: task, DATASET: dataset}
    return {key: {"namespace": ref[0], "name": ref[1]} for key, ref in named.items() if ref is not None}


def task_of(metadata: Mapping[str, Any]) -> TaskRef | None:
    """The task that makes the asset of this metadata; None where it names none."""
    return _named(metadata, TASK, TaskRef)


def own_task(key: AssetKey, metadata: Mapping[str, Any]) -> TaskRef:
    """The task that makes an asset of the code location's own."""
    return task_of(metadata) or TaskRef(NAMESPACE, key.to_user_string())


def own_dataset(key: AssetKey, metadata: Mapping[str, Any]) -> DatasetRef | None:
    """The dataset that such an asset is; None where it names a task and no dataset."""
    named = dataset_of(metadata)
    return named if named or TASK in metadata else DatasetRef(NAMESPACE, key.to_user_string())


class Identity(NamedTuple):
    """What an asset is in the ledger, as far as its metadata or, where it is made here, its key says."""

    task: TaskRef | None
    dataset: DatasetRef | None

    @property
    def node(self) -> DatasetRef | TaskRef | None:
        """What it is asked about as: a dataset, or a task that writes none."""
        return self.dataset or self.task


def identity_of(node: BaseAssetNode) -> Identity:
    """That of an asset of a graph."""
    return _identity(node.key, node.metadata, own=node.is_materializable)


def identities(assets: Iterable[AssetsDefinition | AssetSpec]) -> Iterator[tuple[AssetSpec, Identity]]:
    """Those of assets as they are defined; what has no definition but a spec is made elsewhere."""
    for each in assets:
        own = isinstance(each, AssetsDefinition) and each.is_materializable
        for spec in [each] if isinstance(each, AssetSpec) else each.specs:
            yield spec, _identity(spec.key, spec.metadata, own=own)


def _identity(key: AssetKey, metadata: Mapping[str, Any], *, own: bool) -> Identity:
    if own:
        return Identity(own_task(key, metadata), own_dataset(key, metadata))
    return Identity(task_of(metadata), dataset_of(metadata))


def is_declared_here(metadata: Mapping[str, Any]) -> bool:
    """Whether the code location declares such an asset: whoever names its task declares it elsewhere."""
    return TASK not in metadata


def is_claimed(metadata: Mapping[str, Any]) -> bool:
    """Whether the step that makes the asset of this metadata claims it."""
    return bool(metadata.get(CLAIMED, False))


def runs_in(spec: AssetSpec, namespace: str) -> bool:
    """Whether the task that makes an asset is of this namespace, such as that of one Airflow."""
    task = task_of(spec.metadata)
    return task is not None and task.namespace == namespace


def source_of(run: DagsterRun) -> dict[str, str]:
    """What events say of where they come from, that tell of a run of Dagster."""
    return {"dagster_run_id": run.run_id, "url": f"{webserver()}/runs/{run.run_id}"}


def dataset_of(metadata: Mapping[str, Any]) -> DatasetRef | None:
    """The dataset that the asset of this metadata is; None where it names none."""
    return _named(metadata, DATASET, DatasetRef)


def _named(metadata: Mapping[str, Any], key: str, kind: type[_Ref]) -> _Ref | None:
    if key not in metadata:
        return None
    value = metadata[key]
    # Dagster gives back what it has stored as a value of its own around ours.
    found = convert(getattr(value, "value", value), kind, key)
    if isinstance(found, FieldError):
        raise InvalidInput(f"the metadata {found.field} is {found.value!r}: expected {found.expected}", [found])
    return found
