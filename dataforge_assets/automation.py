"""`ledger_ready()`: an automation condition that is true for exactly the partitions which the ledger would let run.

Guarantees that the assets of a tick are asked about together, a thousand partitions a question; that what it answers is
the ledger's verdict of this tick, never a guess from Dagster's own log; and that a tick in which the ledger cannot be
asked is skipped as a whole (`automation_sensor.py`).

Dagster's own `eager()` asks whether parents were materialized. It runs though a parent's partition that is required was
never there, and knows nothing of gates, pools and pauses, of what other platforms run, or of what is quarantined.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from dagster import (
    AssetKey,
    AssetSelection,
    AutomationCondition,
    AutomationContext,
    AutomationResult,
    DefaultSensorStatus,
    PartitionsDefinition,
    partition_loading_context,
)
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.asset_graph_view.entity_subset import EntitySubset
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetNode
from dagster._core.definitions.declarative_automation.operators import AndAutomationCondition, OrAutomationCondition
from dagster._utils.warnings import disable_dagster_warnings

from dataforge_assets.automation_sensor import ReadySensor
from dataforge_assets.partitions import last_keys
from dataforge_assets.released import tell
from resources import LedgerResource, ledger_resource
from resources.identity import identity_of
from resources.model import MOST_QUESTIONS, Code, DataForgeError, Named, TaskRef, Unanswered, Verdict

LAST_PARTITIONS = 3  # of each asset; older ones that may run stand among the ledger's wake-ups, and are asked about too
MOST_ENTITIES = 400  # of one sensor, whose limit is 500 assets and checks
# Other codes only warn, or are said of datasets alone.
_NEVER = frozenset({Code.NO_SUCH_DATASET, Code.RERUN_ORDERED, Code.MARKED, Code.OBSERVED_CYCLE})
REASONS = tuple(code for code in Code if code not in _NEVER)
_Answers = Mapping[str | None, Verdict]  # by partition


def ledger_ready(ledger: LedgerResource | None = None, *, last: int = LAST_PARTITIONS) -> LedgerReady:
    """True for the partitions that the ledger calls runnable, of the `last` of each asset and all that it announces; it
    combines with Dagster's own conditions by `&`, `|`, `~` and `since`. Without a ledger it is this installation's."""
    return LedgerReady(ledger, last)


def when_ready(ledger: LedgerResource | None = None, *, last: int = LAST_PARTITIONS) -> AutomationCondition[AssetKey]:
    """Runs a partition once, as soon as the ledger lets it run; again when it has become runnable anew, such as by an
    order. Of a run that has ended the ledger hears some seconds later, in which it is not asked for again."""
    ready = ledger_ready(ledger, last=last)
    handled = AutomationCondition.newly_requested() | AutomationCondition.newly_updated()
    return ready & ready.newly_true().since(handled) & ~AutomationCondition.in_progress()  # the first tells its reasons


def is_within_ledger(condition: AutomationCondition[Any] | None) -> bool:
    """Whether a condition is true for nothing but what the ledger calls runnable, whatever Dagster takes for news."""
    match condition:
        case LedgerReady():
            return True
        case AndAutomationCondition():
            return any(map(is_within_ledger, condition.operands))
        case OrAutomationCondition():
            return all(map(is_within_ledger, condition.operands))
    return False


class Because(AutomationCondition[AssetKey]):
    """True for the partitions that the ledger keeps from running for one reason, as its verdict has it."""

    def __init__(self, code: Code) -> None:
        self.code = code

    @property
    def name(self) -> str:
        """The reason's code, as everywhere."""
        return str(self.code.value)

    @property
    def description(self) -> str:
        """The same in words."""
        return self.name.replace("_", " ")

    def evaluate(self, context: AutomationContext[AssetKey]) -> AutomationResult[AssetKey]:
        """Never asked by itself: `LedgerReady` tells it, since both are of one answer."""
        return AutomationResult(context=context, true_subset=context.get_empty_subset())


