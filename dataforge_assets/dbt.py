"""The shop's dbt models: Dagster runs dbt on DuckDB for the partitions of a run, however many, in one invocation.

Guarantees that a partition's materialization carries the rows that the partition has, and dbt's invocation as its
data version: built again is a new version, whatever its rows are.
"""

import json
from collections.abc import Iterator
from typing import Final

from dagster import AssetExecutionContext, AssetKey, BackfillPolicy, DataVersion, Failure, Output
from dagster_dbt import DagsterDbtCliRuntimeError, DbtCliInvocation, dbt_assets
from dagster_dbt.core.dbt_event_iterator import DbtDagsterEventType

from dataforge_assets.claimed import claimed
from dataforge_assets.claims import NOT_BEGUN
from dataforge_assets.dbt_translator import ShopTranslator
from dataforge_assets.partitions import DAILY, WEEKLY
from resources.dbt import MANIFEST, ShopDbt, places, rows, variables

RESULTS: Final = "run_results.json"
POOL = "duckdb"  # DuckDB lets one process write a file; dagster.yaml allows one step of the pool
_TRANSLATOR = ShopTranslator()
_WEEKLY = "config.meta.dataforge.partitioning.kind:weekly"


@claimed
@dbt_assets(
    manifest=MANIFEST,
    name="dbt_daily",
    exclude=_WEEKLY,
    partitions_def=DAILY,
    dagster_dbt_translator=_TRANSLATOR,
    backfill_policy=BackfillPolicy.single_run(),
    pool=POOL,
)
def dbt_daily(context: AssetExecutionContext, dbt: ShopDbt) -> Iterator[DbtDagsterEventType]:
    """The models by day."""
    yield from _build(context, dbt)


@claimed
@dbt_assets(
    manifest=MANIFEST,
    name="dbt_weekly",
    select=_WEEKLY,
    partitions_def=WEEKLY,
    dagster_dbt_translator=_TRANSLATOR,
    backfill_policy=BackfillPolicy.single_run(),
    pool=POOL,
)
def dbt_weekly(context: AssetExecutionContext, dbt: ShopDbt) -> Iterator[DbtDagsterEventType]:
    """The models by week."""
    yield from _build(context, dbt)


DBT_ASSETS = [dbt_daily, dbt_weekly]


def _build(context: AssetExecutionContext, dbt: ShopDbt) -> Iterator[DbtDagsterEventType]:
    window, found = context.partition_time_window, places()
    first, past = window.start.date(), window.end.date()
    command = ["build", "--vars", json.dumps({"from": first.isoformat(), "to": past.isoformat()})]
    step = context.op_execution_context  # of the other kind of context dagster-dbt asks what is deprecated there
    target = found.target / step.op.name  # one folder for each of the two, written anew by each run: nothing piles up
    (target / RESULTS).unlink(missing_ok=True)  # those of the run before, should dbt fail before it runs anything
    with variables(found):
        invocation = dbt.cli(command, context=step, target_path=target)
    events, error = _finished(invocation)
    for event in events:
        if isinstance(event, Output):
            _describe(context, event, rows(found.warehouse, _model(event), first, past))
        yield event
    if error:
        raise Failure(str(error), metadata={NOT_BEGUN: _skipped(invocation)}) from error


def _finished(
    invocation: DbtCliInvocation,
) -> tuple[list[DbtDagsterEventType], DagsterDbtCliRuntimeError | None]:
    """All that dbt reports. Its rows can be counted only afterwards, since while dbt runs the file is locked; what it
    had built before it failed is built."""
    events: list[DbtDagsterEventType] = []
    try:
        events.extend(invocation.stream())
    except DagsterDbtCliRuntimeError as error:
        return events, error
    return events, None


def _skipped(invocation: DbtCliInvocation) -> list[str]:
    """The models that dbt did not try to build, since what they select from had failed, or a test of it."""
    try:
        results = invocation.get_artifact(RESULTS)["results"]
    except FileNotFoundError:  # dbt failed before it ran anything
        return []
    skipped = {result["unique_id"] for result in results if result["status"] == "skipped"}
    nodes = [node for unique_id, node in invocation.manifest["nodes"].items() if unique_id in skipped]
    models = [node for node in nodes if node["resource_type"] == "model"]
    return [_TRANSLATOR.get_asset_key(model).to_user_string() for model in models]


def _describe(context: AssetExecutionContext, built: Output[None], counted: dict[str, int]) -> None:
    key = AssetKey(["warehouse", _model(built)])
    context.set_data_version(key, DataVersion(str(built.metadata["invocation_id"].value)))
    for partition in context.partition_keys:
        count = {"dagster/partition_row_count": counted.get(partition, 0)}
        context.add_asset_metadata(count, asset_key=key, partition_key=partition)


def _model(built: Output[None]) -> str:
    return str(built.metadata["unique_id"].value).rpartition(".")[2]
