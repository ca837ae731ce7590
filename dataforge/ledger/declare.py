"""Declaring: the whole manifest of one source, or one task, becomes what is true from now on.

Guarantees that a declaration is atomic and idempotent, that a dry run is the same decision without the writing,
and that no cycle is ever registered (invariant I4).
"""

from collections.abc import Iterable

import msgspec

from dataforge.ledger.acyclic import refuse_cycles
from dataforge.ledger.settle import settle
from dataforge.model.declaration import Declared, Plan, holder, plan, refuse_conflicts
from dataforge.model.edge import Consumes, Produces
from dataforge.model.manifest import Manifest, TaskDefinition, named
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import dataset as datasets
from dataforge.storage import definition as definitions
from dataforge.storage import edge as edges
from dataforge.storage import environment as environments
from dataforge.storage import task as tasks
from dataforge.storage.database import Connection, Database
from dataforge.storage.edge import DeclaredEdge


def declare(database: Database, environment: str, manifest: Manifest, *, dry_run: bool = False) -> Declared:
    """Makes the manifest all that its source declares. What the source no longer names is retired.

    Raises NotFound for an unknown environment, Conflict where another source declares the same, and CycleError;
    then nothing has changed.
    """
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        decided = plan(definitions.manifest_of(connection, here.id, manifest.source), manifest)
        if not decided.any:
            return decided.answer(here.graph_version)
        _refuse_conflicts(connection, here.id, decided)
        refuse_cycles(connection, here.id, decided, _edges(manifest.tasks))
        if dry_run:
            return decided.answer(here.graph_version + 1)
        _write(connection, here.id, decided)
        return decided.answer(environments.advance_graph(connection, here.id))


def declare_task(database: Database, environment: str, task: TaskDefinition, *, dry_run: bool = False) -> Declared:
    """Declares one task with its edges, as a source of its own, by the same rules."""
    manifest = Manifest(source=f"task:{task.namespace}/{task.name}", tasks=(task,))
    return declare(database, environment, manifest, dry_run=dry_run)


def _refuse_conflicts(connection: Connection, environment: int, decided: Plan) -> None:
    manifest, source = decided.manifest, decided.manifest.source
    refuse_conflicts(
        manifest,
        definitions.tasks_elsewhere(connection, environment, [task.ref for task in decided.tasks.created], source),
        definitions.datasets_elsewhere(connection, environment, _shared(connection, environment, decided), source),
        definitions.pools_elsewhere(connection, environment, [pool.name for pool in manifest.pools], source),
    )


def _shared(connection: Connection, environment: int, decided: Plan) -> set[DatasetRef]:
    """The datasets that this changes and others may declare as well."""
    refs = {dataset.ref for dataset in decided.datasets.touched}
    return definitions.declared_datasets(connection, environment, refs)


def _edges(defined: Iterable[TaskDefinition]) -> list[DeclaredEdge]:
    """The edges of definitions as they are stored, their defaults spelled out."""
    return [
        edge
        for task in defined
        for edge in (
            *(_consumed(task, said) for said in task.consumes),
            *(_produced(task, said) for said in task.produces),
        )
    ]


def _consumed(task: TaskDefinition, said: Consumes) -> DeclaredEdge:
    return DeclaredEdge(
        task_id=task.ref.id,
        relation="consumes",
        node_kind="dataset" if said.dataset else "task",
        node_id=said.node.id,
        mapping=msgspec.to_builtins(said.mapping),
        condition=msgspec.to_builtins(said.condition),
        required=said.required,
        staleness=said.staleness,
        role=said.role,
    )


def _produced(task: TaskDefinition, said: Produces) -> DeclaredEdge:
    return DeclaredEdge(task.ref.id, "produces", "dataset", said.node.id, msgspec.to_builtins(said.mapping))


def _write(connection: Connection, environment: int, decided: Plan) -> None:
    manifest = decided.manifest
    refs = named(manifest)
    tasks.ensure(connection, environment, {ref for ref in refs if isinstance(ref, TaskRef)})
    datasets.ensure(connection, environment, {ref for ref in refs if isinstance(ref, DatasetRef)})
    definitions.store(connection, environment, manifest)
    _write_tasks(connection, environment, decided)
    _write_datasets(connection, environment, decided)
    if decided.pools.touched:
        definitions.replace_pools(connection, environment, manifest.source, manifest.pools)
    settle(
        connection,
        environment,
        tasks={task.ref.id for task in decided.tasks.touched},
        datasets={dataset.ref.id for dataset in decided.datasets.touched},
    )


def _write_tasks(connection: Connection, environment: int, decided: Plan) -> None:
    change, source = decided.tasks, decided.manifest.source
    definitions.define_tasks(connection, environment, source, change.written)
    definitions.retire_tasks(connection, environment, change.retired)
    touched = {task.ref.id for task in change.touched}
    edges.replace_declared(connection, environment, source, touched, _edges(change.written))


def _write_datasets(connection: Connection, environment: int, decided: Plan) -> None:
    change, source = decided.datasets, decided.manifest.source
    touched = {dataset.ref for dataset in change.touched}
    ours = {dataset.ref: dataset for dataset in change.written}
    others = definitions.datasets_elsewhere(connection, environment, _shared(connection, environment, decided), source)
    standing = {}
    for ref in touched:
        said = dict(others.get(ref, {}))
        if ref in ours:
            said[source] = ours[ref]
        standing[ref] = holder(said)
    definitions.define_datasets(connection, environment, standing)
    definitions.replace_aliases(connection, environment, source, touched, ours.values())


def restore(connection: Connection, environment: int, manifest: Manifest) -> None:
    """Declares a manifest that stood before, without asking again whether it may; part of the caller's transaction."""
    _write(connection, environment, plan(None, manifest))
