"""Declaring: atomic, idempotent, versioned, free of cycles, and the same whatever the order of the sources."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.graph.cycle import Link, Name, find
from dataforge.ledger import acyclic
from dataforge.ledger.declare import declare, declare_task
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.declaration import CycleError, Declared
from dataforge.model.errors import Conflict, DataForgeError, InvalidInput, NotFound
from dataforge.model.manifest import Manifest
from dataforge.storage.database import Database
from tests.storage.counted import counted

_numbers = count()
on_one_database = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def task(name: str, *upstream: dict[str, Any], makes: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    produces = [{"namespace": "lake", "name": made} for made in makes]
    return {"namespace": "ns", "name": name, "consumes": list(upstream), "produces": produces, **more}


def after(name: str, **more: Any) -> dict[str, Any]:
    return {"task": {"namespace": "ns", "name": name}, **more}


def reads(name: str, namespace: str = "lake", **more: Any) -> dict[str, Any]:
    return {"dataset": {"namespace": namespace, "name": name}, **more}


def dataset(name: str, **more: Any) -> dict[str, Any]:
    return {"namespace": "lake", "name": name, **more}


def manifest(source: str, *tasks: dict[str, Any], **more: Any) -> Manifest:
    return definition.parse({"tasks": list(tasks), **more}, source)


def new_environment(database: Database) -> str:
    name = f"test-{next(_numbers)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    return name


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


YESTERDAY = {"kind": "window", "from": -1, "to": -1}


def test_what_is_declared_again_is_unchanged_and_moves_nothing(database: Database) -> None:
    first = manifest("a", task("x", after("y"), makes=("d",)), datasets=[dataset("d", owner="o")])
    assert declare(database, "dev", first) == Declared(2, 0, 0, 0, graph_version=1)
    declared_at = rows(database, "select declared_at from definition_source")
    turned = manifest("a", task("x", after("y", required=True), makes=("d",)), datasets=[dataset("d", owner="o")])
    assert declare(database, "dev", turned) == Declared(0, 0, 0, 2, graph_version=1)
    assert rows(database, "select declared_at from definition_source") == declared_at


def test_only_what_changed_gets_a_new_version(database: Database) -> None:
    declare(database, "dev", manifest("a", task("x"), task("y")))
    before = dict(rows(database, "select name, version from task"))
    assert declare(database, "dev", manifest("a", task("x", owner="o"), task("y"))) == Declared(0, 1, 0, 1, 2)
    after_change = dict(rows(database, "select name, version from task"))
    assert after_change["y"] == before["y"]
    assert after_change["x"] != before["x"]
    assert rows(database, "select owner from task where name = 'x'") == [("o",)]
    declare(database, "dev", manifest("a", task("x"), task("y")))
    assert dict(rows(database, "select name, version from task")) == before
    assert rows(database, "select count(*) from task_version") == [(3,)]


def test_what_a_source_no_longer_names_is_retired(database: Database) -> None:
    declare(
        database, "dev", manifest("a", task("x", after("y"), owner="o"), task("y"), pools=[{"name": "p", "slots": 1}])
    )
    declare(database, "dev", manifest("b", task("z", after("x"))))
    assert declare(database, "dev", manifest("a", task("y"))) == Declared(0, 0, 2, 1, 3)
    retired = "select definition, version, declared_by, owner from task where name = 'x'"
    assert rows(database, retired) == [(None, None, None, None)]
    assert rows(database, "select t.name, e.source from edge e join task t on t.id = e.task_id") == [("z", "b")]
    assert rows(database, "select count(*) from pool") == [(0,)]
    assert rows(database, "select count(*) from task_version") == [(3,)]


def test_an_upstream_that_nobody_declares_is_accepted(database: Database) -> None:
    declare(database, "dev", manifest("a", task("x", after("elsewhere"), reads("unknown"))))
    assert rows(database, "select definition, seen from task where name = 'elsewhere'") == [(None, False)]
    assert rows(database, "select definition, canonical_id = id from dataset") == [(None, True)]


def test_an_edge_keeps_all_that_was_said_of_it(database: Database) -> None:
    edge = reads("d", mapping=YESTERDAY, condition={"kind": "finished"}, required=False, staleness="block")
    declare(database, "dev", manifest("a", task("x", edge, after("y"))))
    stored = rows(database, "select mapping, condition, required, staleness from edge order by node_kind desc")
    assert stored == [
        (YESTERDAY, {"kind": "finished"}, False, "block"),
        ({"kind": "same"}, {"kind": "succeeded"}, True, "warn"),
    ]


def test_two_sources_may_not_declare_one_task_or_pool(database: Database) -> None:
    declare(database, "dev", manifest("a", task("x"), pools=[{"name": "p", "slots": 1}]))
    state = digest(database, "dev")
    for again in (manifest("b", task("x"), task("new")), manifest("b", pools=[{"name": "p", "slots": 1}])):
        with pytest.raises(Conflict, match=r"'a'.*'b'"):
            declare(database, "dev", again)
    assert digest(database, "dev") == state


def test_of_two_sources_that_declare_one_task_at_once_exactly_one_wins(database: Database) -> None:
    together = Barrier(2)

    def contend(source: str, name: str) -> object:
        together.wait()
        return attempt(database, "dev", manifest(source, task(name), task(f"{name}-{source}")))

    with ThreadPoolExecutor(2) as pool:
        for number in range(60):
            name = f"t{number}"
            answers = dict(zip("ab", pool.map(lambda source: contend(source, name), "ab"), strict=True))  # noqa: B023
            [winner] = [source for source, answer in answers.items() if isinstance(answer, Declared)]
            [(refusal, message)] = [answer for answer in answers.values() if isinstance(answer, tuple)]
            assert refusal is Conflict
            assert all(part in message for part in (f"ns/{name}", "'a'", "'b'", "keep it in one of the two"))
            stands = f"select name, declared_by from task where name like '{name}%' and definition is not null"
            assert sorted(rows(database, stands)) == [(name, winner), (f"{name}-{winner}", winner)]
            for source in "ab":
                declare(database, "dev", manifest(source))


def test_two_sources_may_say_the_same_of_a_dataset_but_not_otherwise(database: Database) -> None:
    said = dataset("d", owner="o", aliases=[{"namespace": "glue", "name": "d"}])
    declare(database, "dev", manifest("b", datasets=[said]))
    declare(database, "dev", manifest("a", datasets=[said]))
    declare(database, "dev", manifest("c", datasets=[dataset("d")]))
    with pytest.raises(Conflict, match="declared otherwise by the source 'a'"):
        declare(database, "dev", manifest("e", datasets=[dataset("d", owner="p")]))
    with pytest.raises(Conflict, match="'b'"):
        declare(database, "dev", manifest("a", datasets=[dataset("d", owner="p")]))
    standing = "select declared_by, owner from dataset where namespace = 'lake'"
    assert rows(database, standing) == [("a", "o")]
    declare(database, "dev", manifest("a"))
    assert rows(database, standing) == [("b", "o")]
    declare(database, "dev", manifest("b"))
    assert rows(database, standing) == [("c", None)]
    assert rows(database, "select count(*) from alias") == [(0,)]


def test_aliases_join_datasets_and_part_them_again(database: Database) -> None:
    declare(database, "dev", manifest("a", datasets=[dataset("d", aliases=[{"namespace": "glue", "name": "d"}])]))
    canonical = "select count(distinct canonical_id) from dataset"
    assert rows(database, canonical) == [(1,)]
    declare(database, "dev", manifest("a", datasets=[dataset("d")]))
    assert rows(database, canonical) == [(2,)]


def test_the_name_that_lists_its_aliases_stands_for_them_though_they_are_declared_too(database: Database) -> None:
    declare(database, "dev", manifest("b", datasets=[{"namespace": "glue", "name": "d", "owner": "reader"}]))
    declare(database, "dev", manifest("a", datasets=[dataset("d", aliases=[{"namespace": "glue", "name": "d"}])]))
    stands = "select distinct s.namespace from dataset d join dataset s on s.id = d.canonical_id"
    assert rows(database, stands) == [("lake",)]


def test_a_single_task_is_a_source_of_its_own(database: Database) -> None:
    single = definition.parse_task(task("x", after("y")))
    assert declare_task(database, "dev", single).created == 1
    assert declare_task(database, "dev", single).unchanged == 1
    assert rows(database, "select source from definition_source") == [("task:ns/x",)]
    with pytest.raises(Conflict, match="task:ns/x"):
        declare(database, "dev", manifest("a", task("x")))
    with pytest.raises(CycleError):
        declare_task(database, "dev", definition.parse_task(task("y", after("x"))))


def test_of_a_task_that_is_new_nothing_is_asked_that_only_a_known_one_could_tell(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, "dev", manifest("a", task("load", makes=("raw",))))
    sent = counted(monkeypatch)
    declare_task(database, "dev", definition.parse_task(task("clean", reads("raw"), makes=("orders",))))
    new = len(sent)
    sent.clear()
    declare_task(database, "dev", definition.parse_task(task("clean", reads("raw"), makes=("sales",))))
    assert new <= 17 < len(sent)


def test_an_unknown_environment_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound) as caught:
        declare(database, "nowhere", manifest("a"))
    assert "dev" in caught.value.candidates


CYCLES: list[tuple[list[Manifest], Manifest, list[str]]] = [
    ([], manifest("a", task("x", after("y")), task("y", after("x"))), ["x", "y", "x"]),
    ([], manifest("a", task("x", after("x"))), ["x", "x"]),
    (
        [manifest("a", task("x", reads("d"), makes=("e",)))],
        manifest("b", task("y", reads("e"), makes=("d",))),
        ["x", "e", "y", "d", "x"],
    ),
    (
        [manifest("a", task("x", reads("t", "glue"))), manifest("b", task("y", after("x"), makes=("d",)))],
        manifest("c", datasets=[dataset("d", aliases=[{"namespace": "glue", "name": "t"}])]),
        ["x", "y", "d", "t", "x"],
    ),
    (
        [manifest("a", task("x", after("y", mapping=YESTERDAY))), manifest("b", task("y", after("x")))],
        manifest("a", task("x", after("y"))),
        ["x", "y", "x"],
    ),
]


@pytest.fixture(params=[acyclic.MOST_NEAR, 0], ids=["near", "everything"])
def most_near(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks lie around the change: up to the limit they are looked at, beyond it all are."""
    monkeypatch.setattr(acyclic, "MOST_NEAR", request.param)


