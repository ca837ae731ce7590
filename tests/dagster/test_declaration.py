"""What a code location declares of its own assets: all that the ledger has a word for, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dagster import (
    AssetDep,
    AssetsDefinition,
    AssetSpec,
    DailyPartitionsDefinition,
    Definitions,
    DynamicPartitionsDefinition,
    LastPartitionMapping,
    MaterializeResult,
    TableColumn,
    TableSchema,
    TimeWindowPartitionMapping,
    WeeklyPartitionsDefinition,
    asset,
    multi_asset,
)

from dataforge.model import definition
from dataforge.model.errors import InvalidInput
from dataforge_assets.declaration import Declaration, declaration_of
from resources.identity import TOLD_BY, ledger_metadata
from resources.model import DatasetRef

DAYS = DailyPartitionsDefinition("2026-11-01")
CUT = {"kind": "daily", "start": "2026-11-01"}


def plain(name: str, **said: Any) -> AssetsDefinition:
    made: AssetsDefinition = asset(name=name, **{"partitions_def": DAYS, **said})(_nothing)
    return made


def _nothing() -> None: ...


def declared(*assets: AssetsDefinition | AssetSpec) -> Declaration:
    found = declaration_of(Definitions(assets=list(assets)).get_repository_def())
    definition.parse(found.manifest, "dagster/shop")  # the ledger takes it
    return found


def dataset(name: str, namespace: str = "dagster") -> dict[str, str]:
    return {"namespace": namespace, "name": name}


def test_a_plain_asset_is_a_task_that_makes_a_dataset_of_its_name() -> None:
    columns = TableSchema([TableColumn("id", "bigint")])

    @asset(
        key=["lake", "orders"],
        partitions_def=DAYS,
        owners=["data@example.com", "team:b"],
        group_name="sales",
        description="All orders.",
        tags={"tier": "gold", "pii": ""},
        kinds={"duckdb"},
        metadata={"dagster/column_schema": columns},
    )
    def orders() -> None: ...

    found = declared(orders)
    said = {
        "owner": "data@example.com",
        "description": "All orders.",
        "tags": ["kind:duckdb", "pii", "tier:gold"],
        "partitioning": CUT,
    }
    makes = {"platform": "dagster", "domain": "sales", "consumes": [], "produces": [dataset("lake/orders")]}
    assert found.manifest["datasets"] == [dataset("lake/orders") | said]
    assert found.manifest["tasks"] == [dataset("lake/orders") | said | makes]
    assert (found.columns, found.left_out) == ({DatasetRef("dagster", "lake/orders"): columns}, ())


def test_what_it_is_made_from_goes_by_its_name_in_the_ledger_and_its_mapping() -> None:
    bought = AssetSpec("bought", partitions_def=DAYS, metadata=ledger_metadata(dataset=("s3://lake", "bought")))
    mailed = AssetSpec("mailed", metadata=ledger_metadata(task=("crm", "mail")))
    before = AssetDep("stock", partition_mapping=TimeWindowPartitionMapping(-1, -1))
    found = declared(bought, mailed, plain("stock", deps=[bought, mailed, before]), plain("total", deps=["stock"]))
    stock, total = found.manifest["tasks"]
    assert stock["consumes"] == [
        {"dataset": dataset("bought", "s3://lake"), "mapping": {"kind": "same"}},
        {"task": dataset("mail", "crm"), "mapping": {"kind": "same"}},
        {"dataset": dataset("stock"), "mapping": {"kind": "window", "from": -1, "to": -1}},
    ]
    assert total["consumes"] == [{"dataset": dataset("stock"), "mapping": {"kind": "same"}}]
    assert found.left_out == ()


def test_what_runs_elsewhere_or_is_declared_elsewhere_is_not_declared_back() -> None:
    window = [
        AssetSpec(f"a{number}", metadata=ledger_metadata(dataset=("s3://lake", f"a{number}"))) for number in range(300)
    ]
    shown = AssetSpec("stub")
    named = plain("named", metadata=ledger_metadata(task=("dbt", "named"), dataset=("duckdb://w", "named")))
    handed = plain("handed", metadata={TOLD_BY: "airflow"})
    found = declared(*window, shown, named, handed)
    assert (found.manifest, found.left_out) == ({"tasks": [], "datasets": []}, ())


def test_who_names_a_dataset_alone_makes_that_one_and_says_nothing_else_of_it() -> None:
    found = declared(plain("orders", metadata=ledger_metadata(dataset=("s3://lake", "orders"))))
    [task] = found.manifest["tasks"]
    assert (task["name"], task["produces"]) == ("orders", [dataset("orders", "s3://lake")])
    assert found.manifest["datasets"] == []


def test_every_asset_of_a_step_is_a_task() -> None:
    @multi_asset(specs=[AssetSpec("a"), AssetSpec("b", deps=["a"])], can_subset=True)
    def both() -> Iterator[MaterializeResult[None]]:
        yield from ()

    assert [(task["name"], task["consumes"]) for task in declared(both).manifest["tasks"]] == [
        ("a", []),
        ("b", [{"dataset": dataset("a"), "mapping": {"kind": "same"}}]),
    ]


def test_what_the_ledger_has_no_word_for_is_left_out_and_said() -> None:
    odd = plain("odd", partitions_def=DailyPartitionsDefinition("2026-11-01", end_offset=1))
    last = plain("last", deps=[AssetDep("fine", partition_mapping=LastPartitionMapping())])
    below = plain("below", deps=[odd])
    found = declared(plain("fine", deps=["nobody"]), odd, last, below)
    assert [task["name"] for task in found.manifest["tasks"]] == ["fine"]
    assert [item["name"] for item in found.manifest["datasets"]] == ["fine"]
    unsaid = "its windows (0 0 * * *; end_offset=1, fmt='%Y-%m-%d') are not those of any partitioning of the ledger"
    lacks = "the ledger has no mapping that means what LastPartitionMapping does from daily to daily"
    assert found.left_out == (
        f"below, since it is made from odd: {unsaid}",
        "that fine is made from nobody, which names no dataset of the ledger",
        f"last, since it is made from fine: {lacks}",
        f"odd, since {unsaid}",
    )


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (plain("b", metadata=ledger_metadata(dataset=("dagster", "a"))), "a and b would both be the dataset dagster/a"),
        (plain("b", metadata=ledger_metadata(task=("dagster", "a"))), "a and b would both be the task dagster/a"),
        (AssetSpec("b", metadata=ledger_metadata(dataset=("dagster", "a"))), "a and b would both be the dataset"),
    ],
)
def test_two_assets_that_would_be_one_are_refused(other: AssetsDefinition | AssetSpec, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        declared(plain("a"), other)
    assert "give one of them another by ledger_metadata(" in str(refused.value)


def test_the_order_of_the_definitions_does_not_matter() -> None:
    sets = DynamicPartitionsDefinition(name="files")
    assets = [
        plain("a", partitions_def=sets),
        plain("b", deps=["a"], partitions_def=sets),
        plain("c", deps=["a", "d"], partitions_def=None),
        plain("d", partitions_def=WeeklyPartitionsDefinition("2026-11-01")),
    ]
    assert declared(*assets) == declared(*reversed(assets))
