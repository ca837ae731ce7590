"""Which shares of a dataset's partition a producer brings."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from dataforge.model.completeness import Listed, Writer, Writers, all_dues, dues
from dataforge.model.edge import SAME, Mapping
from dataforge.model.partition import Partitioning
from dataforge.model.share import ANY, Share, most_shares, shares

DAILY = {"kind": "daily", "start": "2026-01-01"}
HOURLY = {"kind": "hourly", "start": "2026-01-01"}
MONTHLY = {"kind": "monthly", "start": "2026-01-01"}
REGIONS = {"kind": "static", "keys": ["eu", "us"]}
BOTH = {"kind": "product", "dimensions": {"date": DAILY, "region": REGIONS}}
CLIENTS = {"kind": "dynamic", "set": "clients"}
BY_CLIENT = {"kind": "product", "dimensions": {"client": CLIENTS, "date": DAILY}}
ALL_CLIENTS = {"kind": "dimension", "dimensions": {"client": {"kind": "all"}}}
LAST_DAY = {"kind": "dimension", "dimensions": {"date": {"kind": "last"}}}
NONE = {"kind": "none"}
BY_DATE = {"kind": "along", "dimension": "date"}
THREE_DAYS = {"kind": "window", "from": -2, "to": 0}


@pytest.mark.parametrize(
    ("mapping", "key", "task", "dataset", "expected"),
    [
        ({"kind": "same"}, "2026-11-01", DAILY, DAILY, [Share("2026-11-01")]),
        ({"kind": "same"}, "2025-12-31", DAILY, {"kind": "daily"}, []),  # before the producer starts
        ({"kind": "same"}, "2026-11-01", HOURLY, DAILY, [Share(f"2026-11-01-{hour:02}:00") for hour in range(24)]),
        ({"kind": "same"}, "2026-11-01-05:00", DAILY, HOURLY, [Share("2026-11-01")]),
        ({"kind": "same"}, "", DAILY, NONE, [ANY]),
        ({"kind": "same"}, "", REGIONS, NONE, [Share("eu"), Share("us")]),
        ({"kind": "same"}, "", BOTH, NONE, [Share("eu", 1), Share("us", 1)]),
        ({"kind": "same"}, "2026-11-01", DAILY, None, [Share("2026-11-01")]),
        (THREE_DAYS, "2026-11-01", DAILY, DAILY, [ANY]),
        ({"kind": "to_date", "period": "month"}, "2026-11-01", DAILY, MONTHLY, [ANY]),
        ({"kind": "all"}, "2026-11-01", DAILY, DAILY, [ANY]),
        ({"kind": "all"}, "2026-11-01", REGIONS, DAILY, [Share("eu"), Share("us")]),
        ({"kind": "last"}, "2026-11-01", REGIONS, DAILY, [Share("eu"), Share("us")]),
        ({"kind": "last"}, "2026-11-01", NONE, DAILY, [Share("")]),
        ({"kind": "all"}, "2025-12-31", REGIONS, DAILY, []),  # before the dataset starts
        ({"kind": "all"}, "2026-11-01", {"kind": "dynamic", "set": "s"}, DAILY, [ANY]),
        ({"kind": "same"}, "2026-11-01", None, DAILY, [Share("2026-11-01")]),
        (THREE_DAYS, "2026-11-01", None, DAILY, [ANY]),
        ({"kind": "all"}, "2026-11-01", DAILY, None, []),  # it writes the whole of what nobody has cut
        ({"kind": "all"}, "", DAILY, None, [ANY]),
        ({"kind": "fixed", "key": "eu"}, "us", DAILY, REGIONS, []),
        ({"kind": "fixed", "key": "eu"}, "eu", DAILY, REGIONS, [ANY]),
        ({"kind": "table", "keys": {"eu": ["all"], "us": ["all"]}}, "all", REGIONS, None, [Share("eu"), Share("us")]),
        (BY_DATE, "2026-11-01", BOTH, DAILY, [Share("2026-11-01|eu"), Share("2026-11-01|us")]),
        ({**BY_DATE, "mapping": THREE_DAYS}, "2026-11-01", BOTH, DAILY, [Share("eu", 1), Share("us", 1)]),
        ({"kind": "along", "dimension": "region"}, "us", BOTH, REGIONS, [Share("us", 1)]),
        ({"kind": "same"}, "2026-11-01|us", BOTH, BOTH, [Share("2026-11-01|us")]),
        ({"kind": "dimension", "dimensions": {"date": THREE_DAYS}}, "2026-11-01|us", BOTH, BOTH, [Share("us", 1)]),
        ({"kind": "dimension", "dimensions": {"region": {"kind": "all"}}}, "2026-11-01|us", DAILY, BOTH,
         [Share("2026-11-01")]),
        (ALL_CLIENTS, "acme|2026-11-01", DAILY, BY_CLIENT, [Share("2026-11-01")]),  # which clients need not be known
        ({"kind": "all"}, "acme", REGIONS, CLIENTS, [Share("eu"), Share("us")]),
        ({"kind": "all"}, "2026-11-01|us", REGIONS, BOTH, [Share("eu"), Share("us")]),  # each day in its turn
        (LAST_DAY, "acme|2026-11-01", CLIENTS, BY_CLIENT, [Share("acme")]),
        (LAST_DAY, "2026-11-01|us", REGIONS, BOTH, [Share("us")]),
        ({"kind": "dimension", "dimensions": {"date": THREE_DAYS}}, "2026-11-01|us", None, BOTH, []),
        ({"kind": "dimension", "dimensions": {"date": THREE_DAYS, "region": {"kind": "all"}}}, "2026-11-01|us", None,
         BOTH, [ANY]),  # as many windows as nobody has declared
        ({"kind": "same"}, "2025-11-01", BY_CLIENT, {"kind": "monthly", "start": "2025-01-01"}, []),  # whichever client
        ({"kind": "last"}, "2026-11-01-05:00", BY_CLIENT, HOURLY, []),
        ({"kind": "last"}, "2026-11-01-23:00", BY_CLIENT, HOURLY, [ANY]),
    ],
)  # fmt: skip
def test_a_partition_consists_of(mapping: Any, key: str, task: Any, dataset: Any, expected: list[Share]) -> None:
    cuts = [None if cut is None else convert(cut, Partitioning) for cut in (task, dataset)]
    assert list(shares(convert(mapping, Mapping), key, *cuts)) == expected


def test_a_share_is_brought_by_its_own_partition_or_by_all_with_its_key() -> None:
    assert ANY.brought_by("")
    assert Share("eu", 1).brought_by("2026-11-01|eu")
    assert not Share("eu", 1).brought_by("eu|2026-11-01")
    assert not Share("2026-11-01").brought_by("2026-11-02")


@pytest.mark.parametrize(
    ("task", "dataset", "most"),
    [
        (None, DAILY, 1),
        (NONE, DAILY, 1),
        (DAILY, DAILY, 1),
        (HOURLY, DAILY, None),
        (DAILY, BY_CLIENT, 1),
        (HOURLY, BY_CLIENT, None),
        (REGIONS, NONE, 2),
        (BOTH, NONE, None),
    ],
)
def test_the_most_that_a_producer_can_bring(task: Any, dataset: Any, most: int | None) -> None:
    cuts = [None if cut is None else convert(cut, Partitioning) for cut in (task, dataset)]
    assert most_shares(convert({"kind": "same"}, Mapping), *cuts) == most


@pytest.mark.parametrize("cut", [None, NONE, DAILY, HOURLY, MONTHLY, REGIONS, BOTH, CLIENTS, BY_CLIENT])
def test_who_is_cut_as_the_dataset_makes_each_of_its_partitions_by_one_run(cut: dict[str, Any] | None) -> None:
    own = convert(cut, Partitioning | None)
    writer = Writer(task_id=1, mapping=SAME, cut=own, stage=False, waits_for=frozenset())
    given = Writers("all_producers", own, (writer,))
    assert given.is_alike
    for key in ("", "2026-11-01", "2026-11-01-05:00", "2026-11", "eu", "acme", "2026-11-01|eu", "acme|2026-11-01", "x"):
        assert len(all_dues(given, key)) <= 1
        assert dues(given, key) == ()
    for others in ((), (writer, replace(writer, task_id=2)), (replace(writer, mapping=convert(THREE_DAYS, Mapping)),)):
        assert not replace(given, writers=others).is_alike
    assert not replace(given, when=Listed(("a", "b"))).is_alike
