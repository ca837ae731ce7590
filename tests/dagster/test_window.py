"""A snapshot as external assets: what each shows, what Dagster has no word for, and what the mirrors find there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AllPartitionMapping,
    AssetKey,
    AssetSpec,
    DailyPartitionsDefinition,
    Definitions,
    MultiPartitionsDefinition,
    TableSchema,
    TimeWindowPartitionMapping,
    UrlMetadataValue,
    asset,
)

from dataforge.model import edge
from dataforge.model.asset import Asset, AssetName, Column, Snapshot, Upstream, key_of, snapshot, write
from dataforge.model.errors import InvalidInput, NotFound
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge_assets.window import specs_of, window
from dataforge_sensors.window import Window
from resources.identity import ledger_metadata

DAILY = Partitioning(kind="daily", start="2026-11-01")


def shown(name: str = "orders", *above: Upstream, **said: Any) -> Asset:
    """An asset of the lake, cut by day."""
    named = AssetName("dataset", "s3://lake", name)
    said = {"partitioning": DAILY, "task": TaskRef("airflow", f"load_{name}"), **said}
    return Asset(asset=named, key=key_of(named, {}), upstream=above, **said)


def of(name: str, mapping: edge.Mapping | None = edge.SAME, reason: str = "") -> Upstream:
    named = AssetName("dataset", "s3://lake", name)
    return Upstream(named, mapping, reason)


def specs(*assets: Asset, own: Any = ()) -> dict[str, AssetSpec]:
    """They make a code location too."""
    found = specs_of(snapshot(assets, {}), own)
    Definitions(assets=[*found, *own]).get_repository_def()
    return {spec.key.to_user_string(): spec for spec in found}


def test_an_asset_shows_all_that_the_ledger_says_of_it() -> None:
    found = specs(
        shown(
            platforms=("airflow", "spark"),
            owner="data@example.com",
            domain="Order Desk",
            description="All orders.",
            tags=("pii", "tier:gold"),
            links={"run book": "https://wiki.example.com/orders"},
            columns=(Column("id", "bigint", "Its number."), Column("note")),
        )
    )["s3/lake/orders"]
    assert (found.owners, found.group_name, found.description) == (["data@example.com"], "Order_Desk", "All orders.")
    assert found.kinds == {"airflow", "spark", "s3"}
    said = {name: value for name, value in found.tags.items() if not name.startswith("dagster/")}
    assert said == {"domain": "Order-Desk", "pii": "", "tier": "gold"}
    assert isinstance(found.partitions_def, DailyPartitionsDefinition)
    schema = found.metadata["dagster/column_schema"]
    assert isinstance(schema, TableSchema)
    assert [(column.name, column.type, column.description) for column in schema.columns] == [
        ("id", "bigint", "Its number."),
        ("note", "string", None),
    ]
    assert found.metadata["run book"] == UrlMetadataValue("https://wiki.example.com/orders")
    page = found.metadata["ledger"].value
    assert page.endswith("/api/v1/dev/partitions?kind=dataset&namespace=s3%3A%2F%2Flake&name=orders")


def test_an_owner_without_an_address_is_a_team() -> None:
    found = specs(shown(owner="Team Orders"), shown("b", owner="team:b"), shown("c"))
    assert [spec.owners for spec in found.values()] == [["team:b"], [], ["team:Team Orders"]]


def test_the_mirrors_find_dataset_and_task_by_their_names_in_the_ledger() -> None:
    several = shown("b", task=None, makers=(TaskRef("airflow", "one"), TaskRef("airflow", "other")))
    found = Window.of(Definitions(assets=specs_of(snapshot([shown(), several], {}))).get_repository_def())
    assert found.by_dataset.keys() == {DatasetRef("s3://lake", "orders"), DatasetRef("s3://lake", "b")}
    told = {each.key.path[-1]: each.task for each in found.assets.values()}
    assert told == {"orders": TaskRef("airflow", "load_orders"), "b": None}
    assert specs(several)["s3/lake/b"].description == "Made by airflow/one, airflow/other together."


def test_an_asset_of_the_code_location_is_not_there_twice_and_is_read_under_its_own_key() -> None:
    @asset(partitions_def=DailyPartitionsDefinition("2026-11-01"), metadata=ledger_metadata(dataset=("s3://lake", "b")))
    def mine() -> None: ...

    found = specs(shown("a", of("b")), shown("b", of("c")), shown("c"), own=[mine])
    assert set(found) == {"s3/lake/a", "s3/lake/c"}
    [dep] = found["s3/lake/a"].deps
    assert dep.asset_key == AssetKey("mine")
    assert isinstance(dep.partition_mapping, TimeWindowPartitionMapping)


def test_what_lies_outside_of_the_window_is_known_by_its_key() -> None:
    [dep] = specs(shown("a", of("elsewhere")))["s3/lake/a"].deps
    assert (dep.asset_key.path, dep.partition_mapping) == (["s3", "lake", "elsewhere"], None)


@pytest.mark.parametrize(
    ("upstream", "said"),
    [
        (of("b", edge.ToDate("month")), "no class of Dagster's leads there by the mapping to_date"),
        (of("b", edge.All()), "no class of Dagster's leads there by the mapping all"),
        (of("b", None, "it is read in several ways, each for other partitions"), "it is read in several ways"),
    ],
)
def test_a_mapping_that_dagster_lacks_is_said_and_all_is_needed(upstream: Upstream, said: str) -> None:
    found = specs(shown("a", upstream, description="A."), shown("b"))["s3/lake/a"]
    [dep] = found.deps
    assert isinstance(dep.partition_mapping, AllPartitionMapping)
    assert found.description is not None
    assert found.description.startswith(
        "A.\n\nNot as in the ledger: of s3://lake/b it is shown to need every partition"
    )
    assert said in found.description
    assert found.description.endswith("What may run is decided by the ledger.")


def test_windows_without_a_start_begin_where_the_ledger_has_seen_the_first() -> None:
    cut = Partitioning(kind="hourly", time_zone="Europe/Berlin")
    found = specs(shown("a", partitioning=cut, first="2026-11-05T06:00:00"), shown("b", partitioning=cut))
    seen, unseen = found["s3/lake/a"], found["s3/lake/b"]
    assert seen.partitions_def is not None
    assert seen.partitions_def.get_first_partition_key() == "2026-11-05-06:00"
    assert "begin here with the first that was seen" in str(seen.description)
    assert unseen.partitions_def is None
    assert "its hourly partitions have no start, and none is known yet, so it is shown as a whole" in str(
        unseen.description
    )


def test_an_asset_may_be_made_from_its_own_yesterday() -> None:
    found = specs(shown("stock", of("stock", edge.Window(-1, -1))))["s3/lake/stock"]
    [dep] = found.deps
    assert dep.asset_key == found.key
    assert isinstance(dep.partition_mapping, TimeWindowPartitionMapping)
    assert (dep.partition_mapping.start_offset, dep.partition_mapping.end_offset) == (-1, -1)


def test_two_dimensions_and_what_has_no_partitions_stand_side_by_side() -> None:
    clients = Partitioning(kind="static", keys=("acme", "globex"))
    both = Partitioning(kind="product", dimensions={"client": clients, "date": DAILY})
    whole = shown("c", of("a"), partitioning=None)
    found = specs(shown("a", of("b"), partitioning=both), shown("b"), whole)
    assert isinstance(found["s3/lake/a"].partitions_def, MultiPartitionsDefinition)
    assert found["s3/lake/a"].description is None
    assert "of s3://lake/a it is shown to need every partition" in str(found["s3/lake/c"].description)


def test_a_snapshot_that_is_missing_or_broken_names_the_command_that_makes_it(tmp_path: Path) -> None:
    place = tmp_path / "window.json"
    remedy = f"`dataforge window build {tmp_path}/window.yaml` writes it"
    with pytest.raises(NotFound, match=f"there is no snapshot {place}: {remedy}"):
        window(place)
    place.write_bytes(write(Snapshot(1, {}, (shown(),))).replace(b'"daily"', b'"fortnightly"'))
    with pytest.raises(InvalidInput, match=r"assets\[0\].partitioning.kind is 'fortnightly'") as refused:
        window(place)
    assert remedy in str(refused.value)
