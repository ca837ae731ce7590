"""Making what was declared stand, with all that follows from it.

Guarantees that of what is new to the ledger nothing is asked that only runs, partitions or other names could tell: it
has none. The server writes the edges, which take it longest, while the other statements are put together.
"""

from collections.abc import Collection, Iterable, Mapping, Set

import msgspec

from dataforge.ledger import declaration as declarations
from dataforge.ledger.declaration import Placed
from dataforge.ledger.define import Defined, Written, define_datasets, define_tasks
from dataforge.ledger.production import otherwise, production
from dataforge.ledger.settle import settle
from dataforge.model.declaration import Others, Plan, holder
from dataforge.model.manifest import DatasetDefinition, TaskDefinition, named
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import completeness
from dataforge.storage import dataset as datasets
from dataforge.storage import definition as definitions
from dataforge.storage import edge as edges
from dataforge.storage import shard as shards
from dataforge.storage import task as tasks
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection
from dataforge.storage.dataset import DatasetBasis
from dataforge.storage.readiness import Node
from dataforge.storage.task import TaskBasis


class Known(msgspec.Struct, frozen=True):
    """Of what is declared otherwise, what the ledger knows already."""

    tasks: Mapping[int, TaskBasis]
    datasets: Mapping[int, DatasetBasis]

    def declared_by(self, item: TaskDefinition | DatasetDefinition) -> str | None:
        """The source that declares it, if one does."""
        rows = self.tasks if isinstance(item, TaskDefinition) else self.datasets
        row = rows.get(item.ref.id)
        return row.declared_by if row else None


def known_of(connection: Connection, environment: int, decided: Plan) -> Known:
    """What is known of the tasks and datasets that a declaration changes."""
    of_tasks = tasks.basis(connection, environment, [task.ref.id for task in decided.tasks.touched])
    of_datasets = datasets.basis(connection, environment, [each.ref.id for each in decided.datasets.touched])
    return Known({row.id: row for row in of_tasks}, {row.id: row for row in of_datasets})


def others_of(connection: Connection, environment: int, decided: Plan, known: Known) -> Others:
    """What other sources say of the datasets that a declaration changes, as far as anybody declares them."""
    declared = {each.ref for each in decided.datasets.touched if known.declared_by(each) is not None}
    return definitions.datasets_elsewhere(connection, environment, declared, decided.manifest.source)


def establish(
    connection: Connection,
    environment: int,
    decided: Plan,
    written: Written,
    known: Known,
    others: Others,
    found_by: bytes,
    placed: Placed | None,
) -> None:
    """Makes what was declared stand, and keeps it (`placed`; None: it is kept already). `found_by` is its manifest."""
    touched = {task.ref.id for task in decided.tasks.touched}
    touched_datasets = {dataset.ref.id for dataset in decided.datasets.touched}
    before = production(connection, environment, known.tasks, known.tasks, known.datasets)
    fresh: set[Node] = {("task", each) for each in touched - known.tasks.keys()}
    fresh |= {("dataset", each) for each in touched_datasets - known.datasets.keys()}
    kept = placed and declarations.keep_versions(connection, environment, placed, decided, written, fresh)
    with connection.pipeline():
        definitions.store(connection, environment, decided.manifest.source, found_by)
        recut_tasks = define_tasks(connection, environment, decided.manifest.source, written, known.tasks)
        definitions.retire_tasks(connection, environment, decided.tasks.retired)
        recut_datasets = define_datasets(connection, environment, _standing(decided, others), known.datasets)
        named_first = ensure_named(connection, environment, _only_named(decided))
        if kept:
            declarations.keep(connection, environment, kept, written)
        edges.replace_declared(connection, environment, decided.manifest.source, known.tasks.keys(), written.edges)
        aliased = [each.ref for each in decided.datasets.touched if each.ref.id in known.datasets]
        definitions.replace_aliases(connection, environment, decided.manifest.source, aliased, decided.datasets.written)
        if decided.pools.touched:
            definitions.replace_pools(connection, environment, decided.manifest.source, decided.manifest.pools)
        # What waits around all this is decided on: its upstreams may be there already.
        around: set[Node] = {("task", each) for each in touched} | {("dataset", each) for each in touched_datasets}
        wakeups.declared(connection, environment, around)
    new = (touched_datasets - known.datasets.keys()) | {dataset_id for (dataset_id,) in named_first}
    concerned = known.tasks.keys() | _writers(written.tasks, new)
    after = production(connection, environment, concerned, known.tasks, known.datasets)
    changed = otherwise(before, after)
    settle(
        connection,
        environment,
        tasks=known.tasks.keys(),
        runs=dict.fromkeys(shards.runs_of(connection, environment, changed.allowed)),
        datasets=touched_datasets - (new - _with_names(decided)),
        places=completeness.partitions_of(connection, environment, changed.staged - new),
        defined=Defined(
            tasks=written.versions.keys(),
            datasets=touched_datasets,
            recut_tasks=recut_tasks,
            recut_datasets=recut_datasets,
            produced=changed.produced - new,
        ),
    )


def ensure_named(
    connection: Connection, environment: int, refs: Collection[TaskRef | DatasetRef]
) -> Iterable[tuple[int]]:
    """Makes sure that each of these has a row to point at. Gives the datasets that had none."""
    tasks.ensure(connection, environment, {ref for ref in refs if isinstance(ref, TaskRef)})
    return datasets.ensure(connection, environment, {ref for ref in refs if isinstance(ref, DatasetRef)})


def _only_named(decided: Plan) -> set[TaskRef | DatasetRef]:
    """What the manifest names, but for what has a row by its definition."""
    refs = named(decided.manifest) - {task.ref for task in decided.tasks.written}
    return refs - {dataset.ref for dataset in decided.datasets.touched}


def _writers(defined: Iterable[TaskDefinition], new: Set[int]) -> set[int]:
    """The tasks that write anything but what is new."""
    return {task.ref.id for task in defined if any(edge.node.id not in new for edge in task.produces)}


def _with_names(decided: Plan) -> set[int]:
    """The datasets of which the manifest says that they have other names."""
    return {dataset.ref.id for dataset in decided.datasets.written if dataset.aliases}


def _standing(decided: Plan, others: Others) -> dict[DatasetRef, tuple[str, DatasetDefinition] | None]:
    """Whose statement of each dataset stands from now on."""
    source, ours = decided.manifest.source, {dataset.ref: dataset for dataset in decided.datasets.written}
    return {
        dataset.ref: holder(
            {**others.get(dataset.ref, {}), **({source: ours[dataset.ref]} if dataset.ref in ours else {})}
        )
        for dataset in decided.datasets.touched
    }
