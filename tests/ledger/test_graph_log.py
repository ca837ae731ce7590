"""The graph in memory follows the log of what became of it: as one read anew, and without reading everything."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event as Flag
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.cli.example import load
from dataforge.graph.follower import Follower
from dataforge.graph.shown import Shown, shown
from dataforge.graph.sparse import Graph
from dataforge.ingest.replay import replay
from dataforge.ledger.declare import declare, restore, restore_history
from dataforge.ledger.lineage import lineage
from dataforge.ledger.record import apply
from dataforge.ledger.swap import swap
from dataforge.ledger.verify import compare
from dataforge.model import definition
from dataforge.model.errors import DataForgeError
from dataforge.model.event import DatasetFact, EdgeFact, Event, Facts, TaskFact
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.state import RunKind
from dataforge.storage import definition as definitions
from dataforge.storage import environment as environments
from dataforge.storage import graph as graphs
from dataforge.storage import rebuilt as rebuilds
from dataforge.storage import version as versions
from dataforge.storage.database import Database

START = datetime(2026, 11, 1, tzinfo=UTC)
TASKS = [TaskRef("n", f"t{number}") for number in range(4)]
DATASETS = [DatasetRef("s", f"d{number}") for number in range(4)]
events = count()

tasks, datasets = st.sampled_from(TASKS), st.sampled_from(DATASETS)
observed = st.one_of(
    st.builds(EdgeFact, tasks, st.just("consumes"), st.one_of(tasks, datasets)),
    st.builds(EdgeFact, tasks, st.just("produces"), datasets),
    st.builds(EdgeFact, tasks, st.just("runs"), tasks),
)
lists = st.lists(tasks.map(lambda task: task.name), max_size=2).map(lambda names: {"upstreams": names})
renamed = st.lists(datasets, min_size=2, max_size=2, unique=True).map(
    lambda names: DatasetFact(names[0], aliases=(names[1],))
)
facts = st.one_of(
    st.builds(Facts, edges=st.lists(observed, min_size=1, max_size=3).map(tuple)),
    st.builds(Facts, tasks=st.tuples(st.builds(TaskFact, tasks, st.sampled_from(RunKind), registers=lists))),
    st.builds(Facts, datasets=st.tuples(renamed)),
)


class Rebuilt(NamedTuple):
    """That what these facts and the standing definitions give was rebuilt beside the live state, and is swapped in."""

    facts: list[Facts]


rebuilt = st.builds(Rebuilt, st.lists(facts, max_size=3))


def _named(ref: TaskRef | DatasetRef) -> dict[str, str]:
    return {"namespace": ref.namespace, "name": ref.name}


def _task(task: TaskRef, reads: list[DatasetRef], writes: list[DatasetRef]) -> dict[str, Any]:
    return {
        **_named(task),
        "consumes": [{"dataset": _named(each)} for each in reads],
        "produces": [_named(each) for each in writes],
    }


some = st.lists(datasets, max_size=2, unique=True)
manifests = st.tuples(
    st.sampled_from(["one", "other"]),
    st.dictionaries(tasks, st.tuples(some, some), max_size=2),
    st.dictionaries(datasets, datasets, max_size=1),
)


def _manifest(drawn: Any) -> Any:
    source, said, aliases = drawn
    return definition.parse(
        {
            "source": source,
            "tasks": [_task(task, *ends) for task, ends in said.items()],
            "datasets": [{**_named(d), "aliases": [_named(alias)]} for d, alias in aliases.items() if d != alias],
        }
    )


def _anew(database: Database) -> tuple[Shown, int]:
    with database.transaction() as connection:
        here = environments.find(connection, "dev")
        return shown(*graphs.edges(connection, here.id)), here.graph_version


def _follow(database: Database, held: Shown, version: int) -> tuple[Shown, int]:
    with database.transaction() as connection:
        here = environments.find(connection, "dev")
        assert here.graph_logged_after <= version
        if here.graph_version == version:
            return held, version
        return held.after(*graphs.changes(connection, here.id, version)), here.graph_version


def _arrays(graph: Graph) -> list[np.ndarray[Any, Any]]:
    rows = (part for each in (graph._downstream, graph._upstream) for part in (each.data, each.indices, each.indptr))
    return [graph._tasks, graph._datasets, *rows]


def _same(one: Shown, other: Shown) -> bool:
    pairs = zip((*_arrays(one.graph), *one.standing), (*_arrays(other.graph), *other.standing), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def _event(said: Facts) -> Event:
    number = next(events)
    return Event(number.to_bytes(16), START + timedelta(seconds=number), "run", "", b"{}", said)


def _do(database: Database, step: Any) -> None:
    if isinstance(step, Facts):
        with database.transaction() as connection:
            locked = environments.lock(connection, "dev")
            apply(connection, locked.id, [_event(step)], locked.last_part)
        return
    if isinstance(step, Rebuilt):
        _swap_in(database, step)
        return
    with suppress(DataForgeError):  # refused: nothing has changed
        declare(database, "dev", _manifest(step), now=START + timedelta(seconds=next(events)))


def _swap_in(database: Database, other: Rebuilt) -> None:
    with rebuilds.hidden(database, 1) as beside, database.transaction() as connection:
        live = environments.lock(connection, "dev").id
        restore_history(connection, live, beside, versions.sources(connection, live))
        for manifest in definitions.manifests(connection, live):
            restore(connection, beside, manifest)
        last_part = environments.find(connection, "dev").last_part
        apply(connection, beside, [_event(said) for said in other.facts], last_part)
        rebuilds.copy_names(connection, live, beside)
        found = compare(connection, live, beside)
        if not found.agrees:
            swap(connection, live, beside, found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(st.lists(st.lists(st.one_of(facts, manifests, rebuilt), min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_follows_the_log_is_the_graph_read_anew(database: Database, stretches: list[list[Any]]) -> None:
    held, version = _anew(database)
    for stretch in stretches:
        for step in stretch:
            _do(database, step)
        held, version = _follow(database, held, version)
        anew, now = _anew(database)
        assert version == now
        assert _same(held, anew)


def test_a_state_that_is_swapped_in_is_followed(database: Database) -> None:
    load(database.url, "dev")
    anew, version = _anew(database)
    with database.transaction() as connection:
        connection.execute("delete from edge where relation = 'produces'")
        connection.execute("update dataset set canonical_id = id")
        connection.execute("update task set kind = case kind when 'step' then 'task'::run_kind else 'step' end")
        environments.advance_graph(connection, 1)
    damaged, later = _follow(database, anew, version)
    assert _same(damaged, _anew(database)[0])
    assert not _same(damaged, anew)
    replay(database, "dev")
    mended, _ = _follow(database, damaged, later)
    assert _same(mended, anew)
    assert _same(mended, _anew(database)[0])
    with database.transaction() as connection:
        hidden = connection.execute("select count(*) from graph_log where environment <> 1").fetchone()
    assert hidden == (0,)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many edges were read whenever all were."""
    found: list[int] = []
    whole = graphs.edges

    def edges(*given: Any) -> graphs.Read:
        read = whole(*given)
        found.append(len(read.edges["task"]))
        return read

    monkeypatch.setattr(graphs, "edges", edges)
    return found


