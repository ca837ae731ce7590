"""What is met by plain edges is left out of questions: the answers are those to questions that leave out nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

import psycopg
from hypothesis import HealthCheck, Phase, event, given, settings
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
RULES = (*["all_success"] * 5, "all_done", "one_success", "one_success")
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


class Task(NamedTuple):
    """A task with its edges to nodes."""

    definition: dict[str, Any]
    consumes: list[tuple[int, dict[str, Any]]]
    updates: bool  # what it reads of datasets it writes as well


class World(NamedTuple):
    """What is asked about, and what that waits for."""

    nodes: list[Node]
    tasks: list[Task]


RUNS = [*["succeeded"] * 5, "failed", "skipped", "running"]
FLAGS: list[dict[str, Any]] = [*[{}] * 15, {"branching": True}, {"setup": True}, {"instances": 2}]
CONDITIONS = [*["succeeded"] * 12, "finished", "not_failed", "failed"]
ROLES = [*["upstream"] * 30, "setup", "short_circuit", "mapped_over"]


def worlds(random: Random) -> World:
    """One of many worlds, of which most of the tasks and edges are as most are."""
    return World([_node(random) for _ in range(4)], [_task(random) for _ in range(2)])


def _node(random: Random) -> Node:
    keys = [key for key, often in ((DAY, 0.9), (DAYS[0], 0.6), ("", 0.4)) if random.random() < often]
    return Node(
        kind=random.choice(["task", "task", "dataset"]),
        cut=random.choice([*[DAILY] * 5, None, WHOLE]),
        more=random.choice(FLAGS),
        states={key: _state(random) for key in keys},
        reruns=[key for key in keys if random.random() < 0.1],
    )


def _state(random: Random) -> dict[str, Any]:
    run_state, stale = random.choice(RUNS), random.random() < 0.1
    found: dict[str, Any] = {"run_state": run_state, "evidence": random.choice(["reported"] * 6 + ["inferred"])}
    ended = NOW - timedelta(hours=random.randrange(1, 20))
    found |= {"status": "stale"} if stale and run_state == "succeeded" else {}
    return found | {"started_at": ended - timedelta(minutes=5), "ended_at": ended}


def _task(random: Random) -> Task:
    wanted = random.sample(range(4), random.randrange(2, 5))
    defined: dict[str, Any] = {"trigger_rule": random.choice(RULES)}
    defined |= {"gates": ["audit"]} if random.random() < 0.1 else {}
    return Task(defined, [(node, _edge(random)) for node in wanted], random.random() < 0.1)


def _edge(random: Random) -> dict[str, Any]:
    return {
        "mapping": random.choice(MAPPINGS),
        "required": random.random() < 0.85,
        "staleness": random.choice(["warn", "warn", "block", "ignore"]),
        "condition": {"kind": random.choice(CONDITIONS)},
        "role": random.choice(ROLES),
    }


@contextmanager
def written(database: Database, world: World) -> Iterator[Connection]:
    """The rows of the world, for as long as the block."""
    with psycopg.connect(database.url) as connection:
        ledger = Ledger(connection)
        root = ledger.declared("root")
        ledger.state(root, "succeeded", started_at=NOW - timedelta(hours=11), ended_at=NOW - timedelta(hours=10))
        refs = [_write(ledger, root, f"n{number}", node) for number, node in enumerate(world.nodes)]
        for number, task in enumerate(world.tasks):
            ref = ledger.declared(f"t{number}", **task.definition)
            for each, edge in task.consumes:
                _join(ledger, ref, refs[each], edge, updates=task.updates)
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
        ledger.state(ref, partition=key, **state)
    for key in node.reruns:
        ledger.order(ref, key, "rerun")
    return ref


def _join(ledger: Ledger, task: TaskRef, node: TaskRef | DatasetRef, edge: dict[str, Any], *, updates: bool) -> None:
    """What is asked for before is asked for today as well, where the node has another name for that."""
    if isinstance(node, TaskRef):
        ledger.edge(task, node, **edge)
        return
    ledger.edge(task, node, **{**edge, "role": "upstream"})
    if updates:
        ledger.edge(task, node, "produces")
    elif edge["mapping"]["kind"] == "window":
        ledger.edge(task, DatasetRef("s3", f"{node.name} too"))


class _Whole(Nodes):
    """No edge is plain."""

    def derived(
        self, kind: type[Any], tasks: Collection[int], derive: Callable[[Nodes, Collection[int]], dict[int, Any]]
    ) -> dict[int, Any]:
        found = super().derived(kind, tasks, derive)
        return {task: _whole(each) for task, each in found.items()} if kind is Outline else found


def _whole(outline: Outline) -> Outline:
    rest = [*outline.used, *(edge for edge in outline.rest if edge.relation == "produces")]
    return replace(outline, ways=(), staleness=frozenset(), rest=rest)


ASKED = [Asked(TaskRef("ns", name).id, key) for name in ("t0", "t1") for key in (*DAYS, "", "2026-1-1")]


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.generate],  # a smaller seed makes no smaller world
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_what_is_plainly_there_changes_no_answer(module_database: Database, seed: int) -> None:
    with written(module_database, worlds(Random(seed))) as connection:
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
