"""Dynamic sets: keys are registered or observed, `all` asks for those that a set holds, and wakes whoever waits."""

from __future__ import annotations

import json
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.dispatch.announce import announce
from dataforge.dispatch.partition_set import register
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.declare import declare
from dataforge.ledger.partition_set import keys
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import InvalidInput
from dataforge.model.partition_set import KeyFilter, Registering
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database
from tests.dispatch.night import DAY, LAKE, at, codes, declared, ordered, recorded, said, task

CLIENTS = {"kind": "dynamic", "set": "clients"}
BOTH = {"kind": "product", "dimensions": {"client": CLIENTS, "date": {"kind": "daily", "start": DAY}}}
ALL: dict[str, Any] = {"mapping": {"kind": "all"}}
_environments = count()


def _client(name: str, **more: Any) -> dict[str, Any]:
    return task(name, partitioning=CLIENTS, **more)


def _summary(**more: Any) -> dict[str, Any]:
    return task("summary", consumes=[{"task": {"namespace": "ns", "name": "load"}, **ALL}], **more)


def _register(database: Database, *names: str, off: tuple[str, ...] = (), minutes: float = 0) -> None:
    register(database, "dev", "clients", Registering(names, off, "anna@example.com", "as agreed"), at(minutes))


def _asked(database: Database, name: str, key: str = DAY, minutes: float = 60) -> Verdict:
    return verdict(database, "dev", Named(name, None, key), at(minutes))


def _listed(database: Database) -> list[tuple[str, bool, bool]]:
    return [(each.key, each.listed, each.observed) for each in keys(database, "dev", "clients", KeyFilter()).items]


def _announced(database: Database) -> list[str]:
    while announce(database, "dev", at(60)):
        pass
    return sorted(f"{item.task.name} {item.partition or ''}" for item in waiting(database, "dev", 1_000, at(60)).items)


def test_all_of_a_set_waits_for_what_was_registered_and_for_what_was_observed(database: Database) -> None:
    declared(database, _client("load"), _summary())
    empty = _asked(database, "summary")
    assert codes(empty) == ["partition_unknown"]
    assert "the set clients holds no key yet" in empty.reasons[0].message
    _register(database, "acme")
    recorded(database, said("load", "running", 1, partition="globex"))
    waits = _asked(database, "summary")
    assert [(each.code.value, each.partition) for each in waits.reasons] == [
        ("upstream_missing", "acme"),
        ("upstream_running", "globex"),
    ]
    recorded(database, said("load", "succeeded", 2, partition="globex"))
    recorded(database, said("load", "succeeded", 2, partition="acme"))
    assert _asked(database, "summary").runnable
    assert _listed(database) == [("acme", True, True), ("globex", True, True)]


def test_what_one_task_shows_of_a_set_every_other_of_it_has(database: Database) -> None:
    declared(database, _client("load"), _client("other"), _summary())
    recorded(database, said("other", "succeeded", 0, partition="acme"))
    assert [each.partition for each in _asked(database, "summary").reasons] == ["acme"]


def test_a_key_that_is_taken_off_is_asked_for_no_more_until_it_is_registered_again(database: Database) -> None:
    declared(database, _client("load"), _summary())
    recorded(database, said("load", "succeeded", 0, partition="acme"), said("load", "failed", 0, partition="globex"))
    assert codes(_asked(database, "summary")) == ["upstream_failed"]
    _register(database, off=("globex",), minutes=1)
    assert _asked(database, "summary").runnable
    recorded(database, said("load", "failed", 2, partition="globex", run="again"))
    assert _asked(database, "summary").runnable  # only who registers it says that it is back
    assert _listed(database) == [("acme", True, True), ("globex", False, True)]
    _register(database, "globex", minutes=3)
    assert codes(_asked(database, "summary")) == ["upstream_failed"]


def test_of_two_dimensions_the_dynamic_one_is_all_of_the_set(database: Database) -> None:
    per_client = {"kind": "dimension", "dimensions": {"client": {"kind": "all"}}}
    declared(
        database,
        task("load", partitioning=BOTH),
        task("summary", consumes=[{"task": {"namespace": "ns", "name": "load"}, "mapping": per_client}]),
    )
    recorded(database, said("load", "succeeded", 0, partition="acme|2026-11-06"))
    _register(database, "globex")
    assert [each.partition for each in _asked(database, "summary").reasons] == [f"acme|{DAY}", f"globex|{DAY}"]


def test_a_registered_key_wakes_its_own_partitions(database: Database) -> None:
    declared(database, task("rates", partitioning={"kind": "none"}), _client("load"), task("daily", partitioning=BOTH))
    _register(database, "acme")
    assert _announced(database) == [f"daily acme|{DAY}", "load acme"]


def test_whoever_waits_for_all_is_woken_and_held_back_as_the_set_shrinks_and_grows(database: Database) -> None:
    declared(database, _client("load"), _summary())
    recorded(database, said("load", "succeeded", 0, partition="acme"), said("load", "failed", 0, partition="globex"))
    assert f"summary {DAY}" not in _announced(database)
    _register(database, off=("globex",), minutes=1)
    assert f"summary {DAY}" in _announced(database)
    _register(database, "initech", minutes=2)
    assert f"summary {DAY}" not in _announced(database)


def test_a_set_grown_by_another_task_holds_back_who_waits_for_all_of_it(database: Database) -> None:
    declared(database, _client("load"), _client("other"), _summary())
    recorded(database, said("load", "succeeded", 0, partition="acme"))
    assert f"summary {DAY}" in _announced(database)
    recorded(database, said("other", "succeeded", 1, partition="globex"))
    assert f"summary {DAY}" not in _announced(database)


