"""Where mappings lead, told by the ledger's arithmetic and by its twin, which tries each partition: found equal for
cuts, mappings and keys that the machine rarely brings together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from dataforge.model import definition
from dataforge.model.downstream import producing_keys
from dataforge.model.edge import Mapping as Edge
from dataforge.model.errors import InvalidInput
from dataforge.model.fit import misfit
from dataforge.model.mapping import Side, upstream_choices
from dataforge.model.partition import Partitioning
from dataforge.model.partition_set import with_keys
from dataforge.model.share import shares
from tests.twin import cuts, partition_set, plans, share
from tests.twin.ledger import View
from tests.twin.mapping import Mapping, Untold, fits, needed
from tests.twin.question import Definition
from tests.twin.windows import Cut, few_keys, is_key, window

NOW = datetime(2026, 10, 27, 5, tzinfo=UTC)
_AT = "2026-10-01T00:00:00+00:00"
_NEAR = datetime(2026, 11, 1, tzinfo=UTC)  # the twin's calendar ends soon after
_CUTS = st.sampled_from([*plans._CUTS, *cuts.CUTS])
_SETS: list[dict[str, list[str]]] = [{}, {cuts.SET: ["a"]}, {cuts.SET: ["a", "b"]}]


class Link(NamedTuple):
    """An edge between two cuts, with the keys that their sets hold: as the twin reads it, and the ledger."""

    mapping: Mapping
    ours: Cut
    theirs: Cut
    sets: dict[str, list[str]]

    @property
    def parsed(self) -> tuple[Edge, Partitioning | None, Partitioning | None]:
        ours, edge = _parsed(self.ours, self.mapping)
        return edge, ours, _parsed(self.theirs, self.mapping)[0]

    @property
    def held(self) -> tuple[Edge, Partitioning | None, Partitioning | None]:
        keys = {name: tuple(each) for name, each in self.sets.items()}
        edge, *ends = self.parsed
        ours, theirs = [with_keys(each, keys) if each is not None else None for each in ends]
        return edge, ours, theirs


@st.composite
def links(draw: st.DrawFn) -> Link:
    ours, theirs = draw(_CUTS), draw(_CUTS)
    fitting = [each for each in plans._MAPPINGS if fits(each, ours, theirs)]
    return Link(draw(st.sampled_from(fitting or [{"kind": "same"}])), ours, theirs, draw(st.sampled_from(_SETS)))


def _parsed(cut: Cut, mapping: Mapping) -> tuple[Partitioning | None, Edge]:
    """How something is cut and an edge of it leads, as the ledger reads it."""
    task: Definition = {"namespace": "ns", "name": "t", **({"partitioning": cut} if cut else {})}
    task["consumes"] = [{"dataset": {"namespace": "lake", "name": "d"}, "mapping": mapping}]
    found = definition.parse(json.dumps({"source": "s", "tasks": [task], "datasets": []}).encode()).tasks[0]
    return found.partitioning, found.consumes[0].mapping


def _key(cut: Cut) -> st.SearchStrategy[str]:
    return st.sampled_from([*few_keys(cut), "", "a", "c", "a|2026-10-25"])


def _near(cut: Cut, keys: Iterable[str]) -> list[str]:
    """Those that the twin's calendar reaches."""
    windows = ((key, window(cut, key)) for key in keys)
    return sorted(key for key, each in windows if each is None or each.start < _NEAR)


@settings(deadline=None)
@given(st.sampled_from(plans._MAPPINGS), _CUTS, _CUTS)
def test_the_same_mappings_fit(mapping: Mapping, ours: Cut, theirs: Cut) -> None:
    edge, mine, others = Link(mapping, ours, theirs, {}).parsed
    found = mine is None or others is None or misfit(edge, mine, others) is None
    assert found == fits(mapping, ours, theirs)


@settings(max_examples=200, deadline=None)
@given(links(), st.data())
def test_a_partition_needs_the_same(link: Link, data: st.DataObject) -> None:
    ours, theirs = (partition_set.with_keys(each, link.sets) for each in (link.ours, link.theirs))
    key = data.draw(_key(ours))
    if not is_key(ours, key):
        return
    edge, mine, others = link.held
    try:
        found = list(upstream_choices(edge, Side(key, mine, NOW), others))
    except InvalidInput:
        found = None
    try:
        wanted = needed(link.mapping, key, ours, theirs, NOW)
    except Untold:
        wanted = None
    assert found == wanted


@settings(max_examples=200, deadline=None)
@given(links(), st.data())
def test_a_partition_is_made_by_the_same(link: Link, data: st.DataObject) -> None:
    if "not_older_than" in str(link.mapping):  # what a run writes does not depend on what is ready
        return
    key = data.draw(_key(link.theirs))
    edge, mine, others = link.held
    try:
        found = producing_keys(edge, key, mine, others, NOW)
    except InvalidInput:
        found = ()
    task: Definition = {"name": "t", "produces": [{"name": "d", "mapping": link.mapping}], "partitioning": link.ours}
    manifest = {"tasks": [task], "datasets": [{"name": "d", "partitioning": link.theirs}], "pools": []}
    told = [{"control": "register", "set": each, "keys": keys, "time": _AT} for each, keys in link.sets.items()]
    wanted = [own for _, own in View({"s": manifest}, orders=told).makers("d", key, NOW)]
    assert _near(link.ours, found) == _near(link.ours, wanted)


@settings(max_examples=200, deadline=None)
@given(links(), st.data())
def test_a_partition_consists_of_the_same_shares(link: Link, data: st.DataObject) -> None:
    if "not_older_than" in str(link.mapping):
        return
    key = data.draw(_key(link.theirs))
    found = [(each.key, each.dimension) for each in shares(link.parsed[0], key, *link.parsed[1:])]
    wanted = share.brought(json.dumps([link.ours, link.mapping, link.theirs]), key)
    assert sorted(found, key=str) == sorted(map(tuple, wanted), key=str)
