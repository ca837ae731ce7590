"""The mirror of Dagster in the ledger: what Dagster itself runs, and what is reported to it, as native events.

Guarantees that each event of a run is recorded once, whatever is killed when: the ledger knows repeated ids, the
cursor moves on only after the ledger has answered, and what came from the ledger is never sent back to it.
"""

import time
from collections.abc import Iterator

from dagster import DagsterInstance, DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from dataforge_sensors import run_log
from dataforge_sensors.refusal import one_line
from dataforge_sensors.reports import report_of
from dataforge_sensors.run_events import Native, Telling
from dataforge_sensors.window import Window
from resources import LedgerResource, webserver
from resources.model import DataForgeError, Recorded

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
    window, after = Window.of(context.repository_def), place_of(context.cursor)
    news = run_log.read(context.instance, after)
    events = [*of_runs(context.instance, window, news), *of_no_run(window, news)]
    try:
        recorded = ledger.record(events) if events else None
    except DataForgeError as error:
        return SkipReason(one_line(error, "The cursor stays; what Dagster runs meanwhile is told later."))
    place = run_log.settled(news, after, time.time())
    said = told(recorded)
    if recorded and recorded.rejected:
        context.log.warning(said)
    unnamed = sum(asset.task is None for asset in window.assets.values())
    return SensorResult(cursor=str(place), skip_reason=f"{said} {unnamed} assets name no task of the ledger.")


def place_of(cursor: str | None) -> int:
    """The place that a cursor names; the beginning for one that nobody can read, since what is known is not told."""
    return int(cursor) if cursor and cursor.isdecimal() else -1


def of_runs(instance: DagsterInstance, window: Window, news: run_log.News) -> Iterator[Native]:
    """What is to be told of runs: of the whole story of each, as much as is new."""
    new = {record.storage_id for record in news.records}
    pages = f"{webserver()}/runs"
    for story in run_log.stories(instance, news.runs):
        telling = Telling(story, window.assets, f"{pages}/{story.run_id}")
        yield from (event for storage_id, event in telling.events() if storage_id in new)


def of_no_run(window: Window, news: run_log.News) -> Iterator[Native]:
    """What is to be told of materializations that a person or a program reported."""
    return (event for record in news.runless if (event := report_of(record, window.assets)))


def told(recorded: Recorded | None) -> str:
    """What the ledger made of the events, in one line."""
    if recorded is None:
        return "0 events told."
    said = f"{recorded.applied} events told, {recorded.duplicates} known."
    if not recorded.rejected:
        return said
    return f"{said} {len(recorded.rejected)} refused, such as {recorded.rejected[0]}."