@pytest.mark.usefixtures("most_near")
@pytest.mark.parametrize(("before", "closing", "cycle"), CYCLES)
def test_a_cycle_is_refused_spelled_out_and_leaves_nothing(
    database: Database, before: list[Manifest], closing: Manifest, cycle: list[str]
) -> None:
    for each in before:
        declare(database, "dev", each)
    state = digest(database, "dev")
    for dry_run in (True, False):
        with pytest.raises(CycleError) as caught:
            declare(database, "dev", closing, dry_run=dry_run)
        start = caught.value.cycle.index(cycle[0])
        assert [*caught.value.cycle[start:-1], *caught.value.cycle[:start], cycle[0]] == cycle
        assert isinstance(caught.value, InvalidInput)
    assert digest(database, "dev") == state
    assert rows(database, "select count(*) from definition_source") == [(len(before),)]


def test_names_that_are_alike_are_told_apart_in_a_cycle(database: Database) -> None:
    other = {"task": {"namespace": "other", "name": "x"}}
    closing = manifest("a", task("x", other), {"namespace": "other", "name": "x", "consumes": [after("x")]})
    with pytest.raises(CycleError) as caught:
        declare(database, "dev", closing)
    assert set(caught.value.cycle) == {"ns/x", "other/x"}


def test_edges_to_strictly_earlier_partitions_and_updates_in_place_are_no_cycles(database: Database) -> None:
    declare(database, "dev", manifest("a", task("x", after("x", mapping=YESTERDAY))))
    declare(database, "dev", manifest("b", task("merge", reads("d"), makes=("d",))))
    declare(database, "dev", manifest("c", task("sum", reads("total", mapping=YESTERDAY), makes=("total",))))
    declare(database, "dev", manifest("d", task("p", after("q")), task("q", after("p", mapping=YESTERDAY))))
    assert rows(database, "select count(*) from task where definition is not null") == [(5,)]


