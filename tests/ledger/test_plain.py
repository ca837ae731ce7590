"""What is met by plain edges is left out of questions: the answers are those to questions that leave out nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dataforge.ledger.aging import questions
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked
from dataforge.ledger.outline import Outline
from dataforge.model.readiness import Question, decide, obstacle
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import environment as environments
from dataforge.storage.database import Connection, Database
from tests.ledger.readiness_rows import DAILY, DAY, ENVIRONMENT, NOW, Ledger

DAYS = ("2026-10-31", DAY)
WHOLE = {"kind": "none"}
RULES = (*["all_success"] * 4, "all_done", "one_success", "one_success", "none_failed")
MAPPINGS: list[dict[str, Any]] = [
    *[{"kind": "same"}] * 6,
    {"kind": "window", "from": -1, "to": 0},
    {"kind": "window", "from": -1, "to": -1},
    {"kind": "last", "not_older_than": "P3D"},
    {"kind": "fixed", "key": "2026-10-31"},
]


class Node(NamedTuple):
    """A task or a dataset to wait for, and how its partitions stand."""

    kind: str
    cut: dict[str, Any] | None  # of a task None stands for one that was only seen
    more: dict[str, Any]
    states: dict[str, dict[str, Any]]
    reruns: list[str]


class World(NamedTuple):
    """Four nodes, and two tasks with the edges to them."""

    nodes: list[Node]
    tasks: list[tuple[dict[str, Any], list[tuple[int, dict[str, Any]]], bool]]


def rarely(value: Any, otherwise: Any, often: int = 6) -> st.SearchStrategy[Any]:
    return st.sampled_from([*[otherwise] * often, value])


STATES = st.fixed_dictionaries(
    {
        "run_state": st.sampled_from([*["succeeded"] * 6, "failed", "skipped", "running"]),
        "evidence": rarely("inferred", "reported"),
        "status": rarely("stale", None),
        "hours": st.integers(1, 20),
    }
)
FLAGS: list[dict[str, Any]] = [*[{}] * 6, {"branching": True}, {"setup": True}, {"instances": 2}]


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    keys = [key for key, often in ((DAY, 6), (DAYS[0], 2), ("", 1)) if draw(rarely(False, True, often))]
    return Node(
        kind=draw(st.sampled_from(["task", "task", "dataset"])),
        cut=draw(st.sampled_from([*[DAILY] * 5, None, WHOLE])),
        more=draw(st.sampled_from(FLAGS)),
        states={key: draw(STATES) for key in keys},
        reruns=[key for key in keys if draw(rarely(True, False))],
    )


@st.composite
def edges(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mapping": draw(st.sampled_from(MAPPINGS)),
        "required": draw(rarely(False, True)),
        "staleness": draw(st.sampled_from(["warn", "warn", "block", "ignore"])),
        "condition": {"kind": draw(st.sampled_from([*["succeeded"] * 9, "finished", "not_failed", "failed"]))},
    }
    if kind == "task":
        found["role"] = draw(st.sampled_from([*["upstream"] * 9, "setup", "short_circuit", "mapped_over"]))
    return found


@st.composite
def worlds(draw: st.DrawFn) -> World:
    found = draw(st.lists(nodes(), min_size=4, max_size=4))
    tasks = []
    for _ in range(2):
        wanted = draw(st.lists(st.integers(0, 3), min_size=2, max_size=4, unique=True))
        defined = {"trigger_rule": draw(st.sampled_from(RULES)), **draw(rarely({"gates": ["g"]}, {}))}
        joined = [(each, draw(edges(found[each].kind))) for each in wanted]
        tasks.append((defined, joined, draw(rarely(True, False))))
    return World(found, tasks)


@contextmanager
def written(database: Database, world: World) -> Iterator[Connection]:
    """The rows of the world, for as long as the block."""
    with psycopg.connect(database.url) as connection:
        ledger = Ledger(connection)
        root = ledger.declared("root")
        ledger.state(root, "succeeded", started_at=NOW - timedelta(hours=11), ended_at=NOW - timedelta(hours=10))
        refs = [_write(ledger, root, f"n{number}", node) for number, node in enumerate(world.nodes)]
        for number, (defined, joined, updates) in enumerate(world.tasks):
            task = ledger.declared(f"t{number}", **defined)
            for each, edge in joined:
                ledger.edge(task, refs[each], **edge)
                if updates and isinstance(refs[each], DatasetRef):
                    ledger.edge(task, refs[each], "produces")
                elif edge["mapping"]["kind"] == "window" and isinstance(refs[each], DatasetRef):
                    ledger.edge(task, DatasetRef("s3", f"{refs[each].name} too"), staleness="warn")
        yield connection
        connection.rollback()


def _write(ledger: Ledger, root: TaskRef, name: str, node: Node) -> TaskRef | DatasetRef:
    ref: TaskRef | DatasetRef
    if node.kind == "dataset":
        ref = ledger.dataset(name, partitioning=node.cut)
        ledger.dataset(f"{name} too", canonical=ref)
    elif node.cut is None:
        ref = ledger.task(name, partitioning=DAILY, observed={"operator": "BashOperator"})
    else:
        ref = ledger.declared(name, node.cut, **node.more)
        ledger.edge(ref, root)
    for key, state in node.states.items():
        made = {each: state[each] for each in ("evidence", "status") if state[each] is not None}
        if state["run_state"] != "succeeded":
            made.pop("status", None)
        at = NOW - timedelta(hours=state["hours"])
        ledger.state(ref, state["run_state"], key, started_at=at - timedelta(minutes=5), ended_at=at, **made)
    for key in node.reruns:
        ledger.order(ref, key, "rerun")
    return ref


class _Whole(Nodes):
    """No edge is plain."""

    def derived(
        self, kind: type[Any], tasks: Collection[int], derive: Callable[[Nodes, Collection[int]], dict[int, Any]]
    ) -> dict[int, Any]:
        found = super().derived(kind, tasks, derive)
        return {task: _whole(each) for task, each in found.items()} if kind is Outline else found


def _whole(outline: Outline) -> Outline:
    rest = [*outline.used, *(edge for edge in outline.rest if edge.relation == "produces")]
    return replace(outline, plain={}, ways=(), staleness=frozenset(), rest=rest)


ASKED = [Asked(TaskRef("ns", name).id, key) for name in ("t0", "t1") for key in (*DAYS, "", "2026-1-1")]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds())
def test_what_is_plainly_there_changes_no_answer(module_database: Database, world: World) -> None:
    with written(module_database, world) as connection:
        here = environments.find(connection, "dev")
        assert here.id == ENVIRONMENT
        for told in (True, False):
            found, whole = (
                questions(connection, here, ASKED, NOW, explain=told, warn=told, nodes=kind(connection, here.id))
                for kind in (Nodes, _Whole)
            )
            event(f"left out: {sum(len(whole[e].upstreams) - len(found[e].upstreams) for e in ASKED) > 0}")
            for each in ASKED:
                _alike(found[each], whole[each])


def _alike(found: Question, whole: Question) -> None:
    assert decide(found) == decide(whole)
    assert obstacle(found) == obstacle(whole)
