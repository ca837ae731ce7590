"""What the graph in memory shows of rows of edges, and that it follows what became of them."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataforge.graph import sparse
from dataforge.graph.shown import Columns, Shown, shown
from dataforge.graph.sparse import Graph, Node

MOST = 1_000
Edge = tuple[int, bool, bool, int, bool]  # task, whether it consumes, whether a dataset, which node, whether declared
ids = st.integers(-3, 3)


class Tables(NamedTuple):
    """Edges, several of them alike where several sources declare one; steps; and under which name datasets stand."""

    edges: list[Edge]
    steps: set[int]
    canonical: dict[int, int]


tables = st.builds(
    Tables,
    st.lists(st.tuples(ids, st.booleans(), st.booleans(), ids, st.booleans()), max_size=20),
    st.sets(ids, max_size=2),
    st.dictionaries(ids, ids, max_size=3),
)
_KINDS = {"task": np.int64, "consumes": np.bool_, "of_dataset": np.bool_, "node": np.int64, "declared": np.bool_}


def columns(edges: list[Edge], **more: Any) -> Columns:
    rows = zip(*edges, strict=True) if edges else ((),) * len(_KINDS)
    read: dict[str, Any] = {
        name: np.array(list(row), dtype=kind) for (name, kind), row in zip(_KINDS.items(), rows, strict=True)
    }
    return read | more


def numbers(values: Any) -> Any:
    return np.array(list(values), dtype=np.int64)


def copy(of: Tables) -> Shown:
    names = {"id": numbers(of.canonical), "canonical": numbers(of.canonical.values())}
    return shown(columns(of.edges), {"id": numbers(of.steps)}, names)


def told(graph: Graph) -> tuple[list[Node], list[tuple[int, int, int]], list[list[int]]]:
    everything = np.arange(graph.size)
    edges = graph.between(everything, graph.hidden(None), MOST).edges
    up = [graph.reach(int(n), "upstream", 1, MOST, graph.hidden(None)).nodes.tolist() for n in everything]
    return list(map(graph.node, everything.tolist())), edges, up


@given(tables)
def test_steps_are_not_shown_and_datasets_stand_under_their_canonical_names(of: Tables) -> None:
    rows = []
    for task, consumes, of_dataset, node_id, declared in of.edges:
        if task in of.steps or (not of_dataset and node_id in of.steps):
            continue
        other = (int(of_dataset), of.canonical.get(node_id, node_id) if of_dataset else node_id)
        rows.append((*other, 0, task, declared) if consumes else (0, task, *other, declared))
    assert told(copy(of).graph) == told(sparse.of_rows(rows))


@given(st.lists(tables, min_size=2, max_size=4))
def test_a_copy_that_follows_is_the_one_read_anew(states: list[Tables]) -> None:
    held = copy(states[0])
    for before, now in pairwise(states):
        added = np.repeat([False, True], [len(before.edges), len(now.edges)])
        turned = sorted(before.steps ^ now.steps)
        moved = sorted(i for i in range(-3, 4) if before.canonical.get(i, i) != now.canonical.get(i, i))
        around = [e for e in now.edges if e[0] in turned or e[3] in (moved if e[2] else turned)]
        held = held.after(
            columns([*before.edges, *now.edges], added=added),
            {"id": numbers(turned), "step": numbers(task in now.steps for task in turned)},
            {"id": numbers(moved), "canonical": numbers(now.canonical.get(i, i) for i in moved)},
            columns(around),
        )
        assert told(held.graph) == told(copy(now).graph)