class LedgerReady(AutomationCondition[AssetKey]):
    """The condition that `ledger_ready` gives."""

    def __init__(self, ledger: LedgerResource | None, last: int) -> None:
        self.last, self._ledger = last, ledger

    @property
    def name(self) -> str:
        """It, with what it was given, since Dagster tells conditions apart by their names."""
        return f"ledger_ready(last={self.last})"

    @property
    def description(self) -> str:
        """What a person reads in the evaluation view."""
        return "The ledger would let it run now"

    def get_label(self) -> str:
        """What stands for it in the names of what it is part of, which else list all of its children."""
        return "ledger_ready"

    @property
    def children(self) -> Sequence[AutomationCondition[AssetKey]]:
        """One for each reason: a node of the evaluation view carries no text of its own."""
        return tuple(map(Because, REASONS))

    def evaluate(self, context: AutomationContext[AssetKey]) -> AutomationResult[AssetKey]:
        """The candidates that may run, and for each reason those that it keeps back. Raises a DataForgeError where the
        ledger cannot be asked."""
        tick = _tick(context.asset_graph_view, self._ledger or _installed(), self.last)
        verdicts = tick.of(context.key)
        reasons: dict[str, set[str | None]] = {}
        for partition, verdict in verdicts.items():
            for code in _codes(verdict):
                reasons.setdefault(code, set()).add(partition)
        ready = {partition for partition, verdict in verdicts.items() if not _codes(verdict)}
        for partition, backfill in tick.released(context.key).items():
            tell(context.key, partition, backfill)
        told = []
        for place, child in enumerate(self.children):
            beside = context.for_child_condition(child, [place], context.candidate_subset)
            told.append(AutomationResult(context=beside, true_subset=_subset(beside, reasons.get(child.name, set()))))
        return AutomationResult(context=context, true_subset=_subset(context, ready), child_results=told)


_Asset = tuple[AssetKey, TaskRef, PartitionsDefinition[Any] | None]


class _Tick:
    """What is asked and answered within one tick."""

    def __init__(self, ledger: LedgerResource, assets: Sequence[_Asset], last: int, now: datetime) -> None:
        self._ledger, self._last, self._now = ledger, last, now
        self._assets = {key: (task, cut) for key, task, cut in assets}
        self._order = [key for key, _, _ in assets]
        self._answers: dict[AssetKey, _Answers] = {}
        self._announced: dict[TaskRef, dict[str | None, str | None]] | None = None  # by partition its backfill
        self._refusal: DataForgeError | None = None

    def of(self, key: AssetKey) -> _Answers:
        """The verdicts on the partitions of an asset; none of one that names no task of the ledger. A ledger that has
        not answered is not asked again: hundreds of assets would each wait for its silence."""
        if key not in self._assets:
            return {}
        if self._refusal is not None:
            raise self._refusal
        if key not in self._answers:
            try:
                self._ask(self._order.index(key))
            except DataForgeError as error:
                self._refusal = error
                raise
        return self._answers[key]

    def _ask(self, begin: int) -> None:
        """Asks about the asset at that place, those behind it and then the first ones, as far as one question goes."""
        wanted: list[tuple[AssetKey, str | None]] = []
        for key in self._order[begin:] + self._order[:begin]:
            mine = [] if key in self._answers else self._partitions(key)
            if wanted and len(wanted) + len(mine) > MOST_QUESTIONS:
                break
            if key not in self._answers:
                wanted += [(key, partition) for partition in mine]
                self._answers[key] = {}
        for start in range(0, len(wanted), MOST_QUESTIONS):
            some = wanted[start : start + MOST_QUESTIONS]
            found = self._ledger.readiness([self._named(key, partition) for key, partition in some]).items
            for (key, partition), verdict in zip(some, found, strict=True):
                self._answers[key] = {**self._answers[key], partition: verdict}

    def _named(self, key: AssetKey, partition: str | None) -> Named:
        task, _ = self._assets[key]
        return Named(task.name, task.namespace, partition or "")

    def _partitions(self, key: AssetKey) -> list[str | None]:
        task, cut = self._assets[key]
        if cut is None:
            return [None]
        with partition_loading_context(self._now):
            known = dict.fromkeys(last_keys(cut, self._last))
            announced = [each for each in self._waiting().get(task, ()) if each is not None and each not in known]
            return [*known, *sorted(each for each in announced if cut.has_partition_key(each))]

    def released(self, key: AssetKey) -> dict[str | None, str]:
        """Of the partitions of an asset that were asked about, those that a backfill has released, with its id."""
        announced = self._waiting().get(self._assets[key][0], {}) if self._answers.get(key) else {}
        return {partition: backfill for partition, backfill in announced.items() if backfill is not None}

    def _waiting(self) -> Mapping[TaskRef, Mapping[str | None, str | None]]:
        if self._announced is None:
            self._announced = {}
            for item in self._ledger.wakeups(MOST_QUESTIONS).items:
                task = TaskRef(item.task.namespace, item.task.name)
                self._announced.setdefault(task, {})[item.partition] = item.backfill
        return self._announced


