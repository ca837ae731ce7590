"""How built partitions stand to their direct upstreams, many of them at once.

Guarantees a number of queries that does not grow with the number of partitions, and that what counts as an upstream
here is what readiness waits for: the same edges, mapped to the same partitions (`ledger.need`).

A partition is compared with what the task behind its last success consumes. Of a dataset that a Spark application
wrote on behalf of an Airflow task that is the application; where nobody knows what the application consumes, the
upstreams are those of the task that ran it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import asdict, replace

from dataforge.ledger.data_version import successes
from dataforge.ledger.need import Among, Asked, Need, Sketch, chosen, makers, ref, used_edges, window
from dataforge.ledger.surroundings import Surroundings, around
from dataforge.model.freshness import Comparison, FreshnessStatus, Input, Read, RunKey, Success, compare, looks_back
from dataforge.model.state import PartitionStatus
from dataforge.model.upstream import LateData
from dataforge.model.verdict import Code, Reason
from dataforge.storage import freshness as storage
from dataforge.storage import readiness
from dataforge.storage import stream as streams
from dataforge.storage.database import Connection
from dataforge.storage.freshness import Built, Standing
from dataforge.storage.readiness import EdgeRow, Place, Producer

AT_FIRST = 25
_UNWANTED = frozenset({"failed", "skipped"})  # conditions by which a task comes after what was not done


class Compared(Comparison[Place], frozen=True):
    """How one partition stands to its direct upstreams."""

    built: Built | None = None
    late: Reason | None = None  # what came for it after its watermark

    def reasons(self, most: int | None = None) -> set[Reason]:
        """What there is to say of it: what came late, and of its upstreams as of inputs."""
        found = super().reasons(most)
        return found if self.late is None else found | {self.late}


def examine(
    connection: Connection,
    environment: int,
    places: Iterable[Place],
    now: datetime,
    telling: Mapping[Place, Iterable[Place]] = {},
    built: Mapping[Place, Built] | None = None,
) -> dict[Place, Compared]:
    """How each of these partitions (datasets by canonical id) stands to its direct upstreams; at least to those that
    are `telling`, where it is known which may be newer. `built` are those of them that were, where that is known."""
    wanted = sorted(set(places))
    if not wanted:
        return {}
    if built is None:
        built = storage.built(connection, environment, wanted)
    else:
        built = {place: built[place] for place in wanted if place in built}
    unwritten = {node for kind, node, key in wanted if kind == "dataset" and (kind, node, key) not in built}
    writers = readiness.producers(connection, environment, unwritten)
    known = around(connection, environment, _tasks(wanted, built, writers))
    among = {place: readiness.by_node(telling[place]) for place in wanted if place in telling}
    sketches = {
        place: list(_sketches(known, place, built.get(place), writers, now, among.get(place))) for place in wanted
    }
    needs = {place: _needs(known, place, found) for place, found in sketches.items()}
    every = {need.places: need for found in needs.values() for need in found}  # what many need is looked at once
    standing = storage.standing(connection, environment, {each for some in every for each in some})
    unseen = {need.places[0]: need for need in every.values() if need.stands(standing) not in standing}
    runs = {place: _runs_of(known, need, now) for place, need in unseen.items()}
    behind = {each for some in runs.values() for each in some} - standing.keys()
    standing |= storage.standing(connection, environment, behind) if behind else {}
    late = {place for place, each in built.items() if each.late}
    late |= {place for place, each in standing.items() if each.state.status is PartitionStatus.STALE}
    seen = _Seen(
        known,
        standing,
        storage.reads(connection, environment, _readers(built, needs)),
        streams.late_data(connection, environment, late),
        runs,
    )
    given = {place: _inputs(seen, built.get(place), needs[place]) for place in wanted}
    given = _looked_back(connection, environment, built, given)
    compared = {place: _compare(built.get(place), given[place], sketches[place], now) for place in wanted}
    return compared | {place: _late(compared[place], seen.late[place]) for place in wanted if place in seen.late}


def examine_some(
    connection: Connection, environment: int, places: Sequence[Place], now: datetime, most: int
) -> dict[Place, Compared]:
    """The same of the first of these partitions, until about `most` inputs were compared: of a few at first, then of
    twice as many, and so on."""
    found: dict[Place, Compared] = {}
    at_once = AT_FIRST
    while most > 0 and (taken := places[len(found) : len(found) + at_once]):
        more = examine(connection, environment, taken, now)
        found |= more
        most, at_once = most - sum(len(each.inputs) for each in more.values()), 2 * at_once
    return found


def _late(compared: Compared, late: LateData) -> Compared:
    """A partition that a stream made is stale by what came for it after that, whatever its upstreams."""
    reason = Reason(code=Code.UPSTREAM_STALE, message=f"it {late.said}", since=late.last)
    return replace(compared, status=FreshnessStatus.STALE, late=reason)


def _readers(built: Mapping[Place, Built], needs: Mapping[Place, Sequence[Need]]) -> Iterator[Success]:
    """The successes that may have recorded which version of a dataset they read."""
    for place, each in built.items():
        if any(need.node.kind == "dataset" for need in needs[place]):
            yield each.success


class _Seen(msgspec.Struct, frozen=True):
    """What was read around the partitions."""

    known: Surroundings
    standing: Mapping[Place, Standing]
    reads: Mapping[RunKey, Mapping[tuple[int, str], str]]
    late: Mapping[Place, LateData]
    runs: Mapping[Place, Sequence[Place]]  # by needed partition of which nothing is known, of the tasks that write it

    def written(self, need: Need) -> bool:
        """Whether the needed partition was ever made."""
        return any(each in self.standing and self.standing[each].success for each in need.places)


def _tasks(
    wanted: Iterable[Place], built: Mapping[Place, Built], writers: Mapping[int, Sequence[Producer]]
) -> set[int]:
    """Every task whose edges may tell what one of the partitions is made from."""
    found = {node for kind, node, key in wanted if kind == "task" and (kind, node, key) not in built}
    found |= {each.task_id for group in writers.values() for each in group}
    for each in built.values():
        found |= {each.success.by[0]} | ({each.parent_task_id} if each.parent_task_id is not None else set())
    return found


def _sketches(
    known: Surroundings,
    place: Place,
    built: Built | None,
    writers: Mapping[int, Sequence[Producer]],
    now: datetime,
    among: Among | None,
) -> Iterator[Sketch]:
    """What the runs need that made the partition, or would make it; among some keys alone, where nothing else tells
    which of it counts."""
    for asked in _makers(known, place, built, writers, now):
        if asked.task_id in known.subjects:
            edges = known.edges.get(asked.task_id, [])
            # Of a task it waits for a dataset between may tell more: so all of them are looked at.
            telling = None if any(edge.node[0] == "task" for edge in used_edges(edges)) else among
            yield known.sketch(asked, now, telling)


def _makers(
    known: Surroundings,
    place: Place,
    built: Built | None,
    writers: Mapping[int, Sequence[Producer]],
    now: datetime,
) -> list[Asked]:
    kind, node, key = place
    if built is None:
        return (
            [Asked(node, key)]
            if kind == "task"
            else [each for w in writers.get(node, ()) for each in makers(w, key, now)]
        )
    task_id = built.success.by[0]
    if not used_edges(known.edges.get(task_id, [])) and built.parent_task_id is not None:
        task_id = built.parent_task_id
    # A run for several partitions made each from its own inputs; one for other keys than the dataset's, from all.
    keys = (key,) if key in built.partitions or not built.partitions else built.partitions
    return [Asked(task_id, each) for each in keys]


def _needs(known: Surroundings, place: Place, sketches: Iterable[Sketch]) -> list[Need]:
    """Upstream partitions that count, each once. A task does not count where a dataset between tells more of it."""
    found: dict[Place, Need] = {}
    for each in sketches:
        counting = [need for need in each.needs if counts(need.edge) and place not in need.places]
        between = {writer.task_id for need in counting for writer in known.writers(need.node)}
        for need in counting:
            if need.node.kind == "dataset" or need.node.id not in between:
                found.setdefault(need.places[0], need)
    return [found[each] for each in sorted(found)]


def counts(edge: EdgeRow) -> bool:
    """Whether what an edge leads to is compared with what is made from it."""
    waited_for = edge.node[0] == "dataset" or edge.condition not in _UNWANTED
    return edge.required and edge.staleness != "ignore" and waited_for


def _runs_of(known: Surroundings, need: Need, now: datetime) -> list[Place]:
    """The tasks that would write this partition of a dataset: what became of them tells why it is not there."""
    return [("task", *maker) for writer in known.writers(need.node) for maker in makers(writer, need.key, now)]


def _inputs(seen: _Seen, built: Built | None, needs: Sequence[Need]) -> list[tuple[Place, Input]]:
    success = built.success if built else None
    return [_input(seen, success, need) for need in chosen(needs, seen.written)]


def _input(seen: _Seen, built: Success | None, need: Need) -> tuple[Place, Input]:
    node = need.node
    place = need.stands(seen.standing)
    here = seen.standing.get(place)
    made = here.success if here else None
    told = here or next((seen.standing[each] for each in seen.runs[need.places[0]] if each in seen.standing), None)
    return place, Input(
        node=ref(node),
        partition=place[2],
        owner=seen.known.owner(node),
        success=made,
        run=made.by[1] if made else told.run if told else None,
        state=told.state if told else None,
        window=window(need.window_cut, place[2]),
        written=bool(seen.known.writers(node)),
        read=_read(seen, built, place) if built and node.kind == "dataset" else None,
        policy=node.version_policy,
        late=seen.late[place].said if place in seen.late else None,
    )


def _read(seen: _Seen, built: Success, place: Place) -> Read | None:
    versions = seen.reads.get(built.by)
    if not versions:
        return None
    _, dataset, key = place
    if (dataset, key) in versions:
        return Read(versions[dataset, key])
    return Read(versions[dataset, ""], whole=True) if (dataset, "") in versions else None


def _looked_back(
    connection: Connection,
    environment: int,
    built: Mapping[Place, Built],
    given: Mapping[Place, list[tuple[Place, Input]]],
) -> dict[Place, list[tuple[Place, Input]]]:
    """The same inputs, with the successes before the last one where it takes those to tell what has changed."""
    asking = {
        (place, each)
        for place, inputs in given.items()
        if place in built
        for each, told in inputs
        if each[0] == "dataset" and looks_back(built[place].success, told)
    }
    if not asking:
        return dict(given)
    found = successes(connection, environment, {each for _, each in asking})
    return {
        place: [
            (each, replace(told, successes=tuple(found.get(each, ()))) if (place, each) in asking else told)
            for each, told in inputs
        ]
        for place, inputs in given.items()
    }


def _compare(
    built: Built | None, given: Sequence[tuple[Place, Input]], sketches: Sequence[Sketch], now: datetime
) -> Compared:
    untold = [
        problem.reason
        for each in sketches
        for problem in each.problems
        if problem.required and problem.reason.code is not Code.DETAIL_ENDED  # the comparison ends there
    ]
    untold += [each.misfit for each in sketches if each.misfit is not None]
    return Compared(**asdict(compare(built.success if built else None, given, untold, now)), built=built)
