"""How an edge leads from one partition to another: apart from time from key to key, and in time by which mapping.

Guarantees that no partition to which a mapping may lead is left out; where it cannot be told, all are meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from dataforge.graph.axes import ANOTHER, OTHER, Axes, dimensions
from dataforge.model import edge
from dataforge.model.edge import SAME, All, Along, Dimension, Fixed, Last, Same, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import source
from dataforge.model.partition import Partitioning, parts_of
from dataforge.model.windows import Unmappable, time_dimension

if TYPE_CHECKING:
    from dataforge.graph.strict import Dependence, Part

Pair = tuple[int, int]  # a downstream sub-node and one of its upstreams
_ANY = Table({})  # of time: any may be meant


class Way(NamedTuple):
    """Sub-nodes that a step joins, and by which mappings their times follow."""

    pairs: Sequence[Pair]
    by: edge.Mapping
    written: edge.Mapping | None = None


def ways_of(step: Dependence, axes: Axes) -> list[Way]:
    """How a step leads, by key and by time: by a table of keys that hold times as many ways as it names times."""
    task, other = (step.downstream, step.upstream) if step.consumes else (step.upstream, step.downstream)
    if step.mapping is None:
        return [Way([(axes.subs[step.downstream, k], axes.subs[step.upstream, k]) for _, k in axes.of[task]], SAME)]
    found = _led_by(step.mapping, task, other, axes)
    if step.part != "all" and step.written is not None:
        return _of_updates(found, _led_by(step.written, task, other, axes), step.part)
    return [Way(p if step.consumes else [(up, down) for down, up in p], by) for p, by in found]


_Led = tuple[list[Pair], edge.Mapping]  # from a sub-node of the task to one of the other side


def _of_updates(read: Sequence[_Led], written: Sequence[_Led], part: Part) -> list[Way]:
    """What a task reads of keys that it does not write is others', whatever the time."""
    own = {pair for pairs, _ in written for pair in pairs}
    writes = written[0][1] if len(written) == 1 else _ANY
    found = [Way([pair for pair in pairs if pair in own], by, writes) for pairs, by in read]
    if part == "others":
        found += [Way([pair for pair in pairs if pair not in own], by) for pairs, by in read]
    return [way for way in found if way.pairs]


def _led_by(mapping: edge.Mapping, task: int, other: int, axes: Axes) -> list[_Led]:
    ours, theirs = axes.cuts[task], axes.cuts[other]
    whole = theirs.kind != "none" and "product" in (ours.kind, theirs.kind)
    try:
        if whole and isinstance(mapping, Same) and ours.kind == "dynamic":
            return _by_same_keys(task, other, axes)
        return (whole and _by_rows(mapping, task, other, axes)) or [_by_rules(mapping, task, other, axes)]
    except InvalidInput:  # it leads nowhere: no partition can ever be told
        return []


def _by_rules(mapping: edge.Mapping, task: int, other: int, axes: Axes) -> _Led:
    by, rules = _split(mapping, axes.cuts[task], axes.cuts[other])
    names = [name for name, _ in dimensions(axes.cuts[task])]
    pairs = [
        (place, axes.subs[other, reached])
        for place, keys in axes.of[task]
        for reached in _reached(rules, dict(zip(names, keys, strict=True)), other, axes)
    ]
    return pairs, by


def _by_rows(mapping: edge.Mapping, task: int, other: int, axes: Axes) -> list[_Led]:
    """By a table of whole keys: for each time that it names, the pairs that lead there, whenever the row is. Nothing
    of other mappings."""
    dimension, table = (mapping.dimension, mapping.mapping) if isinstance(mapping, Along) else (None, mapping)
    found: dict[edge.Mapping, list[Pair]] = {}
    for row, keys in table.keys.items() if isinstance(table, Table) else ():
        said = {dimension: row} if dimension is not None else _said(axes.cuts[task], row)
        for key in keys:
            reached = _said(axes.cuts[other], key)
            ends = product(_subs(task, said, axes), _subs(other, reached, axes))
            found.setdefault(_at(axes.cuts[other], reached), []).extend(ends)
    return [(pairs, by) for by, pairs in found.items()]


def _by_same_keys(task: int, other: int, axes: Axes) -> list[_Led]:
    """From a set of keys to two dimensions: by those that mappings name as they are, and by all others anywhere."""
    cut = axes.cuts[other]
    rows: dict[str, tuple[str, ...]] = {
        key: (key,) for _, (key,) in axes.of[task] if key.count("|") == len(cut.dimensions) - 1
    }
    others = [place for place, (key,) in axes.of[task] if key in (OTHER, ANOTHER)]
    anywhere = list(product(others, (place for place, _ in axes.of[other])))
    return [*_by_rows(Table(rows), task, other, axes), (anywhere, _ANY)]


