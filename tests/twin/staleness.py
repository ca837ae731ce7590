"""The twin of staleness, by docs/staleness.md: which inputs of a partition that was made are newer than what was made
from them, or themselves stale."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from tests.twin.claim import STREAM, Claim, Place
from tests.twin.fold import MADE, State
from tests.twin.ledger import View
from tests.twin.question import Need
from tests.twin.windows import is_key


class Built(NamedTuple):
    """What a partition was built from, and which of that has changed since."""

    inputs: tuple[Place, ...]
    changed: tuple[Place, ...]


def came_late(state: State) -> bool:
    """Whether data came late for what is there: for what was made last, where that does not stand now."""
    return state.status == "stale" or (
        state.status not in MADE and state.made is not None and state.made.status == "stale"
    )


def stale_inputs(view: View, place: Place, now: datetime) -> list[Place]:
    """The inputs that make a partition stale: those that have changed, and those that are stale themselves."""
    built = _built(view, place, now)
    return [each for each in built.inputs if each in built.changed or _is_stale(view, each, now, below=place)]


def _is_stale(view: View, place: Place, now: datetime, below: Place) -> bool:
    """Whether a way leads up from a partition to one that something has changed for, and not by what lies below."""
    passed, ahead = {below}, [place]
    while ahead:
        here = ahead.pop()
        if here in passed:
            continue
        passed.add(here)
        built = _built(view, here, now)
        if built.changed:
            return True
        ahead += built.inputs
    return False


@lru_cache(maxsize=10_000)
def _built(view: View, place: Place, now: datetime) -> Built:
    state = view.states.get(place)
    if state is None or state.made is None:
        return Built((), ())
    needs = list(_inputs(view, place, state.made, now))
    there = [need.place for need in needs if _made(view, need.place) is not None]
    return Built(tuple(there), tuple(need.place for need in needs if _is_newer(view, place, state.made, need)))


def _inputs(view: View, place: Place, made: Claim, now: datetime) -> Iterator[Need]:
    """What the run that made the partition needs. A task does not count where a dataset that it writes does."""
    run = view.runs[made.of_task, made.of_run]
    last = run.last
    key = place[2] if last.partition in ("", place[2]) else last.partition
    task = made.of_task
    # What started an application knows what it reads, and so does the application of a job, though it told nothing.
    above = run.started if run.is_job else last.above
    if above is not None and not view.consumed(task):
        task = above[0]
    if not _is_partition(view, task, key):
        return
    needs = [need for need in view.needs(task, key, now)[0] if _counts(need) and _apart(view, place, need)]
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
    """Whether the version that an input has now is another than the one that the run read."""
    success = _made(view, need.place)
    if success is None or (success.of_task, success.of_run) == (made.of_task, made.of_run):
        return False
    begun = _begun(view, place, made)
    policy = view.datasets.get(need.name, {}).get("version", "run") if need.kind == "dataset" else "run"
    read = _read(view, made, _ended(view, place, made), need.place) if need.kind == "dataset" else None
    if read is not None and success.version is not None:
        word, whole = read
        if word == success.version:
            return policy == "run" and begun is not None and _is_later_than_meant(view, need.place, word, begun)
        if not whole:
            return True
    return begun is not None and _has_changed(view, need.place, success, policy, begun)


def _has_changed(view: View, place: Place, success: Claim, policy: str, begun: datetime) -> bool:
    """Whether the version that is there now is another than the one that was there at a moment."""
    was = _were_there(view, place)
    if policy == "run" or success.version is None or not was:
        ended = _ended(view, place, success)
        return ended is not None and ended > begun
    before = [each.version for each in was if each.since is not None and each.since <= begun]
    after = [each.version for each in was if each.since is not None and each.since > begun]
    if not before or not after:
        return bool(after)
    counting = after if policy == "reported" else after[-1:]
    return any(word is None or word != before[-1] for word in counting)


def _is_later_than_meant(view: View, place: Place, word: str, begun: datetime) -> bool:
    """Where each success is a version, a word means the last that bore it when the run began, else the first after."""
    was = _were_there(view, place)
    bearing = [each for each in was if each.version == word]
    before = [each for each in bearing if each.since is not None and each.since <= begun]
    meant = before[-1:] or bearing[:1]
    return bool(meant) and meant[0] is not was[-1]


def _were_there(view: View, place: Place) -> list[Claim]:
    """What was there, one after the other: at the end of each success, of those that had ended the one that takes
    precedence."""
    successes = view.states[place].successes
    found: list[Claim] = []
    for moment in sorted(each.since for each in successes if each.since is not None):
        there = [each for each in successes if each.since is not None and each.since <= moment][-1]
        if not found or there is not found[-1]:
            found.append(there)
    return found


def _begun(view: View, place: Place, made: Claim) -> datetime | None:
    """From when on the run may have read its inputs; an instance of a mapped task from when the first of them did. What
    a watermark has passed is built from what was there by then."""
    if made.run.endswith(STREAM):
        return made.began
    run = view.runs[made.of_task, made.of_run]
    starts = [run.last.began, made.began]
    if made.run != made.group:
        starts += [each.last.began for each in view.runs.values() if (each.task, each.group) == (made.task, made.group)]
    return min((each for each in starts if each is not None), default=_ended(view, place, made))


def _ended(view: View, place: Place, made: Claim) -> datetime | None:
    state = view.states[place]
    ends = [made.since, state.since if state.status in MADE else None]
    return max((each for each in ends if each is not None), default=None)


def _read(view: View, made: Claim, until: datetime | None, place: Place) -> tuple[str, bool] | None:
    """The version of an input that a run recorded, and whether it is the table's as a whole. What was read only after
    the success made nothing of it."""
    _, dataset, key = place
    found = [
        (first, version, partition)
        for (name, partition), (first, version) in view.runs[made.of_task, made.of_run].last.inputs.items()
        if view.canonical(name) == dataset and version is not None and (until is None or first <= until)
    ]
    for wanted in (key, ""):
        said = [(first, version) for first, version, partition in found if partition == wanted]
        if said:
            return min(said)[1], wanted != key
    return None
