"""Cycles among mixed granularities, held against the expansion of every partition, key by key."""

from collections.abc import Iterator
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dataforge.graph.cycle import Link, Name, find
from dataforge.model.attempt import Interval
from dataforge.model.downstream import producing_keys
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Mapping, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import Side, produced_keys, upstream_keys
from dataforge.model.partition import NONE, Partitioning
from dataforge.model.windows import partitions

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, LAST = "2024-01-01", "2024-12-29"
SPAN = Interval(datetime(2023, 12, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))
TASKS, DATASETS = 3, 2


def cut(kind: str, zone: str = "UTC", **more: object) -> Partitioning:
    return Partitioning(kind=kind, start=FIRST, end=LAST, time_zone=zone, **more)  # type: ignore[arg-type]


CUTS = [
    cut("daily"),
    cut("daily", "Europe/Berlin"),
    cut("daily", "America/New_York", hour_offset=6),
    cut("weekly"),
    cut("weekly", "Europe/Berlin", day_offset=1),
    cut("monthly"),
]
cuts = st.sampled_from(CUTS)
mappings: st.SearchStrategy[Mapping] = st.one_of(
    st.just(SAME),
    st.builds(lambda begin, length: Window(begin, begin + length), st.integers(-9, 3), st.integers(0, 4)),
    st.builds(lambda begin, length: Window(begin, begin + length), st.integers(-40, -20), st.integers(0, 3)),
    st.sampled_from([ToDate("month"), Last()]),
)
tasks, datasets = st.integers(0, TASKS - 1), st.integers(0, DATASETS - 1)
consumes = st.builds(
    lambda task, kind, node, mapping: Link(task, True, Name(kind, node), mapping),
    tasks,
    st.just("task"),
    tasks,
    mappings,
) | st.builds(lambda task, node, mapping: Link(task, True, Name("dataset", node), mapping), tasks, datasets, mappings)
produces = st.builds(
    lambda task, node, mapping: Link(task, False, Name("dataset", node), mapping), tasks, datasets, mappings
)
graphs = st.lists(consumes | produces, min_size=1, max_size=5, unique_by=lambda link: link[:3])


class At(NamedTuple):
    task: int
    key: str


class Expansion:
    """Which partition of which task waits for which: by the mappings alone, asked for each key."""

    def __init__(self, links: list[Link], known: dict[Name, Partitioning]) -> None:
        self.links, self.known = links, known
        self.writers = [link for link in links if not link.consumes]
        self.updates = {(at_.task, link.node) for at_, link in self._reads() if self._in_place(at_, link)}

    def partitions(self, task: int) -> tuple[str, ...]:
        return partitions(self.known[Name("task", task)], SPAN)

    def needs(self, task: At) -> set[At]:
        found: set[At] = set()
        for link in self.links:
            if link.task != task.task or not link.consumes:
                continue
            keys = self._keys(link, task.key)
            if link.node.kind == "task":
                found |= {At(link.node.id, key) for key in keys}
                continue
            own = self._written(task, link.node)
            for key in keys:
                found |= set(
                    self._makers(link.node, key, but_updates=key in own and (task.task, link.node) in self.updates)
                )
        return found

    def _reads(self) -> Iterator[tuple[At, Link]]:
        written = {(link.task, link.node) for link in self.writers}
        for link in self.links:
            if link.consumes and (link.task, link.node) in written:
                for key in self.partitions(link.task):
                    yield At(link.task, key), link

    def _in_place(self, task: At, link: Link) -> bool:
        return not self._written(task, link.node).isdisjoint(self._keys(link, task.key))

    def _keys(self, link: Link, key: str) -> tuple[str, ...]:
        try:
            return upstream_keys(
                link.mapping, Side(key, self.known[Name("task", link.task)], NOW), self.known[link.node]
            )
        except InvalidInput:
            return ()

    def _written(self, task: At, node: Name) -> set[str]:
        cut_ = self.known[Name("task", task.task)]
        found: set[str] = set()
        for link in self.writers:
            if link.task == task.task and link.node == node:
                try:
                    found |= set(produced_keys(link.mapping, task.key, cut_, self.known[node], NOW))
                except InvalidInput:
                    continue
        return found

    def _makers(self, node: Name, key: str, *, but_updates: bool) -> Iterator[At]:
        for link in self.writers:
            if link.node == node and not (but_updates and (link.task, node) in self.updates):
                cut_ = self.known[Name("task", link.task)]
                for each in producing_keys(link.mapping, key, cut_, self.known[node], NOW):
                    yield At(link.task, each)


