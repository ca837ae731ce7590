"""Settling: the derived state is made anew wherever a fact or a definition that it follows from has changed.

Guarantees that what is derived (effective columns, runs, claims, partition states) is a function of the facts
and definitions in the tables, so that it never matters which came first.
"""

from collections.abc import Iterable, Mapping, Set

from dataforge.ledger import partition_set, settle_runs, stream
from dataforge.ledger.completeness import judge
from dataforge.ledger.stream import NO_NEWS, News
from dataforge.model import partition
from dataforge.model.reference import DatasetRef
from dataforge.model.task import effective, value
from dataforge.storage import attempt as attempts
from dataforge.storage import completeness
from dataforge.storage import dataset as datasets
from dataforge.storage import partition as partitions
from dataforge.storage import task as tasks
from dataforge.storage.attempt import Attempts, RunKey
from dataforge.storage.database import Connection
from dataforge.storage.partition import Contested, Place
from dataforge.storage.readiness import Node
from dataforge.storage.task import EffectiveTask, TaskBasis

MOST_PLACES = 2_000  # partitions whose claims are in memory at a time
NO_RUNS: Mapping[RunKey, None] = {}


def settle(
    connection: Connection,
    environment: int,
    *,
    tasks: Set[int] = frozenset(),
    datasets: Set[int] = frozenset(),
    runs: Mapping[RunKey, Attempts | None] = NO_RUNS,
    places: Set[Place] = frozenset(),
    produced: Set[int] = frozenset(),
    news: News = NO_NEWS,
) -> list[Contested]:
    """Makes anew what follows from these tasks, datasets (by id), runs, places and news of streams, and from how the
    datasets `produced` are declared to be produced. Part of the caller's transaction. Runs come with all their attempts
    where the caller has them at hand, else with None. Returns the partitions on which there are several claims."""
    recut = _settle_tasks(connection, environment, tasks)
    moved, renamed, recut_datasets = _settle_datasets(connection, environment, datasets)
    all_runs = dict(runs)
    if recut:  # keys are made anew when the cut changes
        all_runs = dict.fromkeys(attempts.runs_of_tasks(connection, environment, recut)) | all_runs
    rejudged = produced | renamed | completeness.produced_by(connection, environment, recut)
    if rejudged:  # which partitions a run wrote follows from the declared mapping
        all_runs = dict.fromkeys(completeness.runs_of(connection, environment, rejudged)) | all_runs
    claimed = settle_runs.settle_runs(connection, environment, all_runs)
    claimed |= stream.follow(connection, environment, news, tasks, datasets)
    claimed |= completeness.partitions_of(connection, environment, rejudged)
    claimed |= places
    names = partitions.names(connection, environment, moved | claimed)
    moved |= partitions.canonical(claimed, names)
    contested = _resolve(connection, environment, moved, names.members)
    nodes: set[Node] = {("task", each) for each in recut} | {("dataset", each) for each in recut_datasets}
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
    changed, recut = [], set()
    for row in tasks.basis(connection, environment, ids) if ids else ():
        found = _effective(row)
        changed.append(found)
        if found.partitioning != row.partitioning or found.partitioning_origin != row.partitioning_origin:
            recut.add(row.id)
    tasks.set_effective(connection, environment, changed)
    return recut


def _effective(row: TaskBasis) -> EffectiveTask:
    found = effective(row.definition, row.registers, row.platform, row.grains)
    return EffectiveTask(
        id=row.id,
        platform=found.platform,
        owner=found.owner,
        domain=found.domain,
        partitioning=partition.to_json(found.partitioning),
        partitioning_origin=found.origin,
    )


def _settle_datasets(connection: Connection, environment: int, ids: Set[int]) -> tuple[set[Place], set[int], set[int]]:
    """Stores effective columns and canonical names, and returns the places that other claims decide now, and the
    datasets whose declared producers, if any, write them under another name now, and those whose partitioning changed.
    """
    if not ids:
        return set(), set(), set()
    basis = datasets.basis(connection, environment, ids)
    recut = {each for each, _, said, cut in basis if (said or {}).get("partitioning") != cut}
    effective_rows = [
        (
            dataset_id,
            (definition or {}).get("owner") or value(registers, "owner"),
            (definition or {}).get("partitioning"),
        )
        for dataset_id, registers, definition, _ in basis
    ]
    datasets.set_effective(connection, environment, effective_rows)
    members = datasets.related(connection, environment, ids)
    stands = canonical_names(
        {member.id: (member.said, member.dataset) for member in members},
        datasets.links(connection, environment, [member.id for member in members]),
    )
    moved = {member.id: stands[member.id] for member in members if stands[member.id] != member.canonical_id}
    if not moved:
        return set(), set(), recut
    datasets.set_canonical(connection, environment, moved)
    related = {m.id for m in members} | {m.canonical_id for m in members}
    declared = completeness.any_declared(connection, environment, related)
    return _places(connection, environment, related), related if declared else set(), recut


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
