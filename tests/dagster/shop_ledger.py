"""The ledger of the shop before its first night: everything is declared, and what dbt reads has come for some days."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.scratch import new_database
from dataforge.cli.example import load
from resources import LedgerResource

LAKE = {
    "shop_daily.load_orders": "orders",
    "shop_daily.load_payments": "payments",
    "shop_daily.enrich_orders": "orders_enriched",
}
DAYS = tuple(f"2026-11-{day:02}" for day in range(2, 9))


@contextmanager
def shop_ledger(server: str, template: str, days: Sequence[str] = DAYS) -> Iterator[LedgerResource]:
    """On a database of its own."""
    with new_database(server, template) as url, LedgerResource(database_url=url) as ledger:
        declared(ledger, days)
        yield ledger


def declared(ledger: LedgerResource, days: Sequence[str] = DAYS) -> None:
    """Declares the shop, and records that its lake has these days."""
    load(ledger.database_url, ledger.environment, events=False)
    assert ledger.record([_loaded(task, day) for day in days for task in LAKE]).rejected == []


def _loaded(task: str, day: str) -> dict[str, Any]:
    return {
        "time": f"{day}T23:00:00Z",
        "task": {"namespace": "shop-airflow", "name": task},
        "partition": day,
        "state": "succeeded",
        "outputs": [{"namespace": "s3://shop-lake", "name": LAKE[task], "partition": day}],
    }


def modelled(ledger: LedgerResource, model: str, days: Sequence[str] = DAYS) -> None:
    """Records that another machine's dbt has built a model for these days."""
    events = [
        {
            "time": f"{day}T23:30:00Z",
            "task": {"namespace": "shop-dbt", "name": f"model.shop.{model}"},
            "partition": day,
            "state": "succeeded",
            "outputs": [{"namespace": "duckdb://shop.duckdb", "name": f"shop.main.{model}", "partition": day}],
        }
        for day in days
    ]
    assert ledger.record(events).rejected == []
