"""The curated part of the graph as external assets: what a snapshot of the ledger says of each, in Dagster's terms.

Guarantees that nothing is read but the snapshot's file; that an asset which the code location defines itself is not
there twice, and stands under its own key wherever it is read; and that what Dagster has no word for is said in the
asset's description. The verdict on it comes from the ledger all the same.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from dagster import (
    AssetDep,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterError,
    MetadataValue,
    PartitionMapping,
    PartitionsDefinition,
    TableColumn,
    TableSchema,
)
from dagster._check import CheckError
from msgspec.structs import replace

from dataforge_assets.mappings import ALL, mapping_of
from dataforge_assets.partitions import NotInDagster, definition_of
from resources.configuration import ledger_pages
from resources.identity import identities, ledger_metadata
from resources.model import Asset, AssetName, Column, Partitioning, Snapshot, Upstream, key_of
from resources.window import snapshot_at

WHOLE = Partitioning(kind="none")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")  # what Dagster takes for one
_Own = Iterable[AssetsDefinition | AssetSpec]


def window(path: Path, own: _Own = ()) -> list[AssetSpec]:
    """The external assets of the snapshot in that file, without those that the code location itself defines. Raises
    NotFound or InvalidInput, which name the command that makes the file anew."""
    return specs_of(snapshot_at(path), own)


def specs_of(snapshot: Snapshot, own: _Own = ()) -> list[AssetSpec]:
    """The same of a snapshot that was read."""
    drawn = _Drawn(snapshot, dict(_named(own)))
    return [drawn.spec(asset) for asset in snapshot.assets if asset.asset not in drawn.own]


def _named(own: _Own) -> Iterator[tuple[AssetName, AssetKey]]:
    """What the ledger calls the assets of the code location itself."""
    for spec, (task, dataset) in identities(own):
        if dataset is not None:
            yield AssetName("dataset", dataset.namespace, dataset.name), spec.key
        elif task is not None:
            yield AssetName("task", task.namespace, task.name), spec.key


class _Cut(NamedTuple):
    """How an asset is cut: the partitioning that it has in Dagster, its definition, and what that leaves unsaid."""

    told: Partitioning
    definition: PartitionsDefinition[Any] | None
    unsaid: str = ""


def _cut(asset: Asset) -> _Cut:
    if asset.partitioning is None:
        return _Cut(WHOLE, None)
    told = replace(asset.partitioning, start=asset.first) if asset.first else asset.partitioning
    unsaid = "its partitions have no declared start, and begin here with the first that was seen" if asset.first else ""
    try:
        return _Cut(told, definition_of(told), unsaid)
    except (NotInDagster, DagsterError, CheckError) as error:
        return _Cut(WHOLE, None, f"{str(error).splitlines()[0]}, so it is shown as a whole")


class _Drawn:
    """A snapshot beside what the code location defines. What many assets share, a dependency or a column, is made once:
    of 5,000 assets with twenty upstreams that is half of the time."""

    def __init__(self, snapshot: Snapshot, own: Mapping[AssetName, AssetKey]) -> None:
        self.own = own
        self._prefixes = snapshot.keys
        self._cuts = {asset.asset: _cut(asset) for asset in snapshot.assets}
        self._page = ledger_pages()
        self._deps: dict[tuple[AssetName, PartitionMapping | None], AssetDep] = {}

    def spec(self, asset: Asset) -> AssetSpec:
        """The asset as Dagster is told of it."""
        cut, unsaid = self._cuts[asset.asset], list[str]()
        deps = [self._dep(cut.told, each, unsaid) for each in asset.upstream]
        unsaid += [f"it is also made from {each}, which Dagster would take for a cycle" for each in asset.left_out]
        task = (asset.task.namespace, asset.task.name) if asset.task else None
        dataset = (asset.asset.namespace, asset.asset.name) if asset.asset.kind == "dataset" else None
        return AssetSpec(
            AssetKey(asset.key),
            deps=deps,
            description=_description(asset, [cut.unsaid, *unsaid] if cut.unsaid else unsaid),
            group_name=_word(asset.domain or "unassigned", "_"),
            owners=[_owner(asset.owner)] if asset.owner else [],
            kinds=_kinds(asset),
            tags=dict(_tags(asset)),
            partitions_def=cut.definition,
            metadata={**ledger_metadata(task, dataset), **self._metadata(asset)},
        )

    def _dep(self, ours: Partitioning, each: Upstream, unsaid: list[str]) -> AssetDep:
        """How an asset depends on one upstream. Of one outside of the window nothing is known but its key."""
        theirs = self._cuts.get(each.asset)
        try:
            mapping = _mapping(each, ours, theirs.told) if theirs else None
        except NotInDagster as error:
            unsaid.append(f"of {each.asset} it is shown to need every partition, since {error}")
            mapping = ALL
        if (each.asset, mapping) not in self._deps:
            key = self.own.get(each.asset) or AssetKey(key_of(each.asset, self._prefixes))
            self._deps[each.asset, mapping] = AssetDep(key, partition_mapping=mapping)
        return self._deps[each.asset, mapping]

    def _metadata(self, asset: Asset) -> dict[str, Any]:
        """Its columns, the pages about it, and the ledger's own."""
        found: dict[str, Any] = {title: MetadataValue.url(link) for title, link in asset.links.items()}
        if asset.columns:
            found["dagster/column_schema"] = TableSchema(list(map(_column, asset.columns)))
        if self._page:
            name = {"kind": asset.asset.kind, "namespace": asset.asset.namespace, "name": asset.asset.name}
            found["ledger"] = MetadataValue.url(f"{self._page}?{urlencode(name)}")
        return found


