"""The mirror of Dagster in the ledger: what Dagster itself runs, as native events.

Guarantees that each event of a run is recorded once, whatever is killed when: the ledger knows repeated ids, the
cursor moves on only after the ledger has answered, and what came from the ledger is never sent back to it.
"""

import os
import time

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from dataforge_sensors import run_log
from dataforge_sensors.run_events import Telling
from dataforge_sensors.window import Window
from resources import LedgerResource
from resources.model import Recorded, Unreachable

INTERVAL_SECONDS = 10  # how late the ledger knows; a tick with no news takes ten queries, 50 ms


@sensor(
    name="dagster_to_ledger",
    description="Tells the ledger of the runs, materializations and checks that Dagster itself executes.",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
def dagster_to_ledger(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: reads what is new in the log, tells the ledger of the runs that it speaks of."""
    assert context.repository_def is not None, "a sensor that the daemon runs has its code location"
    window, after = Window.of(context.repository_def), int(context.cursor or -1)
    news = run_log.read(context.instance, after)
    new = {record.storage_id for record in news.records}
    stories = [found for run_id in news.runs if (found := run_log.story(context.instance, run_id))]
    events = [
        event
        for found in stories
        for storage_id, event in Telling(found, window.assets, run_url(found.run_id)).events()
        if storage_id in new
    ]
    try:
        recorded = ledger.record(events) if events else None
    except Unreachable as error:
        return SkipReason(f"{error} The cursor stays; what Dagster runs meanwhile is told later.")
    place = run_log.settled(news, after, time.time())
    said = told(recorded)
    if recorded and recorded.rejected:
        context.log.warning(said)
    unnamed = sum(asset.task is None for asset in window.assets.values())
    return SensorResult(cursor=str(place), skip_reason=f"{said} {unnamed} assets name no task of the ledger.")


def told(recorded: Recorded | None) -> str:
    """What the ledger made of the events, in one line."""
    if recorded is None:
        return "0 events told."
    said = f"{recorded.applied} events told, {recorded.duplicates} known."
    if not recorded.rejected:
        return said
    return f"{said} {len(recorded.rejected)} refused, such as {recorded.rejected[0]}."


def run_url(run_id: str) -> str:
    """The page of a run in this installation's webserver."""
    host, port = os.environ.get("DATAFORGE_HOST", "127.0.0.1"), os.environ.get("DAGSTER_PORT", "3000")
    return f"http://{host}:{port}/runs/{run_id}"
