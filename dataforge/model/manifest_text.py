"""The text of a manifest: JSON bytes, or what JSON or YAML decodes to, as items by their path.

Guarantees that each item is answered for itself, and that text which the database cannot store does not pass.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from dataforge.model.decoding import convert, join, of_json, shorten
from dataforge.model.edge import TriggerRule, trigger_rule
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import DatasetDefinition, PoolDefinition, TaskDefinition

MOST_ITEMS = 200_000  # of one manifest: its tasks, datasets, pools and edges; they are in memory at once
_MOST_ERRORS = 100  # shown at once: a manifest of some other format has one for each of its tasks
_Item = TypeVar("_Item", TaskDefinition, DatasetDefinition, PoolDefinition)
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Lists(msgspec.Struct, forbid_unknown_fields=True):
    """A manifest whose lists are not looked into yet, so that each item is answered for itself."""

    source: str | None = None
    valid_from: _Moment | None = None
    tasks: list[Any] = []
    datasets: list[Any] = []
    pools: list[Any] = []


class _Whole(msgspec.Struct, forbid_unknown_fields=True):
    """A manifest that is read at once."""

    source: str | None = None
    valid_from: _Moment | None = None
    tasks: list[TaskDefinition] = []
    datasets: list[DatasetDefinition] = []
    pools: list[PoolDefinition] = []


class Read(msgspec.Struct):
    """What a manifest says, its items by their path, and what is wrong with those that are left out."""

    source: str | None
    valid_from: datetime | None
    tasks: dict[str, TaskDefinition]
    datasets: dict[str, DatasetDefinition]
    pools: dict[str, PoolDefinition]
    errors: list[FieldError]


def read(document: object) -> Read:
    """What a manifest says. Raises InvalidInput for one of another shape, and for one that is too large."""
    return _at_once(document) or _one_by_one(document)


def _at_once(document: object) -> Read | None:
    """JSON that has the shape of a manifest, read without an object for each of its values; None of any other, which
    takes twice the time and says what is wrong."""
    if not isinstance(document, bytes) or b"\\u0000" in document:  # JSON spells NUL in this way alone
        return None
    try:
        whole = msgspec.json.decode(document, type=_Whole)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    items = len(whole.tasks) + len(whole.datasets) + len(whole.pools)
    _refuse_too_many(items + sum(len(task.consumes) + len(task.produces) for task in whole.tasks))
    return Read(
        source=whole.source,
        valid_from=whole.valid_from,
        tasks={f"tasks[{index}]": item for index, item in enumerate(whole.tasks)},
        datasets={f"datasets[{index}]": item for index, item in enumerate(whole.datasets)},
        pools={f"pools[{index}]": item for index, item in enumerate(whole.pools)},
        errors=[],
    )


def _one_by_one(document: object) -> Read:
    plain = plain_values(document)
    lists = convert(plain, _Lists, "")
    if isinstance(lists, FieldError):
        raise refusal([untimely(lists) if lists.field == "valid_from" else lists])
    _refuse_too_many(_count(lists))
    errors = list(_text_problems(plain, ""))
    tasks = _items([_modern(task) for task in lists.tasks], "tasks", TaskDefinition, errors)
    datasets = _items(lists.datasets, "datasets", DatasetDefinition, errors)
    pools = _items(lists.pools, "pools", PoolDefinition, errors)
    return Read(lists.source, lists.valid_from, tasks, datasets, pools, errors)


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


def _refuse_too_many(declared: int) -> None:
    if declared > MOST_ITEMS:
        expected = (
            f"at most {MOST_ITEMS:,} tasks, datasets, pools and edges in one manifest: declare it as several sources"
        )
        raise refusal([FieldError("$", declared, expected)])


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


def _text_problems(value: object, field: str) -> Iterator[FieldError]:
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


def plain_values(document: object) -> object:
    """JSON's own types alone: YAML also reads dates, and keys that are no strings."""
    if isinstance(document, bytes):
        return of_json(document)
    try:
        return msgspec.to_builtins(document, str_keys=True)
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        expected = f"an object with tasks, datasets and pools ({error})"
        raise InvalidInput(f"the manifest cannot be read: {error}", [FieldError("$", None, expected)]) from None


def untimely(error: FieldError) -> FieldError:
    """The error as that of a time."""
    return error._replace(expected="a time of the years 2000 to 2100 with its zone, such as 2026-11-01T06:00:00Z")


def refusal(errors: list[FieldError]) -> InvalidInput:
    """The error that names the first of these, how many there are, and some of them."""
    field, value, expected = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidInput(f"{field} is {value!r}: expected {expected}{more}", errors[:_MOST_ERRORS])