_lock = Lock()
_ledgers: list[LedgerResource] = []
_open = ExitStack()  # closed with the process
atexit.register(_open.close)
# By the view that each tick has of its own; conditions of many assets that ask the same ledger share what it answered.
_ticks: WeakKeyDictionary[AssetGraphView, dict[tuple[int, int], _Tick]] = WeakKeyDictionary()


def _tick(view: AssetGraphView, ledger: LedgerResource, last: int) -> _Tick:
    with _lock:
        asked = _ticks.setdefault(view, {})
        if (id(ledger), last) not in asked:
            asked[id(ledger), last] = _Tick(ledger, _assets(view, last), last, view.effective_dt)
        return asked[id(ledger), last]


def _installed() -> LedgerResource:
    """This installation's ledger, connected once in a process and for as long: a condition is given no resources."""
    with _lock:
        if not _ledgers:
            opened = ledger_resource().process_config_and_initialize_cm()
            _ledgers.append(_open.enter_context(opened))
        return _ledgers[0]


def _assets(view: AssetGraphView, last: int) -> list[_Asset]:
    """The assets that ask for so many partitions, in the order of their keys."""
    found = []
    for node in sorted(view.asset_graph.asset_nodes, key=lambda node: node.key):
        task = identity_of(node).task if _asks(node, last) else None
        if task is not None:
            found.append((node.key, task, node.partitions_def))
    return found


def _asks(node: BaseAssetNode, last: int) -> bool:
    given = node.automation_condition
    return given is not None and any(isinstance(each, LedgerReady) and each.last == last for each in _parts(given))


def _parts(condition: AutomationCondition[Any]) -> Iterator[AutomationCondition[Any]]:
    yield condition
    for child in condition.children:
        yield from _parts(child)


def _codes(verdict: Verdict) -> set[str]:
    """Why it may not run; nothing where it may."""
    if isinstance(verdict, Unanswered):
        return {str(verdict.code.value)}
    return {str(reason.code.value) for reason in verdict.reasons}


def _subset(context: AutomationContext[AssetKey], partitions: Iterable[str | None]) -> EntitySubset[AssetKey]:
    """Those of the candidates that have these keys."""
    keys, view, cut = set(partitions), context.asset_graph_view, context.partitions_def
    if cut is None:
        return context.candidate_subset if None in keys else context.get_empty_subset()
    held = {key for key in keys if key is not None}
    if not held:
        return context.get_empty_subset()
    found = view.get_subset_from_partition_keys(context.key, cut, held)
    return context.candidate_subset.compute_intersection(found)


def ready_sensors(
    keys: Iterable[AssetKey], *, name: str = "ledger_ready", seconds: int = 30, running: bool = False
) -> list[ReadySensor]:
    """The sensors that evaluate the conditions of these assets: as many as keep each below Dagster's limit."""
    ordered = sorted(set(keys))
    shards = [ordered[begin : begin + MOST_ENTITIES] for begin in range(0, len(ordered), MOST_ENTITIES)]
    with disable_dagster_warnings():  # that `use_user_code_server` is beta: conditions of one's own need it
        return [
            ReadySensor(
                name if len(shards) == 1 else f"{name}_{number}",
                target=AssetSelection.assets(*shard),
                use_user_code_server=True,
                minimum_interval_seconds=seconds,
                default_status=DefaultSensorStatus.RUNNING if running else DefaultSensorStatus.STOPPED,
                description="Runs what the ledger lets run, as soon as it does.",
            )
            for number, shard in enumerate(shards, start=1)
        ]