def test_pages_hold_every_key_once(database: Database) -> None:
    _register(database, *(f"c{number:02}" for number in range(7)))
    found, cursor = [], None
    while True:
        page = keys(database, "dev", "clients", KeyFilter(limit=3, cursor=cursor))
        found += [each.key for each in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert found == [f"c{number:02}" for number in range(7)]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Registering(), "register"),
        (Registering(("a",), ("a",), "me", "why"), "delist"),
        (Registering((), ("a",), "me"), "reason"),
        (Registering(("a|b",)), "keys[0]"),
        (Registering(("",)), "keys[0]"),
        (Registering(tuple(map(str, range(10_001)))), "keys"),
    ],
)
def test_what_is_no_key_is_refused_by_its_field(database: Database, wanted: Registering, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(database, "dev", "clients", wanted, at(0))
    assert [error.field for error in refused.value.errors] == [field]


@pytest.mark.parametrize(
    "event", [{"keys": ["a"]}, {"set": "s"}, {"set": "s", "keys": []}, {"set": "s", "keys": ["a"], "partition": "p"}]
)
def test_an_order_of_keys_names_the_set_and_its_keys_alone(database: Database, event: dict[str, Any]) -> None:
    body = json.dumps(ordered("register", 0, **event)).encode()
    assert len(record_native(database, "dev", [body], NOTHING).rejected) == 1


class _Step(NamedTuple):
    """One fact or definition of a small world: two tasks of one set, of which the second may be cut otherwise."""

    kind: str
    key: str
    minute: int


_STEPS = st.lists(
    st.builds(
        _Step,
        st.sampled_from(["register", "delist", "load", "other", "write", "cut", "uncut"]),
        st.sampled_from(["acme", "globex", "initech"]),
        st.integers(0, 20),
    ),
    max_size=12,
    unique_by=lambda step: (step.kind in ("cut", "uncut"), step.minute),
)


def _manifest(step: _Step | None) -> Any:
    shapes: dict[str, Any] = {"other": CLIENTS, "dataset": CLIENTS}
    if step is not None and step.kind == "uncut":
        shapes = {"other": {"kind": "static", "keys": ["acme", "globex", "initech"]}, "dataset": None}
    lake = {"namespace": LAKE, "name": "orders"}
    cut = {"partitioning": shapes["dataset"]} if shapes["dataset"] else {}
    said_from = {} if step is None else {"valid_from": at(-100 + step.minute).isoformat()}
    tasks = [_client("load"), {**task("other"), "partitioning": shapes["other"]}]
    return definition.parse({"source": "night", "tasks": tasks, "datasets": [{**lake, **cut}], **said_from})


def _event(step: _Step) -> dict[str, Any]:
    if step.kind in ("register", "delist"):
        return ordered(step.kind, step.minute, set="clients", keys=[step.key], reason="r")
    if step.kind == "write":
        written = [{"namespace": LAKE, "name": "orders", "partition": step.key}]
        return said("writer", "succeeded", step.minute, run=f"w{step.minute}", partition="p", outputs=written)
    return said(step.kind, "succeeded", step.minute, run=f"{step.kind}{step.minute}", partition=step.key)


def _twin(steps: list[_Step]) -> list[tuple[str, bool, bool]]:
    """The rule, as one would write it without a database."""
    declared = [step for step in steps if step.kind in ("cut", "uncut")]
    last = max(declared, key=lambda step: step.minute, default=None)
    showing = {"load"} if last is not None and last.kind == "uncut" else {"load", "other", "write"}
    observed = {step.key for step in steps if step.kind in showing}
    orders: dict[str, _Step] = {}
    for step in steps:
        if step.kind in ("register", "delist") and step.minute >= orders.get(step.key, step).minute:
            orders[step.key] = step
    return [
        (key, key not in orders or orders[key].kind == "register", key in observed)
        for key in sorted(observed | orders.keys())
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, random=st.randoms(use_true_random=False))
def test_a_set_holds_the_same_keys_whatever_came_first(database: Database, steps: list[_Step], random: Any) -> None:
    digests = []
    for _ in range(2):
        name = f"world-{next(_environments)}"
        with database.transaction() as connection:
            connection.execute("insert into environment (name) values (%s)", [name])
        order = random.sample(steps, len(steps))
        first_definition = random.randint(0, len(order))
        for place, step in enumerate([*order, *random.sample(order, len(order) // 3)]):
            if place == first_definition:
                declare(database, name, _manifest(_Step("cut", "", -50)))
            if step.kind in ("cut", "uncut"):
                declare(database, name, _manifest(step))
            else:
                body = json.dumps(_event(step)).encode()
                assert record_native(database, name, [body], NOTHING).rejected == []
        if first_definition == len(order):
            declare(database, name, _manifest(_Step("cut", "", -50)))
        found = [(each.key, each.listed, each.observed) for each in keys(database, name, "clients", KeyFilter()).items]
        assert found == _twin(steps)
        digests.append(digest(database, name))
    assert digests[0] == digests[1]


def test_what_is_observed_is_rebuilt_from_its_events(database: Database) -> None:
    declared(database, _client("load"), _summary())
    recorded(database, said("load", "succeeded", 0, partition="acme"))
    _register(database, "globex", off=("initech",))
    assert verify(database, "dev").difference is None
