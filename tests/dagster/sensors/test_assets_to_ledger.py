"""Plain assets in the ledger: declared by the location itself, run in a real instance, told, claimed and checked."""

from typing import Any

import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    DataVersion,
    Definitions,
    MaterializeResult,
    SensorResult,
    SkipReason,
    TableColumn,
    TableSchema,
    asset,
    build_sensor_context,
    materialize,
)

from dataforge_assets.checks import CURRENT, ledger_checks
from dataforge_assets.claimed import claimed
from dataforge_sensors.assets_to_ledger import AGAIN_SECONDS, assets_to_ledger
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import DatasetFilter, Named, NodeRef, RunFilter, TaskFilter
from tests.dagster.sensors.teller import DAYS, Teller

DAY = "2026-02-25"
COLUMNS = {"dagster/column_schema": TableSchema([TableColumn("id", "bigint")])}


def orders() -> AssetsDefinition:
    @asset(partitions_def=DAYS, owners=["data@example.com"], metadata=COLUMNS)
    def orders() -> MaterializeResult[Any]:
        return MaterializeResult(data_version=DataVersion("v1"), metadata={"dagster/row_count": 7})

    return orders


def report() -> AssetsDefinition:
    @asset(partitions_def=DAYS, deps=["orders"])
    def report() -> None: ...

    return report


class Declarer:
    """The daemon's part for the sensor."""

    def __init__(self, instance: DagsterInstance, ledger: LedgerResource) -> None:
        self.instance, self.ledger = instance, ledger
        self.cursor: str | None = None

    def tick(self, *assets: AssetsDefinition | AssetSpec) -> str:
        definitions = Definitions(assets=list(assets), resources={"ledger": self.ledger})
        with build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=definitions, resources={"ledger": self.ledger}
        ) as context:
            result = assets_to_ledger(context)
        if isinstance(result, SkipReason):
            return str(result.skip_message)
        assert isinstance(result, SensorResult)
        assert result.skip_reason
        self.cursor = result.cursor
        return str(result.skip_reason.skip_message)

    def versions(self) -> dict[str, Any]:
        return {item.name: item.version for item in self.ledger.tasks(TaskFilter(limit=100)).items}


@pytest.fixture
def declarer(instance: DagsterInstance, ledger: LedgerResource) -> Declarer:
    return Declarer(instance, ledger)


def run(declarer: Declarer, *assets: AssetsDefinition, **more: Any) -> Any:
    where = {"partition_key": DAY, **more}
    return materialize([*assets], instance=declarer.instance, resources={"ledger": declarer.ledger}, **where)


def test_plain_assets_are_declared_before_they_have_run(declarer: Declarer) -> None:
    assert declarer.tick(orders(), report()) == "Declared: created 4, changed 0, retired 0."
    first, second = (Named(name, "dagster", DAY) for name in ("orders", "report"))
    ready, waiting = declarer.ledger.readiness([first, second]).items
    assert ready.status == "runnable"
    assert [(reason.code, reason.upstream) for reason in waiting.reasons] == [
        ("upstream_missing", NodeRef("dataset", "dagster", "orders"))
    ]
    [dataset] = declarer.ledger.datasets(DatasetFilter(name="orders")).items
    assert (dataset.namespace, dataset.owner) == ("dagster", "data@example.com")
    assert [(field["name"], field["type"]) for field in dataset.fields] == [("id", "bigint")]


def test_the_same_definitions_declare_nothing_again(declarer: Declarer) -> None:
    declarer.tick(orders(), report())
    before = declarer.versions()
    assert declarer.tick(report(), orders()) == "As declared before."
    declarer.cursor = None  # as after the loss of Dagster's database
    assert declarer.tick(orders(), report()) == "Declared: created 0, changed 0, retired 0."
    assert declarer.versions() == before


def test_a_ledger_that_was_lost_is_told_again(declarer: Declarer) -> None:
    declarer.tick(orders())
    digest, _, at = str(declarer.cursor).partition("@")
    declarer.cursor = f"{digest}@{float(at) - AGAIN_SECONDS - 1:.0f}"
    declarer.ledger = LedgerResource(database_url=declarer.ledger.database_url, environment="staging")
    assert declarer.tick(orders()) == "Declared: created 2, changed 0, retired 0."


def test_what_vanished_from_the_code_is_retired_and_what_it_left_stays(declarer: Declarer) -> None:
    declarer.tick(orders(), report())
    run(declarer, orders())
    Teller(declarer.instance, declarer.ledger, orders(), report()).tick()
    assert declarer.tick(report(), AssetSpec("orders")).startswith("Declared: created 0, changed 1, retired 2.")
    [told] = declarer.ledger.runs(RunFilter(name="orders")).items
    assert told.state == "succeeded"
    declarer.tick()
    assert (
        declarer.ledger.readiness([Named("report", "dagster", DAY)]).items[0].reasons[0].code == "dependencies_unknown"
    )


