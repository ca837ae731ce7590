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
from dataforge.ledger.define import Written, written_of
from dataforge.ledger.establish import Known, ensure_named, establish, known_of, others_of
from dataforge.ledger.fitting import refuse_misfits
from dataforge.ledger.producer_count import refuse_counts
from dataforge.model.declaration import Declared, Others, Plan, plan, refuse_conflicts
from dataforge.model.manifest import Manifest, TaskDefinition, named
from dataforge.storage import definition as definitions
from dataforge.storage import environment as environments
from dataforge.storage import version as versions
from dataforge.storage.database import Connection, Database
from dataforge.storage.edge import AlikeEdges


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
        placed, own = declarations.place(connection, here.id, manifest, now, dry_run=dry_run)
        decided = plan(placed.before, manifest)
        moves = placed.stands and decided.any
        written = written_of(decided.tasks.written, own if len(decided.tasks.written) == len(manifest.tasks) else None)
        found = _allowed(connection, here.id, decided, own) if moves else None
        if dry_run:
            return decided.answer(here.graph_version + moves, placed.until)
        if found is None:
            _keep(connection, here.id, placed, decided, written)
            return decided.answer(here.graph_version, placed.until)
        establish(connection, here.id, decided, written, *found, placed.said.manifest, placed)
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


def _allowed(
    connection: Connection, environment: int, decided: Plan, own: Sequence[AlikeEdges]
) -> tuple[Known, Others]:
    """What is known of that which is declared otherwise, and what others say of it. Raises what `declare` does."""
    known = known_of(connection, environment, decided)
    others = others_of(connection, environment, decided, known)
    _refuse_conflicts(connection, environment, decided, known, others)
    cuts = Cuts(connection, environment, decided)
    refuse_misfits(connection, environment, decided, cuts)
    refuse_counts(connection, environment, decided, own, cuts)
    refuse_cycles(connection, environment, decided, own, cuts)
    return known, others


def _refuse_conflicts(connection: Connection, environment: int, decided: Plan, known: Known, others: Others) -> None:
    manifest, source = decided.manifest, decided.manifest.source
    holders = {task.ref: known.declared_by(task) for task in decided.tasks.created}
    refuse_conflicts(
        manifest,
        {ref: other for ref, other in holders.items() if other is not None and other != source},
        others,
        definitions.pools_elsewhere(connection, environment, [pool.name for pool in manifest.pools], source),
    )


def _keep(connection: Connection, environment: int, placed: Placed, decided: Plan, written: Written) -> None:
    """Keeps what was declared, though nothing that stands follows from it."""
    kept = declarations.keep_versions(connection, environment, placed, decided, written)
    with connection.pipeline():
        if not placed.repeats:
            ensure_named(connection, environment, named(decided.manifest))
        declarations.keep(connection, environment, kept, written)


def restore(connection: Connection, environment: int, manifest: Manifest) -> None:
    """Declares a manifest that stands elsewhere, without asking again whether it may; part of the caller's transaction.
    Restoring what is there already changes nothing, and a newer manifest takes the place of its source's older one.
    That it was declared, and when, is a fact of its own, and restored before (`restore_history`)."""
    decided = plan(definitions.manifest_of(connection, environment, manifest.source), manifest)
    if decided.any:
        found_by = versions.keep_manifest(connection, environment, manifest)
        known = known_of(connection, environment, decided)
        others = others_of(connection, environment, decided, known)
        establish(connection, environment, decided, written_of(decided.tasks.written), known, others, found_by, None)


def restore_history(connection: Connection, recorded: int, environment: int, sources: Collection[str]) -> None:
    """Makes what these sources ever declared in one environment all that they have declared in another (or makes anew
    what follows from it in the same one), in the order of its times; part of the caller's transaction."""
    versions.forget_spans(connection, environment, sources)
    for placed, manifest in declarations.recorded(connection, recorded, sources):
        decided = plan(placed.before, manifest)
        versions.copy_manifest(connection, recorded, environment, placed.said.manifest)
        _keep(connection, environment, placed, decided, written_of(decided.tasks.written))
