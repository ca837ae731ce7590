"""The way back of `partitions.py` and `mappings.py`: what Dagster's own classes are in the ledger.

Guarantees that nothing is guessed: what is found leads back to the class that was given, by those two modules, which
property tests hold to the ledger's own answers. What does not raises `NotInLedger`, which says what it is.

Of windows some steps away Dagster refuses those that the upstream has not, unless the mapping allows for them; the
ledger asks for those that it has.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from dagster import (
    AllPartitionMapping,
    DynamicPartitionsDefinition,
    IdentityPartitionMapping,
    LastPartitionMapping,
    MultiPartitionMapping,
    MultiPartitionsDefinition,
    MultiToSingleDimensionPartitionMapping,
    PartitionMapping,
    PartitionsDefinition,
    SpecificPartitionsPartitionMapping,
    StaticPartitionMapping,
    StaticPartitionsDefinition,
    TimeWindowPartitionMapping,
    TimeWindowPartitionsDefinition,
)
from dagster._core.definitions.partitions.schedule_type import ScheduleType
from msgspec.structs import replace

from dataforge_assets.mappings import mapping_of
from dataforge_assets.partitions import NotInDagster, windows_of
from resources.model import NONE, Partitioning, edge, endless, misfit

_Definition = PartitionsDefinition[Any]


class NotInLedger(ValueError):
    """What the ledger has no word for; the message says what."""


@lru_cache(maxsize=4_096)
def partitioning_of(cut: _Definition | None) -> Partitioning:
    """The ledger's partitioning with the same keys. Raises NotInLedger where it has no such."""
    match cut:
        case None:
            return NONE
        case StaticPartitionsDefinition():
            return Partitioning(kind="static", keys=tuple(cut.get_partition_keys()))
        case DynamicPartitionsDefinition() if cut.name:
            return Partitioning(kind="dynamic", set=cut.name)
        case MultiPartitionsDefinition():
            parts = {part.name: partitioning_of(part.partitions_def) for part in cut.partitions_defs}
            return Partitioning(kind="product", dimensions=parts)
        case TimeWindowPartitionsDefinition():
            return _windows(cut)
    raise NotInLedger(f"it is cut by a {type(cut).__name__} that only Dagster can follow")


def _windows(cut: TimeWindowPartitionsDefinition) -> Partitioning:
    for found in _schedules(cut):
        if _laid(windows_of(found)) == _laid(cut):
            return found
    odd = {"end_offset": cut.end_offset, "exclusions": cut.exclusions, "fmt": cut.fmt}
    said = ", ".join(f"{name}={value!r}" for name, value in odd.items() if value)
    raise NotInLedger(f"its windows ({cut.cron_schedule}; {said}) are not those of any partitioning of the ledger")


def _schedules(cut: TimeWindowPartitionsDefinition) -> Iterator[Partitioning]:
    """What it may be: windows of a kind, or else of a cron schedule."""
    end = _local(cut.end) if cut.end else None
    bare = Partitioning(kind="hourly", start=_local(cut.start), end=end, time_zone=cut.timezone)
    match cut.schedule_type:
        case ScheduleType.HOURLY:
            yield replace(bare, minute_offset=cut.minute_offset)
        case ScheduleType.DAILY:
            yield replace(bare, kind="daily", minute_offset=cut.minute_offset, hour_offset=cut.hour_offset)
        case ScheduleType.WEEKLY | ScheduleType.MONTHLY as kind:
            offsets = {name: getattr(cut, name) for name in ("minute_offset", "hour_offset", "day_offset")}
            yield replace(bare, kind="weekly" if kind is ScheduleType.WEEKLY else "monthly", **offsets)
    yield replace(bare, kind="cron", cron=cut.cron_schedule)


def _local(moment: Any) -> str:
    text: str = moment.replace(tzinfo=None, fold=0).isoformat()
    return text.removesuffix("T00:00:00")


def _laid(cut: TimeWindowPartitionsDefinition) -> tuple[Any, ...]:
    """What its windows and keys follow from, whatever its class is called."""
    return (cut.start_ts, cut.end_ts, cut.timezone, cut.cron_schedule, cut.fmt, cut.end_offset, cut.exclusions)


def mapping_in_ledger(given: PartitionMapping, ours: Partitioning, theirs: Partitioning) -> edge.Mapping:
    """How the partitions of one asset lead to those of its upstream, as the ledger says it. Raises NotInLedger."""
    if theirs.kind == "none":
        return edge.SAME
    if isinstance(given, IdentityPartitionMapping) and endless(ours) == endless(theirs):
        return edge.SAME
    for found in _candidates(given, ours, theirs):
        if _leads_back(found, given, ours, theirs) and misfit(found, ours, theirs) is None:
            return found
    name = type(given).__name__
    raise NotInLedger(f"the ledger has no mapping that means what {name} does from {ours.kind} to {theirs.kind}")


def _candidates(given: PartitionMapping, ours: Partitioning, theirs: Partitioning) -> Iterator[edge.Mapping]:
    kind = _KINDS.get(type(given))
    return kind(given, ours, theirs) if kind else iter(())


