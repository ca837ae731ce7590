"""What a window shows: its selection, looked up in the ledger, as a snapshot of assets.

Guarantees one moment, and a number of statements that does not grow with the number of assets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from dataforge.ledger.need import cut_of
from dataforge.model import asset as assets
from dataforge.model import edge
from dataforge.model.asset import Asset, AssetName, Column, Snapshot, Upstream, key_of
from dataforge.model.catalog import TaskItem
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.lineage import Window
from dataforge.model.partition import InvalidPartitionKey, Partitioning, window_of
from dataforge.model.reference import DatasetRef, TaskRef, node_id
from dataforge.model.selection import Selection
from dataforge.model.state import RunKind
from dataforge.model.task import is_test
from dataforge.storage import asset as storage
from dataforge.storage import dataset_list, readiness, reference, task_list
from dataforge.storage import environment as environments
from dataforge.storage.asset import Made, Read
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment
from dataforge.storage.readiness import Node

_Row = TypeVar("_Row")
_MOST_NODES = 100_000  # upstream of a product, tasks and other datasets among them


def snapshot(database: Database, name: str, wanted: Selection) -> Snapshot:
    """The assets that the selection fits in the environment `name`. Raises InvalidInput where it fits nothing or more
    than its limit, and NotFound for a product that nobody knows."""
    with database.transaction() as connection:
        readiness.begin_snapshot(connection)
        here = environments.find(connection, name)
        found = _Reading(connection, here.id, wanted, _chosen(connection, here, wanted))
        return assets.snapshot(found.assets(), wanted.keys)


def _chosen(connection: Connection, here: Environment, wanted: Selection) -> set[Node]:
    """The datasets, and the tasks that write none, which are shown."""
    found, count = set[Node](), 0
    if wanted.narrows:
        nodes, count = storage.matching(connection, here.id, wanted, wanted.limit + 1)
        found |= {*nodes}
    if wanted.upstream_of:
        found |= _upstream(connection, here, wanted)
    count = max(count, len(found))
    if not count:
        expected = (
            "a selection that fits a dataset, or a task that writes none; `dataforge datasets` lists what there is"
        )
        raise InvalidInput(f"nothing matches the window: expected {expected}", [FieldError("$", "nothing", expected)])
    if count > wanted.limit:
        expected = f"at most {wanted.limit:,}: narrow the selection, or split it over several code locations"
        problem = FieldError("limit", f"{count:,} assets", expected)
        raise InvalidInput(f"{count:,} assets match the window: expected {expected}", [problem])
    return found


def _upstream(connection: Connection, here: Environment, wanted: Selection) -> set[Node]:
    """The named products and all that they are made from."""
    from dataforge.graph.follower import Follower
    from dataforge.graph.sparse import Node as GraphNode
    from dataforge.ledger.lineage import lineages

    named = reference.resolve_nodes(connection, here.id, [(each.namespace, each.name) for each in wanted.products])
    window = Window("upstream", None, None, _MOST_NODES)
    starts = [GraphNode("task" if isinstance(ref, TaskRef) else "dataset", ref.id) for ref in named]
    found = lineages(connection, here, Follower(), [(start, window) for start in starts])
    if any(each.truncated for each in found):
        expected = f"a product with fewer: at most {_MOST_NODES:,} tasks and datasets are looked through"
        raise InvalidInput(
            f"upstream_of reaches too much: expected {expected}", [FieldError("upstream_of", "...", expected)]
        )
    nodes = {(node.kind, node_id(node.namespace, node.name)) for graph in found for node in graph.nodes}
    return _shown(connection, here.id, nodes, {(start.kind, start.id) for start in starts})


def _shown(connection: Connection, environment: int, nodes: set[Node], named: set[Node]) -> set[Node]:
    """Of these nodes those that are assets; of a task that was named, or that another one waits for, what it writes."""
    tasks = [node for kind, node in nodes if kind == "task"]
    named = named | {each.place for each in storage.read(connection, environment, tasks) if each.kind == "task"}
    written = storage.written(connection, environment, tasks)
    writers = {made.task for made in written}
    products: set[Node] = {("dataset", made.dataset) for made in written if ("task", made.task) in named}
    return products | {node for node in nodes if node[0] == "dataset" or node[1] not in writers}


class _Reading:
    """All that the assets are made of, read at once."""

    def __init__(self, connection: Connection, environment: int, wanted: Selection, chosen: set[Node]) -> None:
        self._prefixes, self._chosen = wanted.keys, chosen
        datasets = {node for kind, node in chosen if kind == "dataset"}
        self._makers = _grouped(storage.makers(connection, environment, datasets), lambda made: made.dataset)
        tasks = {node for kind, node in chosen if kind == "task"}
        tasks |= {made.task for some in self._makers.values() for made in some}
        self._read = _grouped(storage.read(connection, environment, tasks), lambda read: read.task)
        above = {read.place for some in self._read.values() for read in some}
        waited_for = {node for kind, node in above if kind == "task"}
        self._written = _grouped(storage.written(connection, environment, waited_for), lambda made: made.task)
        datasets |= {node for kind, node in above if kind == "dataset"}
        datasets |= {made.dataset for some in self._written.values() for made in some}
        named = reference.names(connection, environment, "task", tasks | waited_for)
        called = reference.names(connection, environment, "dataset", datasets)
        self._names: dict[Node, tuple[str, str]] = {("task", node): name for node, name in named.items()}
        self._names |= {("dataset", node): name for node, name in called.items()}
        found = task_list.load(connection, environment, [TaskRef(*name) for name in named.values()])
        self._tasks = {TaskRef(each.namespace, each.name).id: each for each in found}
        known = dataset_list.load(connection, environment, [DatasetRef(*name) for name in called.values()])
        self._datasets = {DatasetRef(each.namespace, each.name).id: each for each in known}
        self._firsts = storage.firsts(connection, environment, sorted({*chosen, *(("task", task) for task in tasks)}))

    def assets(self) -> Iterator[Asset]:
        """The assets, in any order; a DAG, a test and a task that is only spoken of are none."""
        for kind, node in self._chosen:
            if kind == "dataset":
                yield self._dataset(node)
            elif node in self._tasks and _runs_by_itself(self._tasks[node]):
                yield self._task(node)

    def _dataset(self, node: int) -> Asset:
        item, makers = self._datasets[node], self._making(node)
        tasks = [self._tasks[made.task] for made in makers]
        refs = tuple(TaskRef(each.namespace, each.name) for each in tasks)
        name, cut = self._name(("dataset", node)), self._cut(("dataset", node))
        return Asset(
            asset=name,
            key=key_of(name, self._prefixes),
            task=refs[0] if len(refs) == 1 else None,
            makers=refs if len(refs) > 1 else (),
            aliases=tuple(DatasetRef(each.namespace, each.name) for each in item.aliases),
            platforms=self._platforms(node),
            owner=item.owner or _first(each.owner for each in tasks),
            domain=_first(each.domain for each in tasks),
            description=item.description or _first(each.description for each in tasks),
            tags=tuple(sorted({*item.tags, *(tag for each in tasks for tag in each.tags)})),
            links={title: link for each in tasks for title, link in each.links.items()} | item.links,
            columns=tuple(_columns(item.fields)),
            partitioning=cut,
            first=self._first(cut, [("dataset", node), *(("task", made.task) for made in makers)]),
            upstream=self._upstreams(name, cut, self._makers.get(node, [])),
        )

    def _task(self, node: int) -> Asset:
        item, name, cut = self._tasks[node], self._name(("task", node)), self._cut(("task", node))
        alone = Made(node, node, declared=True, mapping=_SAME)
        return Asset(
            asset=name,
            key=key_of(name, self._prefixes),
            task=TaskRef(item.namespace, item.name),
            platforms=(item.platform,) if item.platform else (),
            owner=item.owner,
            domain=item.domain,
            description=item.description,
            tags=tuple(item.tags),
            links=item.links,
            partitioning=cut,
            first=self._first(cut, [("task", node)]),
            upstream=self._upstreams(name, cut, [alone]),
        )

    def _name(self, node: Node) -> AssetName:
        return AssetName(node[0], *self._names[node])

    def _making(self, dataset: int) -> list[Made]:
        """Those that answer for a dataset: all that are declared to write it, else all that were seen to; each once."""
        known = {made.task: made for made in reversed(self._makers.get(dataset, [])) if made.task in self._tasks}
        declared = [made for made in known.values() if made.declared]
        return sorted(declared or known.values(), key=lambda made: self._name(("task", made.task)))

    def _platforms(self, dataset: int) -> tuple[str, ...]:
        writers = [self._tasks[made.task] for made in self._makers.get(dataset, ()) if made.task in self._tasks]
        return tuple(sorted({each.platform for each in writers if each.platform}))

    def _cut(self, node: Node) -> Partitioning | None:
        """How it is cut: of a dataset of which nobody says it as those that make it, where they agree."""
        if node[0] == "task":
            task = self._tasks.get(node[1])
            if task is None:
                return None
            return cut_of(_json(task.partitioning), declared=task.partitioning_origin == "declared")
        item = self._datasets[node[1]]
        if item.partitioning is not None:
            return cut_of(_json(item.partitioning), declared=True)
        cuts = [self._cut(("task", made.task)) if made.mapping == _SAME else None for made in self._making(node[1])]
        return cuts[0] if cuts and all(cut == cuts[0] for cut in cuts) else None

    def _first(self, cut: Partitioning | None, nodes: Iterable[Node]) -> str | None:
        """When the first partition begins of windows that nobody has said a start of, by their own clock."""
        key = _first(self._firsts.get(node) for node in nodes)
        if key is None or cut is None or not cut.windowed or cut.start is not None:
            return None
        try:
            window = window_of(cut, key)
        except InvalidPartitionKey:  # of how it was cut before
            return None
        assert window is not None, "windows have keys with windows"
        return window.start.astimezone(ZoneInfo(cut.time_zone)).replace(tzinfo=None).isoformat()

    def _upstreams(self, below: AssetName, cut: Partitioning | None, makers: Iterable[Made]) -> tuple[Upstream, ...]:
        """Each upstream once; what is declared of it counts before what was seen."""
        found: dict[AssetName, list[Upstream]] = defaultdict(list)
        for made in makers:
            unlike = self._unlike(made, cut)
            for read in self._read.get(made.task, ()):
                for upstream in self._above(read, made, unlike):
                    found[upstream.asset].append(upstream)
        merged = {name: _merged(said) for name, said in found.items()}
        return tuple(merged[name] for name in sorted(merged) if name != below or _is_earlier(merged[name], cut))

    def _unlike(self, made: Made, cut: Partitioning | None) -> str:
        """Why a partition of what is made is not made by the task's partition of the same key; empty where it is."""
        if made.mapping != _SAME:
            return f"its partitions are written by the mapping {spelled(made.mapping)}"
        task = self._cut(("task", made.task))
        return "it is cut otherwise than the task that writes it" if task and cut and task != cut else ""

    def _above(self, read: Read, made: Made, unlike: str) -> Iterator[Upstream]:
        """The assets that stand for what a task reads: of another task what that writes, else the task itself."""
        written = self._written.get(read.node, []) if read.kind == "task" else []
        observed = not (read.declared and made.declared)
        for theirs in written:
            reason = unlike or self._unlike(theirs, self._cut(("dataset", theirs.dataset)))
            yield self._upstream(("dataset", theirs.dataset), read, reason, observed=observed or not theirs.declared)
        if not written:
            yield self._upstream(read.place, read, unlike, observed=observed)

    def _upstream(self, node: Node, read: Read, reason: str, *, observed: bool) -> Upstream:
        name = self._name(node)
        mapping = None if reason else edge.canonical_mapping(msgspec.convert(read.mapping, edge.Mapping))
        return Upstream(name, mapping, reason, observed)


