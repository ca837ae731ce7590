"""Control events: what a person or a system orders, as JSON.

Each names its verb in `control`, who orders it in `by`, and what it is about: a task or a dataset and its partition, a
domain, a named fact, keys of a dynamic set, or nothing for the whole environment. `mark` and `clear` are about a run of
a task, by its name or that of its partition, as native events name it. What cannot be meant together is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import msgspec

from dataforge.ingest.envelope import check_time
from dataforge.ingest.openlineage import canonical
from dataforge.ingest.redaction import Redaction
from dataforge.ingest.validation import LONGEST_KEY, LONGEST_NAME, name_problem, refusal
from dataforge.model.control import (
    APPROVED,
    CANCELED,
    ENVIRONMENT,
    PAUSED,
    REFUSED,
    Control,
    ControlKey,
    ControlKind,
    ControlSubject,
    Scalar,
    Scope,
)
from dataforge.model.decoding import convert, shorten
from dataforge.model.errors import FieldError
from dataforge.model.event import Event, Facts, Mark
from dataforge.model.mark import CLEARED
from dataforge.model.partition_check import key_problem
from dataforge.model.partition_set import MOST_REGISTERED
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState

Ordering = Literal[
    "pause",
    "cancel",
    "resume",
    "approve",
    "refuse",
    "set",
    "quarantine",
    "release",
    "rerun",
    "withdraw",
    "not_before",
    "register",
    "delist",
]
Marking = Literal["mark", "clear"]  # these speak of a run, as its platform does
WHOLE = "default"  # the run of a task that names neither a run nor a partition
LONGEST_TEXT = 2_000  # characters of a reason, or of a fact's text


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    namespace: str
    name: str


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    time: str
    control: Ordering | Marking
    by: str
    task: _Reference | None = None
    dataset: _Reference | None = None
    domain: str | None = None
    fact: str | None = None
    gate: str | None = None
    set: str | None = None
    keys: list[str] | None = None
    partition: str | None = None
    value: Scalar = None
    until: str | None = None
    run: str | None = None
    state: Literal["succeeded", "failed", "skipped"] | None = None
    reason: str | None = None
    id: str | None = None


class _Rule(NamedTuple):
    """What a verb means and may be about."""

    kind: ControlKind | Literal["mark"]
    value: Scalar
    scopes: tuple[Scope, ...]
    reasoned: bool = False  # it takes something away, so it says why


_HELD: tuple[Scope, ...] = ("task", "domain", "environment")
_RULES: dict[str, _Rule] = {
    "pause": _Rule("hold", PAUSED, _HELD),
    "cancel": _Rule("hold", CANCELED, _HELD, reasoned=True),
    "resume": _Rule("hold", None, _HELD),
    "approve": _Rule("gate", APPROVED, ("task",)),
    "refuse": _Rule("gate", REFUSED, ("task",), reasoned=True),
    "set": _Rule("fact", None, ("fact",)),
    "quarantine": _Rule("quarantine", True, ("task", "dataset"), reasoned=True),
    "release": _Rule("quarantine", False, ("task", "dataset"), reasoned=True),
    "rerun": _Rule("rerun", True, ("task", "dataset"), reasoned=True),
    "withdraw": _Rule("rerun", False, ("task", "dataset"), reasoned=True),  # the order, where no run has begun since
    "not_before": _Rule("not_before", None, ("task",)),
    "mark": _Rule("mark", None, ("task",), reasoned=True),
    "clear": _Rule("mark", None, ("task",), reasoned=True),
    "register": _Rule("key", True, ("set",)),
    "delist": _Rule("key", False, ("set",), reasoned=True),
}


def orders(document: object) -> bool:
    """Whether a decoded document is meant as a control event."""
    return isinstance(document, dict) and "control" in document


def parse(document: object, redaction: Redaction, event_id: bytes | None = None) -> Event:
    """A control event from its decoded JSON. Raises InvalidInput that names what is wrong.

    `event_id` is that of a recorded event, whose body was redacted after it was identified.
    """
    kept = redaction.apply(document)
    shape = convert(kept, _Document, "")
    if isinstance(shape, FieldError):
        raise refusal([shape])
    errors = [*_name_errors(shape), *_meaning_errors(shape)]
    at = check_time("time", shape.time, errors)
    until = check_time("until", shape.until, errors) if shape.until is not None else None
    if errors:
        raise refusal(errors)
    event_id = event_id or _identity(shape, document)
    return Event(event_id, at, "control", "", canonical(kept), _facts(shape, at, until, event_id))


def _facts(shape: _Document, at: datetime, until: datetime | None, event_id: bytes) -> Facts:
    kind = _RULES[shape.control].kind
    if kind == "mark":
        return Facts(marks=(_mark(shape, at, event_id),))
    value = _value(shape, until)
    return Facts(
        controls=tuple(Control(key, value, at, event_id, shape.by, shape.reason) for key in _keys(shape, kind))
    )


def _mark(shape: _Document, at: datetime, event_id: bytes) -> Mark:
    assert shape.task is not None, "what a mark is about has been checked"
    return Mark(
        task=TaskRef(shape.task.namespace, shape.task.name),
        run=shape.run or shape.partition or WHOLE,
        state=RunState(shape.state) if shape.state is not None else CLEARED,
        at=at,
        event=event_id,
        by=shape.by,
        reason=shape.reason,
        partition=shape.partition,
    )


def _identity(shape: _Document, document: object) -> bytes:
    named = canonical({"control": shape.control, "id": shape.id, "time": shape.time})
    return blake2b(named if shape.id else canonical(document), digest_size=16).digest()


def _subjects(shape: _Document) -> list[ControlSubject]:
    found = []
    if shape.task is not None:
        found.append(ControlSubject("task", shape.task.namespace, shape.task.name))
    if shape.dataset is not None:
        found.append(ControlSubject("dataset", shape.dataset.namespace, shape.dataset.name))
    if shape.domain is not None:
        found.append(ControlSubject("domain", "", shape.domain))
    if shape.fact is not None:
        found.append(ControlSubject("fact", "", shape.fact))
    if shape.set is not None:
        found.append(ControlSubject("set", "", shape.set))
    return found or [ENVIRONMENT]


def _keys(shape: _Document, kind: ControlKind) -> list[ControlKey]:
    """What is ordered: of a set each of the keys by itself."""
    subject = _subjects(shape)[0]
    partitions = [shape.partition or ""] if shape.keys is None else sorted(set(shape.keys))
    return [ControlKey(subject, partition, kind, shape.gate or "") for partition in partitions]


def _value(shape: _Document, until: datetime | None) -> Scalar:
    if shape.control == "set":
        return shape.value
    return until.isoformat() if until is not None else _RULES[shape.control].value


def _meaning_errors(shape: _Document) -> Iterator[FieldError]:
    rule, subjects = _RULES[shape.control], _subjects(shape)
    wanted = " or ".join("nothing, for the whole environment" if s == "environment" else f"a {s}" for s in rule.scopes)
    if len(subjects) > 1 or subjects[0].scope not in rule.scopes:
        named = ", ".join(subject.scope for subject in subjects)
        yield FieldError("$", named, f"{wanted}: that is what {shape.control} is about")
    if shape.partition is not None and subjects[0].scope in ("domain", "environment", "set"):
        yield FieldError("partition", shape.partition, f"none: a {subjects[0].scope} has no partitions")
    for field, given, verbs in (
        ("gate", shape.gate, ("approve", "refuse")),
        ("until", shape.until, ("not_before",)),
        ("value", shape.value, ("set",)),
        ("state", shape.state, ("mark",)),
        ("run", shape.run, ("mark", "clear")),
        ("keys", shape.keys, ("register", "delist")),
    ):
        if given is None and shape.control in verbs and field not in ("value", "run"):
            yield FieldError(field, None, f"a value: {shape.control} needs it")
        if given is not None and shape.control not in verbs:
            yield FieldError(field, shorten(given), f"none: it goes with {' and '.join(verbs)}")
    if rule.reasoned and not (shape.reason or "").strip():
        yield FieldError("reason", shape.reason, f"why: {shape.control} is kept with its reason")


def _name_errors(shape: _Document) -> Iterator[FieldError]:
    named: list[tuple[str, Any, int]] = [
        ("by", shape.by, LONGEST_KEY),
        ("domain", shape.domain, LONGEST_NAME),
        ("set", shape.set, LONGEST_NAME),
        ("fact", shape.fact, LONGEST_NAME),
        ("gate", shape.gate, LONGEST_KEY),
        ("partition", shape.partition, LONGEST_KEY),
        ("run", shape.run, LONGEST_KEY),
        ("id", shape.id, 100_000),
    ]
    for field, reference in (("task", shape.task), ("dataset", shape.dataset)):
        if reference is not None:
            named += [
                (f"{field}.namespace", reference.namespace, LONGEST_NAME),
                (f"{field}.name", reference.name, LONGEST_NAME),
            ]
    for field, value, most in named:
        if value is not None and (error := name_problem(field, value, most)):
            yield error
    yield from _key_errors(shape.keys)
    for field, text in (("reason", shape.reason), ("value", shape.value)):
        if isinstance(text, str) and text and (error := name_problem(field, text, LONGEST_TEXT)):
            yield error


def _key_errors(keys: list[str] | None) -> Iterator[FieldError]:
    if keys is None:
        return
    if not 1 <= len(keys) <= MOST_REGISTERED:
        yield FieldError("keys", f"{len(keys)} keys", f"1 to {MOST_REGISTERED:,} keys")
        return
    for index, key in enumerate(keys):
        field = f"keys[{index}]"
        if error := name_problem(field, key, LONGEST_KEY) or key_problem(key, field):
            yield error
