"""Mappings between partitionings that cannot be joined are refused where both are known, with what to declare."""

import re
from typing import Any

import pytest
from hypothesis import assume, given, settings

from dataforge.model import definition
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Mapping, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.fit import misfit
from dataforge.model.mapping import Side, upstream_keys
from dataforge.model.partition import NONE, Partitioning
from tests.unit.test_downstream import (
    BOTH,
    BY_REGION,
    CLIENTS,
    DAILY,
    HOURLY,
    MONTHLY,
    NOW,
    REGION_OF,
    REGIONS,
    WEEKLY,
    key_at,
    mappings,
    moments,
    partitionings,
)

DYNAMIC = Partitioning(kind="dynamic", set="clients")


@pytest.mark.parametrize(
    ("mapping", "ours", "theirs", "remedy"),
    [
        (SAME, NONE, DAILY, "last, all or fixed"),
        (SAME, DAILY, CLIENTS, "all, fixed or last"),
        (SAME, CLIENTS, REGIONS, "a table: .* no partition 'acme'"),
        (SAME, CLIENTS, DAILY, "a table"),
        (SAME, DAILY, BOTH, r"a mapping by dimension \(client, date\)"),
        (SAME, BOTH, CLIENTS, "by kind along"),
        (SAME, BOTH, BY_REGION, "for region one of along"),
        (Window(-1, 0), CLIENTS, DAILY, "another mapping than windows: the task"),
        (Window(-1, 0), DAILY, CLIENTS, "another mapping than windows: the other side"),
        (Window(-1, 0), DAILY, BOTH, "by dimension"),
        (Window(-5_000, 0), DAILY, HOURLY, "fewer or longer windows"),
        (ToDate("month"), MONTHLY, DAILY, "a period longer"),
        (All(), DAILY, WEEKLY, "a start"),
        (Last(), DAILY, CLIENTS, "another mapping than last"),
        (Fixed("umbrella"), DAILY, CLIENTS, "one of acme"),
        (Table({"acme": ("eu",)}), CLIENTS, REGIONS, "a row for 'globex'"),
        (Table({"acme": ("mars",)}), CLIENTS, REGIONS, "keys that the other side has"),
        (Table({"umbrella": ("eu",)}), CLIENTS, REGIONS, "rows of the task's own keys"),
        (REGION_OF, DAILY, REGIONS, "cannot name every partition"),
        (Dimension({"date": SAME}), DAILY, DAILY, "no dimensions"),
        (Dimension({"shop": SAME}), DAILY, BOTH, "'shop' is none"),
        (Along("client"), DAILY, CLIENTS, "a dimension of the task"),
        (Along("client"), BOTH, REGIONS, "a table"),
    ],
)
def test_what_cannot_be_joined_is_refused_with_the_remedy(
    mapping: Mapping, ours: Partitioning, theirs: Partitioning, remedy: str
) -> None:
    expected = misfit(mapping, ours, theirs)
    assert re.search(remedy, expected or "")


@pytest.mark.parametrize(
    ("mapping", "ours", "theirs"),
    [
        (SAME, DAILY, NONE),
        (SAME, BOTH, DAILY),
        (SAME, MONTHLY, HOURLY),
        (SAME, DYNAMIC, CLIENTS),
        (All(), DAILY, DYNAMIC),
        (ToDate("year"), DAILY, DAILY),
        (Dimension({"client": All()}), DAILY, BOTH),
        (Dimension({"region": Along("client", REGION_OF)}), BOTH, BY_REGION),
        (Dimension({"region": Fixed("eu")}), BOTH, BY_REGION),
        (All(), NONE, BOTH),
        (Table({"": ("eu",)}), NONE, REGIONS),
    ],
)
def test_what_can_be_joined_is_accepted(mapping: Mapping, ours: Partitioning, theirs: Partitioning) -> None:
    assert misfit(mapping, ours, theirs) is None


# Before the first partition and after the last one, where nothing is young enough, and where it is too much.
_AT_TIMES = "^$|is no partition of a|ended from|is the most of one edge|too many"


def refusal(mapping: Mapping, key: str, ours: Partitioning, theirs: Partitioning) -> str:
    try:
        upstream_keys(mapping, Side(key, ours, NOW), theirs)
    except InvalidInput as error:
        return str(error)
    return ""


@settings(max_examples=150, deadline=None)
@given(mappings, partitionings, partitionings, moments)
def test_what_is_accepted_leads_somewhere(
    mapping: Mapping, ours: Partitioning, theirs: Partitioning, moment: Any
) -> None:
    assume(misfit(mapping, ours, theirs) is None)
    for pick in range(3):
        assert re.search(_AT_TIMES, refusal(mapping, key_at(ours, moment, pick), ours, theirs))


def test_a_manifest_names_the_field_of_a_mapping_that_does_not_fit() -> None:
    daily = {"kind": "daily", "start": "2026-01-01"}
    task = {"namespace": "ns", "name": "z", "partitioning": daily}
    reads = [{"task": {"namespace": "ns", "name": "a"}}, {"dataset": {"namespace": "lake", "name": "d"}}]
    dataset = {"namespace": "lake", "name": "d", "partitioning": {"kind": "static", "keys": ["eu"]}}
    with pytest.raises(InvalidInput) as caught:
        definition.parse({"tasks": [{**task, "consumes": reads}], "datasets": [dataset]}, "s")
    assert [error.field for error in caught.value.errors] == ["tasks[0].consumes[1].mapping"]
