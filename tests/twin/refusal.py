"""The twin of what a declaration refuses: mappings that fit no partition, more producers than there are, and loops
that do not lead back in time."""

from __future__ import annotations

from datetime import datetime

from tests.twin.completeness import is_stage, most
from tests.twin.ledger import View, consuming
from tests.twin.mapping import fits
from tests.twin.question import Definition, Need
from tests.twin.windows import Cut, dimensions, few_keys, part, timed, windowed

_NOW = datetime.fromisoformat("2026-10-27T00:00:00+00:00")  # loops are followed as of then


def problem(view: View, manifest: Definition, standing: Definition | None) -> str | None:
    """Why these definitions, with a manifest in the place of the one that stood, cannot stand together: `misfit`,
    `count` or `cycle`; `perhaps` where the ledger assumes the worst of a loop of edges (docs/decisions/0006): it leads
    by what nobody has cut, between windows and a dynamic set, or by a task that reads otherwise than it writes what it
    updates."""
    for name, task in view.tasks.items():
        ends = [(view.node(edge), edge.get("mapping", {})) for edge in consuming(task)]
        ends += [(("dataset", view.canonical(e["name"])), e.get("mapping", {})) for e in task.get("produces", ())]
        if any(not fits(mapping, view.cut("task", name), view.cut(*node)) for node, mapping in ends):
            return "misfit"
    known = standing["datasets"] if standing is not None else []
    if _counts_too_many(view, [each for each in manifest["datasets"] if each not in known]):
        return "count"
    return _cycle(View(view.manifests))


def _cycle(declared: View) -> str | None:
    """Whether some partition of a task would need itself or a later one of its own, tried on a few of each."""
    looping = [task for task in declared.tasks if _loops(declared, task)]
    nodes = [_around(declared, task) for task in looping]
    otherwise = any(len(set(around)) < len(around) for around in nodes)
    if any(_leads_back(declared, task) for task in looping):
        return "perhaps" if otherwise else "cycle"
    cuts = [[declared.cut(*node) for node in around] for around in nodes]
    untold = any(None in each or (any(map(windowed, each)) and any(map(_is_dynamic, each))) for each in cuts)
    return "perhaps" if untold or otherwise else None


def _is_dynamic(cut: Cut) -> bool:
    """Whether keys may be of whatever windows lie beside."""
    return cut is not None and cut["kind"] == "dynamic"


def _around(declared: View, task: str) -> list[tuple[str, str]]:
    """A task with what it reads and writes; once what it reads and writes alike."""
    ends = [(declared.node(edge), edge.get("mapping", {})) for edge in declared.consumed(task)]
    ends += [(("dataset", name), mapping) for name, mapping in declared.produced(task)]
    told = {(node, str(mapping or {"kind": "same"})) for node, mapping in ends}
    return [("task", task), *(node for node, _ in told)]


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
    keys = few_keys(cut)
    for place, key in enumerate(keys):
        reached = _reached(declared, task, key)
        later = [each for each in keys[place:] if each == key or _is_of_later(cut, each, key)]
        if any((task, each) in reached for each in later):
            return True
    return False


def _is_of_later(cut: Cut, key: str, other: str) -> bool:
    """Whether two partitions of a task, the one after the other, differ in time alone."""
    return windowed(cut) or (
        timed(cut) is not None
        and all(part(cut, name, key) == part(cut, name, other) for name in dimensions(cut) if name != timed(cut))
    )


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
    """Who writes it; who updates it in place, also what triggers it, waits only for those who do not."""
    found = declared.makers(need.name, need.key, _NOW)
    return [each for each in found if not need.updates or not _updates(declared, each[0], need.name)]


def _updates(declared: View, task: str, dataset: str) -> bool:
    edges = declared.consumed(task)
    reads = [edge.get("mapping", {}) for edge in edges if declared.node(edge) == ("dataset", dataset)]
    return any(is_stage(reads, mapping) for name, mapping in declared.produced(task) if name == dataset)


def _counts_too_many(view: View, datasets: list[Definition]) -> bool:
    """Whether one of these datasets counts more producers than there are by now; by nobody it may yet be produced."""
    counting = [each for each in datasets if isinstance(each.get("complete_when"), int)]
    found = [(each["complete_when"], most(view.making(each["name"]))) for each in counting]
    return any(known and count > known for count, known in found)
