"""Dataset schedules on real events: a run is due, and consumes, as Airflow's queue has it, in any order of arrival."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.graph.follower import Follower
from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.lineage import lineage
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import InvalidInput, NotFound
from dataforge.model.filter import UpdateFilter
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
NOW = BEGIN + timedelta(days=1)
FRESH = count()  # of environments: examples share a database
Shape = dict[str, Any]


def leaf(name: str) -> Shape:
    return {"dataset": {"namespace": "s3://lake", "name": name}}


BOTH = {"all": [leaf("a"), leaf("b")]}
NESTED = {"any": [leaf("c"), BOTH]}


def at(minute: float) -> str:
    return (BEGIN + timedelta(minutes=minute)).isoformat()


def event(task: str, run: str, minute: float, state: str, **more: Any) -> Shape:
    return {"time": at(minute), "task": {"namespace": "ns", "name": task}, "run": run, "state": state, **more}


def updated(dataset: str, minute: float, key: str = "2026-11-01", state: str = "succeeded") -> list[Shape]:
    output = {"namespace": "s3://lake", "name": dataset, "partition": key, "version": f"v{minute}"}
    return [event(f"write_{dataset}", f"{dataset}@{minute}", minute, state, outputs=[output])]


def ran(minute: float, state: str = "succeeded", task: str = "report") -> list[Shape]:
    run = f"{task}@{minute}"
    return [event(task, run, minute, "running"), event(task, run, minute + 0.5, state)]


def scheduled(trigger: Shape, **more: Any) -> Shape:
    return {"source": "s", "tasks": [{"namespace": "ns", "name": "report", "trigger": trigger, **more}]}


def record(database: Database, *groups: list[Shape], environment: str = "dev") -> None:
    bodies: list[object] = [json.dumps(each).encode() for group in groups for each in group]
    assert record_any(database, environment, bodies, NOTHING).rejected == []


def ask(database: Database, environment: str = "dev") -> Verdict:
    return verdict(database, environment, Named("report", "ns"), NOW)


def asked(database: Database, trigger: Shape, *groups: list[Shape]) -> Verdict:
    declare(database, "dev", definition.parse(scheduled(trigger)))
    record(database, *groups)
    return ask(database)


def consumed(database: Database, run: str | None, environment: str = "dev", limit: int = 100) -> list[tuple[str, str]]:
    wanted = UpdateFilter(name="report", run=run, limit=limit)
    return [(each.name, each.run.run) for each in catalog.updates(database, environment, wanted).items]


def test_a_run_is_due_when_every_dataset_was_updated(database: Database) -> None:
    found = asked(database, BOTH, updated("a", 1))
    assert (found.runnable, found.status) == (False, "blocked")  # nothing is known to write b
    record(database, updated("b", 2))
    found = ask(database)
    assert (found.runnable, found.status, found.reasons, found.basis) == (True, "runnable", (), "declared")


def test_each_dataset_still_waited_for_is_named_with_its_last_update(database: Database) -> None:
    found = asked(database, NESTED, updated("a", 1), updated("b", 2), ran(3), updated("b", 4, "2026-11-02"))
    assert found.status == "waiting"  # for a, which something writes
    since = "a has not been updated since 2026-11-01 00:03 UTC, when the last run began"
    assert [reason.message for reason in found.reasons] == [
        f"{since}; its last update was that of 2026-11-01 at 2026-11-01 00:01 UTC",
        f"{since.replace('a', 'c', 1)}; no task is known that writes it",
    ]
    assert [(reason.code, reason.run) for reason in found.reasons] == [
        ("upstream_missing", "a@1"),
        ("upstream_missing", None),
    ]
    record(database, updated("c", 1, state="failed"))
    assert ask(database).status == "waiting"
    record(database, updated("c", 5))
    assert ask(database).runnable


def test_a_run_takes_everything_from_the_queue_however_it_ends(database: Database) -> None:
    for minute, state in enumerate(("succeeded", "failed", "skipped", "canceled")):
        record(database, updated("a", minute * 10 + 1), updated("b", minute * 10 + 2))
        assert asked(database, BOTH).runnable
        record(database, ran(minute * 10 + 3, state))
        assert [reason.code for reason in ask(database).reasons] == ["upstream_missing", "upstream_missing"]


def test_a_run_that_goes_on_is_told_of(database: Database) -> None:
    running = [event("report", "r", 3, "running")]
    found = asked(database, leaf("a"), updated("a", 1), running, updated("a", 4))
    assert [reason.code for reason in found.reasons] == ["already_running"]
    assert consumed(database, None) == [("a", "a@4")]


def test_what_failed_updates_nothing(database: Database) -> None:
    assert not asked(database, leaf("a"), updated("a", 1, state="failed"), updated("a", 2, state="running")).runnable


def test_a_later_try_of_a_run_takes_nothing_from_the_queue(database: Database) -> None:
    again = [{**each, "attempt": 2, "time": at(9)} for each in ran(3)]
    assert asked(database, leaf("a"), updated("a", 1), ran(3), updated("a", 5), again).runnable
    assert consumed(database, "report@3") == [("a", "a@1")]
    assert consumed(database, None) == [("a", "a@5")]


def test_of_a_run_whose_begin_nobody_told_the_end_stands_for_it(database: Database) -> None:
    ended = [event("report", "r1", 3, "succeeded")]
    assert not asked(database, leaf("a"), updated("a", 1), ended).runnable
    assert consumed(database, "r1") == [("a", "a@1")]
    record(database, updated("a", 4))
    assert ask(database).runnable
    record(database, [event("report", "r1", 6, "queued", attempt=2)])
    assert [reason.code for reason in ask(database).reasons] == ["already_running"]
    assert consumed(database, None) == [("a", "a@4")]


def order(verb: str, minute: float, **more: Any) -> Shape:
    said = {"control": verb, "by": "anna", "reason": "half a file", **more}
    return {"time": at(minute), "task": {"namespace": "ns", "name": "report"}, **said}


def test_a_run_that_only_a_person_has_told_of_takes_what_was_queued(database: Database) -> None:
    done = [order("mark", 3, run="by hand", state="succeeded")]
    assert not asked(database, leaf("a"), updated("a", 1), done).runnable
    assert consumed(database, "by hand") == [("a", "a@1")]


@pytest.mark.parametrize("said", [order("clear", 5, run="report@3"), order("rerun", 5)])
def test_what_a_person_wants_run_again_waits_for_no_update(database: Database, said: Shape) -> None:
    assert not asked(database, leaf("a"), updated("a", 1), ran(3, "failed")).runnable
    record(database, [said])
    assert ask(database).runnable
    record(database, ran(6))
    assert not ask(database).runnable


def test_what_a_person_starts_in_airflow_takes_nothing_from_the_queue(database: Database) -> None:
    source = {"dag_id": "d", "run_id": "manual__2026-11-01T00:03:00+00:00", "task_id": "report"}
    manual = [{**each, "source": source} for each in ran(3)]
    assert asked(database, leaf("a"), updated("a", 1), manual).runnable
    assert consumed(database, "report@3") == []
    source["run_id"] = "dataset_triggered__2026-11-01T00:04:00+00:00"
    record(database, [{**each, "source": source} for each in ran(4)])
    assert not ask(database).runnable
    assert consumed(database, "report@4") == [("a", "a@1")]


def test_each_run_shows_the_updates_it_consumed(database: Database) -> None:
    asked(database, BOTH, updated("a", 1), updated("a", 2, "2026-11-02"), updated("b", 3), ran(3), updated("b", 4))
    assert consumed(database, "report@3") == [("a", "a@1"), ("a", "a@2"), ("b", "b@3")]
    assert consumed(database, None) == [("b", "b@4")]
    first = catalog.updates(database, "dev", UpdateFilter(name="report", run="report@3", limit=2))
    assert [item.partition for item in first.items] == ["2026-11-01", "2026-11-02"]
    rest = UpdateFilter(name="report", run="report@3", limit=2, cursor=first.next_cursor)
    assert [(item.name, item.version) for item in catalog.updates(database, "dev", rest).items] == [("b", "v3")]
    with pytest.raises(NotFound, match="no run 'x' of ns/report"):
        consumed(database, "x")


def test_a_task_without_a_trigger_has_no_queue(database: Database) -> None:
    record(database, updated("a", 1))
    with pytest.raises(InvalidInput, match="declares no trigger"):
        catalog.updates(database, "dev", UpdateFilter(name="write_a"))


def test_a_triggered_task_has_no_partitions(database: Database) -> None:
    declare(database, "dev", definition.parse(scheduled(BOTH)))
    found = verdict(database, "dev", Named("report", "ns", "2026-11-01"), NOW)
    assert [reason.code for reason in found.reasons] == ["no_such_partition"]


def test_what_fits_no_task_without_partitions_is_refused_of_one_that_leaves_them_out(database: Database) -> None:
    daily = {"kind": "daily", "start": "2026-01-01"}
    written = {"namespace": "s3://lake", "name": "out"}
    shape = scheduled(leaf("a"), produces=[written])
    with pytest.raises(InvalidInput, match=r"tasks\[0\].produces\[0\].mapping"):
        definition.parse({**shape, "datasets": [{**written, "partitioning": daily}]})
    declare(database, "dev", definition.parse(shape))
    elsewhere = {"source": "other", "datasets": [{**written, "partitioning": daily}]}
    with pytest.raises(InvalidInput, match="one that the edge of ns/report, declared by 's', fits"):
        declare(database, "dev", definition.parse(elsewhere))


def test_an_update_under_another_name_counts(database: Database) -> None:
    shape = scheduled(leaf("a"))
    alias = {"namespace": "glue://1", "name": "lake.a"}
    shape["datasets"] = [{"namespace": "s3://lake", "name": "a", "aliases": [alias]}]
    declare(database, "dev", definition.parse(shape))
    record(database, [event("w", "w1", 1, "succeeded", outputs=[alias])])
    assert ask(database).runnable
    assert consumed(database, None) == [("a", "w1")]


def test_an_edge_beside_a_trigger_is_judged_by_itself(database: Database) -> None:
    consumes = [{**leaf("a"), "mapping": {"kind": "fixed", "key": "2026-11-05"}}]
    declare(database, "dev", definition.parse(scheduled(leaf("a"), consumes=consumes)))
    record(database, updated("a", 1))
    assert [(reason.code, reason.partition) for reason in ask(database).reasons] == [("upstream_missing", "2026-11-05")]


def test_every_dataset_of_a_trigger_is_consumed_in_the_graph(database: Database) -> None:
    declare(database, "dev", definition.parse(scheduled(NESTED)))
    found = lineage(database, Follower(), "dev", ("ns", "report"), "upstream")
    assert sorted(node.name for node in found.nodes) == ["a", "b", "c", "report"]
    declare(database, "dev", definition.parse(scheduled(leaf("a"))))
    found = lineage(database, Follower(), "dev", ("ns", "report"), "upstream")
    assert sorted(node.name for node in found.nodes) == ["a", "report"]


Happening = tuple[str, int]  # a dataset that is updated, or "run", and the minute
happenings = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "run"]), st.integers(0, 60)),
    min_size=1,
    max_size=12,
    unique_by=lambda h: h[1],
)


def airflow_queue(said: list[Happening]) -> tuple[bool, dict[str, list[str]]]:
    """Airflow, step by step: an update puts its dataset into the queue and an event into the log; a run that begins
    takes the events since the run before and empties the queue. Whether NESTED is due, and what each run consumed."""
    queue: set[str] = set()
    log: list[str] = []
    taken: dict[str, list[str]] = {}
    for what, minute in sorted(said, key=lambda each: each[1]):
        if what == "run":
            taken[f"report@{minute}"], log, queue = log, [], set()
        else:
            queue.add(what)
            log = [*log, f"{what}@{minute}"]
    return "c" in queue or {"a", "b"} <= queue, {**taken, "": log}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(happenings, st.integers(0, 2**20))
def test_a_run_is_due_and_consumes_as_in_airflow_in_any_order(
    database: Database, said: list[Happening], seed: int
) -> None:
    names = [f"e{next(FRESH)}" for _ in range(2)]
    with database.transaction() as connection:
        connection.cursor().executemany("insert into environment (name) values (%s)", [(name,) for name in names])
    groups = [ran(minute) if what == "run" else updated(what, minute) for what, minute in said]
    shuffled = [each for group in groups for each in group]
    Random(seed).shuffle(shuffled)
    declare(database, names[0], definition.parse(scheduled(NESTED)))
    record(database, *groups, environment=names[0])
    record(database, shuffled, environment=names[1])
    declare(database, names[1], definition.parse(scheduled(NESTED)))
    due, taken = airflow_queue(said)
    for name in names:
        assert ask(database, name).runnable is due
        for run, events in taken.items():
            assert [each for _, each in consumed(database, run or None, name)] == events
    assert digest(database, names[0]) == digest(database, names[1])
    assert verify(database, names[1]).difference is None
