"""What a manifest changes: the difference to what its source declared before, and what other sources forbid.

Guarantees that a declaration is decided before anything is written, so that a dry run is the same decision.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from dataforge.model.errors import Conflict, FieldError, InvalidInput
from dataforge.model.manifest import DatasetDefinition, Manifest, PoolDefinition, TaskDefinition
from dataforge.model.reference import DatasetRef, TaskRef

_Item = TypeVar("_Item", TaskDefinition, DatasetDefinition, PoolDefinition)
_Name = TypeVar("_Name", bound=Hashable)


class Declared(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many tasks, datasets and pools a declaration created, changed, retired and left as they were."""

    created: Annotated[int, Meta(description="New to this source.")]
    changed: Annotated[int, Meta(description="Declared otherwise than before.")]
    retired: Annotated[int, Meta(description="No longer named by this source; what was observed of them stays.")]
    unchanged: Annotated[int, Meta(description="As before: they keep their versions.")]
    graph_version: Annotated[int, Meta(description="The version of the graph that holds them.")]
    valid_to: Annotated[
        datetime | None,
        Meta(description="Of a history that is declared late: until when it held. Left out for what stands now."),
    ] = None


class CycleError(InvalidInput):
    """The definitions would make something wait for itself; nothing was registered."""

    def __init__(self, cycle: Sequence[str]) -> None:
        """`cycle` are names from upstream to downstream, the first one again at the end."""
        shown = " -> ".join(cycle)
        expected = "a graph without cycles; a loop that leads back to strictly earlier partitions alone is none"
        super().__init__(f"the definitions close a cycle: {shown}", [FieldError("cycle", shown, expected)])
        self.cycle = list(cycle)


class Change(msgspec.Struct, Generic[_Item], frozen=True):
    """What became of the items of one list."""

    created: tuple[_Item, ...]
    changed: tuple[_Item, ...]
    retired: tuple[_Item, ...]
    unchanged: int

    @property
    def written(self) -> tuple[_Item, ...]:
        return self.created + self.changed

    @property
    def touched(self) -> tuple[_Item, ...]:
        return self.written + self.retired


class Plan(msgspec.Struct, frozen=True):
    """What a declaration changes."""

    manifest: Manifest
    tasks: Change[TaskDefinition]
    datasets: Change[DatasetDefinition]
    pools: Change[PoolDefinition]

    @property
    def any(self) -> bool:
        return bool(self.tasks.touched or self.datasets.touched or self.pools.touched)

    def answer(self, graph_version: int, valid_to: datetime | None = None) -> Declared:
        """The answer to the one who declared, with the version of the graph that holds it, and until when it did."""
        changes = (self.tasks, self.datasets, self.pools)
        return Declared(
            created=sum(len(change.created) for change in changes),
            changed=sum(len(change.changed) for change in changes),
            retired=sum(len(change.retired) for change in changes),
            unchanged=sum(change.unchanged for change in changes),
            graph_version=graph_version,
            valid_to=valid_to,
        )


def plan(before: Manifest | None, after: Manifest) -> Plan:
    """What the manifest changes, given what its source declared before."""
    known = before or Manifest(after.source)
    return Plan(
        manifest=after,
        tasks=_change(known.tasks, after.tasks, lambda task: task.ref),
        datasets=_change(known.datasets, after.datasets, lambda dataset: dataset.ref),
        pools=_change(known.pools, after.pools, lambda pool: pool.name),
    )


def _change(before: Iterable[_Item], after: Iterable[_Item], name: Callable[[_Item], _Name]) -> Change[_Item]:
    known, wanted = {name(item): item for item in before}, {name(item): item for item in after}
    return Change(
        created=tuple(item for key, item in wanted.items() if key not in known),
        changed=tuple(item for key, item in wanted.items() if key in known and known[key] != item),
        retired=tuple(item for key, item in known.items() if key not in wanted),
        unchanged=sum(known.get(key) == item for key, item in wanted.items()),
    )


Others = Mapping[DatasetRef, Mapping[str, DatasetDefinition]]  # what other sources say of a dataset, by source


def refuse_conflicts(
    manifest: Manifest, tasks: Mapping[TaskRef, str], datasets: Others, pools: Mapping[str, str]
) -> None:
    """Raises Conflict when another source declares the same task or pool, or the same dataset otherwise.

    A dataset may be declared twice in the same words (several teams read it), and a bare name claims nothing.
    """
    for ref, other in sorted(tasks.items()):
        raise _conflict(f"the task {ref.namespace}/{ref.name} is already declared", other, manifest.source)
    for name, other in sorted(pools.items()):
        raise _conflict(f"the pool {name} is already declared", other, manifest.source)
    for dataset in manifest.datasets:
        for source, said in sorted(datasets.get(dataset.ref, {}).items()):
            if said != dataset and not said.bare and not dataset.bare:
                what = f"the dataset {dataset.namespace}/{dataset.name} is already declared otherwise"
                raise _conflict(what, source, manifest.source)


def _conflict(what: str, other: str, source: str) -> Conflict:
    return Conflict(
        f"{what} by the source {other!r}, so {source!r} cannot declare it:"
        f" keep it in one of the two; to move it, first declare {other!r} again without it"
    )


def holder(said: Mapping[str, DatasetDefinition]) -> tuple[str, DatasetDefinition] | None:
    """Whose statement of a dataset stands: one that says something before a bare name, then the least source.
    So it does not matter who declared first."""
    if not said:
        return None
    return min(said.items(), key=lambda item: (item[1].bare, item[0]))
