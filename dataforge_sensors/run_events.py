"""What a run of Dagster is in the ledger's terms: native events, as a pure function of the run's whole story.

Guarantees that a story told twice gives the same events with the same ids, so that the ledger drops the repeats, that
a run id stands for one execution of one partition (re-executions of a run go on with its id as further attempts), and
that no partition is told of which its asset has not, since Dagster takes any key without a word.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    DagsterEvent,
    DagsterEventType,
    EventLogRecord,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG, INPUT_DATA_VERSION_TAG_PREFIX

from dataforge_assets.check_result import DIGEST
from dataforge_assets.claims import NOT_BEGUN
from dataforge_sensors.mirror import MIRROR_ID
from dataforge_sensors.run_log import Story
from dataforge_sensors.window import Asset
from resources.materialization import finding_of, named_of, output_of, plain
from resources.model import DatasetRef, TaskRef, dbt_task_name

DBT_NODE = "unique_id"  # metadata of what dagster-dbt reports, and of its check specs with a prefix
TOUCHING = ("running", "up_for_retry", "failed", "canceled")  # a step that has begun may have written something
_READ = f"{INPUT_DATA_VERSION_TAG_PREFIX}/"  # and the key of what an asset was built from
Target = tuple[AssetKey, str | None]  # an asset and its partition
Native = dict[str, Any]


class Untold(str):
    """Why something is not told: a partition that its asset has not."""

    __slots__ = ()


@dataclass
class Telling:
    """The fold over a story: which steps have begun, at which attempt, and what each has still to make. To be read
    within `partitions_of`."""

    story: Story
    assets: Mapping[AssetKey, Asset]
    url: str
    planned: dict[str, list[Target]] = field(default_factory=lambda: defaultdict(list))
    open: dict[str, dict[Target, None]] = field(default_factory=lambda: defaultdict(dict))
    attempt: dict[str, int] = field(default_factory=dict)
    made: dict[Target, str | None] = field(default_factory=dict)  # in this run so far, with the data version
    failed: bool = False

    def events(self) -> Iterator[tuple[int, Native | Untold]]:
        """Each event, or why there is none, with the storage id of what it tells of."""
        for record in self.story.records:
            told = record.event_log_entry.dagster_event
            if told is not None:
                for native in self._of(record, told):
                    yield record.storage_id, native

    def _of(self, record: EventLogRecord, told: DagsterEvent) -> Iterator[Native | Untold]:
        step = told.step_key or ""
        match told.event_type:
            case DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                self._plan(step, told)
            case DagsterEventType.STEP_START | DagsterEventType.STEP_RESTARTED:
                yield from self._begin(record, step)
            case DagsterEventType.ASSET_MATERIALIZATION:
                yield from self._made(record, step)
            case DagsterEventType.ASSET_CHECK_EVALUATION:
                yield from self._checked(record, told, step)
            case DagsterEventType.STEP_UP_FOR_RETRY:
                yield from self._end(record, step, "up_for_retry", _error(told))
            case DagsterEventType.STEP_FAILURE:
                yield from self._fail(record, told, step)
            case DagsterEventType.STEP_SKIPPED | DagsterEventType.STEP_SUCCESS:
                yield from self._end(record, step, "skipped")  # of a success, what it chose not to make
            case DagsterEventType.RUN_CANCELED:
                yield from self._end_all(record, "canceled")
            case DagsterEventType.RUN_FAILURE:
                yield from self._end_all(record, "up_for_retry" if self.story.retries_left else "failed", _error(told))

    def _plan(self, step: str, told: DagsterEvent) -> None:
        asset = self.assets.get(told.asset_key) if told.asset_key else None
        if told.asset_key and not (asset and asset.only_observed):
            subset = told.partitions_subset
            keys: list[str | None] = [*subset.get_partition_keys()] if subset else [told.partition]
            self.planned[step] += [(told.asset_key, key) for key in keys]
            self.open[step] = dict.fromkeys(self.planned[step])

    def _begin(self, record: EventLogRecord, step: str) -> Iterator[Native | Untold]:
        self.attempt[step] = self.attempt.get(step, self.story.tried.get(step, 0)) + 1
        self.open[step] = dict.fromkeys(self.planned[step])
        for target in self.planned[step]:
            yield from self._of_step(record, step, target, "running")

    def _made(self, record: EventLogRecord, step: str) -> Iterator[Native | Untold]:
        made = record.asset_materialization
        if made is None or is_mirrored(made):
            return
        planned = [target for target in self.planned[step] if target[0] == made.asset_key]
        named = made.partition is not None or not planned
        for target in [(made.asset_key, made.partition)] if named else planned:
            self.open[step].pop(target, None)
            inputs, outputs = (
                self._inputs(made, target),
                output_of(_dataset(self.assets.get(made.asset_key)), target[1], made),
            )
            yield from self._native(record, step, target, "succeeded", inputs=inputs, outputs=outputs)
            self.made[target] = (made.tags or {}).get(DATA_VERSION_TAG)

    def _fail(self, record: EventLogRecord, told: DagsterEvent, step: str) -> Iterator[Native | Untold]:
        self.failed = True
        error = _error(told)
        interrupted = error is not None and error.startswith("dagster._core.errors.DagsterExecutionInterruptedError")
        again = "up_for_retry" if self.story.retries_left else "failed"
        for target in [target for target in self.open[step] if target[0].to_user_string() in _not_begun(told)]:
            del self.open[step][target]
            yield from self._of_step(record, step, target, "upstream_failed")
        yield from self._end(record, step, "canceled" if interrupted else again, error)

    def _end(
        self, record: EventLogRecord, step: str, state: str, error: str | None = None
    ) -> Iterator[Native | Untold]:
        """What the step still had to make. What is to be tried again stays open: the run may end before it is."""
        for target in self.open[step] if state == "up_for_retry" else self.open.pop(step, {}):
            yield from self._of_step(record, step, target, state, error=error)

    def _end_all(self, record: EventLogRecord, state: str, error: str | None = None) -> Iterator[Native | Untold]:
        for step in list(self.open):
            never_began = step not in self.attempt and self.failed
            if never_began:
                yield from self._end(record, step, "upstream_failed" if state != "canceled" else state)
            else:
                yield from self._end(record, step, state, error)

    def _checked(self, record: EventLogRecord, told: DagsterEvent, step: str) -> Iterator[Native | Untold]:
        check = told.event_specific_data
        if not isinstance(check, AssetCheckEvaluation):
            return
        asset = self.assets.get(check.asset_key)
        if asset is None or asset.task is None:
            return
        if DIGEST in check.metadata or MIRROR_ID in check.metadata:
            return
        state = "succeeded" if check.passed or check.severity is not AssetCheckSeverity.ERROR else "failed"
        planned = [key for of in self.planned.values() for asset_key, key in of if asset_key == asset.key]
        for key in [check.partition] if check.partition or not planned else dict.fromkeys(planned):
            if key is not None and (misfit := asset.misfit(key)):  # a check may look at all partitions at once
                yield Untold(misfit)
                continue
            read = named_of(asset.dataset, key)
            error = None if check.passed else finding_of(check)
            told_of = {"inputs": [read] if read else [], "error": error}
            yield self._event(record, step, check_task(asset.task, check), asset.platform, key, state, told_of)
            if state == "failed" and check.blocking and (asset.key, key) in self.made:
                # Dagster lets nothing be built from it, and so must the ledger, until it is made again.
                yield from self._native(record, step, (asset.key, key), "failed", error=error)

    def _of_step(
        self, record: EventLogRecord, step: str, target: Target, state: str, **more: Any
    ) -> Iterator[Native | Untold]:
        """That a step began or ended with it; what claims says so itself (`dataforge_assets.claims`), and where it was
        refused or killed nothing began or its claim runs out."""
        asset = self.assets.get(target[0])
        if asset is None or not asset.claimed:
            yield from self._native(record, step, target, state, **more)

    def _native(
        self, record: EventLogRecord, step: str, target: Target, state: str, **more: Any
    ) -> Iterator[Native | Untold]:
        asset = self.assets.get(target[0])
        if asset is None or asset.task is None or asset.told_elsewhere:
            return
        if misfit := asset.misfit(target[1]):
            yield Untold(misfit)
            return
        if state in TOUCHING and step in self.attempt and (touched := named_of(asset.dataset, target[1])):
            more["outputs"] = [touched]
        yield self._event(record, step, asset.task, asset.platform, target[1], state, more)

    def _event(
        self,
        record: EventLogRecord,
        step: str,
        task: TaskRef,
        platform: str,
        partition: str | None,
        state: str,
        more: Mapping[str, Any],
    ) -> Native:
        event = {
            "id": f"{self.story.run_id}/{record.storage_id}/{partition or ''}",
            "time": datetime.fromtimestamp(record.timestamp, UTC).isoformat(),
            "task": {"namespace": task.namespace, "name": task.name},
            "platform": platform,
            "state": state,
            "run": f"{self.story.execution}:{partition}" if partition else self.story.execution,
            "partition": plain(partition),
            "attempt": self.attempt.get(step) or self.story.tried.get(step, 0) + 1,
            "source": {"dagster_run_id": self.story.run_id, "step_key": step, "url": self.url},
            **more,
        }
        return {name: value for name, value in event.items() if value not in (None, [])}

    def _inputs(self, made: AssetMaterialization, target: Target) -> list[dict[str, Any]]:
        """What it was built from in this very run, with the versions. All assets of one step begin with the step, so
        by the times alone each would seem older than what was made for it a moment before."""
        read = [AssetKey.from_user_string(tag.removeprefix(_READ)) for tag in made.tags or {} if tag.startswith(_READ)]
        found = {key: self.made.get((key, target[1])) for key in sorted(read)}
        named = {key: named_of(_dataset(self.assets.get(key)), target[1]) for key in found}
        return [dataset | {"version": found[key]} for key, dataset in named.items() if dataset and found[key]]


def _dataset(asset: Asset | None) -> DatasetRef | None:
    return asset.dataset if asset else None


def is_mirrored(made: AssetMaterialization) -> bool:
    """Whether it came from the ledger, which needs not be told of it."""
    return MIRROR_ID in (made.tags or {}) or MIRROR_ID in made.metadata


def check_task(task: TaskRef, check: AssetCheckEvaluation) -> TaskRef:
    """The ledger's task of a check: of a dbt test the one that dbt's own events name, else one below the asset's."""
    node = check.metadata.get(DBT_NODE)
    name = dbt_task_name(str(node.value)) if node else f"{task.name}.{check.check_name}"
    return TaskRef(task.namespace, name)


def _not_begun(told: DagsterEvent) -> frozenset[str]:
    """The assets of a failed step that nobody tried to make, because what they are made from had failed in it."""
    given = getattr(getattr(told.event_specific_data, "user_failure_data", None), "metadata", {}).get(NOT_BEGUN)
    return frozenset(given.value if given and isinstance(given.value, list) else ())


def _error(told: DagsterEvent) -> str | None:
    """What went wrong: the innermost cause's message, as a person would want to read it first."""
    error = getattr(told.event_specific_data, "error", None)
    if error is None:
        return told.message
    while error.cause is not None:
        error = error.cause
    return str(error.message).strip()
