"""A selection of a dbt project, run by Dagster: one invocation of dbt for all the partitions of a run, however many.

Guarantees that dbt is given the bounds of exactly these partitions; that a partition's materialization has dbt's
invocation as its data version, since what is built again is a new version whatever its rows are; and that of an
invocation that fails, what was built before is materialized and what was not begun is named.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    DataVersion,
    Failure,
    Output,
    TimeWindow,
    TimeWindowPartitionsDefinition,
)
from dagster_dbt import DagsterDbtCliRuntimeError, DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.core.dbt_event_iterator import DbtDagsterEventType

from dataforge_assets.claimed import claimed
from dataforge_assets.claims import NOT_BEGUN
from resources.terms import FREE, Terms

RESULTS: Final = "run_results.json"
Bounds = Callable[[TimeWindow], list[str]]
Counter = Callable[[str, TimeWindow], Mapping[str, int]]  # rows of a model by partition; none where it has none


def variables(first: str = "from", past: str = "to", form: str = "%Y-%m-%d") -> Bounds:
    """Bounds as variables of the project's own: of the first window's start, and of what the last ends before."""

    def bounds(window: TimeWindow) -> list[str]:
        return ["--vars", json.dumps({first: window.start.strftime(form), past: window.end.strftime(form)})]

    return bounds


def event_time(window: TimeWindow) -> list[str]:
    """Bounds as dbt's own microbatch models take them."""
    start, end = (f"{at:%Y-%m-%dT%H:%M:%S}" for at in (window.start, window.end))
    return ["--event-time-start", start, "--event-time-end", end]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What of a project is run as one, how it is bounded, and where."""

    name: str
    manifest: Path
    translator: DagsterDbtTranslator
    partitions: TimeWindowPartitionsDefinition
    bounds: Bounds
    target: Callable[[], Path]  # where the project's results are put, asked for when it runs
    select: str = "fqn:*"
    exclude: str = ""
    terms: Terms = FREE
    surroundings: Callable[[], AbstractContextManager[None]] = nullcontext  # in which dbt is started
    counted: Counter | None = None


def dbt_selection(wanted: Selection) -> AssetsDefinition:
    """The assets of the selected nodes, which claim what they build; the resource `dbt` runs them."""

    @claimed
    @dbt_assets(
        manifest=wanted.manifest,
        name=wanted.name,
        select=wanted.select,
        exclude=wanted.exclude,
        partitions_def=wanted.partitions,
        dagster_dbt_translator=wanted.translator,
        backfill_policy=BackfillPolicy.single_run(),
        pool=wanted.terms.pool,
        op_tags=wanted.terms.tags,
        required_resource_keys={"dbt"},
    )
    def build(context: AssetExecutionContext) -> Iterator[DbtDagsterEventType]:
        yield from _build(context, context.resources.dbt, wanted)

    return build


def _build(context: AssetExecutionContext, dbt: DbtCliResource, wanted: Selection) -> Iterator[DbtDagsterEventType]:
    window = context.partition_time_window
    step = context.op_execution_context  # of the other kind of context dagster-dbt asks what is deprecated there
    target = wanted.target() / step.op.name  # one folder for each selection, written anew by each run
    (target / RESULTS).unlink(missing_ok=True)  # those of the run before, should dbt fail before it runs anything
    with wanted.surroundings():
        invocation = dbt.cli(["build", *wanted.bounds(window)], context=step, target_path=target)
    events, error = _finished(invocation)
    for event in events:
        if isinstance(event, Output):
            _describe(context, event, wanted, invocation.manifest)
        yield event
    if error:
        raise Failure(str(error), metadata={NOT_BEGUN: _skipped(invocation, wanted.translator)}) from error


def _finished(
    invocation: DbtCliInvocation,
) -> tuple[list[DbtDagsterEventType], DagsterDbtCliRuntimeError | None]:
    """All that dbt reports. Its rows can be counted only afterwards, since a warehouse such as DuckDB is locked while
    dbt runs; what it had built before it failed is built."""
    events: list[DbtDagsterEventType] = []
    try:
        events.extend(invocation.stream())
    except DagsterDbtCliRuntimeError as error:
        return events, error
    return events, None


def _skipped(invocation: DbtCliInvocation, translator: DagsterDbtTranslator) -> list[str]:
    """The models that dbt did not try to build, since what they select from had failed, or a test of it."""
    try:
        results = invocation.get_artifact(RESULTS)["results"]
    except FileNotFoundError:  # dbt failed before it ran anything
        return []
    skipped = {result["unique_id"] for result in results if result["status"] == "skipped"}
    nodes = [node for unique_id, node in invocation.manifest["nodes"].items() if unique_id in skipped]
    models = [node for node in nodes if node["resource_type"] == "model"]
    return [translator.get_asset_key(model).to_user_string() for model in models]


def _describe(
    context: AssetExecutionContext, built: Output[None], wanted: Selection, manifest: Mapping[str, Any]
) -> None:
    unique_id = str(built.metadata["unique_id"].value)
    key = wanted.translator.get_asset_key(manifest["nodes"][unique_id])
    context.set_data_version(key, DataVersion(str(built.metadata["invocation_id"].value)))
    if wanted.counted is not None:
        counted = wanted.counted(unique_id.rpartition(".")[2], context.partition_time_window)
        for partition in context.partition_keys:
            count = {"dagster/partition_row_count": counted.get(partition, 0)}
            context.add_asset_metadata(count, asset_key=key, partition_key=partition)
