"""A task of Airflow's, launched from Dagster: cleared in the DAG run of an interval, or with a new DAG run for it.

Guarantees that a partition that runs in Airflow is joined and never started beside itself, whatever was killed when;
that the ledger has one run of it, Airflow's own; and that its word decides how the partition ended. Where Airflow's
event is lost, Airflow's REST API is the second source: what that says is told to the ledger, of the same run.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    MetadataValue,
    TimeWindow,
    TimeWindowPartitionsDefinition,
)

from dataforge_assets.hands.admission import Orders, answer, orders_of, states, verdicts
from dataforge_assets.hands.launch import launched, task_named
from dataforge_assets.hands.wave import Admission, End
from resources.airflow import AirflowResource, DagRun, TaskInstance
from resources.model import InvalidInput, PartitionItem, PartitionStatus, RunFilter, TaskRef, each
from resources.refused import Refused
from resources.terms import NOTHING_SAID, Declared

AIRFLOW = "airflow"  # the resource, and who tells the ledger
PATIENCE_SECONDS = 60.0  # for an event on its way, before Airflow's REST API is believed in its place
_SKEW = timedelta(days=1)  # by how much the clocks of Airflow and the ledger may differ
_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_STATES = {"success": "succeeded", "removed": "canceled"}  # of the others the ledger has the same word
# What is well, and whether it was made.
_DONE = {PartitionStatus.READY: True, PartitionStatus.STALE: True, PartitionStatus.SKIPPED: False}
_UNDONE = frozenset({PartitionStatus.FAILED, PartitionStatus.QUARANTINED})
_GOING = frozenset({"queued", "running"})


def airflow_task(
    spec: AssetSpec, *, terms: Declared = NOTHING_SAID, patience: float = PATIENCE_SECONDS
) -> AssetsDefinition:
    """The asset of an Airflow task, to be launched from Dagster. Its task in the ledger is `dag_id.task_id`, as
    Airflow's OpenLineage provider names it.

    Raises InvalidInput for an asset that names no such task, or whose partitions are no intervals of time.
    """
    task, cut, name = task_named(spec), spec.partitions_def, spec.key.to_user_string()
    if not isinstance(cut, TimeWindowPartitionsDefinition):
        raise InvalidInput(
            f"the partitions of {name} map to no data interval, which Airflow runs {task.name} for: expected windows"
            " of time, such as DailyPartitionsDefinition"
        )
    if "." not in task.name:
        raise InvalidInput(f"the task {task.name} of {name} names no DAG: expected dag_id.task_id")
    windows = cut

    def grasp(context: AssetExecutionContext) -> AirflowTask:
        airflow, orders = context.resources.airflow, orders_of(context, task)
        return AirflowTask(airflow, windows.time_window_for_partition_key, orders, patience)

    return launched(spec, grasp, told_by=AIRFLOW, resource=AIRFLOW, terms=terms)


class AirflowTask:
    """The hand on one task of Airflow's, for one wave."""

    def __init__(
        self,
        airflow: AirflowResource,
        window: Callable[[str], TimeWindow],
        orders: Orders,
        patience: float,
    ) -> None:
        self._airflow, self._ledger, self._task = airflow, orders.ledger, orders.task
        self._dag, _, self._name = orders.task.name.partition(".")
        self._window, self._orders, self._patience = window, orders, patience
        self._since = datetime.now(UTC) - _SKEW
        self._before: dict[str, PartitionItem] = {}  # what the ledger knew when it was admitted
        self._runs: dict[str, str] = {}  # the DAG run of each partition under way
        self._quiet: dict[str, float] = {}  # since when it is over in Airflow alone, by this process's clock
        self._told: set[str] = set()  # what was told to the ledger in the place of Airflow's events
        self._asked = time.monotonic()

    def admit(self, keys: Sequence[str], room: int) -> dict[str, Admission]:
        """Whether the ledger lets them run. What is to be run again is ordered first, and asked about anew."""
        if not self._before and not self._runs:
            self._airflow.require(self._dag, self._name)  # before anything is ordered
        found = {key: answer(verdict) for key, verdict in verdicts(self._ledger, self._task, keys).items()}
        done = [key for key, said in found.items() if isinstance(said, End) and said.good]
        if ordered := self._orders.give(done):
            found |= {key: answer(verdict) for key, verdict in verdicts(self._ledger, self._task, ordered).items()}
        granted = [key for key, said in found.items() if said == "go"]
        for key in granted[room:]:
            del found[key]
        self._before |= states(self._ledger, self._task, granted[:room])
        return found

    def start(self, keys: Sequence[str]) -> dict[str, End]:
        """Clears the task in the DAG runs that there are, unless it is under way; makes those that there are not."""
        refused: dict[str, End] = {}
        try:
            known = self._dag_runs(keys)
            instances = self._instances([run.dag_run_id for run in known.values()])
        except Refused as error:
            return dict.fromkeys(keys, End(False, str(error)))
        for key in keys:
            run = known.get(key)
            try:
                self._begin(key, run, instances.get(run.dag_run_id, []) if run else [])
            except Refused as error:
                refused[key] = End(False, str(error))
        return refused

    def _begin(self, key: str, run: DagRun | None, instances: Sequence[TaskInstance]) -> None:
        self._runs[key] = run.dag_run_id if run else self._triggered(key, self._window(key))
        if run is not None and self._may_clear(key, run, instances):
            self._airflow.clear(self._dag, run.dag_run_id, self._name)

    def ended(self, keys: Sequence[str]) -> dict[str, End]:
        """What the ledger says has ended since. Airflow is asked about what failed, which it may try again, and now and
        then about what is quiet."""
        news = states(self._ledger, self._task, keys, self._since)
        told = {key: item for key, item in news.items() if _is_news(self._before.get(key), item)}
        ended = {key: self._end(key, item) for key, item in told.items() if item.state in _DONE}
        rest = [key for key in keys if key not in ended]
        failed = [key for key in rest if key in told and told[key].state in _UNDONE]
        for key, instances in self._over(rest if self._is_time() else failed).items():
            ended |= {key: self._end(key, told[key])} if key in failed else self._unheard(key, instances)
        return ended

    def leave(self, keys: Sequence[str], why: str) -> None:
        """Nothing is held here: what runs in Airflow tells of itself."""

    def _dag_runs(self, keys: Sequence[str]) -> dict[str, DagRun]:
        """The DAG run of each interval that has one; the scheduled one, where there are several."""
        windows = {key: self._window(key) for key in keys}
        by_interval: dict[tuple[datetime, datetime], DagRun] = {}
        first = min(window.start for window in windows.values())
        last = max(window.end for window in windows.values())
        for run in self._airflow.dag_runs(self._dag, first, last):
            if run.data_interval_start is not None and run.data_interval_end is not None:
                by_interval.setdefault((run.data_interval_start, run.data_interval_end), run)
        found = {key: by_interval.get((window.start, window.end)) for key, window in windows.items()}
        return {key: run for key, run in found.items() if run is not None}

    def _instances(self, runs: Sequence[str]) -> dict[str, list[TaskInstance]]:
        found: dict[str, list[TaskInstance]] = {}
        for instance in self._airflow.instances(self._dag, self._name, runs) if runs else ():
            found.setdefault(instance.dag_run_id, []).append(instance)
        return found

    def _triggered(self, key: str, window: TimeWindow) -> str:
        run_id = f"dataforge__{window.start.astimezone(UTC).isoformat()}"
        note = f"{key}, launched in Dagster by run {self._orders.run}"
        if self._airflow.trigger(self._dag, run_id, window.start, window.end, note):
            return run_id
        again = self._dag_runs([key])  # somebody else was faster
        if key not in again:
            raise Refused(
                f"Airflow has a run of {self._dag} whose logical date is {window.start.isoformat()}, and whose data"
                f" interval is not that of {key}: cut the asset's partitions as the DAG's schedule is cut"
            )
        return again[key].dag_run_id

    def _may_clear(self, key: str, run: DagRun, instances: Sequence[TaskInstance]) -> bool:
        """Whether it is over in Airflow, and the ledger knows that; what it does not know is told first."""
        if not _are_over(run, instances):
            return False
        tried = max((instance.try_number for instance in instances if instance.state in _OVER), default=0)
        return tried <= self._known_tries(key, run.dag_run_id)

    def _known_tries(self, key: str, run_id: str) -> int:
        """How many tries of the task in the DAG run the ledger knows the end of."""
        wanted = RunFilter(name=self._task.name, namespace=self._task.namespace, partition=key)
        runs = [run for run in each(self._ledger.runs, wanted) if run.source.get("run_id") == run_id]
        return max((run.attempt if run.state.final else run.attempt - 1 for run in runs), default=0)

    def _is_time(self) -> bool:
        """Whether Airflow is to be asked about all of them: four times within the patience."""
        now = time.monotonic()
        if now - self._asked < self._patience / 4:
            return False
        self._asked = now
        return True

    def _over(self, keys: Sequence[str]) -> dict[str, list[TaskInstance]]:
        """Those that Airflow has ended, with their instances."""
        if not keys:
            return {}
        instances = self._instances([self._runs[key] for key in keys])
        found = {key: instances.get(self._runs[key], []) for key in keys}
        idle = [key for key, of_run in found.items() if not of_run or any(each.state is None for each in of_run)]
        runs = self._dag_runs(idle) if idle else {}
        return {key: of_run for key, of_run in found.items() if _are_over(runs.get(key), of_run)}

    def _unheard(self, key: str, instances: Sequence[TaskInstance]) -> dict[str, End]:
        """What becomes of a partition that is over in Airflow, and of which the ledger has not heard."""
        now = time.monotonic()
        if now - self._quiet.setdefault(key, now) < self._patience:
            return {}
        if not instances or any(instance.state is None for instance in instances):
            why = f"Airflow ended {self._runs[key]} without running {self._name}"
            return {key: End(False, why, metadata=self._page(key))}
        if key in self._told:
            said = ", ".join(sorted({str(instance.state) for instance in instances}))
            why = f"Airflow says {said}, and the ledger, which was told so, knows better: see `dataforge runs`"
            return {key: End(False, why, metadata=self._page(key))}
        window = self._window(key)
        self._ledger.record([event for instance in instances for event in events(self._task, instance, window)])
        self._told.add(key)
        return {}

    def _end(self, key: str, item: PartitionItem) -> End:
        made = _DONE.get(item.state)
        since = f" since {item.since:%Y-%m-%d %H:%M:%S} UTC" if item.since else ""
        heard = ", as Airflow's REST API says: its event did not come" if key in self._told else ""
        said = f"{item.state}{since}: run {item.run.run} in Airflow{heard}"
        known = {"dataforge/run": item.run.run, "dataforge/evidence": item.evidence, "dataforge/version": item.version}
        metadata = {name: value for name, value in known.items() if value} | self._page(key)
        return End(made is not None, said, made=bool(made), metadata=metadata)

    def _page(self, key: str) -> dict[str, MetadataValue]:
        return {"dataforge/airflow": MetadataValue.url(self._airflow.page(self._dag, self._name, self._runs[key]))}


