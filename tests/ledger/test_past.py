"""The graph as of a time: the declarations that held then, what had been observed by then, and nothing of later."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.graph.follower import Follower
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.declare import declare
from dataforge.ledger.lineage import lineage, lineage_at
from dataforge.model import definition
from dataforge.model.lineage import Direction, Graph
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.storage import past, task, upstream_list
from dataforge.storage.database import Database
from dataforge.storage.upstream_list import UpstreamList
from tests.storage.plan import rows_read

_numbers = count()
START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def task_of(name: str, *upstream: str, reads: Iterable[str] = (), makes: Iterable[str] = (), **more: Any) -> Any:
    consumes: list[Any] = [{"task": {"namespace": "ns", "name": other}} for other in upstream]
    consumes += [{"dataset": {"namespace": "lake", "name": other}} for other in reads]
    produces = [{"namespace": "lake", "name": other} for other in makes]
    return {"namespace": "ns", "name": name, "consumes": consumes, "produces": produces, **more}


def say(database: Database, since: int, *tasks: Any, source: str = "a", environment: str = "dev", **more: Any) -> None:
    manifest = definition.parse({"tasks": list(tasks), "valid_from": day(since).isoformat(), **more}, source)
    declare(database, environment, manifest)


def at(database: Database, when: float, name: str = "x", **more: Any) -> Graph:
    return lineage_at(database, "dev", (None, name), day(when), **more)


def edges(found: Graph) -> list[str]:
    return [f"{edge.from_.name} > {edge.to.name}" for edge in found.edges]


def test_each_moment_has_the_edges_of_the_versions_that_held_then(database: Database) -> None:
    say(database, 6, task_of("x", "z"))
    say(database, 2, task_of("x", "y", makes=["d"]), task_of("y"))
    say(database, 4, task_of("x", makes=["d"]), task_of("y", reads=["d"]))
    assert edges(at(database, 1)) == []
    assert edges(at(database, 2)) == edges(at(database, 3)) == ["x > d", "y > x"]
    assert edges(at(database, 5)) == ["d > y", "x > d"]
    assert edges(at(database, 6)) == ["z > x"]
    assert [node.name for node in at(database, 1).nodes] == ["x"]


def test_a_node_shows_the_owner_and_the_platform_of_then(database: Database) -> None:
    said = {"namespace": "lake", "name": "d"}
    say(database, 2, task_of("x", makes=["d"], owner="ann"), datasets=[{**said, "owner": "dan"}])
    say(database, 4, task_of("x", makes=["d"], owner="bob", platform="dbt"), datasets=[{**said, "owner": "eve"}])
    shown = {when: [(node.owner, node.platform) for node in at(database, when).nodes] for when in (3, 5)}
    assert shown == {3: [("ann", ""), ("dan", "")], 5: [("bob", "dbt"), ("eve", "")]}


def test_what_was_observed_is_seen_from_its_first_event_on(database: Database) -> None:
    event = {"task": {"namespace": "ns", "name": "x"}, "state": "succeeded"}
    for number, name in ((3, "d"), (5, "e"), (7, "d")):
        made = {"time": day(number).isoformat(), "outputs": [{"namespace": "lake", "name": name}]}
        record_native(database, "dev", [{**event, **made}], NOTHING)
    assert edges(at(database, 2)) == []
    assert edges(at(database, 3)) == ["x > d"]
    assert edges(at(database, 5)) == ["x > d", "x > e"]
    assert {edge.origin for edge in at(database, 5).edges} == {"observed"}


def test_the_upstream_tasks_of_a_platform_are_those_of_its_last_list_by_then(database: Database) -> None:
    ids = {name: TaskRef("ns", name).id for name in ("x", "y", "z")}
    lists = [(1, "y"), (3, "y"), (5, "z"), (7, "z")]
    with database.transaction() as connection:
        task.ensure(connection, 1, [TaskRef("ns", name) for name in ids])
        for number, name in reversed(lists):
            upstream_list.save(connection, 1, [UpstreamList(ids["x"], [ids[name]], day(number))])
    assert [edges(at(database, when)) for when in (0.5, 2, 4, 6)] == [[], ["y > x"], ["y > x"], ["z > x"]]
    assert edges(at(database, 4, "y", direction="downstream")) == ["y > x"]
    assert edges(at(database, 6, "y", direction="downstream")) == []


def test_a_dataset_is_met_under_each_of_its_names(database: Database) -> None:
    alias = {"namespace": "lake", "name": "d", "aliases": [{"namespace": "glue", "name": "d"}]}
    reader = {"namespace": "ns", "name": "r", "consumes": [{"dataset": {"namespace": "glue", "name": "d"}}]}
    say(database, 2, task_of("x", makes=["d"]), reader, datasets=[alias])
    assert edges(at(database, 3)) == ["d > r", "x > d"]
    assert edges(at(database, 3, kind="task")) == ["x > r"]


def test_depth_direction_kind_and_limit_mean_what_they_mean_now(database: Database) -> None:
    say(database, 2, *(task_of(f"t{n}", reads=[f"d{n}"], makes=[f"d{n + 1}"]) for n in range(5)))
    directions: tuple[Direction, ...] = ("upstream", "downstream", "both")
    kinds: tuple[NodeKind | None, ...] = ("task", "dataset", None)
    for direction in directions:
        for kind in kinds:
            for depth in (0, 1, 2, None):
                asked = (direction, depth, kind)
                now = lineage(database, Follower(), "dev", (None, "t2"), *asked)
                then = lineage_at(database, "dev", (None, "t2"), day(3), *asked)
                assert (then.nodes, then.edges) == (now.nodes, now.edges), asked
    assert at(database, 3, "t2", limit=3).truncated


names = st.sampled_from(["p", "q", "r"])
tasks = st.lists(
    st.builds(
        lambda name, reads, makes, upstream: task_of(
            name, *([upstream] if upstream and upstream < name else []), reads=reads, makes=makes
        ),
        names,
        st.sampled_from([[], ["d"]]),
        st.sampled_from([[], ["e"]]),
        names | st.none(),
    ),
    max_size=3,
    unique_by=lambda said: str(said["name"]),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tasks, min_size=1, max_size=4))
def test_the_past_is_what_the_present_was(database: Database, history: Sequence[list[Any]]) -> None:
    environment = f"past-{next(_numbers)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [environment])
    lived = []
    for number, said in enumerate(history):
        say(database, 2 + number, task_of("start"), *said, environment=environment)
        lived.append({name: _shown(lineage, database, environment, name) for name in ("p", "d", "e")})
    for number, shown in enumerate(lived):
        for name, then in shown.items():
            found = _shown(lineage_at, database, environment, name, day(2 + number))
            # Of a name that came later only the name is known.
            assert found == then if then is not None else found in (None, ([(name, 0)], []))
    assert verify(database, environment).difference is None


def _shown(ask: Any, database: Database, environment: str, name: str, *moment: datetime) -> Any:
    from dataforge.model.errors import NotFound

    reference = (None, name)
    try:
        found = (
            ask(database, environment, reference, *moment)
            if moment
            else ask(database, Follower(), environment, reference)
        )
    except NotFound:
        return None
    return [(node.name, node.depth) for node in found.nodes], edges(found)


_FILL = """
insert into task (environment, id, namespace, name)
select 1, n, 'ns', 'task' || n from generate_series(1, 3000) n;
insert into task_version (environment, task_id, version, definition, source)
select 1, n, decode(md5(n || '.' || v), 'hex'), '{}', 's' from generate_series(1, 3000) n, generate_series(1, 3) v;
insert into version_edge (environment, task_id, version, relation, node_kind, nodes)
select 1, n, decode(md5(n || '.' || v), 'hex'), 'consumes', 'task',
    array(select 1 + (n * 7 + k) % 3000 from generate_series(1, 5) k)
from generate_series(1, 3000) n, generate_series(1, 3) v;
insert into definition_span (environment, node_kind, node_id, source, valid_from, valid_to, version)
select 1, 'task', n, 's', timestamptz '2026-01-01' + v * interval '1 day',
    timestamptz '2026-01-02' + v * interval '1 day', decode(md5(n || '.' || v), 'hex')
from generate_series(1, 3000) n, generate_series(1, 3) v;
analyze task, task_version, version_edge, definition_span;
"""


@pytest.mark.parametrize("query", [past.OF_TASKS, past.OF_NODES])
def test_a_step_reads_the_edges_of_its_own_nodes_alone(database: Database, query: str) -> None:
    given = {
        "environment": 1,
        "at": day(2.5),
        "most": 1_000,
        "relations": ["consumes"],
        "tasks": [7, 8],
        "kind": "task",
        "stands": [7, 8],
        "ids": [7, 8],
    }
    with database.transaction() as connection:
        connection.execute(_FILL)
        read = rows_read(connection, query, given)
    assert 0 < read["version_edge"] <= 2 * 3 * 6
    assert read["definition_span"] <= 2 * 3 * 6 * 3
    assert read["task"] <= 50
