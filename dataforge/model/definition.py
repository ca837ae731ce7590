"""Reading definitions: from plain objects, as JSON or YAML decodes them, to its canonical `Manifest`.

Guarantees that a manifest is refused as a whole (`InvalidInput`), each error with the path of the field, the
value that stands there and what was expected, and that one which passes can be stored.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.structs import replace

from dataforge.model import due, partition_check, trigger
from dataforge.model.completeness import Listed
from dataforge.model.decoding import convert, join, of_json, shorten
from dataforge.model.edge import (
    SUCCEEDED,
    TriggerRule,
    condition_problems,
    mapping_problems,
    produced_problems,
    trigger_rule,
)
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.fit import misfit
from dataforge.model.manifest import (
    DatasetDefinition,
    Manifest,
    PoolDefinition,
    TaskDefinition,
    canonical,
)
from dataforge.model.mapping import MOST_PARTITIONS
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.stream import LONGEST_LATENESS
from dataforge.model.trigger import Trigger

# A unique index of PostgreSQL holds entries of at most 2,704 bytes; namespace and name share one.
_LONGEST_NAME = 1_200
MOST_ITEMS = 200_000  # of one manifest: its tasks, datasets, pools and edges; they are in memory at once
_MOST_ERRORS = 100  # shown at once: a manifest of some other format has one for each of its tasks
_Item = TypeVar("_Item", TaskDefinition, DatasetDefinition, PoolDefinition)
_Errors = Iterator[FieldError]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)


class _Lists(msgspec.Struct, forbid_unknown_fields=True):
    """A manifest whose lists are not looked into yet, so that each item is answered for itself."""

    source: str | None = None
    valid_from: _Moment | None = None
    tasks: list[Any] = []
    datasets: list[Any] = []
    pools: list[Any] = []


def parse(document: object, source: str | None = None) -> Manifest:
    """The manifest of JSON bytes, or of what JSON or YAML decodes to; `source` stands in where it names none.

    Raises InvalidInput with everything that is wrong.
    """
    plain = _plain(document)
    lists = convert(plain, _Lists, "")
    if isinstance(lists, FieldError):
        raise _refusal([_untimely(lists) if lists.field == "valid_from" else lists])
    if (declared := _count(lists)) > MOST_ITEMS:
        expected = (
            f"at most {MOST_ITEMS:,} tasks, datasets, pools and edges in one manifest: declare it as several sources"
        )
        raise _refusal([FieldError("$", declared, expected)])
    errors = list(_text_problems(plain, ""))
    errors += _time_problems(lists.valid_from)
    named = lists.source if lists.source is not None else source or ""
    errors += _name_problems(named, "source")
    tasks = _items([_modern(task) for task in lists.tasks], "tasks", TaskDefinition, errors)
    datasets = _items(lists.datasets, "datasets", DatasetDefinition, errors)
    pools = _items(lists.pools, "pools", PoolDefinition, errors)
    errors += [error for field, task in tasks.items() for error in _task_problems(task, field)]
    errors += [error for field, dataset in datasets.items() for error in _dataset_problems(dataset, field)]
    errors += [error for field, pool in pools.items() for error in _name_problems(pool.name, f"{field}.name")]
    errors += _repeats({field: task.ref for field, task in tasks.items()})
    errors += _repeats({field: dataset.ref for field, dataset in datasets.items()})
    errors += _repeats({field: pool.name for field, pool in pools.items()})
    errors += _overdrawn(tasks, pools.values())
    errors = errors or list(_misfits(tasks, datasets.values()))
    if errors:
        raise _refusal(errors)
    items = tuple(tasks.values()), tuple(datasets.values()), tuple(pools.values())
    return canonical(Manifest(named, *items, lists.valid_from))


def _count(lists: _Lists) -> int:
    """How much a manifest declares: its items, and what its tasks consume and produce."""
    edges = (
        task[field]
        for task in lists.tasks
        if isinstance(task, dict)
        for field in ("consumes", "produces")
        if field in task
    )
    items = len(lists.tasks) + len(lists.datasets) + len(lists.pools)
    return items + sum(len(listed) for listed in edges if isinstance(listed, list))


def dated(manifest: Manifest, valid_from: datetime) -> Manifest:
    """The manifest as one that holds from this time on, unless it says a time itself. Raises InvalidInput for a time
    that cannot be."""
    if errors := list(_time_problems(valid_from)):
        raise _refusal(errors)
    return canonical(replace(manifest, valid_from=manifest.valid_from or valid_from))


def _time_problems(valid_from: datetime | None) -> _Errors:
    if valid_from is not None and not _EARLIEST <= valid_from < _LATEST:
        yield _untimely(FieldError("valid_from", valid_from.isoformat(), ""))


def _untimely(error: FieldError) -> FieldError:
    return error._replace(expected="a time of the years 2000 to 2100 with its zone, such as 2026-11-01T06:00:00Z")


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
    plain = _plain(document)
    try:
        return parse({"tasks": [plain]}, "task").tasks[0]
    except InvalidInput as refused:
        errors = [error._replace(field=_within_task(error.field)) for error in refused.errors]
        raise _refusal(errors) from None


def _within_task(field: str) -> str:
    return field.removeprefix("tasks[0]").removeprefix(".") or "$"


def _refusal(errors: list[FieldError]) -> InvalidInput:
    field, value, expected = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidInput(f"{field} is {value!r}: expected {expected}{more}", errors[:_MOST_ERRORS])


def _plain(document: object) -> object:
    """JSON's own types alone: YAML also reads dates, and keys that are no strings."""
    if isinstance(document, bytes):
        return of_json(document)
    try:
        return msgspec.to_builtins(document, str_keys=True)
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        expected = f"an object with tasks, datasets and pools ({error})"
        raise InvalidInput(f"the manifest cannot be read: {error}", [FieldError("$", None, expected)]) from None