def _chain(database: Database, length: int) -> None:
    said = [
        _task(TaskRef("n", f"c{n}"), [DatasetRef("s", f"c{n}")], [DatasetRef("s", f"c{n + 1}")]) for n in range(length)
    ]
    declare(database, "dev", definition.parse({"source": "chain", "tasks": said}))


def test_who_is_a_little_behind_reads_the_log_alone(database: Database, reads: list[int]) -> None:
    follower = Follower()
    for length in range(1, 6):
        _chain(database, length)
        assert len(lineage(database, follower, "dev", ("n", "c0")).nodes) == 2 * length + 1
    assert reads == [2]


def test_of_many_who_follow_at_once_none_is_behind_what_was_written_before_he_asked(database: Database) -> None:
    follower, written, over = Follower(), [1], Flag()
    _chain(database, 1)

    def ask() -> None:
        while not over.is_set():
            least = written[0]
            found = lineage(database, follower, "dev", ("n", "c0")).nodes
            assert 2 * least + 1 <= len(found) <= 2 * (written[0] + 1) + 1

    with ThreadPoolExecutor(6) as threads:
        asking = [threads.submit(ask) for _ in range(6)]
        for length in range(2, 25):
            _chain(database, length)
            written[0] = length
        over.set()
        for each in asking:
            each.result()
    lineage(database, follower, "dev", ("n", "c0"))
    anew, version = _anew(database)
    held = follower.at(1, version, lambda: pytest.fail("it is held"), lambda *_: pytest.fail("it has followed"))
    assert held is not None
    assert all(np.array_equal(*pair) for pair in zip(_arrays(held), _arrays(anew.graph), strict=True))


def test_who_is_farther_behind_than_the_log_reaches_reads_everything(
    database: Database, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "MOST_LOGGED", 3)
    follower = Follower()
    for length in (1, 2, 5):
        _chain(database, length)
        assert len(lineage(database, follower, "dev", ("n", "c0")).nodes) == 2 * length + 1
    assert reads == [2, 10]
    with database.transaction() as connection:
        kept = connection.execute("select coalesce(sum(cardinality(nodes)), 0) from graph_log").fetchone()
    assert kept is not None
    assert kept[0] <= 3


def test_an_event_that_brings_nothing_new_leaves_no_log(database: Database) -> None:
    seen = Facts(edges=(EdgeFact(TASKS[0], "consumes", DATASETS[0]),))
    _do(database, seen)
    before = _logged(database)
    _do(database, seen)
    assert _logged(database) == before == (1, 1)


def _logged(database: Database) -> Any:
    with database.transaction() as connection:
        return connection.execute("select count(*), max(version) from graph_log").fetchone()
