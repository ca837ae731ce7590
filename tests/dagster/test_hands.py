"""What hands do wherever they launch: on what terms, under which names, and what they refuse before they begin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterInstance,
    DailyPartitionsDefinition,
    ExecuteInProcessResult,
    StaticPartitionsDefinition,
    TimeWindow,
    materialize,
)
from hypothesis import given
from hypothesis import strategies as st

from dataforge.storage.database import Database
from dataforge_assets.definitions import defs
from dataforge_assets.hands.airflow import airflow_task, events
from dataforge_assets.hands.attempt import Attempt, stem
from dataforge_assets.hands.spark import spark_submit
from resources import LedgerResource, airflow_resource
from resources.airflow import AirflowResource, TaskInstance
from resources.identity import ledger_metadata
from resources.model import InvalidInput, PartitionFilter, RunFilter, TaskRef
from resources.spark import SparkResource
from resources.terms import Terms, declared_terms

DAILY = DailyPartitionsDefinition("2026-11-02", end_date="2026-11-16")
SHOP = Path(__file__).parents[2] / "examples" / "shop"
LOAD = TaskRef("shop-airflow", "shop_daily.load_orders")


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerResource]:
    with LedgerResource(database_url=database.url) as resource:
        yield resource


def _spec(**more: Any) -> AssetSpec:
    given: dict[str, Any] = {"partitions_def": DAILY, "metadata": ledger_metadata((LOAD.namespace, LOAD.name))}
    return AssetSpec("loaded", **(given | more))


def _launched(asset: AssetsDefinition, ledger: LedgerResource, **resources: Any) -> ExecuteInProcessResult:
    with DagsterInstance.ephemeral() as instance:
        named = {"ledger": ledger, **resources}
        return materialize(
            [asset], instance=instance, resources=named, partition_key="2026-11-03", raise_on_error=False
        )


def _why(result: ExecuteInProcessResult) -> str:
    [failure] = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    data = failure.step_failure_data.user_failure_data
    assert data is not None, failure.step_failure_data.error
    return str(data.description)


@pytest.mark.parametrize("place", ["lake/orders", "lake/payments", "lake/orders_enriched"])
def test_without_an_airflow_the_examples_assets_say_how_to_name_one(
    ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.delenv("DATAFORGE_AIRFLOW_URL", raising=False)
    asset = defs.get_assets_def(AssetKey.from_user_string(place))
    said = _why(_launched(asset, ledger, airflow=airflow_resource()))
    assert said.startswith("no Airflow is named: set DATAFORGE_AIRFLOW_URL to its address")
    assert len(said.splitlines()) == 1


def test_an_airflow_that_is_not_there_is_named_with_its_address(ledger: LedgerResource) -> None:
    said = _why(_launched(airflow_task(_spec()), ledger, airflow=AirflowResource(url="http://127.0.0.1:9")))
    assert said.startswith("cannot reach Airflow at http://127.0.0.1:9 (")
    assert len(said.splitlines()) == 1


def test_without_spark_nothing_is_claimed(ledger: LedgerResource) -> None:
    cut = {"kind": "daily", "start": "2026-11-02"}
    task = {"namespace": LOAD.namespace, "name": LOAD.name, "partitioning": cut}
    ledger.declare("shop", {"tasks": [task]})
    said = _why(_launched(spark_submit(_spec(), "job.py"), ledger, spark=SparkResource(submit="no-such-spark-submit")))
    assert "there is no no-such-spark-submit on this machine" in said
    assert ledger.partitions(PartitionFilter()).items == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (_spec(partitions_def=StaticPartitionsDefinition(["acme"])), "map to no data interval"),
        (_spec(partitions_def=None), "map to no data interval"),
        (_spec(metadata=ledger_metadata(task=("ns", "load"))), "expected dag_id.task_id"),
        (_spec(metadata={}), "names no task of the ledger"),
    ],
)
def test_what_no_interval_or_task_of_airflows_fits_is_refused_as_it_is_defined(spec: AssetSpec, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        airflow_task(spec)


def test_the_terms_are_those_that_the_ledger_was_told() -> None:
    terms = declared_terms(SHOP / "definitions.yaml")
    assert terms[LOAD] == Terms(1.0, {"airflow": 1})
    asset = defs.get_assets_def(AssetKey(["lake", "orders_enriched"]))
    spec = asset.get_asset_spec(AssetKey(["lake", "orders_enriched"]))
    assert asset.op.pool == "airflow"
    assert {"dataforge/cost": "4", "dataforge/pool.airflow": "1", "domain": "sales"}.items() <= spec.tags.items()


def _captured(day: str) -> list[dict[str, Any]]:
    """What Airflow told of the load of a day, as it was recorded."""
    lines = (SHOP / "events" / "airflow.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [
        event
        for event in found
        if event["job"]["name"] == LOAD.name and event["run"]["facets"]["airflow"]["dagRun"]["run_id"].find(day) > 0
    ]


@pytest.mark.parametrize("first", ["airflow", "rest"])
def test_what_the_rest_api_says_is_of_the_same_run_as_airflows_own_events(ledger: LedgerResource, first: str) -> None:
    own = _captured("2026-11-03")
    assert [event["eventType"] for event in own] == ["START", "COMPLETE"]
    run_id = own[0]["run"]["facets"]["airflow"]["dagRun"]["run_id"]
    start, end = (datetime.fromisoformat(event["eventTime"]) for event in own)
    instance = TaskInstance(run_id, -1, 1, "success", start, end)
    window = TimeWindow(datetime(2026, 11, 3, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC))
    if first == "airflow":
        ledger.lineage(own)
    ledger.record(events(LOAD, instance, window))
    ledger.lineage(own)
    [run] = ledger.runs(RunFilter(name=LOAD.name)).items
    assert (run.run, run.state, run.attempt, run.source["try_number"]) == (run_id, "succeeded", 1, 1)


_NAMES = st.text(min_size=1, max_size=300)


@given(_NAMES, _NAMES, _NAMES, st.integers(1, 99), st.integers(1, 99))
def test_names_of_attempts_are_short_and_differ_by_partition_and_number(
    name: str, one: str, other: str, first: int, second: int
) -> None:
    named = Attempt(TaskRef("ns", name), one, first).name
    assert len(named) <= 256
    assert named.rpartition("#")[0] == stem(TaskRef("ns", name), one)
    assert (named == Attempt(TaskRef("ns", name), other, second).name) == ((one, first) == (other, second))
