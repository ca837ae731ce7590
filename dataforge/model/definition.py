"""Reading definitions: from what a manifest says (`manifest_text`) to its canonical `Manifest`.

Guarantees that a manifest is refused as a whole (`InvalidInput`), each error with the path of the field, the
value that stands there and what was expected, and that one which passes can be stored.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from dataforge.model import due, partition_check, trigger
from dataforge.model.completeness import Listed
from dataforge.model.decoding import shorten
from dataforge.model.edge import (
    SUCCEEDED,
    Consumes,
    Produces,
    Same,
    condition_problems,
    mapping_problems,
    produced_problems,
)
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.fit import Fits
from dataforge.model.manifest import (
    DatasetDefinition,
    Manifest,
    PoolDefinition,
    TaskDefinition,
    canonical,
)
from dataforge.model.manifest_text import plain_values, read, refusal, untimely
from dataforge.model.mapping import MOST_PARTITIONS
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.stream import LONGEST_LATENESS
from dataforge.model.trigger import Trigger

# A unique index of PostgreSQL holds entries of at most 2,704 bytes; namespace and name share one.
_LONGEST_NAME = 1_200
_Errors = Iterator[FieldError]
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


def parse(document: object, source: str | None = None) -> Manifest:
    """The manifest of JSON bytes, or of what JSON or YAML decodes to; `source` stands in where it names none.

    Raises InvalidInput with everything that is wrong.
    """
    said = read(document)
    tasks, datasets, pools = said.tasks, said.datasets, said.pools
    named = said.source if said.source is not None else source or ""
    errors = [*said.errors, *_time_problems(said.valid_from), *_name_problems(named, "source")]
    errors += [error for field, task in tasks.items() for error in _task_problems(task, field)]
    errors += [error for field, dataset in datasets.items() for error in _dataset_problems(dataset, field)]
    errors += [error for field, pool in pools.items() for error in _name_problems(pool.name, f"{field}.name")]
    errors += _repeats({field: task.ref for field, task in tasks.items()})
    errors += _repeats({field: dataset.ref for field, dataset in datasets.items()})
    errors += _repeats({field: pool.name for field, pool in pools.items()})
    errors += _overdrawn(tasks, pools.values())
    errors = errors or list(_misfits(tasks, datasets.values()))
    if errors:
        raise refusal(errors)
    items = tuple(tasks.values()), tuple(datasets.values()), tuple(pools.values())
    return canonical(Manifest(named, *items, said.valid_from))


def dated(manifest: Manifest, valid_from: datetime) -> Manifest:
    """The manifest as one that holds from this time on, unless it says a time itself. Raises InvalidInput for a time
    that cannot be."""
    if errors := list(_time_problems(valid_from)):
        raise refusal(errors)
    return canonical(replace(manifest, valid_from=manifest.valid_from or valid_from))


def _time_problems(valid_from: datetime | None) -> _Errors:
    if valid_from is not None and not _EARLIEST <= valid_from < _LATEST:
        yield untimely(FieldError("valid_from", valid_from.isoformat(), ""))


def _overdrawn(tasks: Mapping[str, TaskDefinition], pools: Iterable[PoolDefinition]) -> _Errors:
    """Tasks that take more slots than a pool has: they could never run."""
    slots = {pool.name: pool.slots for pool in pools}
    for field, task in tasks.items():
        for name, wanted in task.pools.items():
            if wanted > slots.get(name, wanted):
                expected = f"at most {slots[name]}, the slots of the pool"
                yield FieldError(f"{field}.pools.{name}", wanted, expected)


def parse_named(document: object, source: str) -> Manifest:
    """The manifest of the source of this name, which it may leave out. Raises InvalidInput as `parse` does, and for
    one that names another source."""
    manifest = parse(document, source)
    if manifest.source != source:
        expected = f"{source!r}, as in the path, or no source"
        errors = [FieldError("source", manifest.source, expected)]
        raise InvalidInput(f"source is {manifest.source!r}: expected {expected}", errors)
    return manifest


def parse_task(document: object) -> TaskDefinition:
    """One task, from JSON bytes or what JSON or YAML decodes to. Raises InvalidInput as `parse` does."""
    plain = plain_values(document)
    try:
        return parse({"tasks": [plain]}, "task").tasks[0]
    except InvalidInput as refused:
        errors = [error._replace(field=_within_task(error.field)) for error in refused.errors]
        raise refusal(errors) from None


def _within_task(field: str) -> str:
    return field.removeprefix("tasks[0]").removeprefix(".") or "$"


@lru_cache(maxsize=2**15)  # a dataset is named once for each task that reads it
def _is_name(name: str) -> bool:
    return 0 < len(name.encode()) <= _LONGEST_NAME


def _name_problems(name: str, field: str) -> _Errors:
    if not name:
        yield FieldError(field, name, "a non-empty string")
    elif not _is_name(name):
        yield FieldError(field, shorten(name), f"at most {_LONGEST_NAME} bytes of UTF-8")


def _ref_problems(ref: TaskRef | DatasetRef, field: str) -> _Errors:
    yield from _name_problems(ref.namespace, f"{field}.namespace")
    yield from _name_problems(ref.name, f"{field}.name")


def _repeats(named: Mapping[str, TaskRef | DatasetRef | str]) -> _Errors:
    """Items of the same name: a manifest says what it says of a thing in one place."""
    first: dict[object, str] = {}
    for field, name in named.items():
        if name in first:
            shown = name if isinstance(name, str) else f"{name.namespace}/{name.name}"
            yield FieldError(field, shown, f"each once: {first[name]} is the same")
        first.setdefault(name, field)


def _task_problems(task: TaskDefinition, field: str) -> _Errors:
    yield from _ref_problems(task.ref, field)
    yield from _said_problems(task, field)
    if task.partitioning:
        yield from partition_check.problems(task.partitioning, f"{field}.partitioning")
    if task.run_after is not None and task.run_after < timedelta(0):
        yield FieldError(f"{field}.run_after", str(task.run_after), "a duration of zero or more")
    yield from _lateness_problems(task.lateness, field)
    yield from _due_problems(task, field)
    for name in task.pools:
        yield from _name_problems(name, f"{field}.pools")
    yield from _named_problems(dict(_indexed(f"{field}.gates", task.gates)))
    yield from _named_problems(dict(_indexed(f"{field}.requires", (each.fact for each in task.requires))))
    yield from _consumes_problems(task, field)
    if task.trigger is not None:
        yield from _trigger_problems(task, task.trigger, field)
    for index, produced in enumerate(task.produces):
        yield from _ref_problems(produced.node, f"{field}.produces[{index}]")
        yield from produced_problems(produced.mapping, f"{field}.produces[{index}].mapping")
    yield from _repeats(_by_path(f"{field}.produces", (produced.node for produced in task.produces)))


def _said_problems(item: TaskDefinition | DatasetDefinition, field: str) -> _Errors:
    """What only people read."""
    for index, tag in enumerate(item.tags):
        yield from _name_problems(tag, f"{field}.tags[{index}]")
    for name, link in item.links.items():
        yield from _name_problems(name, f"{field}.links")
        if not re.fullmatch(r"https?://[^\s/]\S*", link):
            yield FieldError(f"{field}.links.{name}", shorten(link), "a URL such as https://wiki.example.com/orders")


def _lateness_problems(lateness: timedelta | None, field: str) -> _Errors:
    if lateness is not None and not timedelta(0) <= lateness <= LONGEST_LATENESS:
        expected = f"a duration from zero to {LONGEST_LATENESS.days} days such as PT15M"
        yield FieldError(f"{field}.lateness", str(lateness), expected)


def _due_problems(item: TaskDefinition | DatasetDefinition, field: str) -> _Errors:
    if item.due is None:
        return
    yield from due.problems(item.due, f"{field}.due")
    cut = item.cut if isinstance(item, TaskDefinition) else item.partitioning
    if cut is not None and not cut.windowed:
        yield FieldError(f"{field}.due", cut.kind, "partitions that are time windows: without an end nothing is due")


def _consumes_problems(task: TaskDefinition, field: str) -> _Errors:
    for index, edge in enumerate(task.consumes):
        if not _is_plain(edge):
            yield from _edge_problems(edge, f"{field}.consumes[{index}]")
    if len({edge.task or edge.dataset for edge in task.consumes}) < len(task.consumes):
        named = {f"{field}.consumes[{index}]": edge.task or edge.dataset for index, edge in enumerate(task.consumes)}
        yield from _repeats({at: node for at, node in named.items() if node is not None})


def _is_plain(edge: Consumes) -> bool:
    """Whether there is nothing about the edge that could be wrong, as there is of most."""
    node = edge.task or edge.dataset
    return (
        node is not None
        and (edge.task is None or edge.dataset is None)
        and _is_name(node.namespace)
        and _is_name(node.name)
        and isinstance(edge.mapping, Same)
        and edge.condition == SUCCEEDED
        and edge.role == "upstream"
    )


def _edge_problems(edge: Consumes, at: str) -> _Errors:
    if (edge.task is None) == (edge.dataset is None):
        yield FieldError(at, "both" if edge.task else "neither", "either a task or a dataset")
        return
    yield from _ref_problems(edge.node, f"{at}.{'task' if edge.task else 'dataset'}")
    yield from mapping_problems(edge.mapping, f"{at}.mapping")
    yield from condition_problems(edge, f"{at}.condition")
    if edge.role != "upstream" and (edge.task is None or edge.condition != SUCCEEDED):
        yield FieldError(f"{at}.role", edge.role, "upstream, for a dataset or an edge with a condition of its own")


def _indexed(field: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((f"{field}[{index}]", name) for index, name in enumerate(names))


def _named_problems(named: Mapping[str, str]) -> _Errors:
    for field, name in named.items():
        yield from _name_problems(name, field)
    yield from _repeats(named)


def _misfits(tasks: Mapping[str, TaskDefinition], datasets: Iterable[DatasetDefinition]) -> _Errors:
    """Mappings that cannot join the partitionings that this manifest itself declares at their two ends."""
    fits = Fits()
    cuts: dict[TaskRef | DatasetRef, Partitioning | None] = {task.ref: fits.one(task.cut) for task in tasks.values()}
    for dataset in datasets:
        cuts |= dict.fromkeys((dataset.ref, *dataset.aliases), fits.one(dataset.partitioning))
    for field, task in tasks.items():
        if ours := cuts[task.ref]:
            for name, edges in (("consumes", task.consumes), ("produces", task.produces)):
                for index, expected in _misfitting(fits, ours, edges, cuts):
                    how = msgspec.to_builtins(edges[index].mapping)
                    yield FieldError(f"{field}.{name}[{index}].mapping", how, expected)


def _misfitting(
    fits: Fits,
    ours: Partitioning,
    edges: Sequence[Consumes | Produces],
    cuts: Mapping[TaskRef | DatasetRef, Partitioning | None],
) -> Iterator[tuple[int, str]]:
    for index, edge in enumerate(edges):
        theirs = cuts.get(edge.node)
        if theirs and (expected := fits.misfit(edge.mapping, ours, theirs)):
            yield index, expected


def _trigger_problems(task: TaskDefinition, said: Trigger, field: str) -> _Errors:
    yield from trigger.problems(said, f"{field}.trigger")
    for ref in sorted(said.datasets):
        yield from _ref_problems(ref, f"{field}.trigger.dataset")
    if task.partitioning is not None and task.partitioning.kind != "none":
        expected = "none, or left out: a run that updates trigger is for no partition"
        yield FieldError(f"{field}.partitioning.kind", task.partitioning.kind, expected)
    if task.run_after is not None:
        expected = "left out: a run that updates trigger has no data interval to run after"
        yield FieldError(f"{field}.run_after", str(task.run_after), expected)


def _by_path(field: str, refs: Iterable[DatasetRef]) -> dict[str, DatasetRef]:
    return {f"{field}[{index}]": ref for index, ref in enumerate(refs)}


def _listed_problems(keys: tuple[str, ...], field: str) -> _Errors:
    if not 1 <= len(keys) <= MOST_PARTITIONS:
        yield FieldError(field, len(keys), f"from 1 to {MOST_PARTITIONS:,} keys; without any, leave complete_when out")
    yield from _named_problems(dict(_indexed(field, keys)))


def _dataset_problems(dataset: DatasetDefinition, field: str) -> _Errors:
    yield from _ref_problems(dataset.ref, field)
    yield from _said_problems(dataset, field)
    if dataset.partitioning:
        yield from partition_check.problems(dataset.partitioning, f"{field}.partitioning")
    if isinstance(dataset.complete_when, Listed):
        yield from _listed_problems(dataset.complete_when.manifest, f"{field}.complete_when.manifest")
    yield from _lateness_problems(dataset.lateness, field)
    yield from _due_problems(dataset, field)
    for index, alias in enumerate(dataset.aliases):
        yield from _ref_problems(alias, f"{field}.aliases[{index}]")
        if alias == dataset.ref:
            yield FieldError(f"{field}.aliases[{index}]", alias.name, "another name than the dataset's own")
