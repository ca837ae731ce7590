"""The twin of what a declaration refuses: mappings that fit no partition, more producers than there are, and loops
that do not lead back in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import product

from tests.twin.completeness import most
from tests.twin.cuts import KEYS, SET
from tests.twin.ledger import View, consuming
from tests.twin.mapping import Mapping, fits
from tests.twin.question import Definition, Need
from tests.twin.windows import Cut, dimensions, few_keys, part, timed, window, windowed

_NOW = datetime.fromisoformat("2026-10-27T00:00:00+00:00")  # loops are followed as of then
_REGISTERED = {
    "time": _NOW.isoformat(),
    "control": "register",
    "set": SET,
    "keys": KEYS,
}  # any may be in the set by then


def problem(view: View, manifest: Definition, standing: Definition | None) -> str | None:
    """Why these definitions, with a manifest in the place of the one that stood, cannot stand together: `misfit`,
    `count` or `cycle`; `perhaps` where the ledger assumes the worst of a loop of edges (docs/decisions/0006): it leads
    by what nobody has cut, between windows and a dynamic set, or by a task that reads otherwise than it writes what it
    updates; and where what nobody has cut lies between what is cut one way and another, which may hide a cycle until
    it is declared."""
    for name, task in view.tasks.items():
        ends = [(view.node(edge), edge.get("mapping", {})) for edge in consuming(task)]
        ends += [(("dataset", view.canonical(e["name"])), e.get("mapping", {})) for e in task.get("produces", ())]
        if any(not fits(mapping, view.cut("task", name), view.cut(*node)) for node, mapping in ends):
            return "misfit"
    known = standing["datasets"] if standing is not None else []
    if _counts_too_many(view, [each for each in manifest["datasets"] if each not in known]):
        return "count"
    return _cycle(View(view.manifests, orders=[_REGISTERED]))


def _cycle(declared: View) -> str | None:
    """Whether some partition of a task would need itself or a later one of its own, tried on a few of each."""
    looping = [task for task in declared.tasks if _loops(declared, task)]
    nodes = [_around(declared, task) for task in looping]
    otherwise = any(len(set(around)) < len(around) for around in nodes)
    if any(_leads_back(declared, task) for task in looping):
        return "perhaps" if otherwise or _between_unlike(declared, nodes) else "cycle"
    cuts = [[declared.cut(*node) for node in around] for around in nodes]
    untold = any(None in each or (any(map(_has_time, each)) and any(map(_is_dynamic, each))) for each in cuts)
    untold = untold or any(_asks_by_set(declared, task) for task in looping)
    return "perhaps" if untold or otherwise else None


def _has_time(cut: Cut) -> bool:
    return windowed(cut) or timed(cut) is not None


def _is_dynamic(cut: Cut) -> bool:
    """Whether keys may be of whatever windows lie beside."""
    return cut is not None and cut["kind"] == "dynamic"


def _between_unlike(declared: View, nodes: Iterable[Sequence[tuple[str, str]]]) -> bool:
    """Whether something that nobody has cut lies between what is cut in two ways; it may be taken for either."""
    beside: dict[tuple[str, str], list[Cut]] = {}
    for task, *ends in nodes:
        for one, other in [pair for end in ends for pair in ((task, end), (end, task))]:
            if declared.cut(*one) is None:
                beside.setdefault(one, []).append(declared.cut(*other))
    return any(cut != cuts[0] for cuts in beside.values() for cut in cuts)


def _around(declared: View, task: str) -> list[tuple[str, str]]:
    """A task with what it reads and writes; once what it reads and writes alike."""
    told = {(node, str(mapping or {"kind": "same"})) for node, mapping in _ends(declared, task)}
    return [("task", task), *(node for node, _ in told)]


def _ends(declared: View, task: str) -> list[tuple[tuple[str, str], Mapping]]:
    ends = [(declared.node(edge), edge.get("mapping", {})) for edge in declared.consumed(task)]
    return ends + [(("dataset", name), mapping) for name, mapping in declared.produced(task)]


def _asks_by_set(declared: View, task: str) -> bool:
    """Whether a task of two dimensions asks for time by the key of a set, which may be any."""
    own = dimensions(declared.cut("task", task))
    return any(
        mapping.get("kind") == "along" and _is_dynamic(own.get(mapping["dimension"])) and _has_time(declared.cut(*node))
        for node, mapping in _ends(declared, task)
    )


def _loops(declared: View, task: str) -> bool:
    """Whether a chain of edges leads from a task back to itself."""
    reached: set[str] = set()
    ahead = [task]
    while ahead:
        for kind, name in [declared.node(edge) for edge in declared.consumed(ahead.pop())]:
            new = ({name} if kind == "task" else declared.writers(name)) - reached
            reached |= new
            ahead += new
    return task in reached


def _leads_back(declared: View, task: str) -> bool:
    cut = declared.cut("task", task)
    parts = [few_keys(each) for each in dimensions(cut).values()]
    keys = ["|".join(each) for each in product(*parts)] if parts else few_keys(cut)
    if _is_dynamic(cut):  # of a set any key may be, as mappings name it
        keys = sorted({*keys, *(of for key in keys for name, of in _reached(declared, task, key) if name == task)})
    for key in keys:
        own = [each for name, each in _reached(declared, task, key) if name == task]
        if any(each == key or _is_of_later(cut, each, key) for each in own):
            return True
    return False


def _is_of_later(cut: Cut, key: str, other: str) -> bool:
    """Whether the first of two partitions of a task is the later, and they differ in time alone."""
    one, before = window(cut, key), window(cut, other)
    if one is None or before is None or one.start <= before.start:
        return False
    return all(part(cut, name, key) == part(cut, name, other) for name in dimensions(cut) if name != timed(cut))


def _reached(declared: View, task: str, key: str) -> set[tuple[str, str]]:
    """Every partition of a task that one of them needs, in any number of steps."""
    reached: set[tuple[str, str]] = set()
    ahead = [(task, key)]
    while ahead:
        needs, _, updates = declared.needs(*ahead.pop(), _NOW, graph=True)
        for need in [*needs, *updates]:
            direct = {(need.name, need.key)} if need.kind == "task" else None
            new = (direct or set(_makers(declared, need))) - reached
            reached |= new
            ahead += new
    return reached


def _makers(declared: View, need: Need) -> list[tuple[str, str]]:
    """Who writes it; who updates it in place waits only for those who do not. A task that updates of it trigger counts
    among those who do only where there are no others, which wait for what it writes."""
    found = declared.makers(need.name, need.key, _NOW)
    if not need.updates:
        return found
    stages = {each.task for each in declared.making(need.name).producers if each.stage}
    updating = stages or {task for task in declared.tasks if ("dataset", need.name) in _triggering(declared, task)}
    return [each for each in found if each[0] not in updating]


def _triggering(declared: View, task: str) -> list[tuple[str, str]]:
    """What triggers a task, and is not judged beside that."""
    return [declared.node(edge) for edge in declared.consumed(task) if "triggers" in edge]


def _counts_too_many(view: View, datasets: list[Definition]) -> bool:
    """Whether one of these datasets counts more producers than there are by now; by nobody it may yet be produced."""
    counting = [each for each in datasets if isinstance(each.get("complete_when"), int)]
    found = [(each["complete_when"], most(view.making(each["name"]))) for each in counting]
    return any(known and count > known for count, known in found)
