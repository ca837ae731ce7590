"""Claims of a group beside a twin that claims its members one after another."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.dispatch import claim as dispatch
from dataforge.dispatch import lease as leases
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.claim import Claiming, ClaimingTogether, ClaimRefused, Member, Outcome
from dataforge.storage.database import Database
from tests.dispatch.night import DAILY, DAY, LAKE, at, said, task

CONDITIONS = ["succeeded", "succeeded", "succeeded", "finished", "not_failed", "failed", "skipped"]
NUMBERS = range(6)


def _edge(upstream: int) -> st.SearchStrategy[dict[str, Any]]:
    of_task = {"task": {"namespace": "ns", "name": f"t{upstream}"}}
    of_dataset = {"dataset": {"namespace": LAKE, "name": f"d{upstream // 2}"}}  # of two producers each
    return st.one_of(
        st.builds(lambda condition: of_task | {"condition": {"kind": condition}}, st.sampled_from(CONDITIONS)),
        st.builds(lambda staleness: of_dataset | {"staleness": staleness}, st.sampled_from(["warn", "block"])),
    )


@st.composite
def _graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for number in NUMBERS:
        far = draw(st.sets(st.sampled_from(range(number // 2 * 2)), max_size=3)) if number > 1 else set()
        edges = [draw(_edge(each)) for each in sorted(far)]
        consumes = [*{str(edge.get("task", edge.get("dataset"))): edge for edge in edges}.values()]
        if number % 2 and draw(st.booleans()):  # the other of the two that write the same
            consumes.append({"task": {"namespace": "ns", "name": f"t{number - 1}"}})
        produces = [{"namespace": LAKE, "name": f"d{number // 2}"}]
        pools = {"pools": {"spark": draw(st.integers(1, 2))}} if draw(st.booleans()) else {}
        found.append(task(f"t{number}") | {"consumes": consumes, "produces": produces} | pools)
    return found


_PAST = st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(["succeeded", "failed", "skipped"])), max_size=6)


def _written(number: int) -> list[dict[str, Any]]:
    return [{"namespace": LAKE, "name": f"d{number // 2}", "partition": DAY}]


def _told(database: Database, graph: list[dict[str, Any]], past: list[tuple[int, str]], *, taken: bool) -> str:
    """A new environment with this graph and this past, one slot of the pool taken by something else or none."""
    name = f"group_{uuid4().hex}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    datasets = [{"namespace": LAKE, "name": f"d{number}", "partitioning": DAILY} for number in range(3)]
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


@settings(max_examples=40, deadline=None)
@given(graph=_graphs(), past=_PAST, group=st.sets(st.sampled_from(NUMBERS), min_size=1), taken=st.booleans())
def test_a_group_is_granted_exactly_when_its_members_could_run_one_after_another(
    module_database: Database, graph: list[dict[str, Any]], past: list[tuple[int, str]], group: set[int], taken: bool
) -> None:
    names = [f"t{number}" for number in sorted(group)]
    at_once, one_by_one = (_told(module_database, graph, past, taken=taken) for _ in range(2))
    assert _granted(module_database, at_once, names) == _could_run(module_database, one_by_one, names)
