"""What a code location declares in the ledger: the assets that it makes itself and that nobody else declares, as the
manifest of one source.

Guarantees that it is a function of the definitions alone; that what the ledger has no word for is left out and said,
never guessed; and that external assets, which came from the ledger, are not declared back to it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from dagster import AssetKey, RepositoryDefinition, TableSchema
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode

from dataforge_assets.inverse import NotInLedger, mapping_in_ledger, partitioning_of
from resources.identity import TOLD_BY, dataset_of, identity_of, is_declared_here, own_dataset, own_task
from resources.model import DatasetRef, FieldError, InvalidInput, TaskRef

KIND, COLUMNS, SYSTEM = "dagster/kind/", "dagster/column_schema", ("dagster/", "dataforge/")
UNGROUPED = "default"
Item = dict[str, Any]


@dataclass(frozen=True)
class Declaration:
    """A manifest, the columns that the code gives of its datasets, and what is left out and why."""

    manifest: Mapping[str, list[Item]]
    columns: Mapping[DatasetRef, TableSchema]
    left_out: tuple[str, ...]


def declaration_of(repository: RepositoryDefinition) -> Declaration:
    """What this code location declares. Raises InvalidInput where two of its assets would be one in the ledger."""
    graph = repository.asset_graph
    own = sorted((node for node in graph.asset_nodes if _is_own(node)), key=lambda node: node.key)
    _refuse_one_for_two(graph, own)
    tasks, datasets, left_out = list[Item](), list[Item](), list[str]()
    columns: dict[DatasetRef, TableSchema] = {}
    mappings = _Mappings(graph)
    for node in own:
        try:
            tasks.append(_task(graph, mappings, node, left_out))
        except NotInLedger as error:
            left_out.append(f"{node.key.to_user_string()}, since {error}")
            continue
        dataset = own_dataset(node.key, node.metadata)
        if dataset_of(node.metadata) is None and dataset is not None:
            datasets.append(_named(dataset) | _said(node))
        if dataset is not None and isinstance(schema := node.metadata.get(COLUMNS), TableSchema):
            columns[dataset] = schema
    return Declaration({"tasks": tasks, "datasets": datasets}, columns, tuple(left_out))


def _is_own(node: AssetNode) -> bool:
    return node.is_materializable and is_declared_here(node.metadata) and TOLD_BY not in node.metadata


def _refuse_one_for_two(graph: AssetGraph, own: Iterable[AssetNode]) -> None:
    """Two assets by one name would be made one of the other's runs."""
    known: dict[TaskRef | DatasetRef, set[AssetKey]] = defaultdict(set)
    for node in graph.asset_nodes:
        for ref in _names(node):
            known[ref].add(node.key)
    for node in own:
        for ref in _names(node):
            if len(known[ref]) > 1:
                raise _one_for_two(ref, known[ref])


def _names(node: AssetNode) -> Iterator[TaskRef | DatasetRef]:
    return (each for each in identity_of(node) if each is not None)


def _one_for_two(ref: TaskRef | DatasetRef, keys: Iterable[AssetKey]) -> InvalidInput:
    kind = "task" if isinstance(ref, TaskRef) else "dataset"
    assets = " and ".join(sorted(key.to_user_string() for key in keys))
    expected = f"one asset for each {kind}: give one of them another by ledger_metadata({kind}=...)"
    field = FieldError(kind, f"{ref.namespace}/{ref.name}", expected)
    return InvalidInput(f"{assets} would both be the {kind} {ref.namespace}/{ref.name}: expected {expected}", [field])


def _task(graph: AssetGraph, mappings: "_Mappings", node: AssetNode, left_out: list[str]) -> Item:
    own, by_parent = _said(node), node.partition_mappings
    consumes = [
        {**upstream, "mapping": mappings.of(node, parent, by_parent.get(parent))}
        for parent in sorted(node.parent_keys)
        if (upstream := _upstream(graph.get(parent), node, left_out))
    ]
    dataset = own_dataset(node.key, node.metadata)
    return {
        **_named(own_task(node.key, node.metadata)),
        **own,
        "platform": "dbt" if "dbt" in node.kinds else "dagster",
        **({"domain": node.group_name} if node.group_name != UNGROUPED else {}),
        "consumes": consumes,
        "produces": [_named(dataset)] if dataset else [],
    }


def _upstream(parent: AssetNode, node: AssetNode, left_out: list[str]) -> Item | None:
    """What the ledger calls what an asset is made from; None, and said, where it knows nothing of it."""
    task, dataset = identity_of(parent)
    if dataset is not None:
        return {"dataset": _named(dataset)}
    if task is not None:
        return {"task": _named(task)}
    key = parent.key.to_user_string()
    left_out.append(f"that {node.key.to_user_string()} is made from {key}, which names no dataset of the ledger")
    return None


class _Mappings:
    """Which partitions assets are made from, told once for all that are alike: thousands share a few partitionings."""

    def __init__(self, graph: AssetGraph) -> None:
        self._graph = graph
        # By the objects that tell it, which are held here, so that none of their numbers is given to another.
        self._told: dict[tuple[int, int, int], tuple[Item, tuple[object, ...]]] = {}

    def of(self, node: AssetNode, parent: AssetKey, said: object) -> Item:
        """The mapping from one asset to one that it is made from; `said` is what the code says of it."""
        ends = node.partitions_def, self._graph.get(parent).partitions_def
        alike = (id(said), id(ends[0]), id(ends[1]))
        if alike not in self._told:
            self._told[alike] = self._find(node, parent), (said, *ends)
        return self._told[alike][0]

    def _find(self, node: AssetNode, parent: AssetKey) -> Item:
        ours = partitioning_of(node.partitions_def)
        try:
            theirs = partitioning_of(self._graph.get(parent).partitions_def)
            found = mapping_in_ledger(self._graph.get_partition_mapping(node.key, parent), ours, theirs)
        except NotInLedger as error:
            raise NotInLedger(f"it is made from {parent.to_user_string()}: {error}") from None
        told: Item = msgspec.to_builtins(found)
        return told


def _named(ref: TaskRef | DatasetRef) -> Item:
    return {"namespace": ref.namespace, "name": ref.name}


def _said(node: AssetNode) -> Item:
    """What an asset says of itself, for its dataset and its task alike."""
    kinds = [f"kind:{tag.removeprefix(KIND)}" for tag in node.tags if tag.startswith(KIND)]
    tags = [f"{tag}:{value}" if value else tag for tag, value in node.tags.items() if not tag.startswith(SYSTEM)]
    found = {
        "owner": node.owners[0] if node.owners else None,
        "description": node.description,
        "tags": sorted(kinds + tags),
        "partitioning": msgspec.to_builtins(partitioning_of(node.partitions_def)),
    }
    return {name: value for name, value in found.items() if value}
