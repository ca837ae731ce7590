"""Whatever had its last word long ago ends, by what was told alone; what lives is as it was, and can be rebuilt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.scratch import new_database
from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, verify
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import canonical_lines
from dataforge.model import definition
from dataforge.storage.database import Database
from dataforge.storage.signing_key import signing_key
from tests.ingest.ended import end_at, ended

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
OF_RUNS = ("attempt", "touch", "run", "shard_chunk")

Make = Callable[[], Database]


@pytest.fixture
def fresh(postgres_server: str, template_database: str) -> Iterator[Make]:
    """Databases in which nothing was recorded, as many as are asked for."""
    opened: list[tuple[Any, Database]] = []

    def make() -> Database:
        while opened:
            _close(opened.pop())
        manager = new_database(postgres_server, template_database)
        opened.append((manager, Database(manager.__enter__(), max_size=3)))
        return opened[-1][1]

    yield make
    while opened:
        _close(opened.pop())


def _close(opened: tuple[Any, Database]) -> None:
    opened[1].close()
    opened[0].__exit__(None, None, None)


def lines(database: Database) -> list[tuple[str, list[Any]]]:
    """The canonical rows of `dev`, by their tables."""
    with database.transaction() as connection:
        split = (line.decode().split("\t", 1) for line in canonical_lines(connection, 1))
        return [(table, json.loads(row)) for table, row in split]


def names(database: Database, going: set[tuple[int, str]]) -> set[tuple[str, str, str]]:
    """The runs of these groups, by namespace, name and run."""
    with database.transaction() as connection:
        rows = connection.execute(
            "select t.namespace, t.name, r.run, r.task_id, r.group_run from run r"
            " join task t on t.environment = 1 and t.id = r.task_id where r.environment = 1"
        ).fetchall()
    return {(row[0], row[1], row[2]) for row in rows if (row[3], row[4]) in going}


def time_of(body: bytes) -> datetime:
    said = json.loads(body)
    return datetime.fromisoformat(said.get("eventTime") or said["time"])


def tell(database: Database, bodies: list[bytes]) -> None:
    for begin in range(0, len(bodies), 40):
        record_any(database, "dev", bodies[begin : begin + 40], NOTHING)


TASKS = ["load", "clean", "mapped"]
SAID = st.fixed_dictionaries(
    {
        "time": st.integers(0, 59).map(lambda minute: f"2026-11-01T00:{minute:02}:00Z"),
        "task": st.sampled_from(TASKS).map(lambda name: {"namespace": "ns", "name": name}),
        "run": st.sampled_from(["r1", "r2", "r3", "manual__r4"]),
        "attempt": st.integers(1, 2),
        "state": st.sampled_from(["running", "succeeded", "succeeded", "failed", "skipped", "up_for_retry"]),
    },
    optional={
        "partition": st.sampled_from(["2026-11-01", "2026-11-02"]),
        "outputs": st.sampled_from(
            [
                [{"namespace": "s3://lake", "name": "orders"}],
                [{"namespace": "s3://lake", "name": "orders", "checks": [{"name": "rows", "success": False}]}],
            ]
        ),
        "shards": st.lists(st.sampled_from("ab"), min_size=1, unique=True).map(
            lambda keys: [{"key": key, "state": "succeeded"} for key in keys]
        ),
        "inputs": st.just(
            [{"namespace": "s3://lake", "name": "orders", "checks": [{"name": "keys", "success": False}]}]
        ),
    },
)


MARKED = st.fixed_dictionaries(
    {
        "time": st.integers(0, 59).map(lambda minute: f"2026-11-01T00:{minute:02}:30Z"),
        "task": st.sampled_from(TASKS[:2]).map(lambda name: {"namespace": "ns", "name": name}),
        "run": st.sampled_from(["r1", "r2", "r9"]),
    }
).flatmap(
    lambda about: st.sampled_from([{"control": "mark", "state": "failed"}, {"control": "clear"}]).map(
        lambda order: {**about, **order, "by": "anna", "reason": "seen"}
    )
)
CUT = st.sampled_from(
    [None, {"kind": "none"}, {"kind": "daily", "start": "2026-10-01"}, {"kind": "monthly", "start": "2026-10-01"}]
)


def body_of(said: dict[str, Any]) -> bytes:
    mapped = {"map_index": said["attempt"]} if said["task"]["name"] == "mapped" and "attempt" in said else {}
    source = {"source": {"run_id": said["run"]}} if said["run"].startswith("manual") else {}
    return json.dumps({**said, **mapped, **source}).encode()


CAPTURED = {
    name: (CAPTURES / name / "events.jsonl").read_bytes().splitlines()
    for name in ("airflow", "airflow_edge", "dbt", "spark", "spark_edge")
}
DRAWN = st.lists(st.one_of(*[SAID.map(body_of)] * 8, MARKED.map(body_of)), min_size=2, max_size=16)


def cut_anew(database: Database, cut: dict[str, Any] | None) -> None:
    """Declares how tasks are cut, which makes the keys of all runs anew, but for those that have ended."""
    if cut is not None:
        orders = [{"namespace": "s3://lake", "name": "orders"}]
        tasks = [{"namespace": "ns", "name": name, "partitioning": cut, "produces": orders} for name in TASKS]
        declare(database, "dev", definition.parse({"tasks": tasks}, "test"))


def check(
    make: Make,
    home: Path,
    bodies: list[bytes],
    ends: tuple[int, datetime, int],
    cuts: tuple[dict[str, Any] | None, dict[str, Any] | None] = (None, None),
) -> None:
    """Ends the runs that had their last word before a moment, after some of the events; and tells more, and all."""
    cut, known_from, more = ends
    database = make()
    cut_anew(database, cuts[0])
    tell(database, bodies[:cut])
    before = lines(database)
    with database.transaction() as connection:
        going = ended(connection, 1, known_from)
    gone = names(database, going)
    end_at(database, known_from)
    left = [(table, row) for table, row in before if table not in OF_RUNS or (*row[0], row[1]) not in gone]
    assert lines(database) == left
    assert verify(database, "dev").found.first == ()
    cut_anew(database, cuts[1])
    shelf = Shelf(home, "dev", signing_key(home / "keys").public)
    tell(database, bodies[cut : cut + more])
    assert verify(database, "dev").found.first == ()
    assert checkpoint(database, "dev", shelf, signing_key(home / "keys"), NOW).checkpoint is not None
    tell(database, bodies[cut + more :])
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.checkpoint is not None) == ((), True)
    assert verify(database, "dev").found.first == ()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=DRAWN, data=st.data())
def test_what_lives_is_as_it_was_and_can_be_rebuilt(
    fresh: Make, tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(bodies)))
    minute = data.draw(st.integers(0, 60))
    ends = cut, datetime(2026, 11, 1, minute // 60, minute % 60, tzinfo=UTC), data.draw(st.integers(0, 4))
    check(fresh, tmp_path_factory.mktemp("home"), bodies, ends, (data.draw(CUT), data.draw(CUT)))


@pytest.mark.parametrize("capture", list(CAPTURED))
def test_what_platforms_told_ends_as_well(fresh: Make, tmp_path: Path, capture: str) -> None:
    """Mapped tasks, applications with their jobs, and what was said of tasks afterwards."""
    bodies = CAPTURED[capture]
    times = sorted(time_of(body) for body in bodies)
    check(fresh, tmp_path, bodies, (3 * len(bodies) // 4, times[len(bodies) // 2], len(bodies) // 8))


def test_what_stands_above_a_run_that_stays_does_so_too(fresh: Make, tmp_path: Path) -> None:
    """Also where nothing was told of it for longer, and its task has run since."""
    runs = {name: str(UUID(int=number)) for number, name in enumerate(("first", "second", "job"), 1)}
    bodies = [
        _told("flow", runs["first"], "START", 0),
        _told("flow", runs["first"], "COMPLETE", 1),
        _told("flow", runs["second"], "START", 2),
        _told("flow", runs["second"], "COMPLETE", 3),
        _told("flow.job", runs["job"], "START", 4, above=("flow", runs["first"])),
        _told("flow.job", runs["job"], "COMPLETE", 50, above=("flow", runs["first"])),
    ]
    check(fresh, tmp_path, bodies, (len(bodies), datetime(2026, 11, 1, 0, 30, tzinfo=UTC), 0))


def _told(name: str, run: str, kind: str, minute: int, above: tuple[str, str] | None = None) -> bytes:
    of = {"_producer": "https://flows", "_schemaURL": "https://flows/schema"}
    parent = (
        {"parent": {**of, "run": {"runId": above[1]}, "job": {"namespace": "ns", "name": above[0]}}} if above else {}
    )
    return json.dumps(
        {
            "eventType": kind,
            "eventTime": f"2026-11-01T00:{minute:02}:00Z",
            "producer": "https://flows",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": run, "facets": parent},
            "job": {"namespace": "ns", "name": name},
        }
    ).encode()
