"""Reading Dagster's event log: what is new in it behind a storage id, and the whole story of one run.

Guarantees that nothing is missed although storage ids are not in the order of commits: the place to go on from stays
behind everything of the last half minute, which is read again. An event is one INSERT of its own, so between the moment
its id is drawn and its commit lie milliseconds. What is read again is recorded under the same id, and dropped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster import DagsterEventType, DagsterInstance, DagsterRun, EventLogRecord, EventRecordsFilter, RunsFilter
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.tags import MAX_RETRIES_TAG, RETRY_ON_ASSET_OR_OP_FAILURE_TAG, WILL_RETRY_TAG

from resources.attempt import STEP_BEGINS, runs_before, tries

OVERLAP_SECONDS = 30
MOST = 2_000  # events of each type in one tick: 200 a second, about as many as Dagster can write
RUNS = 500  # of one tick, each read whole in 8 ms, so that after a long silence it still ends within its 60 s
TOLD = (
    *STEP_BEGINS,
    DagsterEventType.STEP_UP_FOR_RETRY,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
)
NEEDED = frozenset({*TOLD, DagsterEventType.ASSET_MATERIALIZATION_PLANNED})


@dataclass(frozen=True)
class News:
    """What is new in the log, in its order; whether there is more of it."""

    records: tuple[EventLogRecord, ...]
    more: bool = False

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs it speaks of, without what belongs to none."""
        return tuple(dict.fromkeys(record.run_id for record in self.records if record.run_id != RUNLESS_RUN_ID))

    @property
    def runless(self) -> tuple[EventLogRecord, ...]:
        """What belongs to no run, but was reported."""
        return tuple(record for record in self.records if record.run_id == RUNLESS_RUN_ID)

    def of_runs(self, most: int) -> "News":
        """The news up to where one run more than `most` would be spoken of."""
        too_many = frozenset(self.runs[most:])
        ahead = next((at for at, record in enumerate(self.records) if record.run_id in too_many), None)
        return News(self.records[:ahead], self.more or ahead is not None)

    def through(self, now: float) -> float:
        """The time before which all is among it: now, unless there is more."""
        return self.records[-1].timestamp if self.more and self.records else now


@dataclass(frozen=True)
class Story:
    """All that the log holds of one run, in its order, and what only other runs tell: the execution that it goes on
    with (the root of its re-executions), and how often each step was tried in the runs before it."""

    run_id: str
    execution: str
    records: tuple[EventLogRecord, ...]
    tried: Mapping[str, int]
    retries_left: bool


def read(instance: DagsterInstance, after: int) -> News:
    """The events behind `after` that the ledger is to be told of, ascending; of too many the first."""
    storage = instance.event_log_storage
    pages = [
        storage.get_event_records(EventRecordsFilter(event_type, after_cursor=after), limit=MOST, ascending=True)
        for event_type in TOLD
    ]
    return cut(pages, MOST).of_runs(RUNS)


def cut(pages: Iterable[Sequence[EventLogRecord]], most: int) -> News:
    """The events of all types up to where the first type that has more was cut off, in the order of the log."""
    pages = list(pages)
    ends = [page[-1].storage_id for page in pages if len(page) >= most]
    end = min(ends, default=None)
    records = [record for page in pages for record in page if end is None or record.storage_id <= end]
    return News(tuple(sorted(records, key=lambda record: record.storage_id)), end is not None)


def settled(news: News, after: int, now: float) -> int:
    """Where to go on: behind the last event before which everything is older than the overlap. A page full of younger
    ones is read again until it has aged, and from then on each tick goes on by a page: nothing stands still. What a
    clock that runs ahead has dated holds the place back for as much longer, and is told all the same."""
    place = after
    for record in news.records:
        if record.timestamp > now - OVERLAP_SECONDS:
            break
        place = record.storage_id
    return place


def stories(instance: DagsterInstance, run_ids: Sequence[str]) -> Iterator[Story]:
    """The whole of each of these runs, but of those that were deleted. One by one the runs would take 17 ms each, two
    thirds of it all: for each Dagster looks anew which columns its table has."""
    runs = {run.run_id: run for run in instance.get_runs(RunsFilter(run_ids=[*run_ids]))} if run_ids else {}
    return (_story(instance, runs[run_id]) for run_id in run_ids if run_id in runs)


def _story(instance: DagsterInstance, run: DagsterRun) -> Story:
    before = runs_before(instance, run)
    records = _records(instance, run.run_id, NEEDED)
    execution = run.root_run_id or run.run_id
    return Story(run.run_id, execution, records, tries(instance, before), _retries_left(instance, run, len(before)))


def _records(instance: DagsterInstance, run_id: str, types: frozenset[DagsterEventType]) -> tuple[EventLogRecord, ...]:
    found = instance.get_records_for_run(run_id, of_type=set(types)).records
    return tuple(sorted(found, key=lambda record: record.storage_id))


def _retries_left(instance: DagsterInstance, run: DagsterRun, retried: int) -> bool:
    """Whether Dagster will run this again by itself, should a step of it fail. It says so itself only once the run
    has ended (dagster._core.execution.retries), so before that the same settings are asked."""
    if WILL_RETRY_TAG in run.tags:
        return run.tags[WILL_RETRY_TAG] == "true"
    if not instance.run_retries_enabled:
        return False
    on_step = run.tags.get(RETRY_ON_ASSET_OR_OP_FAILURE_TAG)
    wanted = instance.run_retries_retry_on_asset_or_op_failure if on_step is None else on_step == "true"
    most = run.tags.get(MAX_RETRIES_TAG, str(instance.run_retries_max_retries))
    return wanted and most.isdecimal() and retried < int(most)