def _mapping(each: Upstream, ours: Partitioning, theirs: Partitioning) -> PartitionMapping | None:
    if each.mapping is None and theirs.kind != "none":
        raise NotInDagster(each.reason)
    return mapping_of(each.mapping, ours, theirs) if each.mapping is not None else None


@lru_cache(maxsize=65_536)
def _column(column: Column) -> TableColumn:
    return TableColumn(column.name, column.type or "string", column.description or None)


def _description(asset: Asset, unsaid: Sequence[str]) -> str | None:
    """What its owner says of it, who makes it where several do, and what Dagster does not show as it is."""
    parts = [asset.description] if asset.description else []
    if asset.makers:
        parts.append(f"Made by {', '.join(f'{task.namespace}/{task.name}' for task in asset.makers)} together.")
    if unsaid:
        parts.append("Not as in the ledger: " + "; ".join(unsaid) + ". What may run is decided by the ledger.")
    return "\n\n".join(parts) or None


def _owner(owner: str) -> str:
    """Dagster takes e-mail addresses and teams."""
    return owner if _EMAIL.fullmatch(owner) or owner.startswith("team:") else f"team:{owner}"


def _kinds(asset: Asset) -> set[str]:
    """What runs it, and what holds it where its namespace says so."""
    scheme, found, _ = asset.asset.namespace.partition("://")
    held = {scheme} if found and asset.asset.kind == "dataset" else set()
    return {_word(kind, "_") for kind in {*asset.platforms} | held}


def _tags(asset: Asset) -> Iterator[tuple[str, str]]:
    """The domain, and the declared tags: one such as tier:gold has a value."""
    if asset.domain:
        yield "domain", _word(asset.domain)
    for tag in asset.tags:
        name, _, value = tag.partition(":")
        yield _word(name), _word(value)


@lru_cache(maxsize=4_096)
def _word(text: str, other: str = "-") -> str:
    """The text with only what Dagster lets stand in a name."""
    return re.sub(r"[^A-Za-z0-9_]" if other == "_" else r"[^A-Za-z0-9_.-]", other, text)[:63]
