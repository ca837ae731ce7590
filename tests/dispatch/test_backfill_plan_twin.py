"""Plans beside a twin that walks from partition to partition, and does its own arithmetic of days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.dispatch import backfill as dispatch
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.backfill import Backfilling, Direction, Plan, Target
from dataforge.storage.database import Database
from tests.dispatch.night import LAKE, at, said

FIRST, LAST = 1, 4
DAYS = range(FIRST, LAST + 1)
MOST = 5  # tasks
Spot = tuple[int, int]  # a task, and a day


class Edge(NamedTuple):
    """By an edge a day needs those from so many days before to so many, of another task or of the dataset it writes."""

    above: int
    first: int
    last: int
    of_task: bool
    required: bool


class World(NamedTuple):
    edges: list[list[Edge]]  # of each task
    past: dict[Spot, str]  # how runs ended


@st.composite
def _worlds(draw: st.DrawFn) -> World:
    edges: list[list[Edge]] = []
    for number in range(draw(st.integers(2, MOST))):
        above = sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else []
        mine = [Edge(each, *draw(_WINDOWS), draw(st.booleans()), draw(_MOSTLY)) for each in above]
        mine += [Edge(number, -1, -1, of_task=True, required=True)] if draw(st.integers(0, 3)) == 0 else []
        edges.append(mine)
    spots = st.tuples(st.integers(0, len(edges) - 1), st.sampled_from(DAYS))
    return World(edges, draw(st.dictionaries(spots, st.sampled_from(["succeeded", "succeeded", "failed"]))))


_WINDOWS = st.sampled_from([(0, 0), (0, 0), (-1, 0), (-1, -1), (-2, 0)])
_MOSTLY = st.sampled_from([True, True, True, False])


class Twin:
    """What a plan has to be, asked of each partition by itself."""

    def __init__(self, world: World, wanted: Backfilling) -> None:
        self._world, self._overwrite = world, wanted.overwrite
        self.spots = {(int(target.name[1:]), int(key[-1])) for target in wanted.targets for key in target.partitions}
        if wanted.direction in ("downstream", "both"):
            self._go_down()
        if wanted.direction in ("upstream", "both"):
            self._go_up()
        self._waves: dict[Spot, int] = {}

    def _needs(self, spot: Spot) -> Iterator[tuple[Edge, Spot]]:
        task, day = spot
        for edge in self._world.edges[task]:
            for other in range(day + edge.first, day + edge.last + 1):
                if other in DAYS:
                    yield edge, (edge.above, other)

    def _go_down(self) -> None:
        everything = [(task, day) for task in range(len(self._world.edges)) for day in DAYS]
        size = 0
        while size != len(self.spots):
            size = len(self.spots)
            self.spots |= {spot for spot in everything if any(need in self.spots for _, need in self._needs(spot))}

    def _go_up(self) -> None:
        new = set(self.spots)
        while new:
            wanted = {need for spot in new if self._itself(spot) for _, need in self._needs(spot)}
            new = {spot for spot in wanted if self._itself(spot)} - self.spots
            self.spots |= new

    def _good(self, spot: Spot) -> bool:
        return self._world.past.get(spot) == "succeeded"

    def _itself(self, spot: Spot) -> bool:
        return self._overwrite == "always" or not self._good(spot)

    def wave(self, spot: Spot) -> int:
        """0 of what is not built."""
        if spot not in self._waves:
            above = [self.wave(need) for _, need in self._needs(spot) if need in self.spots]
            self._waves[spot] = max(above, default=0) + 1 if self._itself(spot) else 0
        return self._waves[spot]

    def waits(self, spot: Spot) -> bool:
        """Whether something that it needs is not there, and not built either."""
        return any(
            edge.required and not self._good(need) and not (need in self.spots and self.wave(need))
            for edge, need in self._needs(spot)
        )


def _key(day: int) -> str:
    return f"2026-11-0{day}"


def _task(number: int, edges: list[Edge]) -> dict[str, Any]:
    consumes = [
        {
            **(
                {"task": {"namespace": "ns", "name": f"t{edge.above}"}}
                if edge.of_task
                else {"dataset": {"namespace": LAKE, "name": f"d{edge.above}"}}
            ),
            "mapping": {"kind": "window", "from": edge.first, "to": edge.last},
            "required": edge.required,
        }
        for edge in edges
    ]
    produces = [{"namespace": LAKE, "name": f"d{number}"}]
    return {"namespace": "ns", "name": f"t{number}", "partitioning": _CUT, "consumes": consumes, "produces": produces}


_CUT = {"kind": "daily", "start": _key(FIRST), "end": _key(LAST + 1)}


def _told(database: Database, world: World) -> str:
    name = f"plan_{uuid4().hex}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    tasks = [_task(number, edges) for number, edges in enumerate(world.edges)]
    datasets = [{"namespace": LAKE, "name": f"d{each}", "partitioning": _CUT} for each in range(len(tasks))]
    declare(database, name, definition.parse({"source": "plan", "tasks": tasks, "datasets": datasets}))
    events = [_event(spot, state) for spot, state in world.past.items()]
    assert record_native(database, name, [json.dumps(each).encode() for each in events], NOTHING).rejected == []
    return name


def _event(spot: Spot, state: str) -> dict[str, Any]:
    task, day = spot
    written = [{"namespace": LAKE, "name": f"d{task}", "partition": _key(day)}] if state == "succeeded" else []
    return said(f"t{task}", state, 0, run=_key(day), partition=_key(day), outputs=written)


def _built(plan: Plan) -> dict[Spot, int]:
    return {(int(item.task.name[1:]), int((item.partition or "")[-1])): item.wave or 0 for item in plan.items}


@settings(max_examples=80, deadline=None)
@given(
    world=_worlds(),
    spots=st.sets(st.tuples(st.integers(0, MOST - 1), st.sampled_from(DAYS)), min_size=1, max_size=4),
    direction=st.sampled_from(get_args(Direction)),
    overwrite=st.sampled_from(["never", "always"]),
)
def test_a_plan_is_what_one_finds_who_walks_from_partition_to_partition(
    module_database: Database, world: World, spots: set[Spot], direction: Direction, overwrite: Any
) -> None:
    spots = {(task % len(world.edges), day) for task, day in spots}
    targets = tuple(Target(name=f"t{task}", partitions=(_key(day),)) for task, day in sorted(spots))
    wanted = Backfilling(targets=targets, direction=direction, overwrite=overwrite)
    plan = dispatch.preview(module_database, _told(module_database, world), wanted, at(0))
    twin = Twin(world, wanted)
    assert _built(plan) == {spot: twin.wave(spot) for spot in twin.spots}
    waiting = [spot for spot in twin.spots if twin.wave(spot) and twin.waits(spot)]
    assert plan.waiting == len(waiting)