def comes_back(expansion: Expansion) -> bool:
    """Whether some partition needs itself, or a later one of its own."""
    rows = [[At(task, key) for key in expansion.partitions(task)] for task in range(TASKS)]
    needs = {one: expansion.needs(one) for row in rows for one in row}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:
        return True
    bit = {one: 1 << place for place, one in enumerate(each for row in rows for each in row)}
    reached: dict[At, int] = {}
    for one in order:
        reached[one] = 0
        for each in needs.get(one, ()):
            reached[one] |= reached[each] | bit.get(each, 0)
    for row in rows:
        later = 0
        for one in reversed(row):
            later |= bit[one]
            if reached[one] & later:
                return True
    return False


def known_cuts(by_task: list[Partitioning], by_dataset: list[Partitioning]) -> dict[Name, Partitioning]:
    known = {Name("task", place): cut_ for place, cut_ in enumerate(by_task)}
    return known | {Name("dataset", place): cut_ for place, cut_ in enumerate(by_dataset)}


def refused(links: list[Link], known: dict[Name, Partitioning]) -> list[Name] | None:
    return find(links, [], lambda names: {name: known[name] for name in names if name in known})


def undecided_in_place(links: list[Link], known: dict[Name, Partitioning]) -> bool:
    """Whether a task reads other steps than it writes of a dataset that is cut otherwise: read and written steps may
    then lie in one partition now and then. The rule counts such a task as a reader and a writer, not as an update."""
    pairs = {(link.task, link.node): link.mapping for link in links if not link.consumes}
    return any(
        link.consumes
        and link.mapping != pairs.get((link.task, link.node), link.mapping)
        and known[Name("task", link.task)] != known[link.node]
        for link in links
    )


@settings(max_examples=12, deadline=None)
@given(graphs, st.lists(cuts, min_size=TASKS, max_size=TASKS), st.lists(cuts, min_size=DATASETS, max_size=DATASETS))
def test_a_loop_is_refused_exactly_when_a_partition_would_need_itself_or_a_later_one(
    links: list[Link], by_task: list[Partitioning], by_dataset: list[Partitioning]
) -> None:
    known = known_cuts(by_task, by_dataset)
    assume(not undecided_in_place(links, known))
    assert (refused(links, known) is not None) is comes_back(Expansion(links, known))


@settings(max_examples=20, deadline=None)
@given(graphs, st.sampled_from(CUTS[:3]))  # a year of days: no loop here is longer
def test_loops_of_one_partitioning_are_decided_by_counting_steps(links: list[Link], alike: Partitioning) -> None:
    known = known_cuts([alike] * TASKS, [alike] * DATASETS)
    endless = dict.fromkeys(known, replace(alike, start=None, end=None))
    expected = comes_back(Expansion(links, known))
    assert (refused(links, endless) is not None) is expected
    assert (refused(links, {}) is not None) is expected


DAILY, MONTHLY, HOURLY = Partitioning(kind="daily"), Partitioning(kind="monthly"), Partitioning(kind="hourly")
WEEKLY, BERLIN = Partitioning(kind="weekly"), Partitioning(kind="daily", time_zone="Europe/Berlin")
CLIENTS, REGIONS = Partitioning(kind="static", keys=("a", "b", "c")), Partitioning(kind="static", keys=("eu", "us"))
SINCE = Partitioning(kind="daily", start="2026-01-01")
BOTH = Partitioning(kind="product", dimensions={"client": CLIENTS, "date": DAILY})
GROWING = Partitioning(kind="dynamic", set="clients")
GROWN = Partitioning(kind="product", dimensions={"client": GROWING, "date": DAILY})
A, B, C = (Name("task", place) for place in range(3))


def reads(task: Name, node: Name, mapping: Mapping = SAME) -> Link:
    return Link(task.id, True, node, mapping)


