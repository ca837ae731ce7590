"""Assets that claim what they make: real runs on a real instance, the ledger, and the mirror that tells it of runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetOut,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Config,
    DagsterInstance,
    DailyPartitionsDefinition,
    ExecuteInProcessResult,
    Failure,
    MaterializeResult,
    OpExecutionContext,
    Out,
    Output,
    RetryPolicy,
    asset,
    graph_asset,
    materialize,
    multi_asset,
    op,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)

from dataforge.storage.database import Database
from dataforge_assets.claimed import claimed
from dataforge_assets.claims import AGAIN, NOT_BEGUN
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import DatasetRef, InvalidInput, PartitionFilter, RunFilter
from tests.dagster.sensors.killed_step import stopping
from tests.dagster.sensors.teller import DAYS, Teller, definitions_job, named
from tests.dagster.sensors.teller import orders as unclaimed

# How far a backfill goes in one run is marked as beta; the assets need it.
pytestmark = pytest.mark.filterwarnings("ignore::dagster_shared.utils.warnings.BetaWarning")

DAY = "2026-01-05"
CUT = {"kind": "daily", "start": "2026-01-01"}
NAMES = ["orders", "clean", "report"]
KILLED_STEP = "tests.dagster.sensors.killed_step"


@pytest.fixture
def shop(ledger: LedgerResource) -> LedgerResource:
    """orders, of which clean is made, of which report is made."""
    ledger.declare(
        "shop",
        {
            "tasks": [
                {
                    "namespace": "dbt",
                    "name": f"model.{name}",
                    "partitioning": CUT,
                    "consumes": [{"dataset": _dataset(upstream)}] if upstream else [],
                    "produces": [_dataset(name)],
                }
                for name, upstream in zip(NAMES, ["", *NAMES], strict=False)
            ],
            "datasets": [{**_dataset(name), "partitioning": CUT} for name in NAMES],
        },
    )
    return ledger


def _dataset(name: str) -> dict[str, str]:
    return {"namespace": "duckdb://w", "name": name}


def orders(*errors: Exception, retry_policy: RetryPolicy | None = None) -> AssetsDefinition:
    return claimed(unclaimed(*errors, retry_policy=retry_policy))


def run(
    instance: DagsterInstance, ledger: LedgerResource, *assets: AssetsDefinition, fails: bool = False, **more: Any
) -> ExecuteInProcessResult:
    where = {"partition_key": DAY} | more
    found = materialize([*assets], instance=instance, resources={"ledger": ledger}, raise_on_error=False, **where)
    assert found.success is not fails
    return found


def refusal(result: ExecuteInProcessResult) -> str:
    """Why the step failed, in the words that Dagster shows."""
    [failed] = [event for event in result.all_events if event.is_step_failure]
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    assert data.description is not None
    return data.description


def attempts(ledger: LedgerResource, name: str = "orders") -> list[tuple[int, str, str | None]]:
    """What the ledger has of the attempts of a task, the first first."""
    found = ledger.runs(RunFilter(name=f"model.{name}", attempts=True, limit=1000)).items
    return [
        (each.attempt, each.state.value, each.error) for each in sorted(found, key=lambda each: str(each.started_at))
    ]


def datasets(ledger: LedgerResource) -> dict[tuple[str, str | None], str]:
    found = ledger.partitions(PartitionFilter(kind="dataset", limit=1000)).items
    return {(each.name, each.partition): each.state for each in found}


def test_what_is_made_is_told_by_the_claim_and_not_again_by_the_mirror(
    instance: DagsterInstance, shop: LedgerResource
) -> None:
    made = run(instance, shop, orders())
    [told] = shop.runs(RunFilter(attempts=True)).items
    assert (told.run, told.attempt, told.state.value) == (f"{made.run_id}:{DAY}", 1, "succeeded")
    assert told.source["dagster_run_id"] == made.run_id
    [there] = shop.latest([DatasetRef("duckdb://w", "orders")])
    assert (there.partition, there.status, there.rows, there.version) == (DAY, "ready", 7, "v1")
    teller = Teller(instance, shop, orders())
    teller.tick()
    [same] = shop.runs(RunFilter(attempts=True)).items
    assert (same.run, same.attempt, same.state) == (told.run, told.attempt, told.state)
    [after] = shop.latest([DatasetRef("duckdb://w", "orders")])
    assert after.mirror_id == there.mirror_id


def _chain(*yielded: str, problem: Exception | None = None, checks: Any = None) -> AssetsDefinition:
    """clean and report in one step, which makes those that are named and then fails, where it is to."""

    @claimed
    @multi_asset(
        specs=[
            AssetSpec("clean", deps=["orders"], partitions_def=DAYS, metadata=named("clean"), skippable=True),
            AssetSpec("report", deps=["clean"], partitions_def=DAYS, metadata=named("report"), skippable=True),
        ],
        check_specs=[AssetCheckSpec("sound", asset="clean", blocking=True)] if checks is not None else None,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def chain() -> Iterator[Any]:
        for name in yielded:
            yield MaterializeResult(asset_key=name)
        if checks is not None:
            yield AssetCheckResult(passed=checks, check_name="sound", asset_key="clean", description="3 rows are bad")
        if problem is not None:
            raise problem

    return chain


def test_assets_of_one_step_may_wait_for_each_other(instance: DagsterInstance, shop: LedgerResource) -> None:
    run(instance, shop, orders())
    run(instance, shop, _chain("clean", "report"))
    assert datasets(shop) == {(name, DAY): "ready" for name in NAMES}


def test_a_run_of_several_days_claims_and_ends_each(instance: DagsterInstance, shop: LedgerResource) -> None:
    days = [f"2026-01-0{day}" for day in range(2, 6)]
    over = {ASSET_PARTITION_RANGE_START_TAG: days[0], ASSET_PARTITION_RANGE_END_TAG: days[-1]}
    run(instance, shop, orders(), partition_key=None, tags=over)
    assert datasets(shop) == {("orders", day): "ready" for day in days}


def test_what_may_not_run_makes_nothing_and_says_why(instance: DagsterInstance, shop: LedgerResource) -> None:
    refused = run(instance, shop, _chain("clean", "report"), fails=True)
    assert refusal(refused).startswith(f"model.clean for {DAY} may not run now: orders for {DAY} ")
    Teller(instance, shop, _chain()).tick()
    assert attempts(shop, "clean") == attempts(shop, "report") == []
    assert datasets(shop) == {}


def test_what_somebody_else_runs_is_not_run(instance: DagsterInstance, shop: LedgerResource) -> None:
    granted = shop.claim("model.orders", DAY, worker="airflow")
    assert (
        refusal(run(instance, shop, orders(), fails=True)) == f"model.orders for {DAY} may not run now: it is running."
    )
    shop.complete(granted.claim)
    assert attempts(shop) == [(1, "succeeded", None)]


def test_what_is_done_runs_again_where_a_person_launches_it_or_a_tag_says_why(
    instance: DagsterInstance, shop: LedgerResource
) -> None:
    run(instance, shop, orders())
    run(instance, shop, orders())  # by hand
    refused = run(instance, shop, orders(), fails=True, tags={BACKFILL_ID_TAG: "b"})
    assert refusal(refused).endswith(
        "it has succeeded. To have it run again, launch it by hand or with the tag dataforge/again."
    )
    run(instance, shop, orders(), tags={BACKFILL_ID_TAG: "b", AGAIN: "prices were wrong"})
    assert [state for _, state, _ in attempts(shop)] == ["succeeded"] * 3


def test_a_step_that_fails_has_failed_and_its_next_try_is_the_next_attempt(
    instance: DagsterInstance, shop: LedgerResource
) -> None:
    retried = orders(ValueError("disk full"), retry_policy=RetryPolicy(max_retries=1))
    run(instance, shop, retried)
    assert attempts(shop) == [(1, "failed", "disk full"), (2, "succeeded", None)]
    Teller(instance, shop, retried).tick()
    assert attempts(shop) == [(1, "failed", "disk full"), (2, "succeeded", None)]


def test_what_was_made_before_a_failure_is_made(instance: DagsterInstance, shop: LedgerResource) -> None:
    run(instance, shop, orders())
    run(instance, shop, _chain("clean", problem=ValueError("no memory")), fails=True)
    assert (attempts(shop, "clean"), attempts(shop, "report")) == (
        [(1, "succeeded", None)],
        [(1, "failed", "no memory")],
    )
    skipped = Failure("clean failed", metadata={NOT_BEGUN: ["report"]})
    run(instance, shop, _chain(problem=skipped), fails=True)
    assert [attempts(shop, name)[-1][1] for name in ("clean", "report")] == ["failed", "upstream_failed"]


def test_what_a_step_chose_not_to_make_was_skipped(instance: DagsterInstance, shop: LedgerResource) -> None:
    run(instance, shop, orders())
    run(instance, shop, _chain("clean"))
    Teller(instance, shop, _chain()).tick()
    assert [attempts(shop, name)[-1][1] for name in ("clean", "report")] == ["succeeded", "skipped"]


def test_nothing_is_built_from_what_a_blocking_check_has_found_bad(
    instance: DagsterInstance, shop: LedgerResource
) -> None:
    run(instance, shop, orders())
    run(instance, shop, _chain("clean", checks=False), fails=True)
    assert attempts(shop, "clean") == [(1, "failed", "3 rows are bad")]
    assert datasets(shop)["clean", DAY] == "failed"
    run(instance, shop, _chain("clean", "report", checks=True))
    assert datasets(shop)["clean", DAY] == "ready"


def test_the_lease_goes_on_as_long_as_the_step(
    instance: DagsterInstance, shop: LedgerResource, database: Database
) -> None:
    def expiry() -> datetime:
        with database.transaction() as connection:
            row = connection.execute("select expires_at from lease where ended_at is null").fetchone()
            assert row is not None
            return datetime.fromisoformat(str(row[0]))

    @asset(name="orders", partitions_def=DAYS, metadata=named("orders"))
    def slow() -> None:
        first = expiry()
        while expiry() == first:
            assert datetime.now(UTC) < first, "nobody has extended it"

    run(instance, shop, claimed(slow, lease_seconds=6))
    assert attempts(shop) == [(1, "succeeded", None)]


def test_a_step_that_is_killed_keeps_others_away_until_dagster_tries_again(
    instance: DagsterInstance, shop: LedgerResource, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    command = [sys.executable, "-m", KILLED_STEP, shop.database_url, str(begun)]
    environment = {"DAGSTER_HOME": instance.root_directory}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **environment}) as process:
        while not begun.exists() or not begun.read_text(encoding="utf-8"):
            assert process.poll() is None, "it ended by itself"
        process.kill()
    killed = begun.read_text(encoding="utf-8")
    assert attempts(shop) == [(1, "running", None)]
    assert refusal(run(instance, shop, stopping(None), fails=True)).endswith("may not run now: it is running.")
    lost = instance.get_run_by_id(killed)
    assert lost is not None
    instance.report_run_failed(lost)
    job = definitions_job(stopping(None), ledger=shop)
    again = instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: DAY}, parent_run_id=killed, root_run_id=killed)
    assert execute_run(InMemoryJob(job), again, instance).success
    Teller(instance, shop, stopping(None)).tick()
    over = "its worker said nothing of its end, and the next attempt of the run has begun"
    assert attempts(shop) == [(1, "failed", over), (2, "succeeded", None)]


def test_a_ledger_that_cannot_be_asked_lets_nothing_run(instance: DagsterInstance) -> None:
    nobody = LedgerResource(url="http://127.0.0.1:9")
    said = refusal(run(instance, nobody, orders(), fails=True))
    assert said.startswith("The ledger cannot be asked whether this may run: ")


def test_a_task_that_the_ledger_does_not_know_is_not_run(instance: DagsterInstance, ledger: LedgerResource) -> None:
    said = refusal(run(instance, ledger, orders(), fails=True))
    assert said.endswith("the sensor `assets_to_ledger` does), or make it without `claimed`.")


class Size(Config):
    rows: int = 3


def test_the_function_within_stays_as_it_is(instance: DagsterInstance, shop: LedgerResource) -> None:
    """Its context, configuration, inputs and outputs, whatever their kinds."""
    seen: dict[str, Any] = {}

    @claimed
    @asset(name="orders", metadata=ledger_metadata(("dbt", "free"), ("duckdb://w", "free")))
    def of_config(context: AssetExecutionContext, config: Size, ledger: LedgerResource) -> list[int]:
        seen["orders"] = (type(context), config.rows, type(ledger))
        return [1] * config.rows

    @claimed
    @asset(name="clean")  # names no task of the ledger, and goes by its key
    def of_input(context: OpExecutionContext, orders: list[int]) -> int:
        seen["clean"] = (type(context), orders)
        return len(orders)

    @claimed
    @multi_asset(outs={"a": AssetOut(), "b": AssetOut(is_required=False)}, can_subset=True)
    def two(clean: int) -> Iterator[Output[int]]:
        yield Output(clean + 1, "a")

    tasks = [
        {"namespace": "dbt", "name": "free"},
        *({"namespace": "dagster", "name": name} for name in ("clean", "a", "b")),
    ]
    shop.declare("free", {"tasks": tasks})
    made = run(instance, shop, of_config, of_input, two, partition_key=None)
    assert seen == {
        "orders": (AssetExecutionContext, 3, LedgerResource),
        "clean": (OpExecutionContext, [1, 1, 1]),
    }
    assert made.output_for_node("two", "a") == 4
    assert [each.state for each in shop.runs(RunFilter(name="free")).items] == ["succeeded"]


def test_it_takes_only_what_one_function_makes() -> None:
    @op(out=Out(int))
    def one() -> int:
        return 1

    @graph_asset
    def of_graph() -> Any:
        return one()

    @asset
    async def awaited() -> None: ...

    external = AssetsDefinition(specs=[AssetSpec(AssetKey("lake"))])
    for made in (of_graph, awaited, external):
        with pytest.raises(InvalidInput, match="expected assets that one function makes, which is no coroutine"):
            claimed(made)


def test_days_that_the_asset_has_not_are_no_claims(instance: DagsterInstance, shop: LedgerResource) -> None:
    weekly = DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-03")

    @claimed
    @asset(name="orders", partitions_def=weekly, metadata=named("orders"))
    def short() -> None: ...

    run(instance, shop, short, partition_key="2026-01-02")
    assert datasets(shop) == {("orders", "2026-01-02"): "ready"}
