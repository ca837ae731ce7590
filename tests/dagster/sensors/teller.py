"""Real runs of small assets in Dagster, and the mirror that tells the ledger of them, tick after tick."""

from typing import Any

from dagster import (
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    DagsterInstance,
    DailyPartitionsDefinition,
    DataVersion,
    Definitions,
    JobDefinition,
    MaterializeResult,
    RetryPolicy,
    SensorResult,
    SkipReason,
    asset,
    build_sensor_context,
    in_process_executor,
)

from dataforge_sensors.dagster_to_ledger import dagster_to_ledger
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import PartitionFilter, RunFilter, RunItem, RunState

DAYS = DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-03-01")


def named(name: str) -> dict[str, Any]:
    return ledger_metadata(task=("dbt", f"model.{name}"), dataset=("duckdb://w", name))


class Trouble:
    """What goes wrong in the next steps, and how."""

    def __init__(self, *errors: Exception) -> None:
        self.left = list(errors)

    def happens(self) -> None:
        if self.left:
            raise self.left.pop(0)


def orders(*errors: Exception, retry_policy: RetryPolicy | None = None) -> AssetsDefinition:
    failing = Trouble(*errors)

    @asset(
        name="orders",
        partitions_def=DAYS,
        metadata=named("orders"),
        backfill_policy=BackfillPolicy.single_run(),
        retry_policy=retry_policy,
    )
    def made() -> MaterializeResult[Any]:
        failing.happens()
        return MaterializeResult(data_version=DataVersion("v1"), metadata={"dagster/row_count": 7})

    return made


def definitions_job(*assets: AssetsDefinition, **resources: Any) -> JobDefinition:
    definitions = Definitions(assets=list(assets), executor=in_process_executor, resources=resources)
    return definitions.resolve_implicit_global_asset_job_def()


class Teller:
    """The daemon's part for the other mirror."""

    def __init__(
        self, instance: DagsterInstance, ledger: LedgerResource, *assets: AssetsDefinition | AssetSpec
    ) -> None:
        self.instance, self.ledger = instance, ledger
        self.definitions = Definitions(assets=list(assets), resources={"ledger": ledger})
        self.cursor: str | None = None

    def tick(self, *, killed: bool = False) -> str:
        context = build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions, resources={"ledger": self.ledger}
        )
        with context:
            result = dagster_to_ledger(context)
        if isinstance(result, SkipReason):
            return str(result.skip_message)
        assert isinstance(result, SensorResult)
        assert result.skip_reason
        self.cursor = self.cursor if killed else result.cursor
        return str(result.skip_reason.skip_message)

    def runs(self) -> list[RunItem]:
        return sorted(self.ledger.runs(RunFilter(limit=1000)).items, key=lambda run: (run.name, run.run))

    def states(self) -> list[tuple[str, str | None, RunState, int]]:
        return [(run.name, run.partition, run.state, run.attempt) for run in self.runs()]

    def partitions(self) -> dict[str | None, str]:
        wanted = PartitionFilter(kind="dataset", limit=1000)
        return {item.partition: item.state for item in self.ledger.partitions(wanted).items}
