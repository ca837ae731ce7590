"""Every run knows the version of its task that it ran, whatever came first: its events, or the declarations."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.lineage import lineage_at
from dataforge.ledger.version import versions
from dataforge.model import definition
from dataforge.model.filter import RunFilter
from dataforge.storage.database import Database

_numbers = count()
START = datetime(2026, 1, 1, tzinfo=UTC)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def say(database: Database, environment: str, owner: str | None, since: int, now: int) -> None:
    """Declares the task of this owner from an hour on, or retires it."""
    tasks = [{"namespace": "ns", "name": "x", "owner": owner}] if owner else []
    manifest = definition.parse({"tasks": tasks, "valid_from": hour(since).isoformat()}, "a")
    declare(database, environment, manifest, now=hour(now))


def send(database: Database, environment: str, run: int, at: int, state: str = "running", **task: Any) -> None:
    event = {
        "time": hour(at).isoformat(),
        "task": {"namespace": "ns", "name": "x", **task},
        "run": str(run),
        "state": state,
    }
    assert record_native(database, environment, [event], NOTHING).rejected == []


def owners(database: Database, environment: str = "dev", **wanted: Any) -> dict[str, str | None]:
    """Whose version each run ran."""
    found = versions(database, environment, ("ns", "x"))
    owner = {item.version: item.definition["owner"] for item in found.items}
    items = catalog.runs(database, environment, RunFilter(**wanted)).items
    return {f"{item.run}.{item.attempt}": owner[item.version] if item.version else None for item in items}


def test_a_run_has_the_version_that_held_when_it_started(database: Database) -> None:
    say(database, "dev", "ann", since=2, now=2)
    say(database, "dev", "bob", since=4, now=4)
    say(database, "dev", None, since=6, now=6)
    for number, at in enumerate((1, 2, 3, 4, 6)):
        send(database, "dev", number, at)
    assert owners(database) == {"0.1": None, "1.1": "ann", "2.1": "ann", "3.1": "bob", "4.1": None}


def test_a_run_of_which_only_the_end_is_known_has_the_version_that_held_then(database: Database) -> None:
    say(database, "dev", "ann", since=2, now=2)
    send(database, "dev", 0, at=3, state="succeeded")
    assert owners(database) == {"0.1": "ann"}


def test_each_attempt_has_the_version_of_its_own_start(database: Database) -> None:
    say(database, "dev", "ann", since=2, now=2)
    say(database, "dev", "bob", since=4, now=4)
    for number, at in ((1, 3), (2, 5)):
        event = {"time": hour(at).isoformat(), "task": {"namespace": "ns", "name": "x"}, "state": "running", "run": "r"}
        record_native(database, "dev", [{**event, "attempt": number}], NOTHING)
    assert owners(database) == {"r.2": "bob"}
    assert owners(database, attempts=True) == {"r.1": "ann", "r.2": "bob"}


def test_the_version_that_an_event_names_is_the_runs_own_word(database: Database) -> None:
    say(database, "dev", "ann", since=2, now=2)
    older = versions(database, "dev", ("ns", "x")).items[0].version
    say(database, "dev", "bob", since=4, now=4)
    send(database, "dev", 0, at=5, version=older)  # a worker that had not been deployed anew
    send(database, "dev", 0, at=6, state="succeeded")
    assert owners(database) == {"0.1": "ann"}
    assert verify(database, "dev").difference is None


def test_of_two_sources_in_an_imported_past_the_one_that_began_last_stands(database: Database) -> None:
    for source, owner, since, until in (("c", "cid", 2, 8), ("b", "bob", 4, 6), ("a", "ann", 4, 6)):
        gone = definition.parse({"valid_from": hour(until).isoformat()}, source)
        declare(database, "dev", gone, now=hour(10))
        tasks = [{"namespace": "ns", "name": "x", "owner": owner}]
        declare(database, "dev", definition.parse({"tasks": tasks, "valid_from": hour(since).isoformat()}, source))
    for at in (1, 3, 5, 7, 9):
        send(database, "dev", at, at)
    assert owners(database) == {"1.1": None, "3.1": "cid", "5.1": "ann", "7.1": "cid", "9.1": None}
    assert [node.owner for node in lineage_at(database, "dev", (None, "x"), hour(5)).nodes] == ["ann"]


def test_a_version_that_is_no_hash_is_refused_by_its_field(database: Database) -> None:
    event = {"time": hour(1).isoformat(), "task": {"namespace": "ns", "name": "x", "version": "1.2"}, "state": "failed"}
    [rejected] = record_native(database, "dev", [event], NOTHING).rejected
    assert [error.field for error in rejected.errors] == ["task.version"]


moves = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(["ann", "bob", None]), st.integers(0, 8)),
    st.tuples(st.just("run"), st.integers(0, 3), st.integers(0, 8)),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(moves, min_size=2, max_size=7, unique_by=lambda move: move[::2]), st.integers(0, 2**20))
def test_runs_have_the_same_versions_in_any_order_of_events_and_declarations(
    database: Database, history: Sequence[tuple[str, Any, int]], seed: int
) -> None:
    turned = list(history)
    Random(seed).shuffle(turned)
    found = []
    for order in (history, turned):
        environment = f"runs-{next(_numbers)}"
        with database.transaction() as connection:
            connection.execute("insert into environment (name) values (%s)", [environment])
        say(database, environment, None, since=0, now=9)
        for kind, value, at in order:
            if kind == "say":
                say(database, environment, value, since=at, now=10 + at)
            else:
                send(database, environment, value, at)
        runs = catalog.runs(database, environment, RunFilter()).items
        found.append({run.run: (run.started_at, run.version) for run in runs})
    assert found[0] == found[1]
