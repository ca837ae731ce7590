"""The twin of the ledger: definitions, events, orders and leases in plain lists, and every answer worked out anew.

Written from docs/conditions.md, docs/mappings.md, docs/completeness.md, docs/dynamic.md, docs/streams.md,
docs/evidence.md and docs/decisions, never from the ledger's code or SQL. It knows one namespace for tasks (`ns`) and
one for datasets (`lake`), which is all that the machine uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tests.twin import shard, spark, stream
from tests.twin.claim import Claim, Place, claims_by_place, claims_of, refused_by, successes_before
from tests.twin.completeness import Making, Producer, Share, Standing, Whole, is_stage, judge, shares, together
from tests.twin.fold import MADE, State, states_of
from tests.twin.makers import candidates
from tests.twin.mapping import Untold, needed, of_any_age
from tests.twin.partition_set import held, with_keys
from tests.twin.quarantine import Refusal
from tests.twin.question import Definition, Lease, Need
from tests.twin.run import Event, Run, RunName, runs_of
from tests.twin.windows import Cut, is_key

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_ENDED = {  # how what is updated in place may have ended, other than well
    "succeeded": (),
    "failed": ("failed",),
    "skipped": ("skipped",),
    "not_failed": ("skipped",),
    "finished": ("failed", "skipped"),
}


class View:
    """Answers from facts as they are."""

    def __init__(
        self,
        manifests: dict[str, Definition],
        events: Sequence[Event] = (),
        orders: Sequence[Event] = (),
        leases: Sequence[Lease] = (),
        jobs: Sequence[Event] = (),
    ) -> None:
        self.manifests, self.events, self.orders, self.leases, self.jobs = manifests, events, orders, leases, jobs
        self._cuts: dict[tuple[str, str], Cut] = {}
        self._makers: dict[tuple[str, str, datetime], list[tuple[str, str]]] = {}
        self.failing: dict[tuple[str, str, datetime, int], bool] = {}  # of tasks, looked at so many steps ahead
        self._makings: dict[str, Making] = {}
        self._shares: dict[tuple[str, str], list[Share]] = {}

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
    def told(self) -> set[str]:
        """The tasks that told of themselves."""
        return {event["task"]["name"] for event in self.events} | spark.told(self.jobs)

    @cached_property
    def seen(self) -> set[str]:
        """These, and the applications that only a job has told of."""
        return self.told | spark.applications(self.jobs)

    def cut(self, kind: str, name: str) -> Cut:
        """How something is cut; its dynamic sets with the keys that they hold."""
        if (kind, name) not in self._cuts:
            self._cuts[kind, name] = with_keys(self.declared_cut(kind, name), self.sets)
        return self._cuts[kind, name]

    def declared_cut(self, kind: str, name: str) -> Cut:
        defined = (self.tasks if kind == "task" else self.datasets).get(name, {})
        return {"kind": "none"} if "trigger" in defined else defined.get("partitioning")

    @cached_property
    def sets(self) -> dict[str, list[str]]:
        """The keys that each dynamic set holds."""
        return held(self.orders, self.states, self.declared_cut)

    def observed(self, task: str, listed: str) -> set[str]:
        """The datasets that a task was seen to read (`inputs`) or write (`outputs`)."""
        mine = [event for event in self.events if event["task"]["name"] == task]
        found = {each["name"] for event in mine for each in event.get(listed, ())}
        found |= set(spark.observed(self.jobs, task)) if listed == "outputs" else set()
        return {self.canonical(each) for each in found}

    def consumed(self, task: str) -> list[Definition]:
        """What a task declares to consume is the whole of it; where it declares nothing, what was observed counts."""
        declared = consuming(self.tasks.get(task, {}))
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
        told = runs_of(self.events, marks, self.is_short)
        said = {(run.task, run.name): run.mark for run in runs_of((), marks).values() if run.mark is not None}
        return {**told, **spark.runs_of(self.jobs, told, said)}

    def is_short(self, task: str, events: Sequence[Event]) -> bool:
        """Whether a run that these events tell of has done less of its shards than its task allows."""
        return shard.is_short(events, self.tasks.get(task, {}).get("shards", {}).get("allow_failed", 0))

    @cached_property
    def states(self) -> dict[Place, State]:
        quarantines: dict[Place, list[tuple[datetime, bool]]] = {}
        for order in self.orders:
            if order["control"] in ("quarantine", "release"):
                kind, name = self.node(order)
                quarantines.setdefault((kind, name, order.get("partition", "")), []).append(
                    (datetime.fromisoformat(order["time"]), order["control"] == "quarantine")
                )
        before = [claim for run in self.runs.values() for claim in successes_before(run, self.leads)]
        refused: dict[Place, list[Refusal]] = {}
        for run in self.runs.values():
            for (kind, name, key), refusal in refused_by(run, self.leads):
                refused.setdefault((kind, self.canonical(name), key), []).append(refusal)
        return states_of(self.claims, claims_by_place(before, self.canonical), quarantines, refused, self._judged)

    @cached_property
    def claims(self) -> dict[Place, list[Claim]]:
        found = [claim for run in self.runs.values() for claim in claims_of(run, self.leads)]
        return claims_by_place([*self.passed(), *found], self.canonical)

    def making(self, dataset: str) -> Making:
        """How a dataset comes to be complete, and by whom, as it is declared."""
        if dataset not in self._makings:
            self._makings[dataset] = self._made(dataset)
        return self._makings[dataset]

    def _made(self, dataset: str) -> Making:
        producers = [
            Producer(
                task,
                self.declared_cut("task", task),
                each.get("mapping", {}),
                is_stage(read, each.get("mapping", {})),
                after,
            )
            for task, each in self._producing(dataset)
            for edges in [self.tasks[task].get("consumes", ())]
            for read in [[edge.get("mapping", {}) for edge in edges if self.node(edge) == ("dataset", dataset)]]
            for after in [frozenset(edge["task"]["name"] for edge in edges if "task" in edge)]
        ]
        when = self.datasets.get(dataset, {}).get("complete_when", "all_producers")
        return Making(when, self.declared_cut("dataset", dataset), tuple(producers))

    def _producing(self, dataset: str) -> Iterator[tuple[str, Definition]]:
        for task in sorted(self.tasks):
            same = [e for e in self.tasks[task].get("produces", ()) if self.canonical(e["name"]) == dataset]
            yield from [(task, each) for each in same[:1]]

    def _judged(self, place: Place, claims: Sequence[Claim]) -> Whole | None:
        making = self.making(place[1]) if place[0] == "dataset" else None
        asked = self._together(place[1], place[2]) if making is not None else []
        return judge(making, asked, claims) if making is not None and asked else None

    def _together(self, dataset: str, key: str) -> list[Share]:
        if (dataset, key) not in self._shares:
            self._shares[dataset, key] = together(self.making(dataset), key)
        return self._shares[dataset, key]

    def lacks(self, need: Need) -> list[Standing]:
        """What a partition that several make still lacks for whoever needs it, or updates it in place."""
        state = self.states.get(need.place)
        if need.kind == "task" or (state is not None and state.status in (*MADE, "skipped") and not need.updates):
            return []
        making, key = self.making(need.name), need.place[2]
        making = making.unstaged if need.updates else making
        asked = shares(making, key) if need.updates else self._together(need.name, key)
        whole = judge(making, asked, self.claims.get(need.place, ())) if asked else None
        if whole is None or (need.updates and whole.status in _ENDED[need.condition]):
            return []
        return whole.withheld if need.updates else whole.lacking

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

    def leads(self, makers: Sequence[str], dataset: str, partition: str, at: datetime | None) -> list[str]:
        """The partitions to which the declared mapping leads of what the first of these tasks produces that does; the
        run's own, where none does."""
        same = [
            (task, each.get("mapping", {}))
            for task in makers
            for each in self.tasks.get(task, {}).get("produces", ())
            if self.canonical(each["name"]) == self.canonical(dataset)
        ]
        if not same:
            return [partition]
        task, mapping = same[0]
        ours, theirs = self.declared_cut("task", task), self.declared_cut("dataset", self.canonical(dataset))
        try:
            groups = needed(mapping, partition, ours, theirs, at or _EARLIEST)
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
        """Whether an order to make a partition again is still to be carried out: no run has begun since, or of those
        that make it one has not that had been ordered to by then."""
        kind, name, key = place
        order = self.order(["rerun"], **{kind: name, "partition": key or None})
        if order is None:
            return False
        state = self.states.get(place)
        if state is None:
            return True
        begun = self.runs[state.task, state.run].last.began or state.since
        if kind == "dataset":
            return self._to_be_made_again(place, begun, datetime.fromisoformat(order["time"]))
        return begun is None or begun < datetime.fromisoformat(order["time"])

    def _to_be_made_again(self, place: Place, begun: datetime | None, ordered: datetime) -> bool:
        claims = [claim for claim in self.claims[place] if not claim.past]
        makers = {("task", c.of_task, self.runs[c.of_task, c.of_run].last.partition) for c in claims}
        orders = {
            maker: self.order(["rerun"], task=maker[1], partition=maker[2] or None)
            for maker in makers
            if self.to_rerun(maker)
        }
        early = [each for each in orders.values() if each and datetime.fromisoformat(each["time"]) <= ordered]
        begins = [begun, *(claim.began for claim in claims)]
        return bool(early) or not any(each is not None and each >= ordered for each in begins)

    def marked(self, state: State | None) -> str | None:
        """As what a person has marked the run that decides."""
        mark = self.runs[state.task, state.run].marked if state is not None else None
        return mark.state if mark is not None else None

    # What is needed

    def needs(
        self, task: str, key: str, now: datetime, *, graph: bool = False
    ) -> tuple[list[Need], list[tuple[Definition, str]], list[Need]]:
        """The partitions that one needs, the edges of which that cannot be told, each with the code, and those that
        it updates in place. In the graph those that trigger a task are needed as well, and the last however old."""
        ours = self.cut("task", task)
        own = set(self.written(task, key, now))
        found: list[Need] = []
        updates: list[Need] = []
        untold: list[tuple[Definition, str]] = []
        for edge in self.consumed(task):
            if "triggers" in edge and not graph:
                continue
            kind, name = self.node(edge)
            theirs = self.cut(kind, name)
            mapping = edge.get("mapping", {})
            try:
                groups = needed(of_any_age(mapping) if graph else mapping, key, ours, theirs, now)
            except Untold as reason:
                untold.append((edge, str(reason)))
                continue
            for group in groups:
                for each in group:
                    place = self.stands(kind, name, each)
                    need = Need(edge, kind, name, each, group if len(group) > 1 else (), place)
                    if (kind, name, each) not in own:
                        found.append(need)
                    elif "observed" not in edge:
                        updates.append(need._replace(place=(kind, name, each), updates=True))
        return found, untold, updates

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
                ours = self.cut("task", task)
                for own in sorted(set(candidates(mapping, key, ours, theirs, now))):
                    if self._writes(mapping, own, ours, theirs, key, now):
                        yield task, own

    @staticmethod
    def _writes(mapping: Definition, own: str, ours: Cut, theirs: Cut, key: str, now: datetime) -> bool:
        try:
            return any(key in group for group in needed(mapping, own, ours, theirs, now))
        except Untold:
            return False


def consuming(defined: Definition) -> list[Definition]:
    """What a task declares to consume: its edges, and as a whole the datasets that only its trigger names."""
    edges = list(defined.get("consumes", ()))
    read = [edge["dataset"] for edge in edges if "dataset" in edge]
    ahead = [defined["trigger"]] if "trigger" in defined else []
    while ahead:
        said = ahead.pop()
        ahead += [*said.get("all", ()), *said.get("any", ())]
        if "dataset" in said and said["dataset"] not in read:
            edges.append({"dataset": said["dataset"], "mapping": {"kind": "all"}, "triggers": True})
    return edges
