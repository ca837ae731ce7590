"""Which tasks lie on a loop of edges: found by numbers alone as by following every edge."""

from hypothesis import given
from hypothesis import strategies as st

from dataforge.graph.knot import Ends, knots, knotted

SMALL = st.integers(-2, 3)
EDGES = st.lists(st.tuples(SMALL, st.booleans(), st.booleans(), SMALL), max_size=14)
PAIRS = st.lists(st.tuples(SMALL, SMALL), max_size=3)
Node = tuple[str, int]


def _onward(edges: list[tuple[int, bool, bool, int]], aliases: list[tuple[int, int]]) -> set[tuple[Node, Node]]:
    found: set[tuple[Node, Node]] = set()
    for task, consumes, of_dataset, node in edges:
        other = ("dataset" if of_dataset else "task", node)
        found.add((other, ("task", task)) if consumes else (("task", task), other))
    for first, second in aliases:
        found |= {(("dataset", first), ("dataset", second)), (("dataset", second), ("dataset", first))}
    return found


def _after(steps: set[tuple[Node, Node]], start: Node) -> set[Node]:
    """All that is reached from a node in one step or more."""
    reached, new = set[Node](), {start}
    while new:
        new = {down for up, down in steps if up in new} - reached
        reached |= new
    return reached


@given(EDGES, PAIRS, st.sets(SMALL), st.sets(SMALL))
def test_the_tasks_on_a_loop_through_a_change_are_found(
    edges: list[tuple[int, bool, bool, int]], aliases: list[tuple[int, int]], tasks: set[int], datasets: set[int]
) -> None:
    steps = _onward(edges, aliases)
    changed: set[Node] = {("task", each) for each in tasks} | {("dataset", each) for each in datasets}
    expected = {
        node
        for kind, node in {each for step in steps for each in step}
        if kind == "task"
        and ("task", node) in _after(steps, ("task", node))
        and any(
            each == ("task", node) or ({each} <= _after(steps, ("task", node)) and _back(steps, each, node))
            for each in changed
        )
    }
    assert knotted(Ends.of(edges), aliases, tasks, datasets) == expected


def _back(steps: set[tuple[Node, Node]], start: Node, task: int) -> bool:
    return ("task", task) in _after(steps, start)


@given(EDGES, PAIRS)
def test_tasks_that_come_after_each_other_are_told_together(
    edges: list[tuple[int, bool, bool, int]], aliases: list[tuple[int, int]]
) -> None:
    steps = _onward(edges, aliases)
    tasks = {number for kind, number in {each for step in steps for each in step} if kind == "task"}
    reached = {task: {other for kind, other in _after(steps, ("task", task)) if kind == "task"} for task in tasks}
    mutual = {task: {other for other in reached[task] if task in reached[other]} | {task} for task in tasks}
    expected = {frozenset(group) for group in mutual.values() if len(group) > 1}
    found = knots(Ends.of(edges), aliases)
    assert {frozenset(group) for group in found} == expected
    assert len(found) == len(expected)
