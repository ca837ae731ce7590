"""Declarations as facts: each takes its place among those of its source, in the past as well as at its end.

Guarantees that what held when is a function of the set of declarations (dataforge.model.version): one that comes late
changes the stretch until the next one of its source and nothing else, and never what stands now.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from datetime import datetime
from itertools import chain, pairwise

import msgspec

from dataforge.ledger.define import Written
from dataforge.ledger.edge import edges_of
from dataforge.model.declaration import Plan
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import Manifest, stored_manifest
from dataforge.model.version import Declaration, Node, Span, overwritten
from dataforge.storage import version as versions
from dataforge.storage.database import Connection
from dataforge.storage.edge import AlikeEdges
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
) -> tuple[Placed, list[AlikeEdges]]:
    """Where a declaration that is received `now` (None: now, by the database's clock) belongs among its source's, and
    all edges of its tasks. Unless it is a dry run the manifest is kept.

    Raises InvalidInput for a manifest that is to hold from a later time on: what is true then, nobody knows yet.
    """
    found, edges = versions.place(
        connection, environment, manifest, now, lambda: edges_of(manifest.tasks), keep=not dry_run
    )
    if found.valid_from > found.received_at:
        expected = f"a time not after that of its receipt ({found.received_at.isoformat(timespec='seconds')})"
        given = found.valid_from.isoformat(timespec="seconds")
        raise InvalidInput(f"valid_from is {given!r}: expected {expected}", [FieldError("valid_from", given, expected)])
    stated = manifest.valid_from is not None
    repeats = found.before == found.manifest
    placed = Placed(
        said=Declaration(found.valid_from, found.received_at, found.manifest, manifest.source, stated),
        before=manifest if repeats else stored_manifest(found.content) if found.content else None,
        until=found.until,
        repeats=repeats,
    )
    return placed, edges


class Kept(msgspec.Struct, frozen=True):
    """A declaration whose definitions are kept, with what is to hold from then on (None: nothing), and what held."""

    placed: Placed
    held: Mapping[Node, bytes | None]
    known: Mapping[Node, list[Span]]


def keep_versions(
    connection: Connection,
    environment: int,
    placed: Placed,
    decided: Plan,
    written: Written,
    fresh: Set[Node] = frozenset(),
) -> Kept:
    """Keeps the definitions of the tasks and datasets that it writes, which need have no rows before the transaction
    ends. Of what is `fresh` none was kept before."""
    if not placed.tells:
        return Kept(placed, {}, {})
    said = placed.said
    versions.keep_tasks(connection, environment, said.source, written.tasks, written.versions)
    held: dict[Node, bytes | None] = {("task", task_id): found_by for task_id, found_by in written.versions.items()}
    held |= versions.keep_datasets(connection, environment, decided.datasets.written)
    held |= dict.fromkeys(("task", task.ref.id) for task in decided.tasks.retired)
    held |= dict.fromkeys(("dataset", dataset.ref.id) for dataset in decided.datasets.retired)
    within = said.valid_from, placed.until
    return Kept(placed, held, versions.spans_within(connection, environment, held.keys() - fresh, said.source, within))


def keep(connection: Connection, environment: int, kept: Kept, written: Written) -> None:
    """Adds the declaration to the facts, and lets its versions hold for its stretch of time. What it names has rows."""
    versions.keep(connection, environment, kept.placed.said)
    if kept.placed.tells:
        versions.keep_edges(connection, environment, written.versions, written.edges)
        _overwrite(connection, environment, kept)


def _overwrite(connection: Connection, environment: int, kept: Kept) -> None:
    source, begin, end = kept.placed.said.source, kept.placed.said.valid_from, kept.placed.until
    gone: list[NodeSpan] = []
    come: list[NodeSpan] = []
    for node, found_by in sorted(kept.held.items()):
        before = kept.known.get(node, [])
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
