"""The job that brings backfills of Dagster's assets to the ledger's planner."""

from typing import Any

import pytest
from dagster import AssetSpec, DagsterInstance, ExecuteInProcessResult

from dataforge.storage.database import Database
from dataforge_assets.backfill_job import backfill_job
from resources import LedgerResource
from resources.identity import ledger_metadata

CUT = {"kind": "daily", "start": "2026-11-01", "end": "2026-11-08"}
ORDERS = {"namespace": "s3://lake", "name": "orders"}
SPECS = [
    AssetSpec(["lake", "orders"], metadata=ledger_metadata(dataset=("s3://lake", "orders"))),
    AssetSpec(["lake", "clean"], metadata=ledger_metadata(task=("ns", "clean"))),
    AssetSpec("report"),
]


@pytest.fixture
def ledger(database: Database) -> LedgerResource:
    """load writes the orders, and clean reads them."""
    resource = LedgerResource(database_url=database.url)
    tasks = [
        {"namespace": "ns", "name": "load", "partitioning": CUT, "produces": [ORDERS]},
        {"namespace": "ns", "name": "clean", "partitioning": CUT, "consumes": [{"dataset": ORDERS}]},
    ]
    resource.declare("shop", {"tasks": tasks, "datasets": [{**ORDERS, "partitioning": CUT}]})
    return resource


def launch(ledger: LedgerResource, run_id: str | None = None, **config: Any) -> ExecuteInProcessResult:
    given = {"ops": {"plan_backfill": {"config": {"reason": "a late file", **config}}}}
    with DagsterInstance.ephemeral() as instance:
        return backfill_job(SPECS).execute_in_process(
            given, instance=instance, resources={"ledger": ledger}, raise_on_error=False, run_id=run_id
        )


def shown(result: ExecuteInProcessResult) -> dict[str, Any]:
    assert result.success
    [made] = [event for event in result.all_events if event.is_successful_output]
    return {label: value.value for label, value in made.step_output_data.metadata.items()}


DAYS = {"asset": "lake/orders", "first": "2026-11-02", "last": "2026-11-03"}


def test_targets_on_external_assets_become_a_proposal(ledger: LedgerResource) -> None:
    told = shown(launch(ledger, targets=[DAYS], direction="downstream"))
    found = ledger.backfill_detail(told["backfill"])
    assert (found.state, found.counts, found.request.reason) == ("paused", {"planned": 4}, "a late file")
    assert told["next"] == f"dataforge backfill resume {found.id}"
    assert (told["to build"], told["partitions by wave"]) == (4, "2, 2")
    assert "| 1 | load | 2026-11-02 | planned |" in told["plan"]
    assert ledger.change_backfill(found.id, "resume").state == "running"


def test_it_begins_where_it_is_told_to(ledger: LedgerResource) -> None:
    told = shown(launch(ledger, targets=[{"asset": "lake/clean", "partitions": ["2026-11-02"]}], begin=True))
    found = ledger.backfill_detail(told["backfill"])
    assert (found.state, found.counts) == ("running", {"planned": 1})


def test_a_run_that_is_repeated_proposes_nothing_twice(ledger: LedgerResource) -> None:
    run = "7f9c24e8-3b12-4fef-91e0-0b6c4a3d2f1a"
    first, again = (shown(launch(ledger, run, targets=[DAYS])) for _ in range(2))
    assert first["backfill"] == again["backfill"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"asset": "lake/payments"}, "targets: lake/payments is no asset of this code location"),
        ({"asset": "report"}, "targets: report is an asset that names nothing of the ledger"),
        ({"asset": "lake/orders", "partitions": ["yesterday"]}, "yesterday"),
        (
            {"asset": "lake/orders", "first": "2026-11-02", "partitions": ["2026-11-02"]},
            "one of partitions, from and to",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_line(ledger: LedgerResource, target: dict[str, Any], said: str) -> None:
    result = launch(ledger, targets=[target])
    [failed] = [event for event in result.all_events if event.is_step_failure]
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    assert said in str(data.description)