def test_a_run_of_a_plain_asset_lets_what_is_made_of_it_run(declarer: Declarer) -> None:
    """Run, attempt, data version and lineage are those of any other task."""
    both = orders(), report()
    declarer.tick(*both)
    teller = Teller(declarer.instance, declarer.ledger, *both)
    made = run(declarer, both[0])
    teller.tick()
    [waiting] = declarer.ledger.readiness([Named("report", "dagster", DAY)]).items
    assert waiting.status == "runnable"
    run(declarer, *both, selection=["report"])
    teller.tick()
    told = {each.name: each for each in teller.runs()}
    assert told["orders"].run == f"{made.run_id}:{DAY}"
    assert (told["orders"].attempt, told["orders"].outputs[0].version) == (1, "v1")
    lineage = declarer.ledger.graph("report", "dagster", partition=DAY, direction="upstream")
    found = {(node.kind, node.name) for node in lineage.nodes}
    assert found == {("task", "report"), ("dataset", "orders"), ("task", "orders")}


def test_claimed_needs_no_names(declarer: Declarer) -> None:
    both = orders(), claimed(report())
    declarer.tick(*both)
    refused = run(declarer, *both, selection=["report"], raise_on_error=False)
    assert not refused.success
    assert declarer.ledger.runs(RunFilter(name="report")).items == []
    run(declarer, both[0])
    Teller(declarer.instance, declarer.ledger, *both).tick()
    made = run(declarer, *both, selection=["report"])
    [told] = declarer.ledger.runs(RunFilter(name="report")).items
    assert (told.run, told.state) == (f"{made.run_id}:{DAY}", "succeeded")


def test_the_checks_need_no_names(declarer: Declarer) -> None:
    both = orders(), report()
    declarer.tick(*both)
    teller = Teller(declarer.instance, declarer.ledger, *both)
    for made in (both, both[:1]):  # the orders once more, so that the report is older
        run(declarer, *made)
        teller.tick()
    job = Definitions(
        assets=both, asset_checks=[ledger_checks(both)], resources={"ledger": declarer.ledger}
    ).resolve_implicit_global_asset_job_def()
    key = AssetCheckKey(AssetKey("report"), CURRENT)
    chosen = job.get_subset(asset_selection=set(), asset_check_selection={key})
    [evaluation] = chosen.execute_in_process(instance=declarer.instance).get_asset_check_evaluations()
    assert not evaluation.passed
    assert f"dagster/orders for {DAY} was written again" in str(evaluation.description)


def test_two_assets_by_one_name_declare_nothing_and_say_so(declarer: Declarer) -> None:
    declarer.tick(orders())
    other = AssetSpec("other", metadata=ledger_metadata(dataset=("dagster", "orders")))
    said = declarer.tick(orders(), report(), other)
    assert said.startswith(
        "orders and other would both be the dataset dagster/orders: expected one asset for each dataset"
    )
    assert said.endswith("Nothing is declared, and what was stands.")
    assert set(declarer.versions()) == {"orders"}


def test_what_another_source_declares_is_refused_with_what_to_do(declarer: Declarer) -> None:
    declarer.ledger.declare("elsewhere", {"tasks": [{"namespace": "dagster", "name": "report"}]})
    said = declarer.tick(orders(), report())
    assert "the task dagster/report is already declared by the source 'elsewhere'" in said
    assert said.endswith("An asset whose task another source declares names it by ledger_metadata(task=...).")
    assert set(declarer.versions()) == {"report"}


def test_a_ledger_that_is_down_costs_one_line_and_is_told_later(declarer: Declarer) -> None:
    ledger, declarer.ledger = declarer.ledger, LedgerResource(url="http://127.0.0.1:9")
    said = declarer.tick(orders())
    assert said.endswith("Nothing is declared, and what was stands.")
    assert ("\n" in said, declarer.cursor) == (False, None)
    declarer.ledger = ledger
    assert declarer.tick(orders()) == "Declared: created 2, changed 0, retired 0."


def test_what_is_left_out_is_said_in_each_tick(declarer: Declarer) -> None:
    @asset(partitions_def=DailyPartitionsDefinition("2026-01-01", end_offset=1))
    def tomorrow() -> None: ...

    said = " Not declared: tomorrow, since its windows (0 0 * * *; end_offset=1, fmt='%Y-%m-%d') are not those of any"
    for _ in range(2):
        assert said in declarer.tick(orders(), tomorrow)


def test_a_location_that_declares_nothing_asks_nobody(declarer: Declarer) -> None:
    declarer.ledger = LedgerResource(url="http://127.0.0.1:9")
    assert declarer.tick(AssetSpec("elsewhere")) == "Every asset that is made here is declared elsewhere."
