"""Claims of a group beside a twin that claims its members one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.dispatch.claim_each import claim_each
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.claim import Claiming, ClaimingEach, ClaimingTogether, ClaimRefused, Member, Outcome
from dataforge.storage.database import Database
from tests.dispatch.night import DAILY, DAY, LAKE, at, said, task

CONDITIONS = ["succeeded", "succeeded", "succeeded", "finished", "not_failed", "failed", "skipped"]
NUMBERS = range(4)  # the first two write d0, the others d1


def _edge(upstream: int) -> st.SearchStrategy[dict[str, Any]]:
    conditions = st.sampled_from([{"kind": kind} for kind in CONDITIONS])
    task_of = st.fixed_dictionaries({"task": st.just({"namespace": "ns", "name": f"t{upstream}"})})
    return st.builds(lambda task, condition: {**task, "condition": condition}, task_of, conditions)


def _of_dataset() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda staleness: {"dataset": {"namespace": LAKE, "name": "d0"}, "staleness": staleness},
        st.sampled_from(["warn", "block"]),
    )


@st.composite
def _graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The last two may wait for the first two and for what those write; each second one for the one before."""
    found = []
    for number in NUMBERS:
        consumes = [draw(_edge(number - 1))] if number % 2 and draw(st.booleans()) else []
        if number > 1:
            consumes += [draw(_edge(each)) for each in sorted(draw(st.sets(st.sampled_from([0, 1]))))]
            consumes += [draw(_of_dataset())] if draw(st.booleans()) else []
        pools = {"pools": {"spark": draw(st.integers(1, 2))}} if draw(st.booleans()) else {}
        produces = [{"namespace": LAKE, "name": f"d{number // 2}"}]
        found.append(task(f"t{number}") | {"consumes": consumes, "produces": produces} | pools)
    return found


_PAST = st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(["succeeded", "failed", "skipped"])), max_size=3)


def _written(number: int) -> list[dict[str, Any]]:
    return [{"namespace": LAKE, "name": f"d{number // 2}", "partition": DAY}]


def _told(database: Database, graph: list[dict[str, Any]], past: list[tuple[int, str]], *, taken: bool) -> str:
    """A new environment with this graph and this past, one slot of the pool taken by something else or none."""
    name = f"group_{uuid4().hex}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    datasets = [{"namespace": LAKE, "name": f"d{number}", "partitioning": DAILY} for number in range(2)]
    manifest = {
        "source": "night",
        "tasks": [*graph, task("other", pools={"spark": 1})],
        "datasets": datasets,
        "pools": [{"name": "spark", "slots": 2}],
    }
    declare(database, name, definition.parse(manifest))
    events = [
        said(f"t{number}", state, place - 10, run=DAY, attempt=place + 1)
        | ({"outputs": _written(number)} if state == "succeeded" else {})
        for place, (number, state) in enumerate(past)
    ]
    assert record_native(database, name, [json.dumps(each).encode() for each in events], NOTHING).rejected == []
    if taken:
        other = Claiming(name="other", partition=DAY, worker="another", lease_seconds=86_400)
        dispatch.claim(database, name, other, at(-1))
    return name


def _granted(database: Database, environment: str, names: list[str]) -> bool:
    members = tuple(Member(name=name, partition=DAY) for name in names)
    wanted = ClaimingTogether(partitions=members, worker="w", lease_seconds=600)
    try:
        dispatch.claim_together(database, environment, wanted, at(0))
    except ClaimRefused:
        return False
    return True


def _could_run(database: Database, environment: str, names: list[str]) -> bool:
    for minutes, name in enumerate(names):
        wanted = Claiming(name=name, partition=DAY, worker="w", lease_seconds=600)
        try:
            granted = dispatch.claim(database, environment, wanted, at(minutes))
        except ClaimRefused:
            return False
        made = Outcome(outputs=_written(int(name[1:])))
        leases.end(database, environment, UUID(granted.claim), "completed", made, at(minutes + 0.5))
    return True


@settings(max_examples=80, deadline=None)
@given(graph=_graphs(), past=_PAST, group=st.sets(st.sampled_from(NUMBERS), min_size=2), taken=st.booleans())
def test_a_group_is_granted_exactly_when_its_members_could_run_one_after_another(
    module_database: Database, graph: list[dict[str, Any]], past: list[tuple[int, str]], group: set[int], taken: bool
) -> None:
    names = [f"t{number}" for number in sorted(group)]
    at_once, one_by_one = (_told(module_database, graph, past, taken=taken) for _ in range(2))
    assert _granted(module_database, at_once, names) == _could_run(module_database, one_by_one, names)


def _each(database: Database, environment: str, names: list[str]) -> list[bool]:
    members = tuple(Member(name=name, partition=DAY) for name in names)
    wanted = ClaimingEach(partitions=members, worker="w", lease_seconds=600)
    found = claim_each(database, environment, wanted, at(0))
    granted = [each is not None for each in found.granted]
    assert [place for place, given in enumerate(granted) if not given] == [each.place for each in found.refused]
    return granted


def _one_by_one(database: Database, environment: str, names: list[str]) -> Iterator[bool]:
    for name in names:
        yield _grants(database, environment, Claiming(name=name, partition=DAY, worker="w", lease_seconds=600))


@settings(max_examples=80, deadline=None)
@given(graph=_graphs(), past=_PAST, order=st.permutations(NUMBERS), taken=st.booleans())
def test_each_for_itself_is_granted_what_would_be_granted_one_after_another(
    module_database: Database, graph: list[dict[str, Any]], past: list[tuple[int, str]], order: list[int], taken: bool
) -> None:
    names = [f"t{number}" for number in order]
    at_once, in_turn = (_told(module_database, graph, past, taken=taken) for _ in range(2))
    assert _each(module_database, at_once, names) == [*_one_by_one(module_database, in_turn, names)]
    for name in names:  # and what is left of the pools is the same
        wanted = Claiming(name=name, partition="2026-11-02", worker="w", lease_seconds=600)
        assert _grants(module_database, at_once, wanted) == _grants(module_database, in_turn, wanted)


def _grants(database: Database, environment: str, wanted: Claiming) -> bool:
    try:
        dispatch.claim(database, environment, wanted, at(0))
    except ClaimRefused:
        return False
    return True
