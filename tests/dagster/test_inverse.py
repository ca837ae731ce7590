"""What Dagster's own classes are in the ledger: both lead to the same partitions, or the ledger is told nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from dagster import (
    AllPartitionMapping,
    DailyPartitionsDefinition,
    DimensionPartitionMapping,
    DynamicPartitionsDefinition,
    HourlyPartitionsDefinition,
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
    WeeklyPartitionsDefinition,
)
from dagster._core.definitions.partitions.utils import infer_partition_mapping
from dagster._utils.warnings import disable_dagster_warnings
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataforge.model import edge
from dataforge.model.partition import Partitioning
from dataforge_assets.inverse import NotInLedger, mapping_in_ledger, partitioning_of
from dataforge_assets.mappings import mapping_of
from dataforge_assets.partitions import NotInDagster, definition_of
from tests.dagster.test_mappings import cuts, dagsters, keys, ledgers, mappings, offsets, windowed

WHOLE = Partitioning(kind="none")
KEYS = ("acme", "eu", "us", "x")


def _made(kind: type[PartitionMapping], *given: Any, **named: Any) -> PartitionMapping:
    with disable_dagster_warnings():  # that some are beta
        return kind(*given, **named)


# Mappings as people write them, whether or not they fit.
names = st.sampled_from(("client", "date", "region"))
single: st.SearchStrategy[PartitionMapping] = st.one_of(
    st.builds(
        lambda ends, some: _made(TimeWindowPartitionMapping, *ends, allow_nonexistent_upstream_partitions=some),
        offsets,
        st.booleans(),
    ),
    st.builds(AllPartitionMapping),
    st.builds(LastPartitionMapping),
    st.builds(IdentityPartitionMapping),
    st.lists(st.sampled_from(("eu", "2026-04-01")), min_size=1, max_size=2).map(SpecificPartitionsPartitionMapping),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(("eu", ("eu", "us")))).map(StaticPartitionMapping),
)
written = st.one_of(
    single,
    st.one_of(st.none(), names).map(lambda name: _made(MultiToSingleDimensionPartitionMapping, name)),
    st.dictionaries(names, st.builds(DimensionPartitionMapping, names, single)).map(
        lambda parts: _made(MultiPartitionMapping, parts)
    ),
)


@settings(max_examples=300, deadline=None)
@given(cut=cuts)
def test_a_definition_of_dagsters_is_the_partitioning_that_has_its_keys(cut: Partitioning) -> None:
    assert partitioning_of(definition_of(cut)) == cut


@settings(max_examples=600, deadline=None)
@given(mapping=mappings, ours=cuts, theirs=cuts)
def test_what_the_ledger_has_shown_to_dagster_it_is_told_again(
    mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning
) -> None:
    """Where its keys are those of an upstream's partitions at all."""
    try:
        shown = mapping_of(mapping, ours, theirs)
        assert shown is not None
        told = mapping_in_ledger(shown, ours, theirs)
    except (NotInDagster, NotInLedger):
        assume(False)
    for key in keys(ours):
        expected = ledgers(mapping, ours, key, theirs)
        if expected is not None:
            assert ledgers(told, ours, key, theirs) == expected


pairs = st.one_of(
    st.tuples(st.one_of(st.just(WHOLE), cuts), cuts), st.tuples(windowed, windowed), cuts.map(lambda cut: (cut, cut))
)


@settings(max_examples=800, deadline=None)
@given(mapping=st.one_of(st.none(), written), pair=pairs)
def test_a_mapping_of_dagsters_leads_to_the_same_partitions_in_the_ledger(
    mapping: PartitionMapping | None, pair: tuple[Partitioning, Partitioning]
) -> None:
    ours, theirs = pair
    mapping = infer_partition_mapping(mapping, definition_of(ours), definition_of(theirs))
    try:
        told = mapping_in_ledger(mapping, ours, theirs)
    except NotInLedger:
        return  # most that are drawn fit nothing
    for key in [""] if ours == WHOLE else keys(ours):
        expected = ledgers(told, ours, key, theirs)
        if expected is not None:
            assert dagsters(mapping, ours, key, theirs) == expected, key


DAYS = DailyPartitionsDefinition("2026-11-01")
REGIONS = StaticPartitionsDefinition(["eu", "us"])
BOTH = MultiPartitionsDefinition({"date": DAYS, "region": REGIONS})
LATER = DailyPartitionsDefinition("2026-11-05", timezone="UTC")
ABROAD = DailyPartitionsDefinition("2026-11-01", timezone="Asia/Tokyo")


@pytest.mark.parametrize(
    ("given", "ours", "theirs", "expected"),
    [
        (None, DAYS, LATER, edge.SAME),
        (TimeWindowPartitionMapping(-1, -1), DAYS, DAYS, edge.Window(-1, -1)),
        (IdentityPartitionMapping(), DAYS, LATER, edge.SAME),
        (None, WeeklyPartitionsDefinition("2026-11-01"), DAYS, edge.SAME),
        (None, None, DAYS, edge.All()),
        (None, None, DynamicPartitionsDefinition(name="files"), edge.All()),
        (LastPartitionMapping(), REGIONS, DAYS, edge.Last()),
        (StaticPartitionMapping({"eu": ["eu", "us"]}), REGIONS, REGIONS, edge.Table({"eu": ("eu",), "us": ("eu",)})),
        (None, BOTH, DAYS, edge.Along("date")),
        (None, DAYS, BOTH, edge.Dimension({"region": edge.All()})),
        (None, BOTH, BOTH, edge.SAME),
        (None, DAYS, None, edge.SAME),
    ],
)
def test_what_people_write_most_is_known(given: Any, ours: Any, theirs: Any, expected: edge.Mapping) -> None:
    mapping = infer_partition_mapping(given, ours, theirs)
    assert mapping_in_ledger(mapping, partitioning_of(ours), partitioning_of(theirs)) == expected


@pytest.mark.parametrize(
    ("given", "ours", "theirs"),
    [
        (LastPartitionMapping(), DAYS, DAYS),
        (AllPartitionMapping(), DAYS, DAYS),
        (None, DAYS, ABROAD),
        (None, DAYS, REGIONS),
        (SpecificPartitionsPartitionMapping(["eu", "us"]), None, REGIONS),
    ],
)
def test_a_mapping_that_the_ledger_lacks_is_not_guessed(given: Any, ours: Any, theirs: Any) -> None:
    mapping = infer_partition_mapping(given, ours, theirs)
    with pytest.raises(NotInLedger, match=f"the ledger has no mapping that means what {type(mapping).__name__} does"):
        mapping_in_ledger(mapping, partitioning_of(ours), partitioning_of(theirs))


def _tomorrow(_: datetime | None = None) -> list[str]:
    return ["tomorrow"]


def _odd() -> Iterator[tuple[PartitionsDefinition[Any], str]]:
    yield DailyPartitionsDefinition("2026-11-01", end_offset=1), "end_offset=1"
    yield HourlyPartitionsDefinition("2026-11-01-00", fmt="%Y-%m-%d-%H"), "fmt='%Y-%m-%d-%H'"
    weekdays = TimeWindowPartitionsDefinition(
        start="2026-11-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * *", exclusions=["0 0 * * 0"]
    )
    yield weekdays, "exclusions="
    yield DynamicPartitionsDefinition(_tomorrow), "a DynamicPartitionsDefinition that only Dagster can follow"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_partitions_that_the_ledger_lacks_are_not_guessed() -> None:
    for cut, said in _odd():
        with pytest.raises(NotInLedger) as refused:
            partitioning_of(cut)
        assert said in str(refused.value)
