"""Declaring: the whole manifest of one source, or one task, becomes what is true from now on.

Guarantees that a declaration is atomic and idempotent, that a dry run is the same decision without the writing,
and that no cycle is ever registered (invariant I4).
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from dataforge.ledger import declaration as declarations
from dataforge.ledger.acyclic import refuse_cycles
from dataforge.ledger.cuts import Cuts
from dataforge.ledger.declaration import Placed
from dataforge.ledger.define import Defined, define_datasets, define_tasks
from dataforge.ledger.edge import edges_of
from dataforge.ledger.fitting import refuse_misfits
from dataforge.ledger.producer_count import refuse_counts
from dataforge.ledger.production import otherwise, production
from dataforge.ledger.settle import settle
from dataforge.model.declaration import Declared, Plan, holder, plan, refuse_conflicts
from dataforge.model.manifest import Manifest, TaskDefinition, named
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import completeness
from dataforge.storage import dataset as datasets
from dataforge.storage import definition as definitions
from dataforge.storage import edge as edges
from dataforge.storage import environment as environments
from dataforge.storage import shard as shards
from dataforge.storage import task as tasks
from dataforge.storage import version as versions
from dataforge.storage import wakeup as wakeups
from dataforge.storage.database import Connection, Database
from dataforge.storage.edge import AlikeEdges
from dataforge.storage.readiness import Node


def declare(
    database: Database,
    environment: str,
    manifest: Manifest,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Declared:
    """Makes the manifest all that its source declares from its `valid_from` on, or from `now`, its receipt (None: by
    the database's clock, so that servers whose clocks differ agree on who came last). What it no longer names is
    retired. A manifest from before the one that stands becomes a part of the past: nothing forbids what once was.

    Raises NotFound for an unknown environment, InvalidInput for a time to come and where a mapping does not fit the
    partitionings, Conflict where another source declares the same, and CycleError; then nothing has changed.
    """
    with database.transaction() as connection:
        here = environments.lock(connection, environment)
        placed = declarations.place(connection, here.id, manifest, now, dry_run=dry_run)
        decided = plan(placed.before, manifest)
        moves = placed.stands and decided.any
        written = edges_of(decided.tasks.written)
        if moves:
            _refuse_conflicts(connection, here.id, decided)
            cuts = Cuts(connection, here.id, decided)
            refuse_misfits(connection, here.id, decided, cuts)
            own = written if len(decided.tasks.written) == len(manifest.tasks) else edges_of(manifest.tasks)
            refuse_counts(connection, here.id, decided, own, cuts)
            refuse_cycles(connection, here.id, decided, own, cuts)
        if dry_run:
            return decided.answer(here.graph_version + moves, placed.until)
        _keep(connection, here.id, placed, decided, written)
        if not moves:
            return decided.answer(here.graph_version, placed.until)
        _write(connection, here.id, decided, placed.said.manifest, written)
        return decided.answer(environments.advance_graph(connection, here.id))


def declare_task(
    database: Database,
    environment: str,
    task: TaskDefinition,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Declared:
    """Declares one task with its edges, as a source of its own, by the same rules."""
    manifest = Manifest(source=f"task:{task.namespace}/{task.name}", tasks=(task,))
    return declare(database, environment, manifest, now=now, dry_run=dry_run)


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


def _keep(
    connection: Connection, environment: int, placed: Placed, decided: Plan, written: Sequence[AlikeEdges]
) -> None:
    if not placed.repeats:
        _ensure_named(connection, environment, decided.manifest)
    declarations.keep(connection, environment, placed, decided, written)


def _ensure_named(connection: Connection, environment: int, manifest: Manifest) -> None:
    refs = named(manifest)
    tasks.ensure(connection, environment, {ref for ref in refs if isinstance(ref, TaskRef)})
    datasets.ensure(connection, environment, {ref for ref in refs if isinstance(ref, DatasetRef)})


def _write(
    connection: Connection, environment: int, decided: Plan, found_by: bytes, written: Sequence[AlikeEdges]
) -> None:
    manifest = decided.manifest
    touched = {task.ref.id for task in decided.tasks.touched}
    touched_datasets = {dataset.ref.id for dataset in decided.datasets.touched}
    before = production(connection, environment, touched, touched_datasets)
    definitions.store(connection, environment, manifest.source, found_by)
    recut = _write_tasks(connection, environment, decided, written)
    recut_datasets = _write_datasets(connection, environment, decided)
    if decided.pools.touched:
        definitions.replace_pools(connection, environment, manifest.source, manifest.pools)
    changed = otherwise(before, production(connection, environment, touched, touched_datasets))
    settle(
        connection,
        environment,
        tasks=touched,
        runs=dict.fromkeys(shards.runs_of(connection, environment, changed.allowed)),
        datasets=touched_datasets,
        places=completeness.partitions_of(connection, environment, changed.staged),
        defined=Defined(
            tasks={task.ref.id for task in decided.tasks.written},
            datasets=touched_datasets,
            recut_tasks=recut,
            recut_datasets=recut_datasets,
            produced=changed.produced,
        ),
    )
    # What waits around all this is decided on: its upstreams may be there already.
    around: set[Node] = {("task", each) for each in touched} | {("dataset", each) for each in touched_datasets}
    wakeups.declared(connection, environment, around)


def _write_tasks(connection: Connection, environment: int, decided: Plan, written: Sequence[AlikeEdges]) -> set[int]:
    change, source = decided.tasks, decided.manifest.source
    recut = define_tasks(connection, environment, source, change.written)
    definitions.retire_tasks(connection, environment, change.retired)
    touched = {task.ref.id for task in change.touched}
    edges.replace_declared(connection, environment, source, touched, written)
    return recut


def _write_datasets(connection: Connection, environment: int, decided: Plan) -> set[int]:
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
    definitions.replace_aliases(connection, environment, source, touched, ours.values())
    return define_datasets(connection, environment, standing)


def restore(connection: Connection, environment: int, manifest: Manifest) -> None:
    """Declares a manifest that stands elsewhere, without asking again whether it may; part of the caller's transaction.
    Restoring what is there already changes nothing, and a newer manifest takes the place of its source's older one.
    That it was declared, and when, is a fact of its own, and restored before (`restore_history`)."""
    decided = plan(definitions.manifest_of(connection, environment, manifest.source), manifest)
    if decided.any:
        _ensure_named(connection, environment, manifest)
        found_by = versions.keep_manifest(connection, environment, manifest)
        _write(connection, environment, decided, found_by, edges_of(decided.tasks.written))


def restore_history(connection: Connection, recorded: int, environment: int, sources: Collection[str]) -> None:
    """Makes what these sources ever declared in one environment all that they have declared in another (or makes anew
    what follows from it in the same one), in the order of its times; part of the caller's transaction."""
    versions.forget_spans(connection, environment, sources)
    for placed, manifest in declarations.recorded(connection, recorded, sources):
        decided = plan(placed.before, manifest)
        versions.copy_manifest(connection, recorded, environment, placed.said.manifest)
        _keep(connection, environment, placed, decided, edges_of(decided.tasks.written))