@pytest.mark.parametrize(
    ("links", "known", "cycle"),
    [
        # Yesterday's month is this month on most days.
        ([reads(A, B, Window(-1, -1)), reads(B, A)], {A: DAILY, B: MONTHLY}, True),
        ([reads(A, B, Window(-31, -31)), reads(B, A)], {A: DAILY, B: MONTHLY}, False),
        # The 31st less 30 days is the 1st of the same month; the 29th less 28, too, but in no February without it.
        ([reads(A, B, Window(-30, -30)), reads(B, A)], {A: DAILY, B: MONTHLY}, True),
        ([reads(A, B), reads(B, A, Window(-1, -1))], {A: DAILY, B: MONTHLY}, False),
        ([reads(A, B), reads(B, A, Window(-1, -1))], {A: DAILY, B: WEEKLY}, False),
        # 24 hours before the last hour of the autumn's long day is an hour of the same day; never in UTC.
        ([reads(A, B, Window(-24, -24)), reads(B, A)], {A: HOURLY, B: BERLIN}, True),
        ([reads(A, B, Window(-24, -24)), reads(B, A)], {A: HOURLY, B: DAILY}, False),
        ([reads(A, B, Window(-25, -25)), reads(B, A)], {A: HOURLY, B: BERLIN}, False),
        # A day of Berlin lies in two days of UTC.
        ([reads(A, B), reads(B, A, Window(-1, -1))], {A: BERLIN, B: DAILY}, True),
        ([reads(A, B), reads(B, A, Window(-2, -2))], {A: BERLIN, B: DAILY}, False),
        # One loop back and another one further on: together they come back.
        ([reads(A, A, Window(-1, -1)), reads(A, B, Window(2, 2)), reads(B, A)], {A: DAILY, B: DAILY}, True),
        ([reads(A, A, Window(1, 1))], {A: DAILY}, True),
        ([reads(A, B, Window(1, 1)), reads(B, A, Window(-2, -2))], {A: DAILY, B: DAILY}, False),
        ([reads(A, A, ToDate("month"))], {A: DAILY}, True),
        ([reads(A, A, Last())], {A: DAILY}, True),
        ([reads(A, A, Fixed("2026-01-01"))], {A: DAILY}, True),
        ([reads(A, B, Last()), reads(B, A, All())], {A: DAILY, B: NONE}, True),
        # By key: a table that leads from a to b and on to c never leads back.
        ([reads(A, A, Table({"a": ("b",), "b": ("c",), "c": ()}))], {A: CLIENTS}, False),
        ([reads(A, A, Table({"a": ("b",), "b": ("c",), "c": ("a",)}))], {A: CLIENTS}, True),
        ([reads(A, A, Fixed("a"))], {A: CLIENTS}, True),
        (
            [
                reads(A, B, Table({"a": ("eu",), "b": ("us",), "c": ("us",)})),
                reads(B, A, Table({"eu": ("b",), "us": ()})),
            ],
            {A: CLIENTS, B: REGIONS},
            False,
        ),
        ([reads(A, A, Dimension({"date": Window(-1, -1)}))], {A: BOTH}, False),
        ([reads(A, A, Dimension({"client": All(), "date": Window(-1, -1)}))], {A: BOTH}, False),
        ([reads(A, A, Dimension({"client": All()}))], {A: BOTH}, True),
        (
            [reads(A, B, Along("date", Window(-1, -1))), reads(B, A, Dimension({"client": All()}))],
            {A: BOTH, B: DAILY},
            False,
        ),
        ([reads(A, B, Along("date")), reads(B, A, Dimension({"client": Fixed("a")}))], {A: BOTH, B: DAILY}, True),
        # Whole keys of two dimensions, of whichever side.
        ([reads(A, B, Fixed("b|2026-01-01")), reads(B, A)], {A: NONE, B: BOTH}, True),
        ([reads(A, A, Fixed("b|2026-01-01"))], {A: BOTH}, True),
        (
            [reads(A, B, Table({"a": ("b|2026-01-01",), "b": ()})), reads(B, A, Along("client"))],
            {A: CLIENTS, B: BOTH},
            False,
        ),
        (
            [reads(A, B, Table({"a": ("a|2026-01-01",), "b": ()})), reads(B, A, Along("client"))],
            {A: CLIENTS, B: BOTH},
            True,
        ),
        (
            [reads(A, B, Table({"a|2026-01-01": ("b",)})), reads(B, A, Dimension({"date": Last()}))],
            {A: BOTH, B: CLIENTS},
            False,
        ),
        (
            [reads(A, B, Table({"a|2026-01-01": ("a",)})), reads(B, A, Dimension({"date": Last()}))],
            {A: BOTH, B: CLIENTS},
            True,
        ),
        ([reads(A, A, Along("client", Table({"a": ("b|2026-01-01",), "b": (), "c": ()})))], {A: BOTH}, False),
        (
            [reads(A, A, Along("client", Table({"a": ("b|2026-01-01",), "b": ("a|2026-01-01",), "c": ()})))],
            {A: BOTH},
            True,
        ),
        # What has no partitions is needed as a whole, whatever the mapping.
        ([reads(A, B, Table({"a": ("b",)})), reads(B, A, Fixed("b|2026-01-01"))], {A: BOTH, B: NONE}, True),
        # By one of two dimensions to both; what is no time reaches until now.
        ([reads(A, B, Along("client", All())), reads(B, A)], {A: BOTH, B: BOTH}, True),
        (
            [reads(A, B, Along("date", Dimension({"client": All(), "date": Window(-1, -1)}))), reads(B, A)],
            {A: BOTH, B: BOTH},
            False,
        ),
        ([reads(A, B, Along("date", Dimension({"client": Fixed("a")}))), reads(B, A)], {A: BOTH, B: BOTH}, True),
        (
            [reads(A, B, Along("client", Last())), reads(B, A, Dimension({"client": All(), "date": Window(-1, -1)}))],
            {A: BOTH, B: DAILY},
            True,
        ),
        (
            [reads(A, B, Along("date", Last())), reads(B, A, Dimension({"client": All(), "date": Window(-1, -1)}))],
            {A: BOTH, B: DAILY},
            False,
        ),
        # The keys of a set may be whole keys of two dimensions; those of one dimension are none.
        ([reads(A, B), reads(B, A, Fixed("b|2026-01-01"))], {A: GROWING, B: BOTH}, True),
        ([reads(A, B), reads(B, A, Fixed("b"))], {A: GROWING, B: BOTH}, False),
        ([reads(A, B), reads(B, A, All())], {A: GROWING, B: BOTH}, True),
        ([reads(A, A, Along("client"))], {A: GROWN}, False),
        # There is no day before the one that is asked for.
        ([reads(A, B, Fixed("2026-01-01")), reads(B, A, Window(-1, -1))], {A: SINCE, B: SINCE}, False),
        ([reads(A, B, Fixed("2026-01-02")), reads(B, A, Window(-1, -1))], {A: SINCE, B: SINCE}, True),
        # Nobody has declared how B is cut: as A is.
        ([reads(A, B, Window(-1, -1)), reads(B, A)], {A: DAILY}, False),
    ],
)
def test_the_rule_by_example(links: list[Link], known: dict[Name, Partitioning], cycle: bool) -> None:
    found = refused(links, known)
    assert (found is not None) is cycle
    assert found is None or (found[0] == found[-1] and len(found) > 1)


