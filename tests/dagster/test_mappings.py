"""Where Dagster has a class for a mapping of the ledger, both lead to the same upstream partitions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dagster import PartitionsDefinition
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataforge.model import edge
from dataforge.model.attempt import Interval
from dataforge.model.mapping import Side, upstream_keys
from dataforge.model.partition import InvalidPartitionKey, Partitioning, keys_of, window_of
from dataforge.model.windows import Unmappable, exists
from dataforge_assets.mappings import mapping_of
from dataforge_assets.partitions import NotInDagster, definition_of

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
SPAN = Interval(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))  # with a change of the clocks
ZONES = st.sampled_from(("UTC", "Europe/Berlin", "America/New_York"))
STARTS = st.sampled_from(("2026-01-01", "2026-03-10", "2026-03-29"))
ENDS = st.sampled_from((None, "2026-04-15"))
DAY = Partitioning(kind="daily", start="2026-03-10")
REGIONS = Partitioning(kind="static", keys=("eu", "us"))

windowed = st.one_of(
    st.builds(
        lambda kind, start, end, zone, hour: Partitioning(
            kind=kind, start=start, end=end, time_zone=zone, hour_offset=0 if kind == "hourly" else hour
        ),
        st.sampled_from(("hourly", "daily", "weekly", "monthly")),
        STARTS,
        ENDS,
        ZONES,
        st.sampled_from((0, 0, 6)),
    ),
    st.builds(
        lambda cron, start, zone: Partitioning(kind="cron", cron=cron, start=start, time_zone=zone),
        st.sampled_from(("0 */6 * * *", "30 7 * * *", "0 0 * * 1-5")),
        STARTS,
        ZONES,
    ),
)
static = st.lists(st.sampled_from(("acme", "eu", "us", "x")), min_size=1, unique=True).map(
    lambda keys: Partitioning(kind="static", keys=tuple(keys))
)
single = st.one_of(windowed, static)
product = st.builds(
    lambda names, one, other: Partitioning(kind="product", dimensions={names[0]: one, names[1]: other}),
    st.sampled_from((("client", "date"), ("date", "region"), ("client", "region"))),
    single,
    static,
)
cuts = st.one_of(single, product)
offsets = st.tuples(st.integers(-4, 2), st.integers(-4, 2)).map(sorted)
plain: st.SearchStrategy[edge.Mapping] = st.one_of(
    st.just(edge.SAME),
    offsets.map(lambda ends: edge.Window(*ends)),
    st.sampled_from(("day", "month")).map(edge.ToDate),  # type: ignore[arg-type]
    st.just(edge.All()),
    st.just(edge.Last()),
    st.sampled_from(("acme", "eu", "2026-04-01", "eu|2026-04-01")).map(edge.Fixed),
    st.dictionaries(st.sampled_from(("acme", "eu", "us", "x")), st.sampled_from((("eu",), ("eu", "us"), ()))).map(
        edge.Table
    ),
)
along = st.builds(edge.Along, st.sampled_from(("client", "date", "region")), plain)
mappings: st.SearchStrategy[edge.Mapping] = st.one_of(
    plain,
    along,
    st.dictionaries(st.sampled_from(("client", "date", "region")), st.one_of(plain, along)).map(edge.Dimension),
)


def keys(cut: Partitioning) -> list[str]:
    """Some keys of it, as the ledger has them."""
    if cut.kind == "product":
        names = sorted(cut.dimensions)
        first, second = (keys(cut.dimensions[name]) for name in names)
        return [f"{one}|{other}" for one in first for other in second]
    if cut.kind == "static":
        return list(cut.keys)
    found = [key for key in keys_of(cut, SPAN) if exists(cut, key) and ended(cut, key)]
    return [*found[:2], *found[len(found) // 2 :][:2], *found[-2:]]


def ended(cut: Partitioning, key: str) -> bool:
    """Whether Dagster has the partition by now."""
    window = window_of(cut, key)
    return window is None or window.end <= NOW


def ledgers(mapping: edge.Mapping, ours: Partitioning, key: str, theirs: Partitioning) -> set[str] | None:
    """Those that Dagster has by now; None where the ledger refuses the question."""
    try:
        found = upstream_keys(mapping, Side(key, ours, NOW), theirs)
    except (Unmappable, InvalidPartitionKey):
        return None
    return {each for each in found if ended(theirs, each)}


def dagsters(mapping: Any, ours: Partitioning, key: str, theirs: Partitioning) -> set[str]:
    below, above = definition_of(ours), definition_of(theirs)
    assert above is not None
    asked = None if below is None else below.subset_with_partition_keys([_key(below, key)])
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(asked, below, above, NOW)
    return {str(each) for each in found.partitions_subset.get_partition_keys()}


def _key(cut: PartitionsDefinition[Any], key: str) -> str:
    read = getattr(cut, "get_partition_key_from_str", None)
    found: str = read(key) if read else key
    return found


@settings(max_examples=600, deadline=None)
@given(mapping=mappings, ours=cuts, theirs=cuts)
def test_a_class_of_dagsters_leads_to_the_ledgers_partitions(
    mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning
) -> None:
    try:
        found = mapping_of(mapping, ours, theirs)
    except NotInDagster:
        assume(False)
    for key in keys(ours):
        expected = ledgers(mapping, ours, key, theirs)
        if expected is not None:
            assert dagsters(found, ours, key, theirs) == expected, key


@settings(max_examples=200, deadline=None)
@given(mapping=mappings, theirs=cuts)
def test_what_has_no_partitions_needs_the_same_ones(mapping: edge.Mapping, theirs: Partitioning) -> None:
    whole = Partitioning(kind="none")
    try:
        found = mapping_of(mapping, whole, theirs)
    except NotInDagster:
        assume(False)
    expected = ledgers(mapping, whole, "", theirs)
    if expected is not None:
        assert dagsters(found, whole, "", theirs) == expected
