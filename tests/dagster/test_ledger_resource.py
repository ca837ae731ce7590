"""The ledger's resource in Dagster's hands: where it gets its ledger from, and how long it holds on to it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import EnvVar

from dataforge.client import Ledger
from dataforge.model.errors import SettingsError
from dataforge.storage.database import Database
from resources import LedgerResource, ledger_resource
from resources.identity import dataset_of, ledger_metadata, task_of
from resources.model import DatasetRef, InvalidInput, PartitionFilter, RunFilter, TaskRef

TASK, ORDERS = ("shell", "orders.load"), ("s3://lake", "orders")
NAMES = ("DATAFORGE_LEDGER", "DATAFORGE_HOST", "DATAFORGE_PORT", "DATAFORGE_ENVIRONMENT", "DATAFORGE_API_KEY")


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the settings that whoever runs the tests may have."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def _asset() -> dg.AssetsDefinition:
    @dg.asset(metadata=ledger_metadata(TASK, ORDERS))
    def orders(context: dg.AssetExecutionContext, ledger: LedgerResource) -> dg.MaterializeResult[Any]:
        task, dataset = _refs(context)
        ledger.record(
            [
                {
                    "time": "2026-11-02T06:10:00Z",
                    "task": {"namespace": task.namespace, "name": task.name},
                    "partition": "2026-11-01",
                    "state": "succeeded",
                    "outputs": [{"namespace": dataset.namespace, "name": dataset.name, "partition": "2026-11-01"}],
                }
            ]
        )
        found = ledger.partitions(PartitionFilter(name=dataset.name)).items
        return dg.MaterializeResult(metadata={"states": [item.state.value for item in found]})

    return orders


def _refs(context: dg.AssetExecutionContext) -> tuple[TaskRef, DatasetRef]:
    metadata = context.assets_def.metadata_by_key[context.asset_key]
    task, dataset = task_of(metadata), dataset_of(metadata)
    assert task is not None
    assert dataset is not None
    return task, dataset


def test_an_asset_tells_the_ledger_and_asks_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFORGE_LEDGER", database.url)
    result = dg.materialize([_asset()], resources={"ledger": ledger_resource()})
    [made] = result.asset_materializations_for_node("orders")
    assert made.metadata["states"].value == ["ready"]


def test_a_sensors_tick_closes_what_it_opened(database: Database) -> None:
    seen: list[LedgerResource] = []

    @dg.sensor(target="*")
    def follow(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.SkipReason:
        seen.append(ledger)
        return dg.SkipReason(ledger.changes(context.cursor).position)

    resource = LedgerResource(database_url=database.url)
    with dg.build_sensor_context(resources={"ledger": resource}) as tick:
        assert isinstance(follow(tick), dg.SkipReason)
        [used] = seen
        assert used._opened is not None
    assert used._opened is None


def test_a_resource_is_a_ledger_that_opens_again(database: Database) -> None:
    ledger: Ledger = LedgerResource(database_url=database.url)
    with ledger:
        assert ledger.changes().items == ()
    with ledger:
        assert ledger.changes().items == ()


@pytest.mark.parametrize(
    "urls", [{}, {"url": "http://127.0.0.1:8700", "database_url": "postgresql://db/ledger"}, {"url": ""}]
)
def test_a_resource_that_names_no_ledger_or_two_is_refused(urls: dict[str, str]) -> None:
    resource = LedgerResource(**urls)
    with pytest.raises(SettingsError, match=r"url or database_url .* exactly one"):
        resource.changes()
    with pytest.raises(dg.DagsterResourceFunctionError) as failed, dg.build_resources({"ledger": resource}):
        pass
    assert isinstance(failed.value.__cause__, SettingsError)


def test_a_malformed_database_url_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="postgresql://"):
        LedgerResource(database_url="postgresql://[").changes()


def test_by_default_the_ledger_is_this_installations_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFORGE_HOST", "::1")
    monkeypatch.setenv("DATAFORGE_PORT", "8799")
    resource = ledger_resource()
    assert (resource.url, resource.database_url, resource.api_key) == ("http://[::1]:8799", "", "")
    assert resource.environment == "dev"


@pytest.mark.parametrize(
    ("place", "field"),
    [("https://ledger.example:8700", "url"), ("postgresql://db/ledger", "database_url")],
)
def test_what_the_environment_names_is_read_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch, place: str, field: str
) -> None:
    for name, value in (("LEDGER", place), ("ENVIRONMENT", "prod"), ("API_KEY", "secret")):
        monkeypatch.setenv(f"DATAFORGE_{name}", value)
    resource = ledger_resource()
    for name in (field, "environment", "api_key"):
        assert isinstance(getattr(resource, name), EnvVar), name
    other = "database_url" if field == "url" else "url"
    with dg.build_resources({"ledger": resource}) as used:
        assert (getattr(used.ledger, field), getattr(used.ledger, other)) == (place, "")
        assert (used.ledger.environment, used.ledger.api_key) == ("prod", "secret")


def test_a_ledger_that_is_no_url_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFORGE_LEDGER", "mysql://user:secret@db/ledger")
    with pytest.raises(SettingsError, match="DATAFORGE_LEDGER is 'mysql://user:") as refused:
        ledger_resource()
    assert "secret" not in str(refused.value)


def test_redaction_is_applied_where_no_server_does_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\npath = "error"\naction = "mask"\n')
    monkeypatch.setenv("DATAFORGE_REDACTION", str(rules))
    failed = {"time": "2026-11-02T06:10:00Z", "task": {"namespace": "a", "name": "b"}, "state": "failed"}
    with LedgerResource(database_url=database.url) as ledger:
        ledger.record([{**failed, "error": "password=hunter2"}])
        [run] = ledger.runs(RunFilter()).items
    assert run.error == "[redacted]"


def test_an_asset_keeps_its_names_through_dagsters_own_metadata() -> None:
    spec = dg.AssetSpec("orders", metadata=ledger_metadata(TASK, ORDERS))
    stored = {key: dg.MetadataValue.json(value) for key, value in spec.metadata.items()}
    for metadata in (spec.metadata, stored):
        assert task_of(metadata) == TaskRef(*TASK)
        assert dataset_of(metadata) == DatasetRef(*ORDERS)


def test_an_asset_may_name_neither_task_nor_dataset() -> None:
    assert ledger_metadata() == {}
    assert task_of(ledger_metadata(dataset=ORDERS)) is None
    assert dataset_of({"owner": "nobody"}) is None


def test_metadata_of_another_shape_is_refused_by_its_key() -> None:
    with pytest.raises(InvalidInput, match=r"dataforge/task\.name"):
        task_of({"dataforge/task": {"namespace": "shell"}})