def test_the_cycle_that_is_spelled_is_the_one_that_closes() -> None:
    links = [reads(A, B, Window(-1, -1)), reads(B, A), reads(A, C), reads(C, B, Window(-1, -1)), reads(C, A)]
    assert refused(links, {}) == [A, C, A]


DATA = Name("dataset", 0)


@pytest.mark.parametrize(
    ("read", "written", "cycle"),
    [
        (SAME, SAME, False),
        (Window(-2, 0), Window(-2, 0), False),
        (Window(-6, 0), SAME, False),
        (Window(-1, -1), SAME, False),
        (Window(0, 1), SAME, True),
        (Window(-1, -1), Window(-2, 0), False),
        (Window(-5, 0), Window(-2, 0), False),
        (SAME, Window(1, 1), False),
        (SAME, Window(-1, -1), True),
    ],
)
def test_a_dataset_updated_in_place_is_read_as_it_was_before_where_the_run_writes_it(
    read: Mapping, written: Mapping, cycle: bool
) -> None:
    links = [Link(0, True, DATA, read), Link(0, False, DATA, written)]
    known = known_cuts([cut("daily")] * TASKS, [cut("daily")] * DATASETS)
    assert (refused(links, known) is not None) is cycle
    assert comes_back(Expansion(links, known)) is cycle
    assert (refused(links, {}) is not None) is cycle


def test_a_dataset_that_nobody_has_cut_is_cut_alike_before_and_after_its_updates() -> None:
    back, merge = Window(-2, -1), Name("task", 3)  # whose cut is met after those of the tasks that only write
    merging = [Link(3, True, DATA, back), Link(3, False, DATA, back), reads(merge, C, All())]
    writing = [reads(A, merge, All()), Link(0, False, DATA, SAME), Link(1, False, DATA, SAME)]
    links = [*merging, *writing, reads(C, A, All()), reads(C, B), Link(2, True, DATA, Last())]
    assert refused(links, {A: DAILY, B: DAILY, C: DAILY, merge: CLIENTS}) is not None


SWAPPED, ONWARD = Table({"a": ("b",), "b": ("a",), "c": ()}), Table({"a": ("b",), "b": ("b",), "c": ()})


@pytest.mark.parametrize(
    ("read", "written", "alike", "cycle"),
    [
        (All(), SAME, CLIENTS, True),
        (All(), All(), CLIENTS, False),
        (SWAPPED, SAME, CLIENTS, True),
        (ONWARD, SAME, CLIENTS, False),
        (Fixed("a"), SAME, CLIENTS, False),
        (All(), Fixed("a"), CLIENTS, False),
        (Dimension({"client": All()}), SAME, BOTH, True),
        (Dimension({"client": All(), "date": Window(-1, 0)}), SAME, BOTH, True),
        (Dimension({"client": All(), "date": Window(-1, -1)}), SAME, BOTH, False),
        (Dimension({"date": Window(-1, 0)}), SAME, BOTH, False),
        (Dimension({"client": Fixed("a")}), SAME, BOTH, False),
    ],
)
def test_keys_that_a_task_reads_beside_those_that_it_updates_are_updated_by_its_other_partitions(
    read: Mapping, written: Mapping, alike: Partitioning, cycle: bool
) -> None:
    links = [Link(0, True, DATA, read), Link(0, False, DATA, written)]
    assert (refused(links, {A: alike, DATA: alike}) is not None) is cycle
