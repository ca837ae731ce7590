"""Declaring: the whole manifest of one source, or one task, becomes what is true from now on.

Guarantees that a declaration is atomic and idempotent, that a dry run is the same decision without the writing,
and that no cycle is ever registered (invariant I4).
"""

from collections.abc import Collection
from datetime import datetime

from dataforge.ledger import declaration as declarations
from dataforge.ledger.acyclic import refuse_cycles
from dataforge.ledger.cuts import Cuts
from dataforge.ledger.declaration import Placed
from dataforge.ledger.define import Defined, Written, define_datasets, define_tasks, written_of
from dataforge.ledger.edge import edges_of
from dataforge.ledger.fitting import refuse_misfits
from dataforge.ledger.producer_count import refuse_counts
from dataforge.ledger.production import otherwise, production
from dataforge.ledger.settle import settle
from dataforge.model.declaration import Declared, Others, Plan, holder, plan, refuse_conflicts
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
        written = written_of(decided.tasks.written)
        others = _others(connection, here.id, decided) if moves else {}
        if moves:
            _refuse_conflicts(connection, here.id, decided, others)
            cuts = Cuts(connection, here.id, decided)
            refuse_misfits(connection, here.id, decided, cuts)
            own = written.edges if len(written.tasks) == len(manifest.tasks) else edges_of(manifest.tasks)
            refuse_counts(connection, here.id, decided, own, cuts)
            refuse_cycles(connection, here.id, decided, own, cuts)
        if dry_run:
            return decided.answer(here.graph_version + moves, placed.until)
        if not moves:
            _keep(connection, here.id, placed, decided, written)
            return decided.answer(here.graph_version, placed.until)
        _write(connection, here.id, decided, written, others, placed.said.manifest, placed)
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


def _refuse_conflicts(connection: Connection, environment: int, decided: Plan, others: Others) -> None:
    manifest, source = decided.manifest, decided.manifest.source
    refuse_conflicts(
        manifest,
        definitions.tasks_elsewhere(connection, environment, [task.ref for task in decided.tasks.created], source),
        others,
        definitions.pools_elsewhere(connection, environment, [pool.name for pool in manifest.pools], source),
    )


def _others(connection: Connection, environment: int, decided: Plan) -> Others:
    """What other sources say of the datasets that this changes."""
    refs = definitions.declared_datasets(connection, environment, {dataset.ref for dataset in decided.datasets.touched})
    return definitions.datasets_elsewhere(connection, environment, refs, decided.manifest.source)


def _keep(connection: Connection, environment: int, placed: Placed, decided: Plan, written: Written) -> None:
    """Keeps what was declared, though nothing that stands follows from it."""
    declarations.keep_tasks(connection, environment, placed, written)
    with connection.pipeline():
        if not placed.repeats:
            _ensure_named(connection, environment, named(decided.manifest))
        declarations.keep(connection, environment, placed, decided, written)


def _ensure_named(connection: Connection, environment: int, refs: Collection[TaskRef | DatasetRef]) -> None:
    tasks.ensure(connection, environment, {ref for ref in refs if isinstance(ref, TaskRef)})
    datasets.ensure(connection, environment, {ref for ref in refs if isinstance(ref, DatasetRef)})


def _write(
    connection: Connection,
    environment: int,
    decided: Plan,
    written: Written,
    others: Others,
    found_by: bytes,
    placed: Placed | None,
) -> None:
    """Makes what was declared stand, and keeps it (`placed`; None: it is kept already)."""
    touched = {task.ref.id for task in decided.tasks.touched}
    touched_datasets = {dataset.ref.id for dataset in decided.datasets.touched}
    before = production(connection, environment, touched, touched_datasets)
    known = tasks.basis(connection, environment, written.versions)
    if placed is not None:
        declarations.keep_tasks(connection, environment, placed, written)
    # The server works while the next statement is put together; the edges, which take it longest, come early.
    with connection.pipeline():
        definitions.store(connection, environment, decided.manifest.source, found_by)
        recut = define_tasks(connection, environment, decided.manifest.source, written, known)
        definitions.retire_tasks(connection, environment, decided.tasks.retired)
        _ensure_named(connection, environment, _only_named(decided))
        edges.replace_declared(connection, environment, decided.manifest.source, touched, written.edges)
        recut_datasets = _write_datasets(connection, environment, decided, others)
        if placed is not None:
            declarations.keep(connection, environment, placed, decided, written)
        if decided.pools.touched:
            definitions.replace_pools(connection, environment, decided.manifest.source, decided.manifest.pools)
    changed = otherwise(before, production(connection, environment, touched, touched_datasets))
    settle(
        connection,
        environment,
        tasks=touched,
        runs=dict.fromkeys(shards.runs_of(connection, environment, changed.allowed)),
        datasets=touched_datasets,
        places=completeness.partitions_of(connection, environment, changed.staged),
        defined=Defined(
            tasks=set(written.versions),
            datasets=touched_datasets,
            recut_tasks=recut,
            recut_datasets=recut_datasets,
            produced=changed.produced,
        ),
    )
    # What waits around all this is decided on: its upstreams may be there already.
    around: set[Node] = {("task", each) for each in touched} | {("dataset", each) for each in touched_datasets}
    wakeups.declared(connection, environment, around)


def _only_named(decided: Plan) -> set[TaskRef | DatasetRef]:
    """What the manifest names and what it writes defines no row of."""
    refs = named(decided.manifest) - {task.ref for task in decided.tasks.written}
    return refs - {dataset.ref for dataset in decided.datasets.touched}


def _write_datasets(connection: Connection, environment: int, decided: Plan, others: Others) -> set[int]:
    change, source = decided.datasets, decided.manifest.source
    touched = {dataset.ref for dataset in change.touched}
    ours = {dataset.ref: dataset for dataset in change.written}
    standing = {}
    for ref in touched:
        said = dict(others.get(ref, {}))
        if ref in ours:
            said[source] = ours[ref]
        standing[ref] = holder(said)
    recut = define_datasets(connection, environment, standing)
    definitions.replace_aliases(connection, environment, source, touched, ours.values())
    return recut


def restore(connection: Connection, environment: int, manifest: Manifest) -> None:
    """Declares a manifest that stands elsewhere, without asking again whether it may; part of the caller's transaction.
    Restoring what is there already changes nothing, and a newer manifest takes the place of its source's older one.
    That it was declared, and when, is a fact of its own, and restored before (`restore_history`)."""
    decided = plan(definitions.manifest_of(connection, environment, manifest.source), manifest)
    if decided.any:
        found_by = versions.keep_manifest(connection, environment, manifest)
        others = _others(connection, environment, decided)
        _write(connection, environment, decided, written_of(decided.tasks.written), others, found_by, None)


def restore_history(connection: Connection, recorded: int, environment: int, sources: Collection[str]) -> None:
    """Makes what these sources ever declared in one environment all that they have declared in another (or makes anew
    what follows from it in the same one), in the order of its times; part of the caller's transaction."""
    versions.forget_spans(connection, environment, sources)
    for placed, manifest in declarations.recorded(connection, recorded, sources):
        decided = plan(placed.before, manifest)
        versions.copy_manifest(connection, recorded, environment, placed.said.manifest)
        _keep(connection, environment, placed, decided, written_of(decided.tasks.written))
