"""Declarations as facts: each takes its place among those of its source, in the past as well as at its end.

Guarantees that what held when is a function of the set of declarations (dataforge.model.version): one that comes late
changes the stretch until the next one of its source and nothing else, and never what stands now.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import chain, pairwise

import msgspec

from dataforge.ledger.define import Written
from dataforge.model.declaration import Plan
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import Manifest, stored_manifest
from dataforge.model.version import Declaration, Node, overwritten
from dataforge.storage import version as versions
from dataforge.storage.database import Connection
from dataforge.storage.version import NodeSpan


class Placed(msgspec.Struct, frozen=True):
    """A declaration, what its source declared just before it, and from when on the next one holds."""

    said: Declaration
    before: Manifest | None
    until: datetime | None  # None: it is the last, and stands
    repeats: bool  # it says the same as the one before it

    @property
    def stands(self) -> bool:
        """Whether it is what its source declares now."""
        return self.until is None

    @property
    def tells(self) -> bool:
        """Whether it says anything new that holds for any time at all: of two for one moment the later received one
        does."""
        return not self.repeats and (self.until is None or self.said.valid_from < self.until)


def place(
    connection: Connection, environment: int, manifest: Manifest, now: datetime | None, *, dry_run: bool
) -> Placed:
    """Where a declaration that is received `now` (None: now, by the database's clock) belongs among its source's.
    Unless it is a dry run the manifest is kept.

    Raises InvalidInput for a manifest that is to hold from a later time on: what is true then, nobody knows yet.
    """
    found = versions.place(connection, environment, manifest, now, keep=not dry_run)
    if found.valid_from > found.received_at:
        expected = f"a time not after that of its receipt ({found.received_at.isoformat(timespec='seconds')})"
        given = found.valid_from.isoformat(timespec="seconds")
        raise InvalidInput(f"valid_from is {given!r}: expected {expected}", [FieldError("valid_from", given, expected)])
    stated = manifest.valid_from is not None
    repeats = found.before == found.manifest
    return Placed(
        said=Declaration(found.valid_from, found.received_at, found.manifest, manifest.source, stated),
        before=manifest if repeats else found.content and stored_manifest(found.content),
        until=found.until,
        repeats=repeats,
    )


def keep_tasks(connection: Connection, environment: int, placed: Placed, written: Written) -> None:
    """Keeps the definitions of tasks, which need have no rows before the transaction ends."""
    if placed.tells:
        versions.keep_tasks(connection, environment, placed.said.source, written.tasks, written.versions)


def keep(connection: Connection, environment: int, placed: Placed, decided: Plan, written: Written) -> None:
    """Adds the declaration to the facts, and lets its versions hold for its stretch of time.

    The tasks and datasets that it names have their rows already; its manifest and its tasks (`keep_tasks`) are kept.
    """
    said, tasks, datasets = placed.said, decided.tasks, decided.datasets
    versions.keep(connection, environment, said)
    if not placed.tells:
        return
    versions.keep_edges(connection, environment, written.versions, written.edges)
    found: dict[Node, bytes] = {("task", task_id): found_by for task_id, found_by in written.versions.items()}
    found |= versions.keep_datasets(connection, environment, datasets.written)
    now_none: list[Node] = [("task", task.ref.id) for task in tasks.retired]
    now_none += [("dataset", dataset.ref.id) for dataset in datasets.retired]
    _overwrite(connection, environment, placed, {**found, **dict.fromkeys(now_none)})


def _overwrite(connection: Connection, environment: int, placed: Placed, held: dict[Node, bytes | None]) -> None:
    source, begin, end = placed.said.source, placed.said.valid_from, placed.until
    known = versions.spans_within(connection, environment, held, source, (begin, end))
    gone: list[NodeSpan] = []
    come: list[NodeSpan] = []
    for node, found_by in sorted(held.items()):
        before = known.get(node, [])
        after = overwritten(before, begin, end, found_by)
        gone += [(node, span) for span in before if span not in after]
        come += [(node, span) for span in after if span not in before]
    versions.replace_spans(connection, environment, source, gone, come)


def recorded(connection: Connection, environment: int, sources: Collection[str]) -> Iterator[tuple[Placed, Manifest]]:
    """Every declaration of these sources, each placed as the last of its source so far; one that another for the same
    moment replaces holds at no time, and comes before none. A manifest is read once as long as it is repeated."""
    last: tuple[Declaration, Manifest] | None = None
    for said, after in _with_next(versions.declarations(connection, environment, sources)):
        before = last if last and last[0].source == said.source else None
        repeats = before is not None and before[0].manifest == said.manifest
        manifest = before[1] if before and repeats else _content(connection, environment, said)
        replaced = after is not None and (after.source, after.valid_from) == (said.source, said.valid_from)
        yield Placed(said, before[1] if before else None, said.valid_from if replaced else None, repeats), manifest
        if not replaced:
            last = (said, manifest)


def _with_next(listed: Iterable[Declaration]) -> Iterator[tuple[Declaration, Declaration | None]]:
    return pairwise(chain(listed, (None,)))  # type: ignore[arg-type]


def _content(connection: Connection, environment: int, said: Declaration) -> Manifest:
    return stored_manifest(versions.manifest(connection, environment, said.manifest))