_SAME = {"kind": "same"}


def _runs_by_itself(task: TaskItem) -> bool:
    return task.kind is RunKind.TASK and not is_test(task.platform, task.name)


def _merged(said: Sequence[Upstream]) -> Upstream:
    """One upstream of what several edges say of it."""
    counted = [each for each in said if not each.observed] or said
    if all(each.mapping == counted[0].mapping for each in counted):
        return counted[0]
    return replace(counted[0], mapping=None, reason="it is read in several ways, each for other partitions")


def _is_earlier(upstream: Upstream, cut: Partitioning | None) -> bool:
    """Whether an asset is made from its own earlier partitions; else it is updated in place, and needs none of them."""
    mapping = upstream.mapping
    return cut is not None and cut.windowed and isinstance(mapping, edge.Window) and mapping.to < 0


def _grouped(rows: Iterable[_Row], key: Callable[[_Row], int]) -> dict[int, list[_Row]]:
    found: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _json(shape: dict[str, Any]) -> str:
    return msgspec.json.encode(shape).decode()


def spelled(mapping: dict[str, Any]) -> str:
    """A mapping in a sentence."""
    return ", ".join(f"{field} {value}" for field, value in mapping.items())


def _columns(fields: Iterable[dict[str, Any]]) -> Iterator[Column]:
    """The columns as they were last seen; what has no name is none."""
    for field in fields:
        told = {name: value for name in ("name", "type", "description") if isinstance(value := field.get(name), str)}
        if told.get("name"):
            yield Column(**told)