def test_an_edge_that_was_only_observed_never_stands_in_the_way(database: Database) -> None:
    declare(database, "dev", manifest("a", task("x", after("y")), task("y")))
    with database.transaction() as connection:
        connection.execute(
            "insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)"
            " select environment, node_id, 'consumes', 'task', task_id, 'observed', '', now(), now() from edge"
        )
    assert declare(database, "dev", manifest("b", task("z", after("y")))).created == 1


names = st.sampled_from(["p", "q", "r", "s"])
upstreams = st.one_of(
    names.map(after), names.map(lambda name: after(name, mapping=YESTERDAY)), st.sampled_from(["d", "e"]).map(reads)
)
task_lists = st.lists(
    st.builds(
        lambda name, consumed, makes: task(name, *consumed, makes=tuple(makes)),
        names,
        st.lists(upstreams, max_size=2, unique_by=lambda edge: str(edge.get("task") or edge.get("dataset"))),
        st.sets(st.sampled_from(["d", "e"]), max_size=1).map(sorted),
    ),
    max_size=3,
    unique_by=lambda declared: str(declared["name"]),
)
datasets = st.lists(
    st.builds(
        lambda name, owner, aliased: dataset(
            name, owner=owner, aliases=[{"namespace": "lake", "name": "f"}] if aliased else []
        ),
        st.sampled_from(["d", "e"]),
        st.sampled_from([None, "o"]),
        st.booleans(),
    ),
    max_size=2,
    unique_by=lambda declared: str(declared["name"]),
)
manifests = st.builds(
    lambda source, tasks, said: manifest(source, *tasks, datasets=said),
    st.sampled_from(["a", "b", "c"]),
    task_lists,
    datasets,
)


