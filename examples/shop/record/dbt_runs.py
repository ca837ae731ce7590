"""Records dbt's part of the fortnight: `python record/dbt_runs.py WORK`, and events/dbt.jsonl is written.

Dagster really runs dbt for each day and week, from the lake as it was then, and what its log holds becomes native
events just as the sensor `dagster_to_ledger` makes them. Each run is moved in time by one constant, so that a day's
starts ten minutes after the day, and a week's twenty minutes after the week; nothing else of it changes.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from os import environ
from pathlib import Path
from typing import Any

from dagster import AssetKey, DagsterInstance, Definitions

from dataforge_assets.definitions import defs
from dataforge_sensors.run_events import Telling, Untold
from dataforge_sensors.run_log import stories
from dataforge_sensors.window import Window, partitions_of

SHOP = Path(__file__).parents[1]
CORRECTED = "2026-11-05"  # built from the file that was there before
UNPAID = ("2026-11-12", "2026-11-15")  # only the orders of these days are staged
DAYS = [f"2026-11-{day:02}" for day in range(2, 16)]


def main(work: Path) -> None:
    """Runs dbt for every partition that was built, and writes what the ledger is told of it."""
    lake = work / "lake"
    shutil.copytree(SHOP / "lake", lake)
    older = lake / "orders_enriched" / f"ds={CORRECTED}"
    shutil.rmtree(older)
    shutil.copytree(SHOP / "record" / "before" / "orders_enriched" / older.name, older)
    environ.update({"SHOP_LAKE": str(lake), "SHOP_WAREHOUSE": str(work / "shop.duckdb"), "DATAFORGE_HOME": str(work)})
    assert isinstance(defs, Definitions)
    with DagsterInstance.ephemeral() as instance:
        told = [event for day in DAYS for event in _run(instance, "build_days", day, day in UNPAID)]
        told += _run(instance, "build_weeks", DAYS[0], only_orders=False)
    lines = [json.dumps(event, separators=(",", ":")) + "\n" for event in sorted(told, key=lambda each: each["time"])]
    (SHOP / "events" / "dbt.jsonl").write_text("".join(lines), encoding="utf-8")


def _run(instance: DagsterInstance, job: str, partition: str, only_orders: bool) -> list[dict[str, Any]]:
    selection = [AssetKey(["warehouse", "stg_orders"])] if only_orders else None
    done = defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition, asset_selection=selection
    )
    [story] = stories(instance, [done.run_id])
    with partitions_of(instance):
        told = Telling(story, Window.of(defs.get_repository_def()).assets, url="").events()
        events = [event for _, event in told if not isinstance(event, Untold)]
    for event in events:
        del event["source"]["url"]  # of a page that nobody else has
    starts = timedelta(days=7, minutes=20) if job == "build_weeks" else timedelta(days=1, minutes=10)
    return list(_moved(events, datetime.fromisoformat(f"{partition}T00:00:00+00:00") + starts))


def _moved(events: list[dict[str, Any]], to: datetime) -> Iterator[dict[str, Any]]:
    times = [datetime.fromisoformat(event["time"]) for event in events]
    moved = timedelta(seconds=round((to - min(times)).total_seconds()))
    for event, time in zip(events, times, strict=True):
        yield event | {"time": (time + moved).isoformat()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