def _leads_back(found: edge.Mapping, given: PartitionMapping, ours: Partitioning, theirs: Partitioning) -> bool:
    try:
        back = mapping_of(found, ours, theirs)
    except NotInDagster:
        return False
    return back is not None and _alike(back, given)


def _alike(back: PartitionMapping, given: PartitionMapping) -> bool:
    """Whether both mean the same. They are tuples, of which two without fields are equal whatever their class."""
    if type(back) is not type(given):
        return False
    if isinstance(back, TimeWindowPartitionMapping) and isinstance(given, TimeWindowPartitionMapping):
        return (back.start_offset, back.end_offset) == (given.start_offset, given.end_offset)
    if isinstance(back, MultiToSingleDimensionPartitionMapping) and isinstance(given, type(back)):
        return given.partition_dimension_name in (None, back.partition_dimension_name)
    if isinstance(back, StaticPartitionMapping) and isinstance(given, StaticPartitionMapping):
        return _below(back) == _below(given)
    if isinstance(back, MultiPartitionMapping) and isinstance(given, MultiPartitionMapping):
        return _alike_by_dimension(back, given)
    return back == given


def _alike_by_dimension(back: MultiPartitionMapping, given: MultiPartitionMapping) -> bool:
    ones, others = back.downstream_mappings_by_upstream_dimension, given.downstream_mappings_by_upstream_dimension
    return ones.keys() == others.keys() and all(
        one.dimension_name == others[name].dimension_name
        and _alike(one.partition_mapping, others[name].partition_mapping)
        for name, one in ones.items()
    )


def _same(_: PartitionMapping, __: Partitioning, ___: Partitioning) -> Iterator[edge.Mapping]:
    yield edge.SAME


def _window(given: TimeWindowPartitionMapping, _: Partitioning, __: Partitioning) -> Iterator[edge.Mapping]:
    first, last = given.start_offset, given.end_offset
    strict = not (first or last or given.allow_nonexistent_upstream_partitions)
    yield edge.SAME if strict else edge.Window(first, last)  # `same` refuses what the upstream has not, as Dagster does


def _all(_: AllPartitionMapping, __: Partitioning, ___: Partitioning) -> Iterator[edge.Mapping]:
    yield edge.All()


def _last(_: LastPartitionMapping, __: Partitioning, ___: Partitioning) -> Iterator[edge.Mapping]:
    yield edge.Last()


def _fixed(given: SpecificPartitionsPartitionMapping, _: Partitioning, __: Partitioning) -> Iterator[edge.Mapping]:
    yield from (edge.Fixed(key) for key in given.partition_keys)  # of several none leads back


def _table(given: StaticPartitionMapping, ours: Partitioning, theirs: Partitioning) -> Iterator[edge.Mapping]:
    below = _below(given)
    yield edge.Table({own: tuple(key for key in theirs.keys if own in below.get(key, ())) for own in ours.keys})


def _below(given: StaticPartitionMapping) -> dict[str, set[str]]:
    """The keys that each key of the upstream leads to, however they were written."""
    said = given.downstream_partition_keys_by_upstream_partition_key
    return {key: {own} if isinstance(own, str) else {*own} for key, own in said.items() if own}


def _along(
    given: MultiToSingleDimensionPartitionMapping, ours: Partitioning, theirs: Partitioning
) -> Iterator[edge.Mapping]:
    if ours.kind == "product":
        named = given.partition_dimension_name
        yield from (edge.Along(name) for name in ([named] if named else sorted(ours.dimensions)))
    else:
        for joined in sorted(theirs.dimensions):
            yield edge.Dimension({name: edge.All() for name in theirs.dimensions if name != joined})


def _by_dimension(given: MultiPartitionMapping, ours: Partitioning, theirs: Partitioning) -> Iterator[edge.Mapping]:
    """Each dimension of the upstream by its own; one of which nothing is said is asked for as a whole."""
    found: dict[str, edge.Mapping] = {}
    for name, cut in theirs.dimensions.items():
        said = given.downstream_mappings_by_upstream_dimension.get(name)
        origin = ours.dimensions.get(said.dimension_name) if said else None
        if said is None or origin is None:
            found[name] = edge.All()
            continue
        inner = mapping_in_ledger(said.partition_mapping, origin, cut)
        found[name] = inner if said.dimension_name == name else edge.Along(said.dimension_name, inner)
    yield edge.Dimension(found)


_KINDS: dict[type, Callable[[Any, Partitioning, Partitioning], Iterator[edge.Mapping]]] = {
    IdentityPartitionMapping: _same,
    TimeWindowPartitionMapping: _window,
    AllPartitionMapping: _all,
    LastPartitionMapping: _last,
    SpecificPartitionsPartitionMapping: _fixed,
    StaticPartitionMapping: _table,
    MultiToSingleDimensionPartitionMapping: _along,
    MultiPartitionMapping: _by_dimension,
}
