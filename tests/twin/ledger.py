"""The twin of the ledger: definitions, events, orders and leases in plain lists, and every answer worked out anew.

Written from docs/conditions.md, docs/mappings.md, docs/dynamic.md, docs/streams.md and docs/decisions, never from the
ledger's code or SQL. It knows one namespace for tasks (`ns`) and one for datasets (`lake`), which is all that the
machine uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from tests.twin import shard, stream
from tests.twin.fold import Claim, Event, Place, Run, RunName, State, claims_of, runs_of, states_of
from tests.twin.mapping import Group, Untold, needed
from tests.twin.partition_set import held, with_keys
from tests.twin.windows import Cut, dimensions, is_key, keys_by, tiles, windowed

Definition = dict[str, Any]
STRICTNESS = ("ignore", "warn", "block")
_SOON = datetime(2026, 10, 28, tzinfo=UTC)
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
AHEAD = 2  # steps that are looked at to tell what comes by itself


class Lease(NamedTuple):
    """The right to run one attempt of a partition until a time."""

    claim: str
    task: str
    key: str
    run: str
    attempt: int
    since: datetime
    until: datetime
    pools: dict[str, int]


class Reason(NamedTuple):
    """Why a partition may not run, and whether that passes by itself."""

    code: str
    upstream: tuple[str, str] | None = None
    partition: str | None = None
    passes: bool = False

    @property
    def shown(self) -> tuple[str, tuple[str, str] | None, str | None]:
        return (self.code, self.upstream, self.partition or None)


class Need(NamedTuple):
    """A partition that an edge asks for, one of several that would do, and where it stands."""

    edge: Definition
    kind: str
    name: str
    key: str
    among: Group
    place: Place


class Answer(NamedTuple):
    """What the ledger has to answer of one partition."""

    status: str
    reasons: frozenset[tuple[str, tuple[str, str] | None, str | None]]
    warnings: frozenset[tuple[str, tuple[str, str] | None, str | None]]
    basis: str
    fate: str | None
    own: bool  # whether only something of its own keeps it from running

    @property
    def runnable(self) -> bool:
        return not self.reasons


class View:
    """Answers from facts as they are."""

    def __init__(
        self,
        manifests: dict[str, Definition],
        events: Sequence[Event] = (),
        orders: Sequence[Event] = (),
        leases: Sequence[Lease] = (),
    ) -> None:
        self.manifests, self.events, self.orders, self.leases = manifests, events, orders, leases
        self._cuts: dict[tuple[str, str], Cut] = {}
        self._makers: dict[tuple[str, str, datetime], list[tuple[str, str]]] = {}

    # What is declared and what was observed

    @cached_property
    def tasks(self) -> dict[str, Definition]:
        return {task["name"]: task for manifest in self.manifests.values() for task in manifest["tasks"]}

    @cached_property
    def datasets(self) -> dict[str, Definition]:
        return {each["name"]: each for manifest in self.manifests.values() for each in manifest["datasets"]}

    @cached_property
    def pools(self) -> dict[str, int]:
        return {pool["name"]: pool["slots"] for manifest in self.manifests.values() for pool in manifest["pools"]}

    def canonical(self, dataset: str) -> str:
        """The dataset whose declaration names this one as an alias, else itself."""
        aliases = {alias["name"]: each["name"] for each in self.datasets.values() for alias in each.get("aliases", ())}
        return str(aliases.get(dataset, dataset))

    @cached_property
    def seen(self) -> set[str]:
        return {event["task"]["name"] for event in self.events}

    def cut(self, kind: str, name: str) -> Cut:
        """How something is cut; its dynamic sets with the keys that they hold."""
        if (kind, name) not in self._cuts:
            self._cuts[kind, name] = with_keys(self.declared_cut(kind, name), self.sets)
        return self._cuts[kind, name]

    def declared_cut(self, kind: str, name: str) -> Cut:
        defined = (self.tasks if kind == "task" else self.datasets).get(name, {})
        return defined.get("partitioning")

    @cached_property
    def sets(self) -> dict[str, list[str]]:
        """The keys that each dynamic set holds."""
        return held(self.orders, self.states, self.declared_cut)

    def observed(self, task: str, listed: str) -> set[str]:
        """The datasets that a task was seen to read (`inputs`) or write (`outputs`)."""
        mine = [event for event in self.events if event["task"]["name"] == task]
        return {self.canonical(each["name"]) for event in mine for each in event.get(listed, ())}

    def consumed(self, task: str) -> list[Definition]:
        """What a task declares to consume is the whole of it; where it declares nothing, what was observed counts."""
        declared: list[Definition] = list(self.tasks.get(task, {}).get("consumes", ()))
        if declared:
            return declared
        return [{"dataset": {"name": name}, "observed": True} for name in sorted(self.observed(task, "inputs"))]

    def produced(self, task: str) -> list[tuple[str, Definition]]:
        """What a task writes, declared or observed, each with its mapping."""
        declared = self.tasks.get(task, {}).get("produces", ())
        found = [(self.canonical(each["name"]), each.get("mapping", {})) for each in declared]
        return found + [(name, {}) for name in sorted(self.observed(task, "outputs"))]

    def writers(self, dataset: str) -> set[str]:
        return {task for task in {*self.tasks, *self.seen} if dataset in [name for name, _ in self.produced(task)]}

    # What is believed

    @cached_property
    def runs(self) -> dict[RunName, Run]:
        marks = [order for order in self.orders if order["control"] in ("mark", "clear")]
        return runs_of(self.events, marks, self.is_short)

    def is_short(self, task: str, events: Sequence[Event]) -> bool:
        """Whether a run that these events tell of has done less of its shards than its task allows."""
        return shard.is_short(events, self.tasks.get(task, {}).get("shards", {}).get("allow_failed", 0))

    @cached_property
    def states(self) -> dict[Place, State]:
        quarantines: dict[Place, list[tuple[datetime, bool]]] = {}
        for order in self.orders:
            if order["control"] in ("quarantine", "release"):
                kind = "task" if "task" in order else "dataset"
                place = (kind, order[kind]["name"], order.get("partition", ""))
                quarantines.setdefault(place, []).append(
                    (datetime.fromisoformat(order["time"]), order["control"] == "quarantine")
                )
        return states_of(self.runs.values(), self.canonical, quarantines, self.leads, self.passed())

    def passed(self) -> Iterator[Claim]:
        """What watermarks have passed, of tasks and of what they write under each name."""
        for task in sorted(stream.streaming(self.events)):
            defined, cut = self.tasks.get(task, {}), self.declared_cut("task", task)
            late = stream.lateness(defined)
            outputs = [stream.Output("task", task, cut, late)]
            declared = [each["name"] for each in defined.get("produces", ())]
            for name in declared or sorted(self.observed(task, "outputs")):
                dataset = self.datasets.get(self.canonical(name), {})
                own = dataset.get("partitioning", cut)
                outputs.append(stream.Output("dataset", name, own, stream.lateness(dataset, late)))
            for each in outputs:
                yield from stream.passed(self.events, task, each, self.is_same)

    def is_same(self, dataset: str, other: str) -> bool:
        return self.canonical(dataset) == self.canonical(other)

    def leads(self, task: str, dataset: str, partition: str, at: datetime | None) -> list[str]:
        """The partitions to which the declared mapping of what a task produces leads; its own, where none does."""
        declared = self.tasks.get(task, {}).get("produces", ())
        same = [each for each in declared if self.canonical(each["name"]) == self.canonical(dataset)]
        if not same:
            return [partition]
        ours, theirs = self.declared_cut("task", task), self.declared_cut("dataset", self.canonical(dataset))
        try:
            groups = needed(same[0].get("mapping", {}), partition, ours, theirs, at or _EARLIEST)
        except Untold:
            return [partition]
        return [key for group in groups for key in group] or [partition]

    def order(self, verbs: Sequence[str], **about: Any) -> Event | None:
        """The latest order of one of these verbs about exactly this."""
        keys = ("task", "dataset", "domain", "fact", "gate", "partition")
        wanted = {key: about.get(key) for key in keys}
        found = [
            order
            for order in self.orders
            if order["control"] in verbs
            and {
                key: order[key]["name"] if key in ("task", "dataset") and key in order else order.get(key)
                for key in keys
            }
            == wanted
        ]
        return max(found, key=lambda each: datetime.fromisoformat(each["time"]), default=None)

    def to_rerun(self, place: Place) -> bool:
        """Whether an order to make a partition again is still to be carried out: no run has begun since."""
        kind, name, key = place
        order = self.order(["rerun"], **{kind: name, "partition": key or None})
        if order is None:
            return False
        state = self.states.get(place)
        if state is None:
            return True
        run = self.runs[state.task, state.run]
        begun = run.last.began or state.since
        return begun is None or begun < datetime.fromisoformat(order["time"])

    def marked(self, state: State | None) -> str | None:
        """As what a person has marked the run that decides."""
        mark = self.runs[state.task, state.run].marked if state is not None else None
        return mark.state if mark is not None else None

    # What is needed

    def needs(self, task: str, key: str, now: datetime) -> tuple[list[Need], list[tuple[Definition, str]]]:
        """The partitions that one needs, and the edges of which that cannot be told, each with the code."""
        ours = self.cut("task", task)
        own = set(self.written(task, key, now))
        found: list[Need] = []
        untold: list[tuple[Definition, str]] = []
        for edge in self.consumed(task):
            kind, name = self.node(edge)
            theirs = self.cut(kind, name)
            try:
                groups = needed(edge.get("mapping", {}), key, ours, theirs, now)
            except Untold as reason:
                untold.append((edge, str(reason)))
                continue
            for group in groups:
                for each in group:
                    if (kind, name, each) not in own:
                        place = self.stands(kind, name, each)
                        found.append(Need(edge, kind, name, each, group if len(group) > 1 else (), place))
        return found, untold

    def node(self, edge: Definition) -> tuple[str, str]:
        return (
            ("task", edge["task"]["name"]) if "task" in edge else ("dataset", self.canonical(edge["dataset"]["name"]))
        )

    def stands(self, kind: str, name: str, key: str) -> Place:
        """The partition itself; of what nobody has cut, the whole where only that is known."""
        exact = (kind, name, key)
        whole = (kind, name, "")
        return whole if self.cut(kind, name) is None and exact not in self.states and whole in self.states else exact

    def written(self, task: str, key: str, now: datetime) -> Iterator[Place]:
        """What a run for a partition writes."""
        for dataset, mapping in self.produced(task):
            try:
                for group in needed(mapping, key, self.cut("task", task), self.cut("dataset", dataset), now):
                    yield from (("dataset", dataset, each) for each in group)
            except Untold:
                continue

    @staticmethod
    def chosen(needs: Sequence[Need], serves: Callable[[Need], bool]) -> list[Need]:
        """Where one of several is enough, the newest that serves; the newest of all, where none does."""
        found: list[Need] = []
        for need in needs:
            group = [each for each in needs if each.edge is need.edge and each.among and each.among == need.among]
            serving = [each for each in group if serves(each)] or group
            if not need.among or need is serving[-1]:
                found.append(need)
        return found

    def makers(self, dataset: str, key: str, now: datetime) -> list[tuple[str, str]]:
        """The partitions of tasks whose runs write this one of a dataset: each that there may be is tried, once."""
        if (dataset, key, now) not in self._makers:
            self._makers[dataset, key, now] = list(self._making(dataset, key, now))
        return self._makers[dataset, key, now]

    def _making(self, dataset: str, key: str, now: datetime) -> Iterator[tuple[str, str]]:
        theirs = self.cut("dataset", dataset)
        if not is_key(theirs, key):
            return
        for task in sorted({*self.tasks, *self.seen}):
            for mapping in [mapping for name, mapping in self.produced(task) if name == dataset]:
                for own in self._candidates(task, mapping, key, theirs, now):
                    if self._writes(mapping, own, self.cut("task", task), theirs, key, now):
                        yield task, own

    def _candidates(self, task: str, mapping: Definition, key: str, theirs: Cut, now: datetime) -> list[str]:
        ours, kind = self.cut("task", task), mapping.get("kind", "same")
        anything = theirs is not None and theirs["kind"] == "none"
        begun_only = anything or kind in ("all", "last", "fixed")
        if ours is None:
            return [] if begun_only else [tile.key for tile in tiles(theirs)] if windowed(theirs) else [key]
        if begun_only:
            return keys_by(ours, now)
        named = {*key.split("|"), *mapping.get("keys", ()), *mapping.get("mapping", {}).get("keys", ())}
        return keys_by(with_keys(ours, self.sets, named), now if dimensions(ours) else _LATEST)

    @staticmethod
    def _writes(mapping: Definition, own: str, ours: Cut, theirs: Cut, key: str, now: datetime) -> bool:
        try:
            return any(key in group for group in needed(mapping, own, ours, theirs, now))
        except Untold:
            return False

    def counts(self, place: Place, made: Claim) -> list[int | None]:
        """The rows that the instances behind a success reported of it."""
        claims = [
            claim for run in self.runs.values() for claim in claims_of(run, self.leads) if claim.status == "ready"
        ]
        group = [
            c
            for c in claims
            if (c.task, c.group, c.place[0], c.place[2]) == (made.task, made.group, place[0], place[2])
        ]
        return [c.rows for c in group if self.canonical(c.place[1]) == place[1]]


def few_keys(cut: Cut, most: int = 4) -> list[str]:
    """The first partitions of a cut, of those that begin before the machine does."""
    if cut is None:
        return ["2026-10-25"]
    if cut["kind"] == "product":
        return ["|".join(each) for each in product(*(few_keys(each, 2) for each in cut["dimensions"].values()))]
    if cut["kind"] == "dynamic":
        return ["a", "b", "c"][:most]
    return keys_by(cut, _SOON)[:most]
