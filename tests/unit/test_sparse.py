"""Searches of the graph in memory, held against plain breadth-first searches over sets."""

from collections import deque
from typing import Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataforge.graph import sparse
from dataforge.graph.sparse import DECLARED, OBSERVED, Node

MOST = 1_000
Way = Literal["upstream", "downstream"]
ends = st.tuples(st.integers(0, 1), st.integers(-3, 3))  # whether a dataset, and its id
edges = st.lists(
    st.tuples(ends, ends, st.integers(0, 1)).map(lambda edge: (*edge[0], *edge[1], edge[2])), min_size=1, max_size=20
)
kinds = st.sampled_from([None, "task", "dataset"])


def node(is_dataset: int, node_id: int) -> Node:
    return Node("dataset" if is_dataset else "task", node_id)


def neighbours(rows: list[tuple[int, ...]], way: Way) -> dict[Node, set[Node]]:
    found: dict[Node, set[Node]] = {}
    for row in rows:
        upstream, downstream = node(row[0], row[1]), node(row[2], row[3])
        start, end = (upstream, downstream) if way == "downstream" else (downstream, upstream)
        found.setdefault(start, set()).add(end)
    return found


def distances(rows: list[tuple[int, ...]], start: Node, way: Way, kind: str | None) -> dict[Node, int]:
    """Distances of the shown nodes: a step onto a hidden node costs nothing."""
    beside, best, ahead = neighbours(rows, way), {start: 0}, deque([start])
    while ahead:
        here = ahead.popleft()
        for other in beside.get(here, ()):
            hidden = kind is not None and other.kind != kind and other != start
            # Leaving a shown node is the step; from a hidden one it has been taken already.
            paid = best[here] + (0 if kind is not None and here.kind != kind and here != start else 1)
            if other not in best or paid < best[other]:
                best[other] = paid
                ahead.appendleft(other) if hidden else ahead.append(other)
    return {found: depth for found, depth in best.items() if kind in (None, found.kind) or found == start}


def first(rows: list[tuple[int, ...]]) -> Node:
    return node(rows[0][0], rows[0][1])


@given(edges, st.sampled_from(["upstream", "downstream"]), kinds)
def test_every_node_is_reached_at_its_least_distance(
    rows: list[tuple[int, ...]], way: Way, kind: Literal["task", "dataset"] | None
) -> None:
    graph = sparse.of_rows(rows)
    start = graph.index(first(rows))
    assert start is not None
    hidden = graph.hidden(kind)
    hidden[start] = False
    reached = graph.reach(start, way, None, MOST, hidden)
    found = dict(zip(map(graph.node, reached.nodes.tolist()), reached.depths.tolist(), strict=True))
    assert found == distances(rows, first(rows), way, kind)
    assert not reached.truncated


@given(edges, st.integers(0, 3), st.integers(1, 5))
def test_depth_and_limit_cut_the_farthest_and_the_cut_is_said(
    rows: list[tuple[int, ...]], depth: int, limit: int
) -> None:
    graph = sparse.of_rows(rows)
    start = graph.index(first(rows))
    assert start is not None
    reached = graph.reach(start, "downstream", depth, limit, graph.hidden(None))
    within = sorted(d for d in distances(rows, first(rows), "downstream", None).values() if d <= depth)
    assert reached.depths.tolist() == within[:limit]
    assert reached.truncated is (len(within) > limit)


def paths(rows: list[tuple[int, ...]], start: Node, kind: str | None, least: int, shown: set[Node]) -> set[Node]:
    """The shown nodes that follow on `start` through hidden ones alone, by edges of at least this origin."""
    beside = neighbours([row for row in rows if row[4] + OBSERVED >= least], "downstream")
    found: set[Node] = set()
    ahead, passed = [start], {start}
    while ahead:
        for other in beside.get(ahead.pop(), ()):
            if other in shown:
                found.add(other)
            elif kind is not None and other.kind != kind and other not in passed:
                passed.add(other)
                ahead.append(other)
    return found


@given(edges, kinds)
def test_edges_join_all_that_paths_through_hidden_nodes_join(
    rows: list[tuple[int, ...]], kind: Literal["task", "dataset"] | None
) -> None:
    graph = sparse.of_rows(rows)
    hidden = graph.hidden(kind)
    shown = np.flatnonzero(~hidden)
    found = {(graph.node(u), graph.node(d), origin) for u, d, origin in graph.between(shown, hidden, MOST).edges}
    nodes = set(map(graph.node, shown.tolist()))
    expected = set()
    for start in nodes:
        declared = paths(rows, start, kind, DECLARED, nodes)
        expected |= {(start, end, DECLARED) for end in declared}
        expected |= {(start, end, OBSERVED) for end in paths(rows, start, kind, OBSERVED, nodes) - declared}
    assert found == expected


def test_a_node_without_edges_has_no_place_in_the_graph() -> None:
    graph = sparse.of_rows([(0, 1, 1, 1, 1)])
    assert graph.index(Node("task", 1)) != graph.index(Node("dataset", 1))
    assert graph.index(Node("task", 2)) is None
    assert sparse.of_rows([]).index(Node("task", 1)) is None


def test_edges_are_cut_at_the_limit_and_the_cut_is_said() -> None:
    graph = sparse.of_rows([(0, task, 1, 0, 1) for task in range(5)])
    found = graph.between(np.arange(graph.size), graph.hidden(None), 3)
    assert len(found.edges) == 3
    assert found.truncated