def attempt(database: Database, environment: str, said: Manifest, *, dry_run: bool = False) -> object:
    """What declaring it answers, or how it is refused."""
    try:
        return declare(database, environment, said, dry_run=dry_run)
    except DataForgeError as error:
        return type(error), str(error)


@settings(on_one_database, max_examples=20)  # a second each: four states are compared for each manifest
@given(st.lists(manifests, min_size=1, max_size=4))
def test_a_dry_run_answers_as_the_real_one_and_changes_nothing(database: Database, said: list[Manifest]) -> None:
    environment = new_environment(database)
    for each in said:
        state = digest(database, environment)
        foreseen = attempt(database, environment, each, dry_run=True)
        assert digest(database, environment) == state
        assert attempt(database, environment, each) == foreseen
        if isinstance(foreseen, tuple):
            assert digest(database, environment) == state


def closes_a_cycle(said: Iterable[Manifest]) -> bool:
    """Whether all edges of these manifests together close a cycle; nothing is left out of the search."""
    links, pairs = [], []
    for each in said:
        for declared in each.tasks:
            links += [
                Link(declared.ref.id, True, Name("dataset" if edge.dataset else "task", edge.node.id), edge.mapping)
                for edge in declared.consumes
            ]
            links += [Link(declared.ref.id, False, Name("dataset", edge.node.id)) for edge in declared.produces]
        pairs += [(named.ref.id, alias.id) for named in each.datasets for alias in named.aliases]
    return find(links, pairs) is not None


@on_one_database
@given(st.lists(manifests, min_size=2, max_size=5), st.sampled_from([acyclic.MOST_NEAR, 2, 0]))
def test_a_declaration_is_refused_exactly_when_all_edges_together_close_a_cycle(
    database: Database, said: list[Manifest], most_near: int
) -> None:
    environment = new_environment(database)
    standing: dict[str, Manifest] = {}
    for each in said:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(acyclic, "MOST_NEAR", most_near)
            answer = attempt(database, environment, each)
        together = {**standing, each.source: each}
        if isinstance(answer, Declared):
            standing = together
        refusal = answer[0] if isinstance(answer, tuple) else None
        if refusal is not Conflict:
            assert refusal is (CycleError if closes_a_cycle(together.values()) else None)


@on_one_database
@given(st.lists(manifests, min_size=1, max_size=3, unique_by=lambda said: said.source), st.integers(0, 2**20))
def test_sources_in_any_order_give_the_same_state(database: Database, said: list[Manifest], seed: int) -> None:
    forward, shuffled = new_environment(database), new_environment(database)
    accepted = [each for each in said if isinstance(attempt(database, forward, each), Declared)]
    Random(seed).shuffle(accepted)
    for each in accepted:
        declare(database, shuffled, each)
    assert digest(database, shuffled) == digest(database, forward)


@settings(on_one_database, max_examples=25)
@given(st.lists(manifests, min_size=1, max_size=6))
def test_a_source_leaves_no_trace_of_what_it_said_before(database: Database, said: list[Manifest]) -> None:
    changing, plain = new_environment(database), new_environment(database)
    last: dict[str, Manifest] = {}
    for each in said:
        if isinstance(attempt(database, changing, each), Declared):
            last[each.source] = each
    for each in last.values():
        declare(database, plain, each)
    assert digest(database, changing) == digest(database, plain)