def _said(cut: Partitioning, key: str) -> Mapping[str, str]:
    return parts_of(cut, key) if cut.kind == "product" else {"": key}


def _at(cut: Partitioning, said: Mapping[str, str]) -> edge.Mapping:
    """To the time that a key names, as far as it names one."""
    timed = time_dimension(cut)
    parts = cut.dimensions if cut.kind == "product" else {"": cut}
    return next((Fixed(key) for name, key in said.items() if parts[name] is timed), SAME)


def _subs(node: int, said: Mapping[str, str], axes: Axes) -> list[int]:
    """The sub-nodes of which a key may be."""
    names = [name for name, _ in dimensions(axes.cuts[node])]
    known = [(place, zip(names, keys, strict=True)) for place, keys in axes.of[node]]
    return [place for place, keys in known if not axes.told or all(said.get(name, key) == key for name, key in keys)]


_Rule = tuple[edge.Mapping, str | None]  # of a dimension: its mapping, and from which of ours; None: all that we have


def _split(mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning) -> tuple[edge.Mapping, dict[str, _Rule]]:
    """The mapping of time, and those of the other side's other dimensions."""
    if theirs.kind == "none":
        return SAME, {}
    parts = _parts(mapping, ours, theirs)
    timed = time_dimension(theirs)
    cuts = theirs.dimensions if theirs.kind == "product" else {"": theirs}
    by: edge.Mapping = SAME
    for name, (rule, origin) in parts.items():
        if cuts[name] is timed:
            by = rule if _by_time(rule, ours, origin) else _ANY
    return by, parts


def _by_time(rule: edge.Mapping, ours: Partitioning, origin: str | None) -> bool:
    """Whether time follows from our time; else any of the other side's may be meant."""
    if isinstance(rule, Fixed):
        return True
    if origin is not None and ours.kind == "product" and ours.dimensions[origin] is not time_dimension(ours):
        return False  # such a key has no window: all and last reach until now
    return isinstance(rule, Same | Window | ToDate | All | Last)


def _parts(mapping: edge.Mapping, ours: Partitioning, theirs: Partitioning) -> dict[str, _Rule]:
    if theirs.kind == "product":
        if isinstance(mapping, Along):
            if isinstance(mapping.mapping, Same):
                raise Unmappable("a key of one dimension is none of two")
            asked = _parts(mapping.mapping, _own(ours, mapping.dimension), theirs)
            return {name: (rule, mapping.dimension) for name, (rule, _) in asked.items()}
        if isinstance(mapping, All):
            mapping = Dimension(dict.fromkeys(theirs.dimensions, mapping))
        if isinstance(mapping, Same):
            mapping = Dimension({})
        if isinstance(mapping, Fixed):
            mapping = Dimension({name: Fixed(key) for name, key in parts_of(theirs, mapping.key).items()})
        if not isinstance(mapping, Dimension):
            raise Unmappable("the other side has two dimensions")
        given = {name: mapping.dimensions.get(name, SAME) for name in theirs.dimensions}
        return {name: _rule(rule, ours, name) for name, rule in given.items()}
    if isinstance(mapping, Dimension):
        raise Unmappable("the other side has no dimensions")
    return {"": (mapping.mapping, mapping.dimension) if isinstance(mapping, Along) else (mapping, None)}


def _rule(rule: edge.Mapping, ours: Partitioning, name: str) -> _Rule:
    if isinstance(rule, Along):
        _own(ours, rule.dimension)
        return rule.mapping, rule.dimension
    return rule, source(ours, name, rule)


def _own(ours: Partitioning, dimension: str) -> Partitioning:
    if dimension not in ours.dimensions:
        raise Unmappable(f"the task has no dimension {dimension}")
    return ours.dimensions[dimension]


def _reached(rules: Mapping[str, _Rule], keys: Mapping[str, str], other: int, axes: Axes) -> list[tuple[str, ...]]:
    names = [name for name, _ in dimensions(axes.cuts[other])]
    known = [reached for _, reached in axes.of[other]]
    choices = []
    for place, name in enumerate(names):
        rule, origin = rules[name]
        key = keys.get(origin if origin is not None else "")
        choices.append(_led(rule, key, sorted({reached[place] for reached in known}), told=axes.told))
    return list(product(*choices))


def _led(rule: edge.Mapping, key: str | None, theirs: Sequence[str], *, told: bool) -> Sequence[str]:
    """The keys that a rule leads to from one of ours; None: from one that is not told apart."""
    if not told or isinstance(rule, All):
        return theirs
    if isinstance(rule, Fixed):
        return [rule.key] if rule.key in theirs else []
    if isinstance(rule, Table):
        rows = rule.keys.values() if key is None else [rule.keys.get(key, ())]
        return [each for row in rows for each in row if each in theirs]
    if isinstance(rule, Same):
        return theirs if key is None else [key] if key in theirs else []
    return []
