"""Where a path ends a dataset's name and begins a partition's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.ingest.paths import keys_of, of_uri, split
from dataforge.model.reference import DatasetRef


@pytest.mark.parametrize(
    ("name", "dataset", "key"),
    [
        ("/lake/orders", "/lake/orders", None),
        ("/lake/orders/ds=2026-11-01", "/lake/orders", "2026-11-01"),
        ("/lake/orders/dt=20261101/", "/lake/orders", "2026-11-01"),
        ("/lake/orders/2026/11/01", "/lake/orders", "2026-11-01"),
        ("/lake/orders/20261101", "/lake/orders", "2026-11-01"),
        ("/lake/orders/2026-11", "/lake/orders", "2026-11-01"),
        ("/lake/orders/ds=2026-11-01/hour=03", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/region=eu/ds=2026-11-01", "/lake/orders", "2026-11-01|eu"),
        ("/lake/orders/client=acme/date=2026-11-01", "/lake/orders", "acme|2026-11-01"),
        ("/lake/orders/year=2026/month=1/day=3", "/lake/orders", "2026-01-03"),
        ("/lake/orders/region=eu", "/lake/orders", "eu"),
        ("/lake/orders/region=a%2Fb", "/lake/orders", "a/b"),
        ("/lake/orders/ds=2026-11-01/orders.csv", "/lake/orders", "2026-11-01"),
        ("/lake/orders/part-00000-x.snappy.parquet", "/lake/orders", None),
        ("/lake/ref/countries.csv", "/lake/ref/countries.csv", None),
        ("/lake/orders/p_date=20261101/hh=7", "/lake/orders", "2026-11-01-07:00"),
        ("/lake/orders/year=2026/month=11", "/lake/orders", "2026-11-01"),
        ("/lake/orders/year=2026/month=11/day=1/hour=3", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/country=de/dt=2026-11-01/hour=03", "/lake/orders", "de|2026-11-01-03:00"),
        ("/lake/orders/hour=2026-11-01-03", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/ts=2026-11-01 03%3A00%3A00", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/2026/11", "/lake/orders", "2026-11-01"),
        ("/lake/orders/202611", "/lake/orders", "2026-11-01"),
        ("/lake/orders/2026/11/01/03", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/2026-11-01/03", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/dt=2026-11-01/03", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/2026110103", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/20261101T030000Z", "/lake/orders", "2026-11-01-03:00"),
        ("/lake/orders/20261101T031542Z", "/lake/orders", "20261101T031542Z"),
        ("/lake/orders/2026_11_01", "/lake/orders", "2026-11-01"),
        ("/lake/orders/01.11.2026", "/lake/orders", "2026-11-01"),
        ("/lake/orders/2026", "/lake/orders/2026", None),
        ("/lake/orders/99999999", "/lake/orders/99999999", None),
        ("/lake/orders/ds=2026-11-01/app.log", "/lake/orders", "2026-11-01"),
        ("/lake/orders/dt=2026-11-01/*.csv", "/lake/orders", "2026-11-01"),
        ("/lake/orders/dt=2026-11-*/orders.csv", "/lake/orders", None),
        ("/lake/tenant=acme/orders", "/lake/tenant=acme/orders", None),
        ("/lake/orders/v12", "/lake/orders/v12", None),
        ("/lake/orders/load_20261101_full", "/lake/orders/load_20261101_full", None),
        ("/2026-11-01", "/2026-11-01", None),
    ],
)
def test_the_tail_of_a_path_is_its_partition(name: str, dataset: str, key: str | None) -> None:
    assert split("file", name) == (DatasetRef("file", dataset), key)


def test_a_stream_names_each_file_it_reads() -> None:
    assert split("s3://lake", "raw/clicks/f1.json", streaming=True)[0] == DatasetRef("s3://lake", "raw/clicks")


def test_names_of_tables_are_left_alone() -> None:
    assert split("postgres://db:5432", "shop.public.2026-11-01")[1] is None


def test_locations_of_several_directories_are_several_partitions() -> None:
    dataset = DatasetRef("s3://lake", "raw/orders")
    assert keys_of(dataset, ["raw/orders/2026-11-02", "raw/orders/2026-11-01"]) == ("2026-11-01", "2026-11-02")


def test_what_a_producer_cuts_off_is_a_partition_in_any_form() -> None:
    dataset = DatasetRef("file", "/lake/orders")
    assert keys_of(dataset, ["/lake/orders/10011231", "/lake/orders"]) == ("10011231",)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://raw/orders", DatasetRef("s3://raw", "orders")),
        ("postgres://db:5432/shop.orders", DatasetRef("postgres://db:5432", "shop.orders")),
        ("file:///data/x", DatasetRef("file", "/data/x")),
        ("orders", None),
    ],
)
def test_airflow_uris_become_openlineage_names(uri: str, expected: DatasetRef | None) -> None:
    assert of_uri(uri) == expected


@given(st.lists(st.text("ab1=-", min_size=1, max_size=8), min_size=1, max_size=5))
def test_splitting_the_name_of_a_dataset_again_changes_nothing(parts: list[str]) -> None:
    dataset, _ = split("file", "/" + "/".join(parts))
    assert split("file", dataset.name)[0] == dataset