def _items(values: list[Any], field: str, kind: type[_Item], errors: list[FieldError]) -> dict[str, _Item]:
    """The items of a list by their path; what is wrong with the others is added to the errors."""
    found: dict[str, _Item] = {}
    for index, value in enumerate(values):
        item = convert(value, kind, f"{field}[{index}]")
        if isinstance(item, FieldError):
            errors.append(_explained(item))
        else:
            found[f"{field}[{index}]"] = item
    return found


def _modern(task: Any) -> Any:
    """The task with its trigger rule in Airflow's present spelling, where it is one of Airflow's at all."""
    spelling = task.get("trigger_rule") if isinstance(task, dict) else None
    rule = trigger_rule(spelling) if isinstance(spelling, str) else None
    return {**task, "trigger_rule": rule.value} if rule else task


_CHOICES = {  # by the end of the path: there msgspec only says that a value is none of those it knows
    r"mapping(\.dimensions.*|\.mapping)*\.kind": "one of same, window, to_date, all, last, fixed, dimension, along,"
    " table",
    r"mapping(\..*)?\.period": "one of day, month, quarter, year",
    r"not_older_than": "an ISO 8601 duration such as P2D",
    r"condition\.kind": "one of succeeded, failed, skipped, not_failed, finished",
    r"condition\.where.*\.op": "one of =, !=, <, <=, >, >=",
    r"partitioning(\.dimensions.*)?\.kind": "one of none, hourly, daily, weekly, monthly, cron, static,"
    " dynamic, product",
    r"trigger_rule": f"one of {', '.join(TriggerRule)}",
    r"run_after": "an ISO 8601 duration such as PT30M",
    r"due\.after": "an ISO 8601 duration such as PT6H",
    r"lateness": "an ISO 8601 duration such as PT15M",
    r"staleness": "one of ignore, warn, block",
    r"equals": "a string, a number, true, false or null",
    r"role": "one of upstream, mapped_over, setup, short_circuit",
    r"complete_when": "all_producers, any_producer, how many producers it takes, from 1 on, or {manifest: [keys]}",
    r"complete_when\.manifest": "a list of the keys that have to have been written",
    r"version": "one of run, reported, content",
}


def _explained(error: FieldError) -> FieldError:
    if error.expected.startswith("Invalid"):
        for ending, choices in _CHOICES.items():
            if re.search(rf"\.{ending}$", error.field):
                return error._replace(expected=choices)
    return error


def _text_problems(value: object, field: str) -> _Errors:
    """NUL characters, which PostgreSQL cannot store, wherever they stand."""
    if isinstance(value, str) and "\0" in value:
        yield FieldError(field or "$", shorten(value.replace("\0", "\\0")), "text without NUL characters")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _text_problems(key, field)
            yield from _text_problems(part, join(field, str(key)))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _text_problems(part, f"{field}[{index}]")


def _name_problems(name: str, field: str) -> _Errors:
    if not name:
        yield FieldError(field, name, "a non-empty string")
    elif len(name.encode()) > _LONGEST_NAME:
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
    named: dict[str, TaskRef | DatasetRef] = {}
    for index, edge in enumerate(task.consumes):
        at = f"{field}.consumes[{index}]"
        if (edge.task is None) == (edge.dataset is None):
            yield FieldError(at, "both" if edge.task else "neither", "either a task or a dataset")
            continue
        named[at] = edge.node
        yield from _ref_problems(edge.node, f"{at}.{'task' if edge.task else 'dataset'}")
        yield from mapping_problems(edge.mapping, f"{at}.mapping")
        yield from condition_problems(edge, f"{at}.condition")
        if edge.role != "upstream" and (edge.task is None or edge.condition != SUCCEEDED):
            yield FieldError(f"{at}.role", edge.role, "upstream, for a dataset or an edge with a condition of its own")
    yield from _repeats(named)


def _indexed(field: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((f"{field}[{index}]", name) for index, name in enumerate(names))


def _named_problems(named: Mapping[str, str]) -> _Errors:
    for field, name in named.items():
        yield from _name_problems(name, field)
    yield from _repeats(named)


def _misfits(tasks: Mapping[str, TaskDefinition], datasets: Iterable[DatasetDefinition]) -> _Errors:
    """Mappings that cannot join the partitionings that this manifest itself declares at their two ends."""
    cuts: dict[TaskRef | DatasetRef, Partitioning | None] = {task.ref: task.cut for task in tasks.values()}
    for dataset in datasets:
        cuts |= dict.fromkeys((dataset.ref, *dataset.aliases), dataset.partitioning)
    for field, task in tasks.items():
        edges = [(f"consumes[{index}]", edge.node, edge.mapping) for index, edge in enumerate(task.consumes)]
        edges += [(f"produces[{index}]", edge.node, edge.mapping) for index, edge in enumerate(task.produces)]
        for at, node, mapping in edges:
            ours, theirs = task.cut, cuts.get(node)
            if ours and theirs and (expected := misfit(mapping, ours, theirs)):
                yield FieldError(f"{field}.{at}.mapping", msgspec.to_builtins(mapping), expected)


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
