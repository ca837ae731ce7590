"""What people declare: the manifest of one source with its tasks, datasets and pools.

Guarantees that a `Manifest` holds only what can be stored, that two manifests which mean the same are equal
(the order of lists and of keys and the spelling of defaults do not matter), and that the version of a task is
a hash of what it means.
"""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from dataforge.model import trigger
from dataforge.model.completeness import CompleteWhen, Listed
from dataforge.model.control import Scalar
from dataforge.model.due import Due
from dataforge.model.edge import Consumes, Produces, TriggerRule, canonical_condition, canonical_mapping
from dataforge.model.partition import NONE, Partitioning
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.shard import Tolerance
from dataforge.model.trigger import Trigger

_Slots = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Wanted = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Cost = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
_Priority = Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)]


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An external condition: a named fact, which a person or a system sets, has to have a value."""

    fact: str
    equals: Scalar = True
    each_partition: bool = False  # set for each partition of the task by itself, not once for all


class TaskDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One task. Where a field is None nobody has declared it, and what was observed counts."""

    namespace: str
    name: str
    platform: str | None = None
    owner: str | None = None
    domain: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    links: dict[str, str] = {}  # pages about it, by what each is: a run book, its code
    partitioning: Partitioning | None = None
    trigger_rule: TriggerRule | None = None
    run_after: timedelta | None = None  # after the end of the data interval
    lateness: timedelta | None = None  # of a streaming task: how long after its end a window is still open
    due: Due | None = None  # by when the runs for each time window are to have ended
    trigger: Trigger | None = None  # the datasets whose updates it runs on; then it has no partitions
    setup: bool = False  # an Airflow setup task
    branching: bool = False  # it decides which of the tasks behind it are skipped
    instances: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None  # of a mapped task, where it is known
    pools: dict[str, _Wanted] = {}  # slots that a run takes, by pool
    priority: _Priority = 0  # of what may run now the greater is announced first
    cost: _Cost = 1.0  # of a run, in units of one's own: the budgets of backfills count it
    gates: tuple[str, ...] = ()  # approvals that a person has to give for each partition
    requires: tuple[Requirement, ...] = ()
    shards: Tolerance | None = None  # how many of a run's shards may have failed or be missing; none unless it says so
    consumes: tuple[Consumes, ...] = ()
    produces: tuple[Produces, ...] = ()

    @property
    def ref(self) -> TaskRef:
        return TaskRef(self.namespace, self.name)

    @property
    def cut(self) -> Partitioning | None:
        """How it is cut as far as the definition says: what updates trigger has no partitions."""
        return self.partitioning or (NONE if self.trigger is not None else None)


class DatasetDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One dataset, and the other names it goes by."""

    namespace: str
    name: str
    owner: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    links: dict[str, str] = {}
    partitioning: Partitioning | None = None
    complete_when: CompleteWhen = "all_producers"  # of a partition that several runs make: `model.completeness`
    # What makes a new version: each success of a run, what the producer reports, or a change of the content.
    version: Literal["run", "reported", "content"] = "run"
    lateness: timedelta | None = None  # of what a stream writes, in the place of its task's
    due: Due | None = None  # by when each of its time windows is to be there
    aliases: tuple[DatasetRef, ...] = ()

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef(self.namespace, self.name)

    @property
    def bare(self) -> bool:
        """Whether it says no more than that the dataset exists; such a statement contradicts no other."""
        return self == DatasetDefinition(self.namespace, self.name)


class PoolDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A concurrency limit that tasks of any source may name."""

    name: str
    slots: _Slots


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that one source declares, each list sorted by name."""

    source: str
    tasks: tuple[TaskDefinition, ...] = ()
    datasets: tuple[DatasetDefinition, ...] = ()
    pools: tuple[PoolDefinition, ...] = ()
    valid_from: datetime | None = None  # from when on it holds; None: from its receipt. No part of the content


def named(manifest: Manifest) -> set[TaskRef | DatasetRef]:
    """Every task and dataset that the manifest speaks of, declared there or not."""
    found: set[TaskRef | DatasetRef] = {task.ref for task in manifest.tasks}
    found |= {edge.node for task in manifest.tasks for edge in task.consumes}
    found |= {edge.node for task in manifest.tasks for edge in task.produces}
    found |= {ref for task in manifest.tasks if task.trigger for ref in task.trigger.datasets}
    found |= {ref for dataset in manifest.datasets for ref in (dataset.ref, *dataset.aliases)}
    return found


def canonical(manifest: Manifest) -> Manifest:
    """The manifest with every list in its one order and every mapping in its one spelling."""
    return Manifest(
        source=manifest.source,
        tasks=tuple(sorted(map(_canonical_task, manifest.tasks), key=lambda task: task.ref)),
        datasets=tuple(sorted(map(_canonical_dataset, manifest.datasets), key=lambda dataset: dataset.ref)),
        pools=tuple(sorted(manifest.pools, key=lambda pool: pool.name)),
        valid_from=manifest.valid_from.astimezone(UTC) if manifest.valid_from else None,
    )


def _canonical_task(task: TaskDefinition) -> TaskDefinition:
    return replace(
        task,
        tags=tuple(sorted(set(task.tags))),
        links=dict(sorted(task.links.items())),
        trigger=trigger.canonical(task.trigger) if task.trigger else None,
        pools=dict(sorted(task.pools.items())),
        gates=tuple(sorted(task.gates)),
        requires=tuple(sorted(task.requires, key=lambda required: required.fact)),
        consumes=tuple(sorted(map(_canonical_consumes, task.consumes), key=_place)),
        produces=tuple(sorted(map(_canonical_produces, task.produces), key=lambda edge: (edge.namespace, edge.name))),
    )


def _canonical_consumes(edge: Consumes) -> Consumes:
    mapping, condition = canonical_mapping(edge.mapping), canonical_condition(edge.condition)
    alike = mapping is edge.mapping and condition is edge.condition
    return edge if alike else replace(edge, mapping=mapping, condition=condition)


def _canonical_produces(edge: Produces) -> Produces:
    mapping = canonical_mapping(edge.mapping)
    return edge if mapping is edge.mapping else replace(edge, mapping=mapping)


def _place(edge: Consumes) -> tuple[bool, str, str]:
    node = edge.node
    return (edge.task is None, node.namespace, node.name)


def _canonical_dataset(dataset: DatasetDefinition) -> DatasetDefinition:
    when = dataset.complete_when
    if isinstance(when, Listed):
        when = Listed(tuple(sorted(set(when.manifest))))
    return replace(
        dataset,
        complete_when=when,
        tags=tuple(sorted(set(dataset.tags))),
        links=dict(sorted(dataset.links.items())),
        aliases=tuple(sorted(set(dataset.aliases))),
    )


def to_json(definition: Manifest | TaskDefinition | DatasetDefinition) -> dict[str, Any]:
    """The shape that is stored and shown: what differs from the defaults. Of a manifest its content alone."""
    shape: dict[str, Any] = msgspec.to_builtins(definition)
    if isinstance(definition, Manifest):
        del shape["valid_from"]
    return shape


def content(manifest: Manifest) -> str:
    """The same shape of a manifest as JSON."""
    whole = {"source": manifest.source, "tasks": manifest.tasks, "datasets": manifest.datasets, "pools": manifest.pools}
    return msgspec.json.encode(whole).decode()


def stored_manifest(shape: object) -> Manifest:
    """The manifest that `to_json` gave."""
    return msgspec.convert(shape, Manifest)


def stored_dataset(shape: object) -> DatasetDefinition:
    """The dataset that `to_json` gave."""
    return msgspec.convert(shape, DatasetDefinition)


def version(task: TaskDefinition) -> bytes:
    """The 16 bytes that identify this definition of the task, whoever declares it and whenever."""
    return blake2b(msgspec.json.encode(task, order="deterministic"), digest_size=16).digest()
