"""Cycles, held against an oracle that never heard of datasets as nodes: which task waits for which."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.graph.cycle import Link, Name, find
from dataforge.model.edge import SAME, All
from dataforge.model.partition import Partitioning

TASKS, DATASETS = 5, 4
nodes = st.one_of(
    st.integers(0, TASKS - 1).map(lambda task: Name("task", task)),
    st.integers(0, DATASETS - 1).map(lambda dataset: Name("dataset", dataset)),
)
links = st.one_of(
    st.builds(Link, task=st.integers(0, TASKS - 1), consumes=st.just(True), node=nodes, mapping=st.just(SAME)),
    st.builds(
        Link,
        task=st.integers(0, TASKS - 1),
        consumes=st.just(False),
        node=st.integers(0, DATASETS - 1).map(lambda dataset: Name("dataset", dataset)),
        mapping=st.just(SAME),
    ),
)
graphs = st.lists(links, max_size=12)
aliases = st.lists(st.tuples(st.integers(0, DATASETS - 1), st.integers(0, DATASETS - 1)), max_size=2)


def same_dataset(pairs: list[tuple[int, int]]) -> dict[int, frozenset[int]]:
    groups = [frozenset({dataset}) for dataset in range(DATASETS)]
    for pair in pairs:
        joined = frozenset().union(*(group for group in groups if group & set(pair)))
        groups = [group for group in groups if not group & joined] + [joined]
    return {dataset: group for group in groups for dataset in group}


def waits(graph: list[Link], pairs: list[tuple[int, int]]) -> dict[int, set[int]]:
    """For each task those it waits for: of a dataset it only reads, every writer; of one it updates in place,
    those who write it without reading it."""
    group = same_dataset(pairs)
    reads = {(link.task, group[link.node.id]) for link in graph if link.consumes and link.node.kind == "dataset"}
    writes = {(link.task, group[link.node.id]) for link in graph if not link.consumes}
    found: dict[int, set[int]] = {task: set() for task in range(TASKS)}
    for link in graph:
        if link.consumes and link.node.kind == "task":
            found[link.task].add(link.node.id)
    for reader, dataset in reads:
        for writer, written in writes:
            updates = (reader, dataset) in writes
            if written == dataset and not (updates and (writer, dataset) in reads):
                found[reader].add(writer)
    return found


def waits_for_itself(graph: dict[int, set[int]]) -> bool:
    def reaches(task: int, target: int, passed: frozenset[int]) -> bool:
        return any(
            other == target or (other not in passed and reaches(other, target, passed | {other}))
            for other in graph[task]
        )

    return any(reaches(task, task, frozenset()) for task in graph)


@given(graphs, aliases)
def test_a_cycle_is_found_exactly_where_a_task_would_wait_for_itself(
    graph: list[Link], pairs: list[tuple[int, int]]
) -> None:
    assert (find(graph, pairs) is not None) is waits_for_itself(waits(graph, pairs))


@given(graphs, aliases)
def test_the_cycle_that_is_named_can_be_walked(graph: list[Link], pairs: list[tuple[int, int]]) -> None:
    found = find(graph, pairs)
    if found is None:
        return
    group = same_dataset(pairs)
    steps = {(link.node, Name("task", link.task)) for link in graph if link.consumes}
    steps |= {(Name("task", link.task), link.node) for link in graph if not link.consumes}
    assert found[0] == found[-1]
    assert len(found) > 1
    for upstream, downstream in pairwise(found):
        renamed = upstream.kind == downstream.kind == "dataset" and group[upstream.id] == group[downstream.id]
        assert renamed or (upstream, downstream) in steps


def test_a_dataset_updated_in_place_is_no_cycle() -> None:
    orders = Name("dataset", 1)
    merge = [Link(1, True, orders), Link(1, False, orders)]
    assert find(merge, []) is None
    second = [Link(2, True, orders), Link(2, False, orders), Link(2, True, Name("task", 1))]
    assert find(merge + second, []) is None


def test_an_updater_that_waits_for_a_reader_is_a_cycle() -> None:
    orders, report = Name("dataset", 1), Name("dataset", 2)
    merge = [Link(1, True, orders), Link(1, False, orders), Link(1, True, report)]
    read = [Link(2, True, orders), Link(2, False, report)]
    assert find(merge + read, []) == [Name("task", 1), orders, Name("task", 2), report, Name("task", 1)]


def test_a_cycle_through_an_alias_lists_both_names() -> None:
    path, table = Name("dataset", 1), Name("dataset", 2)
    graph = [Link(1, False, path), Link(2, True, table), Link(1, True, Name("task", 2))]
    assert find(graph, []) is None
    assert find(graph, [(1, 2)]) == [Name("task", 1), path, table, Name("task", 2), Name("task", 1)]


REGIONS, DAILY = Partitioning(kind="static", keys=("eu", "us")), Partitioning(kind="daily", start="2026-01-01")


@pytest.mark.parametrize(("writer", "reader"), [(REGIONS, DAILY), (DAILY, REGIONS)])
def test_a_dataset_that_nobody_has_cut_is_taken_to_be_cut_alike_before_and_after_its_updates(
    writer: Partitioning, reader: Partitioning
) -> None:
    orders = Name("dataset", 1)
    update = [Link(3, True, orders), Link(3, False, orders)]
    loop = [Link(1, False, orders), Link(2, True, orders), Link(1, True, Name("task", 2))]
    found = find(update + loop, [], lambda _: {Name("task", 1): writer, Name("task", 2): reader})
    assert found == [Name("task", 1), orders, Name("task", 2), Name("task", 1)]


def test_what_updates_of_its_own_dataset_trigger_is_a_cycle_beside_stages_that_wait_for_it() -> None:
    orders = Name("dataset", 0)
    triggered = [Link(0, True, orders, All(), triggers=True), Link(0, False, orders, All())]
    stage = [Link(1, True, orders), Link(1, False, orders)]
    assert find(triggered, []) is None
    assert find(stage, []) is None
    assert find([*triggered, *stage], []) is not None
