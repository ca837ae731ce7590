"""The mirror of Dagster in the ledger: what Dagster itself runs, and what is reported to it, as native events.

Guarantees that each event of a run is recorded once, whatever is killed when: the ledger knows repeated ids, the
cursor moves on only after the ledger has answered, and what came from the ledger is never sent back to it. What names a
partition that its asset has not is reported instead, and goes nowhere.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import DagsterInstance, DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from dataforge_sensors import run_log
from dataforge_sensors.mirror_name import mirror_name
from dataforge_sensors.reports import report_of
from dataforge_sensors.run_events import Native, Telling, Untold
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import Window, partitions_of
from resources import LedgerResource, webserver
from resources.model import DataForgeError, Recorded, joined
from resources.refusal import and_more, one_line

AT_ONCE = 50  # runs that the ledger is told of by one request
INTERVAL_SECONDS = 10  # how late the ledger knows; a tick with no news takes ten queries, 50 ms


NAME = "dagster_to_ledger"


@sensor(
    name=NAME,
    description="Tells the ledger of the runs, materializations and checks that Dagster itself executes.",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
)
def dagster_to_ledger(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: reads what is new in the log, tells the ledger of the runs that it speaks of."""
    assert context.repository_def is not None, "a sensor that the daemon runs has its code location"
    budget = TimeBudget()
    window, after = Window.of(context.repository_def), place_of(context.cursor)
    began = time.time()
    news = run_log.read(context.instance, after)
    try:
        with partitions_of(context.instance):
            told = tell(context.instance, ledger, window, news, budget)
        through = datetime.fromtimestamp(told.news.through(began), UTC)
        ledger.tell_mirror(mirror_name(context, NAME), through, len(news.records) - len(told.news.records))
    except DataForgeError as error:
        return SkipReason(one_line(error, "The cursor stays; what Dagster runs meanwhile is told later."))
    place = run_log.settled(told.news, after, time.time())
    if told.complaints:
        context.log.warning(" ".join(told.complaints))
    unnamed = sum(asset.task is None for asset in window.assets.values())
    said = [counted(told.recorded), *told.complaints, f"{unnamed} assets name no task of the ledger."]
    return SensorResult(cursor=str(place), skip_reason=" ".join(said))


@dataclass(frozen=True)
class Told:
    """What the ledger made of the events, why others were not told, and the news of which it now knows."""

    recorded: Recorded | None
    untold: tuple[Untold, ...]
    news: run_log.News

    @property
    def complaints(self) -> list[str]:
        """What is wrong, in few words; of much alike the first."""
        found = [f"Not told: {self.untold[0]}{and_more(len(self.untold) - 1)}."] if self.untold else []
        rejected = self.recorded.rejected if self.recorded else []
        return found + ([f"{len(rejected)} refused, such as {rejected[0]}."] if rejected else [])


def tell(
    instance: DagsterInstance,
    ledger: LedgerResource,
    window: Window,
    news: run_log.News,
    budget: TimeBudget,
    at_once: int = AT_ONCE,
) -> Told:
    """Tells of the reports and of the runs, some runs at once. What there is no time for is left to the next tick."""
    answers: list[Recorded] = []
    untold: dict[Untold, None] = {}
    pending = [*of_no_run(window, news)]
    for begin in range(0, max(len(news.runs), 1), at_once):
        pending += of_runs(instance, window, news, news.runs[begin : begin + at_once])
        untold |= dict.fromkeys(each for each in pending if isinstance(each, Untold))
        if events := [each for each in pending if not isinstance(each, Untold)]:
            answers.append(ledger.record(events))
        pending = []
        if budget.is_spent:
            news = news.of_runs(begin + at_once)
            break
    return Told(joined(answers) if answers else None, tuple(untold), news)


def place_of(cursor: str | None) -> int:
    """The place that a cursor names; the beginning for one that nobody can read, since what is known is not told."""
    return int(cursor) if cursor and cursor.isdecimal() else -1


def of_runs(
    instance: DagsterInstance, window: Window, news: run_log.News, runs: Sequence[str]
) -> Iterator[Native | Untold]:
    """What is to be told of these runs: of the whole story of each, as much as is new."""
    new = {record.storage_id for record in news.records}
    pages = f"{webserver()}/runs"
    for story in run_log.stories(instance, runs):
        telling = Telling(story, window.assets, f"{pages}/{story.run_id}")
        yield from (event for storage_id, event in telling.events() if storage_id in new)


def of_no_run(window: Window, news: run_log.News) -> Iterator[Native | Untold]:
    """What is to be told of materializations that a person or a program reported."""
    return (event for record in news.runless if (event := report_of(record, window.assets)))


def counted(recorded: Recorded | None) -> str:
    """How many events the ledger was told, in one line."""
    return f"{recorded.applied} events told, {recorded.duplicates} known." if recorded else "0 events told."
