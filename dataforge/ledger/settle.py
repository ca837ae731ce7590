"""Settling: the derived state is made anew wherever a fact or a definition that it follows from has changed.

Guarantees that what is derived (effective columns, runs, claims, partition states) is a function of the facts
and definitions in the tables, so that it never matters which came first.
"""

from collections.abc import Iterable, Mapping, Set

from dataforge.ledger import partition_set, settle_runs, stream
from dataforge.ledger.completeness import judge
from dataforge.ledger.define import Defined, effective_columns, recut
from dataforge.ledger.stream import NO_NEWS, News
from dataforge.model.reference import DatasetRef
from dataforge.model.task import value
from dataforge.storage import attempt as attempts
from dataforge.storage import completeness
from dataforge.storage import dataset as datasets
from dataforge.storage import partition as partitions
from dataforge.storage import task as tasks
from dataforge.storage.attempt import Attempts, RunKey
from dataforge.storage.database import Connection
from dataforge.storage.partition import Contested, Place
from dataforge.storage.readiness import Node

MOST_PLACES = 2_000  # partitions whose claims are in memory at a time
NO_RUNS: Mapping[RunKey, None] = {}
NOT_DEFINED = Defined()


def settle(
    connection: Connection,
    environment: int,
    *,
    tasks: Set[int] = frozenset(),
    datasets: Set[int] = frozenset(),
    runs: Mapping[RunKey, Attempts | None] = NO_RUNS,
    places: Set[Place] = frozenset(),
    news: News = NO_NEWS,
    defined: Defined = NOT_DEFINED,
) -> list[Contested]:
    """Makes anew what follows from these tasks, datasets (by id), runs, places and news of streams, and from what was
    defined, whose columns stand already. Part of the caller's transaction. Runs come with all their attempts where the
    caller has them at hand, else with None. Returns the partitions on which there are several claims."""
    recut_tasks = _settle_tasks(connection, environment, tasks - defined.tasks) | defined.recut_tasks
    recut_datasets = _settle_columns(connection, environment, datasets - defined.datasets) | defined.recut_datasets
    moved, renamed = _settle_names(connection, environment, datasets)
    all_runs = dict(runs)
    if recut_tasks:  # keys are made anew when the cut changes
        all_runs = dict.fromkeys(attempts.runs_of_tasks(connection, environment, recut_tasks)) | all_runs
    rejudged = defined.produced | renamed | completeness.produced_by(connection, environment, recut_tasks)
    if rejudged:  # which partitions a run wrote follows from the declared mapping
        all_runs = dict.fromkeys(completeness.runs_of(connection, environment, rejudged)) | all_runs
    claimed = settle_runs.settle_runs(connection, environment, all_runs)
    claimed |= stream.follow(connection, environment, news, tasks, datasets)
    claimed |= completeness.partitions_of(connection, environment, rejudged)
    claimed |= places
    names = partitions.names(connection, environment, moved | claimed)
    moved |= partitions.canonical(claimed, names)
    contested = _resolve(connection, environment, moved, names.members)
    nodes: set[Node] = {("task", each) for each in recut_tasks} | {("dataset", each) for each in recut_datasets}
    if nodes or moved:
        partition_set.follow(connection, environment, nodes, moved)
    return contested


def _resolve(
    connection: Connection, environment: int, places: set[Place], members: Mapping[int, list[int]]
) -> list[Contested]:
    ordered, contested = sorted(places), list[Contested]()
    for first in range(0, len(ordered), MOST_PLACES):
        some = ordered[first : first + MOST_PLACES]
        judged = judge(connection, environment, {(node, key) for kind, node, key in some if kind == "dataset"})
        contested += partitions.resolve(connection, environment, set(some), members, judged)
        completeness.wake(
            connection, environment, [place for place, each in judged.items() if each.staged and each.lacking]
        )
    return contested


def _settle_tasks(connection: Connection, environment: int, ids: Set[int]) -> set[int]:
    """Stores the effective columns, and returns the tasks whose partitioning changed."""
    rows = tasks.basis(connection, environment, ids) if ids else []
    found = [effective_columns(row) for row in rows]
    tasks.set_effective(connection, environment, found)
    return recut(rows, found)


def _settle_columns(connection: Connection, environment: int, ids: Set[int]) -> set[int]:
    """Stores the effective columns of datasets, and returns those whose partitioning changed."""
    basis = datasets.basis(connection, environment, ids)
    otherwise = {each.id for each in basis if (each.definition or {}).get("partitioning") != each.partitioning}
    effective_rows = [
        (
            each.id,
            (each.definition or {}).get("owner") or value(each.registers, "owner"),
            (each.definition or {}).get("partitioning"),
        )
        for each in basis
    ]
    datasets.set_effective(connection, environment, effective_rows)
    return otherwise


def _settle_names(connection: Connection, environment: int, ids: Set[int]) -> tuple[set[Place], set[int]]:
    """Stores canonical names, and returns the places that other claims decide now, and the datasets whose declared
    producers, if any, write them under another name now."""
    if not ids:
        return set(), set()
    members = datasets.related(connection, environment, ids)
    stands = canonical_names(
        {member.id: (member.said, member.dataset) for member in members},
        datasets.links(connection, environment, [member.id for member in members]),
    )
    moved = {member.id: stands[member.id] for member in members if stands[member.id] != member.canonical_id}
    if not moved:
        return set(), set()
    datasets.set_canonical(connection, environment, moved)
    related = {m.id for m in members} | {m.canonical_id for m in members}
    declared = completeness.any_declared(connection, environment, related)
    return _places(connection, environment, related), related if declared else set()


def _places(connection: Connection, environment: int, ids: set[int]) -> set[Place]:
    keys = partitions.partitions_of(connection, environment, ids)
    return {("dataset", dataset_id, key) for dataset_id in ids for key in keys}


def canonical_names(ranks: dict[int, tuple[int, DatasetRef]], links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """For each dataset the one that stands for it: of all that links tie together, the one of the least rank
    (the name whose declaration lists the others before one that is only declared, that before an observed one, then
    the smaller name)."""
    stands = {dataset_id: dataset_id for dataset_id in ranks}

    def top(dataset_id: int) -> int:
        while stands[dataset_id] != dataset_id:
            stands[dataset_id] = stands[stands[dataset_id]]
            dataset_id = stands[dataset_id]
        return dataset_id

    for first, second in links:
        if first in ranks and second in ranks:
            low, high = sorted((top(first), top(second)), key=lambda dataset_id: ranks[dataset_id])
            stands[high] = low
    return {dataset_id: top(dataset_id) for dataset_id in ranks}
