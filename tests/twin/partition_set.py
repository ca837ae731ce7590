"""The twin of dynamic sets, by docs/dynamic.md: which keys each holds, from what was ordered and what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from tests.twin.claim import Place
from tests.twin.run import Event
from tests.twin.windows import Cut, dimensions, is_key, part

Key = tuple[str, str]  # a set and one of its keys


def held(orders: Sequence[Event], places: Iterable[Place], cut: Callable[[str, str], Cut]) -> dict[str, list[str]]:
    """The keys that each set holds: those that were registered, and those that a partition shows, but for those that
    were taken off and not registered since. `cut` says how a task or dataset is declared to be cut."""
    shown = {key for kind, name, of in places for key in _shown(cut(kind, name), of)}
    said: dict[Key, tuple[datetime, bool]] = {}
    for order in orders:
        if order["control"] in ("register", "delist"):
            for key in order["keys"]:
                now = (datetime.fromisoformat(order["time"]), order["control"] == "register")
                said[order["set"], key] = max(now, said.get((order["set"], key), now))
    found: dict[str, list[str]] = {}
    for name, key in sorted({*shown, *said}):
        if said.get((name, key), (None, True))[1]:
            found.setdefault(name, []).append(key)
    return found


def _shown(cut: Cut, partition: str) -> Iterator[Key]:
    """The keys of sets that a partition is of."""
    if cut is None or not is_key(cut, partition):
        return
    for each, key in [
        (cut, partition),
        *((each, part(cut, name, partition)) for name, each in dimensions(cut).items()),
    ]:
        if each is not None and each["kind"] == "dynamic" and key is not None:
            yield each["set"], key


def with_keys(cut: Cut, keys: dict[str, list[str]], more: Iterable[str] = ()) -> Cut:
    """The same cut, with the keys that its sets hold, and some more that somebody names."""
    if cut is None:
        return None
    if cut["kind"] == "dynamic":
        return {**cut, "keys": sorted({*keys.get(cut["set"], ()), *more})}
    if cut["kind"] == "product":
        return {**cut, "dimensions": {name: with_keys(each, keys, more) for name, each in cut["dimensions"].items()}}
    return cut


def holds(cut: Cut, partition: str) -> bool:
    """Whether the sets of a cut (with their keys) hold what a partition is of; what no set cuts is always there."""
    if cut is not None and cut["kind"] == "dynamic":
        return partition in cut["keys"]
    return all(holds(each, part(cut, name, partition) or "") for name, each in dimensions(cut).items())
