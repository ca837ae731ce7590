"""A mapping of the ledger as Dagster's own class, where Dagster has one that means the same.

Guarantees that a class which is given leads from each partition to exactly those upstream partitions that the ledger
asks for; property tests compare the two. What no class of Dagster's says raises `NotInDagster`.
"""

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from functools import lru_cache

from dagster import (
    AllPartitionMapping,
    DimensionPartitionMapping,
    IdentityPartitionMapping,
    LastPartitionMapping,
    MultiPartitionMapping,
    MultiToSingleDimensionPartitionMapping,
    PartitionMapping,
    SpecificPartitionsPartitionMapping,
    StaticPartitionMapping,
    TimeWindowPartitionMapping,
)
from dagster._utils.warnings import disable_dagster_warnings

from dataforge_assets.partitions import NotInDagster
from resources.model import Partitioning, edge

ALL = AllPartitionMapping()
_Found = PartitionMapping


@lru_cache(maxsize=16_384)
def mapping_of(mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning) -> PartitionMapping | None:
    """How the partitions of one asset lead to those of its upstream; None where the upstream has none. Raises
    NotInDagster."""
    if theirs.kind == "none":
        return None
    with disable_dagster_warnings():  # that the mappings of two dimensions are beta
        found = _found(mapping, ours, theirs)
    if found is None:
        raise NotInDagster(f"no class of Dagster's leads there by the mapping {mapping.__struct_config__.tag}")
    return found


def _found(mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    kind = _KINDS.get(type(mapping))
    return kind(mapping, ours, theirs) if kind else None


def _fixed(mapping: edge.Fixed, _: Partitioning, __: Partitioning) -> _Found:
    return SpecificPartitionsPartitionMapping([mapping.key])


def _all(_: edge.All, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    """In the ledger all are those that had ended when the partition's own window ended, in Dagster by now."""
    return ALL if not _has_windows(theirs) or not _has_windows(ours) else None


def _last(mapping: edge.Last, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    """The same holds of the last."""
    by_now = theirs.windowed and not _has_windows(ours) and mapping.not_older_than is None
    return LastPartitionMapping() if by_now else None


def _has_windows(cut: Partitioning) -> bool:
    return cut.windowed or any(part.windowed for part in cut.dimensions.values())


def _same(mapping: edge.Same | edge.Window, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    """The partition of the same key, or the windows that overlap its own or those so many steps away."""
    first, last = (mapping.from_, mapping.to) if isinstance(mapping, edge.Window) else (0, 0)
    if ours.windowed and theirs.windowed:
        alike = ours.time_zone == theirs.time_zone
        return TimeWindowPartitionMapping(first, last, allow_nonexistent_upstream_partitions=True) if alike else None
    if isinstance(mapping, edge.Window):
        return None
    if ours.kind == theirs.kind == "product":
        return _of_two({}, ours, theirs)
    if ours.kind == "product" and theirs.windowed:
        times = [name for name, part in sorted(ours.dimensions.items()) if part.windowed]
        return _joined(times[0], ours, theirs) if times else None
    return IdentityPartitionMapping() if ours.kind == theirs.kind in ("static", "dynamic") else None


def _table(mapping: edge.Table, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    if ours.kind != "static" or theirs.kind != "static":
        return None
    rows = {key: keys for key, keys in mapping.keys.items() if key in ours.keys}
    named = {key for keys in rows.values() for key in keys}
    if rows.keys() != {*ours.keys} or not named <= {*theirs.keys}:  # what the ledger refuses to answer
        return None
    above = {key: {own for own, keys in rows.items() if key in keys} for key in theirs.keys}
    return StaticPartitionMapping({key: below for key, below in above.items() if below})


def _along(mapping: edge.Along, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    """One of two dimensions of ours, of which the other is dropped."""
    plain = mapping.mapping == edge.SAME and theirs.kind != "product"
    return _joined(mapping.dimension, ours, theirs) if plain else None


def _joined(dimension: str, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    return _single(dimension) if _inferred(ours.dimensions, theirs) == dimension else None


def _inferred(dimensions: MappingOf[str, Partitioning], single: Partitioning) -> str | None:
    """The dimension that Dagster joins with what has one only: which one, it can be told, but still has to find."""
    equal = [name for name, part in dimensions.items() if part == single]
    if equal:
        return equal[0] if len(equal) == 1 else None
    times = [name for name, part in dimensions.items() if part.windowed]
    alike = len(times) == 1 and single.windowed and dimensions[times[0]].time_zone == single.time_zone
    return times[0] if alike else None


def _single(dimension: str) -> _Found:
    return MultiToSingleDimensionPartitionMapping(partition_dimension_name=dimension)


def _by_dimension(mapping: edge.Dimension, ours: Partitioning, theirs: Partitioning) -> _Found | None:
    """Each of the upstream's dimensions by its own mapping."""
    parts = mapping.dimensions
    if theirs.kind != "product":
        return None
    if ours.kind == "product":
        return _of_two(parts, ours, theirs)
    joined = _inferred(theirs.dimensions, ours)
    rest = [name for name in theirs.dimensions if name != joined]
    if joined is None or parts.get(joined, edge.SAME) != edge.SAME:
        return None
    every = all(isinstance(parts.get(name), edge.All) and not theirs.dimensions[name].windowed for name in rest)
    return _single(joined) if every else None


def _of_two(parts: MappingOf[str, edge.Mapping], ours: Partitioning, theirs: Partitioning) -> _Found | None:
    """Dagster leads each of the upstream's dimensions back to one of ours, or to all of them, and takes each of ours
    once."""
    found: dict[str, DimensionPartitionMapping] = {}
    for name, cut in theirs.dimensions.items():
        part = parts.get(name, edge.SAME)
        origin = part.dimension if isinstance(part, edge.Along) else name
        if origin not in ours.dimensions:
            if isinstance(part, edge.All) and not cut.windowed:
                continue
            return None
        inner = _found(part.mapping if isinstance(part, edge.Along) else part, ours.dimensions[origin], cut)
        if inner is None or origin in {each.dimension_name for each in found.values()}:
            return None
        found[name] = DimensionPartitionMapping(origin, inner)
    return MultiPartitionMapping(found)


_KINDS: dict[type, Callable[..., _Found | None]] = {  # what is not here Dagster has no class for
    edge.Same: _same,
    edge.Window: _same,
    edge.All: _all,
    edge.Last: _last,
    edge.Fixed: _fixed,
    edge.Table: _table,
    edge.Along: _along,
    edge.Dimension: _by_dimension,
}
