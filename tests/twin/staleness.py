"""The twin of staleness: which inputs of a partition that was made are newer than what was made from them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tests.twin.fold import Claim, Place
from tests.twin.ledger import Need, View
from tests.twin.windows import is_key


def newer(view: View, place: Place, now: datetime) -> list[Place]:
    """The input partitions that were made again since the run behind `place` began, unless a version says that nothing
    has changed."""
    state = view.states.get(place)
    if state is None or state.made is None:
        return []
    return [need.place for need in _inputs(view, place, state.made, now) if _is_newer(view, place, state.made, need)]


def _inputs(view: View, place: Place, made: Claim, now: datetime) -> Iterator[Need]:
    """What the run that made the partition needs. A task does not count where a dataset that it writes does."""
    of_run = view.runs[made.task, made.run].last.partition
    key = place[2] if of_run in ("", place[2]) else of_run
    if not _is_partition(view, made.task, key):
        return
    needs = [need for need in view.needs(made.task, key, now)[0] if _counts(need) and _apart(view, place, need)]
    between = {task for need in needs if need.kind == "dataset" for task in view.writers(need.name)}
    counting = [need for need in needs if need.kind == "dataset" or need.name not in between]
    yield from view.chosen(_once(counting), lambda need: _made(view, need.place) is not None)


def _is_partition(view: View, task: str, key: str) -> bool:
    cut = view.cut("task", task)
    return cut is None or ((key != "" or cut["kind"] == "none") and is_key(cut, key))


def _counts(need: Need) -> bool:
    unwanted = need.edge.get("condition", {}).get("kind") in ("failed", "skipped")
    asked = need.edge.get("required", True) and need.edge.get("staleness", "warn") != "ignore"
    return asked and (need.kind == "dataset" or not unwanted)


def _apart(view: View, place: Place, need: Need) -> bool:
    """Whether it is another partition than the one that was made."""
    exact = (need.kind, need.name, need.key)
    whole = (need.kind, need.name, "")
    return place != exact and not (view.cut(need.kind, need.name) is None and place == whole)


def _once(needs: list[Need]) -> list[Need]:
    found: dict[Place, Need] = {}
    for need in needs:
        found.setdefault((need.kind, need.name, need.key), need)
    return [found[each] for each in sorted(found)]


def _made(view: View, place: Place) -> Claim | None:
    state = view.states.get(place)
    return state.made if state else None


def _is_newer(view: View, place: Place, made: Claim, need: Need) -> bool:
    success = _made(view, need.place)
    if success is None or (success.task, success.run) == (made.task, made.run):
        return False
    if need.kind == "dataset" and success.version is not None:
        read = _read(view, made, _ended(view, place, made), need.place)
        if read is not None:
            version, whole = read
            if version == success.version:
                return False
            if not whole:
                return True
    begun, ended = _begun(view, place, made), _ended(view, need.place, success)
    return begun is not None and ended is not None and ended > begun


def _begun(view: View, place: Place, made: Claim) -> datetime | None:
    """From when on the run may have read its inputs; an instance of a mapped task from when the first of them did."""
    run = view.runs[made.task, made.run]
    starts = [run.last.began, made.began]
    if made.run != made.group:
        starts += [each.last.began for each in view.runs.values() if (each.task, each.group) == (made.task, made.group)]
    return min((each for each in starts if each is not None), default=_ended(view, place, made))


def _ended(view: View, place: Place, made: Claim) -> datetime | None:
    state = view.states[place]
    ends = [made.since, state.since if state.status == "ready" else None]
    return max((each for each in ends if each is not None), default=None)


def _read(view: View, made: Claim, until: datetime | None, place: Place) -> tuple[str, bool] | None:
    """The version of an input that a run recorded, and whether it is the table's as a whole. What was read only after
    the success made nothing of it."""
    _, dataset, key = place
    found = [
        (first, version, partition)
        for (name, partition), (first, version) in view.runs[made.task, made.run].last.inputs.items()
        if view.canonical(name) == dataset and version is not None and (until is None or first <= until)
    ]
    for wanted in (key, ""):
        said = [(first, version) for first, version, partition in found if partition == wanted]
        if said:
            return min(said)[1], wanted != key
    return None
