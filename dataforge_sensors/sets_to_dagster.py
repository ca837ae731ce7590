"""Brings the keys of the ledger's dynamic sets into Dagster, where a partition is there only when its key was added.

Guarantees that Dagster comes to have what a set holds, and no key that was taken off it; and that a key which the
ledger has never heard of is left alone: somebody has added it in Dagster. A tick asks for some pages of keys and
changes some hundred, and the next goes on from there; a crash repeats what it finds undone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AddDynamicPartitionsRequest,
    DagsterInstance,
    DefaultSensorStatus,
    DeleteDynamicPartitionsRequest,
    DynamicPartitionsDefinition,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    RepositoryDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from dataforge_sensors.time_budget import TimeBudget
from resources import LedgerResource
from resources.model import DataForgeError, KeyFilter, SetKey, key_problem
from resources.refusal import and_more, one_line

NAME = "sets_to_dagster"
PAGE = 1_000  # keys of one question
MOST = 500  # keys that a tick adds or deletes: the daemon looks each up by a query of its own
_Place = tuple[str, str | None]  # a set, and the ledger's cursor within it


@sensor(
    name=NAME,
    description="Adds the keys of the ledger's dynamic sets to Dagster's, and deletes those that were taken off.",
    minimum_interval_seconds=10,
    default_status=DefaultSensorStatus.RUNNING,
)
def sets_to_dagster(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: as many pages of as many sets as there is time for."""
    assert context.repository_def is not None, "a sensor that the daemon runs has its code location"
    sets = sets_of(context.repository_def)
    if not sets:
        return SkipReason("No asset here is cut by a dynamic set.")
    try:
        found = compared(context.instance, ledger, sets, place_of(context.cursor, sets), TimeBudget())
    except DataForgeError as error:
        return SkipReason(one_line(error, "The keys stay as they are until it answers."))
    requests: list[AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest] = [
        *(AddDynamicPartitionsRequest(name, keys) for name, keys in found.added.items()),
        *(DeleteDynamicPartitionsRequest(name, keys) for name, keys in found.deleted.items()),
    ]
    return SensorResult(dynamic_partitions_requests=requests, cursor=json.dumps(found.place), skip_reason=found.summary)


def sets_of(repository: RepositoryDefinition) -> list[str]:
    """The names of the sets by which an asset here is cut, in their order."""
    cuts = {node.partitions_def for node in repository.asset_graph.asset_nodes if node.partitions_def is not None}
    return sorted({name for cut in cuts for name in _names(cut)})


def _names(cut: PartitionsDefinition[Any]) -> Iterator[str]:
    if isinstance(cut, DynamicPartitionsDefinition) and cut.name:
        yield cut.name
    if isinstance(cut, MultiPartitionsDefinition):
        for part in cut.partitions_defs:
            yield from _names(part.partitions_def)


def place_of(cursor: str | None, sets: Sequence[str]) -> _Place:
    """Where to go on: at the first set, where the cursor names none of these."""
    try:
        name, within = json.loads(cursor or "")
    except (ValueError, TypeError):
        return (sets[0], None)
    return (name, within) if name in sets and isinstance(within, str | None) else (sets[0], None)


@dataclass
class Compared:
    """What differs of the keys that were looked at, by set, and where the next tick goes on."""

    place: _Place
    added: dict[str, list[str]] = field(default_factory=dict)
    deleted: dict[str, list[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many keys are to be added or deleted."""
        return sum(len(keys) for each in (self.added, self.deleted) for keys in each.values())

    @property
    def summary(self) -> str:
        """The same in a line."""
        added, deleted = (sum(map(len, each.values())) for each in (self.added, self.deleted))
        refused = f" Not added: {self.refused[0]}{and_more(len(self.refused) - 1)}." if self.refused else ""
        return f"{added} keys added, {deleted} deleted.{refused}"


def compared(
    instance: DagsterInstance, ledger: LedgerResource, sets: Sequence[str], place: _Place, budget: TimeBudget
) -> Compared:
    """Each set once at most, from that place on; of a page that has too many changes the first."""
    found = Compared(place)
    first = sets.index(place[0])
    for name in [*sets[first:], *sets[:first]]:
        held = {*instance.get_dynamic_partitions(name)}
        while True:
            within = found.place[1] if found.place[0] == name else None
            page = ledger.set_keys(name, KeyFilter(limit=PAGE, cursor=within))
            if not _take(found, name, held, page.items):
                return found
            if page.next_cursor is None:
                break
            found.place = (name, page.next_cursor)
            if budget.is_spent:
                return found
        found.place = (sets[(sets.index(name) + 1) % len(sets)], None)
        if budget.is_spent:
            break
    return found


def _take(found: Compared, name: str, held: set[str], keys: Sequence[SetKey]) -> bool:
    """Adds what differs of these keys; False where that is more than a tick may change."""
    for each in keys:
        if each.listed == (each.key in held):
            continue
        if each.listed and (problem := key_problem(each.key, name)):
            found.refused.append(f"{each.key!r} of {name}, which Dagster takes for no key: expected {problem.expected}")
            continue
        if found.changes == MOST:
            return False
        (found.added if each.listed else found.deleted).setdefault(name, []).append(each.key)
    return True