def _is_news(before: PartitionItem | None, item: PartitionItem) -> bool:
    """Whether it is another state than the one before the start: of another run, or of another time."""
    return before is None or (item.state, item.since, item.run) != (before.state, before.since, before.run)


def _are_over(run: DagRun | None, instances: Sequence[TaskInstance]) -> bool:
    """Whether nothing of a task goes on in a DAG run. What has no state waits, as long as the DAG run goes on."""
    goes_on = run is None or run.state in _GOING
    return all(each.state in _OVER or (each.state is None and not goes_on) for each in instances) and (
        bool(instances) or not goes_on
    )


def events(task: TaskRef, instance: TaskInstance, window: TimeWindow) -> list[dict[str, Any]]:
    """What Airflow's REST API says of an instance that is over, as native events of Airflow's own run and try."""
    dag_id, _, task_id = task.name.partition(".")
    place = {"dag_id": dag_id, "run_id": instance.dag_run_id, "task_id": task_id, "map_index": instance.map_index}
    said = {
        "task": {"namespace": task.namespace, "name": task.name},
        "platform": AIRFLOW,
        "run": instance.dag_run_id,
        "attempt": max(instance.try_number, 1),
        "data_interval": {"start": window.start.isoformat(), "end": window.end.isoformat()},
        "source": {**place, "try_number": instance.try_number},
        **({"map_index": instance.map_index} if instance.map_index >= 0 else {}),
    }
    state = _STATES.get(str(instance.state), str(instance.state))
    ended = instance.end_date or instance.start_date or datetime.now(UTC)
    steps = [("running", instance.start_date), (state, ended)]
    return [{**said, "time": at.isoformat(), "state": state} for state, at in steps if at is not None]
