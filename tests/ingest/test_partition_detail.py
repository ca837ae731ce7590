"""Detail of partitions ends by months: exported first, told where it is asked for, and what lives is as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.scratch import new_database
from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import replay, verify
from dataforge.ledger import catalog, detail
from dataforge.ledger.backfill_targets import start
from dataforge.ledger.bodies import Ended
from dataforge.ledger.declare import declare
from dataforge.ledger.freshness import freshness
from dataforge.ledger.partition_graph import lineage_of
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import canonical_lines
from dataforge.model import definition
from dataforge.model.backfill import Target
from dataforge.model.errors import ArchiveUnavailable, InvalidInput
from dataforge.model.filter import PartitionFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.partition import has_ended
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage import environment as environments
from dataforge.storage import partition_part
from dataforge.storage import partition_set as partition_sets
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database, migrate
from tests.ingest.bucket import s3
from tests.storage.older import migrate_before

NOW = datetime.now(UTC)
_environments = count()


def month(ago: int) -> date:
    """The first day of the month so many months ago."""
    years, number = divmod(NOW.year * 12 + NOW.month - 1 - ago, 12)
    return date(years, number + 1, 1)


OLD, LAST, LIVING = month(8), month(5) - timedelta(days=1), month(2)  # 90 days ago is after the second, and in none of
# the third month's windows
DAILY = {"kind": "daily", "start": OLD.isoformat()}


def task(name: str, mapping: Any = None, reads: str = "extract") -> dict[str, Any]:
    edge = {"task": {"namespace": "ns", "name": reads}, **({"mapping": mapping} if mapping else {})}
    consumes = {"consumes": [edge]} if name != "extract" else {}
    return {"namespace": "ns", "name": name, "partitioning": DAILY, **consumes}


TASKS = [
    task("extract"),
    task("load"),
    task("total", {"kind": "all"}),
    task("trend", {"kind": "window", "from": -60, "to": 0}),
    {"namespace": "ns", "name": "setup", "partitioning": {"kind": "none"}},
]


def ran(name: str, key: str, at: datetime, state: str = "succeeded") -> list[bytes]:
    said = {
        "task": {"namespace": "ns", "name": name},
        "run": f"{name} {key} {at}",
        **({"partition": key} if key else {}),
    }
    begun = {**said, "time": at.isoformat(), "state": "running"}
    ended = {**said, "time": (at + timedelta(minutes=5)).isoformat(), "state": state}
    return [json.dumps(each).encode() for each in (begun, ended)][: 1 if state == "running" else 2]


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def record(database: Database, name: str, day: date, state: str = "succeeded", environment: str = "dev") -> None:
    found = record_native(database, environment, ran(name, day.isoformat(), noon(day), state), NOTHING)
    assert not found.rejected


@pytest.fixture
def world(database: Database) -> Database:
    """Two old windows and one that lives, each extracted and loaded, and a task without partitions."""
    declare(database, "dev", definition.parse({"tasks": TASKS}, "test"))
    for day in (OLD, LAST, LIVING):
        record(database, "extract", day)
        record(database, "load", day)
    record_native(database, "dev", ran("setup", "", noon(OLD)), NOTHING)
    return database


def end(database: Database, archive: Archive | None = None, now: datetime = NOW) -> Ended:
    return detail.end_old(database, now, archive)


def states(database: Database, environment: int = 1) -> list[tuple[str, str]]:
    with database.transaction() as connection:
        return connection.execute(
            "select name, partition from partition_state s join task t on t.environment = s.environment"
            " and t.id = node_id where s.environment = %s order by partition, name",
            [environment],
        ).fetchall()


def known_from(database: Database, environment: str = "dev") -> str:
    with database.transaction() as connection:
        return environments.find(connection, environment).states_known_from


def ask(database: Database, name: str, day: date, environment: str = "dev") -> Verdict:
    return verdict(database, environment, Named(name, None, day.isoformat()), NOW)


def gone(found: Ended) -> list[str]:
    return [fate.part.name for fate in found.fates if fate.stays is None and fate.events]


LEFT = [("setup", ""), ("extract", LIVING.isoformat()), ("load", LIVING.isoformat())]


def test_old_windows_end_and_what_lives_stays_as_it_is(world: Database) -> None:
    before = lines(world, "dev")
    found = end(world)
    assert sum(fate.events or 0 for fate in found.fates if fate.stays is None) == 4
    assert states(world) == LEFT
    day = known_from(world)
    assert LAST.isoformat() < day <= LIVING.isoformat()
    assert lines(world, "dev") == [each for each in before if not is_ended(each, day)]
    assert verify(world, "dev").found.agrees
    assert gone(end(world)) == []


def test_a_late_event_of_an_ended_window_is_a_fact_and_makes_no_state(world: Database) -> None:
    end(world)
    found = record_native(world, "dev", ran("extract", LAST.isoformat(), noon(LIVING)), NOTHING)
    assert found.applied == 2
    assert states(world) == LEFT
    assert verify(world, "dev").found.agrees
    assert not replay(world, "dev").found.counts


def test_questions_about_an_ended_window_say_that_it_has_ended(world: Database) -> None:
    end(world)
    answer = ask(world, "load", LAST)
    assert (answer.runnable, answer.status, [each.code for each in answer.reasons]) == (
        False,
        "unknown",
        ["detail_ended"],
    )
    assert f"before {known_from(world)} has ended" in answer.reasons[0].message
    question = FreshnessQuestion(name="load", kind="task", partition=LAST.isoformat())
    (item,) = freshness(world, "dev", [question], NOW).items
    assert [each.code for each in item.reasons] == ["detail_ended"]


def test_what_needs_an_ended_window_says_which_and_all_begins_where_they_end(world: Database) -> None:
    codes = {each.code for each in ask(world, "trend", LAST).reasons}
    assert codes == {"upstream_missing"}
    end(world)
    day = date.fromisoformat(known_from(world))
    found = ask(world, "trend", day + timedelta(days=20)).reasons
    (gone,) = [each for each in found if (each.partition or "") < day.isoformat()]
    assert (gone.code, gone.partition) == ("detail_ended", str(day - timedelta(days=40)))
    assert f"extract for {gone.partition} and 39 more up to {day - timedelta(days=1)} stood" in gone.message
    assert {each.code for each in found if (each.partition or "") >= day.isoformat()} == {"upstream_missing"}
    total = ask(world, "total", day + timedelta(days=2))
    begins = [each.partition for each in total.reasons]
    assert begins == [str(each) for ago in range(3) if (each := day + timedelta(days=ago)) != LIVING]


def test_what_was_built_from_an_ended_window_is_not_stale(world: Database) -> None:
    for ago in range(1, 61):
        record(world, "extract", LIVING - timedelta(days=ago))
    record_native(world, "dev", ran("trend", LIVING.isoformat(), noon(LIVING) + timedelta(hours=1)), NOTHING)
    question = FreshnessQuestion(name="trend", kind="task", partition=LIVING.isoformat())
    for _ in range(2):
        (item,) = freshness(world, "dev", [question], NOW).items
        assert (item.status, item.reasons) == ("fresh", ())
        end(world)
    assert known_from(world) > str(LIVING - timedelta(days=60)), "some of what it was built from has ended"


def test_a_backfill_refuses_ended_windows_by_field(world: Database) -> None:
    end(world)
    with world.transaction() as connection:
        for more in ({"partitions": (LAST.isoformat(),)}, {"first": LAST.isoformat(), "last": LIVING.isoformat()}):
            with pytest.raises(InvalidInput, match="detail of older ones has ended") as refused:
                start(connection, 1, [Target(name="load", **more)], NOW)
            assert refused.value.errors[0].field == f"targets[0].{next(iter(more))}"
            assert refused.value.errors[0].value == LAST.isoformat()
        (missed,) = [start(connection, 1, [Target(name="load", missed=True)], NOW)]
    assert min(key for _, key in missed) == known_from(world)


def test_what_may_run_is_decided_anew(world: Database) -> None:
    for day in (OLD + timedelta(days=1), LIVING + timedelta(days=1)):
        record(world, "extract", day)
    may_run: list[list[str]] = []
    for _ in range(2):
        while announce(world, "dev", NOW):
            pass
        items = waiting(world, "dev", 100, NOW).items
        may_run.append(sorted(each.partition or "" for each in items if each.task.name == "load"))
        end(world)
    assert may_run == [[str(day + timedelta(days=1)) for day in (OLD, LIVING)], [str(LIVING + timedelta(days=1))]]


def test_lists_and_lineage_say_where_it_ended(world: Database) -> None:
    def known() -> tuple[str | None, str | None]:
        page = catalog.partitions(world, "dev", PartitionFilter(name="load"), NOW)
        return page.known_from, lineage_of(world, "dev", (None, "load"), str(LIVING), NOW).known_from

    assert known() == (None, None)
    end(world)
    assert known() == (known_from(world), known_from(world))


def test_every_environment_has_to_let_a_month_go(world: Database) -> None:
    detail.set_days(world, "staging", 400)
    found = end(world)
    assert gone(found) == []
    assert any("younger than 400 days, which staging keeps" in (fate.stays or "") for fate in found.fates)
    detail.set_days(world, "staging", 90)
    assert gone(end(world))


def test_windows_that_are_not_long_over_hold_all_that_begin_with_them(world: Database) -> None:
    yearly = {"namespace": "ns", "name": "year", "partitioning": {"kind": "cron", "cron": "0 0 1 1 *"}}
    declare(world, "dev", definition.parse({"tasks": [*TASKS, yearly]}, "test"))
    end(world)
    day = known_from(world)
    assert day <= f"{(NOW - timedelta(days=90)).year}-01-01"
    assert verify(world, "dev").found.agrees


@pytest.mark.parametrize("how", ["running", "claimed", "backfill"])
def test_a_month_that_somebody_works_on_stays(world: Database, how: str) -> None:
    if how == "running":
        record(world, "extract", OLD + timedelta(days=1), "running")
    else:
        with world.transaction() as connection:
            connection.execute(_WORK[how].encode(), {"partition": OLD.isoformat()})
    found = end(world)
    assert (gone(found), known_from(world)) == ([], "")
    assert any(f"is {how}" in (fate.stays or "") or "in a backfill" in (fate.stays or "") for fate in found.fates)


_WORK = {
    "claimed": """
        insert into lease (environment, claim, task_id, partition, run, attempt, worker, claimed_at, expires_at)
        select 1, gen_random_uuid(), id, %(partition)s, 'r', 1, 'w', now(), now() + interval '1 hour'
        from task where environment = 1 and name = 'load'""",
    "backfill": """
        with b as (insert into backfill (environment, id, request, state, began_at)
            values (1, gen_random_uuid(), '{}', 'paused', now()) returning *)
        insert into backfill_item (environment, backfill, number, task_id, partition, wave, again, cost, reason, waits,
            feeds, state)
        select 1, b.id, 0, t.id, %(partition)s, 1, false, 0, 'wanted', 0, '{}', 'planned' from b, task t
        where t.environment = 1 and t.name = 'load'""",
}


def test_keys_that_are_no_windows_stay_wherever_they_lie(world: Database) -> None:
    keys = [f"{OLD:%Y-%m}", f"{OLD:%Y-%m-}x", "2000", "eu"]
    for key in keys:
        record_native(world, "dev", ran("setup", key, noon(OLD)), NOTHING)
    end(world)
    assert {key for name, key in states(world) if name == "setup"} == {"", *keys}
    assert verify(world, "dev").found.agrees


def test_a_set_keeps_the_keys_that_only_ended_windows_showed(world: Database) -> None:
    """Or the end of a month would change what `all` of the set is."""
    cut = {"kind": "product", "dimensions": {"date": DAILY, "region": {"kind": "dynamic", "set": "regions"}}}
    sold = {"namespace": "ns", "name": "sold", "partitioning": cut}
    declare(world, "dev", definition.parse({"tasks": [*TASKS, sold]}, "test"))
    for day, region in ((OLD, "eu"), (LAST, "us"), (LIVING, "asia")):
        record_native(world, "dev", ran("sold", f"{day}|{region}", noon(day)), NOTHING)
    end(world)
    record_native(world, "dev", ran("sold", f"{LAST}|us", noon(LIVING)), NOTHING)
    record_native(world, "dev", ran("sold", f"{LAST}|africa", noon(LIVING)), NOTHING)
    with world.transaction() as connection:
        assert partition_sets.held(connection, 1, ["regions"], 9) == {"regions": ("africa", "asia", "eu", "us")}
    assert [key for name, key in states(world) if name == "sold"] == [f"{LIVING}|asia"]
    assert verify(world, "dev").found.agrees


def test_a_new_environment_keeps_its_history_until_the_next_month_ends(world: Database) -> None:
    end(world)
    with world.transaction() as connection:
        (new,) = connection.execute("insert into environment (name) values ('new') returning id").fetchone() or ()
    record(world, "extract", LAST, environment="new")
    assert states(world, new) == [("extract", LAST.isoformat())]
    assert gone(end(world, now=NOW + timedelta(days=40))) != []
    assert states(world, new) == []
    assert verify(world, "new").found.agrees


def test_files_hold_what_has_gone(world: Database, tmp_path: Path) -> None:
    found = end(world, Archive(str(tmp_path)))
    assert sum(each.rows for each in found.files) == 4
    query = "select partition, name, status, run, task from read_parquet(?) order by partition, name"
    kept = duckdb.execute(query, [f"{tmp_path}/dev/partitions/*.parquet"]).fetchall()
    assert kept == [
        (str(day), name, "ready", f"{name} {day} {noon(day)}", name)
        for day in (OLD, LAST)
        for name in ("extract", "load")
    ]


def test_a_bucket_holds_it_too(world: Database) -> None:
    with s3() as (client, query):
        client.create_bucket(Bucket="detail")
        found = end(world, Archive(f"s3://detail/here?{query}"))
        listed = client.list_objects_v2(Bucket="detail")["Contents"]
    assert sorted(each["Key"] for each in listed) == sorted(f"here/{each.file}" for each in found.files)


def test_a_file_that_lacks_a_row_is_refused_and_the_part_waits(
    world: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = partition_part.pages

    def torn(*given: Any) -> Iterator[list[Any]]:
        yield from (page[:-1] for page in pages(*given))

    monkeypatch.setattr(partition_part, "pages", torn)
    with pytest.raises(ArchiveUnavailable, match="rows came from ending_partition_state"):
        end(world, Archive(str(tmp_path)))
    monkeypatch.setattr(partition_part, "pages", pages)
    waiting = detail.fates(world, NOW)
    assert sum(fate.events or 0 for fate in waiting if fate.stays is None) == 4
    assert sum(each.rows for each in end(world, Archive(str(tmp_path))).files) == 4


_KILLED = """
import os, sys
from datetime import datetime
from dataforge.ledger import catalog, detail
from dataforge.storage import ending, parquet_file, partition_part
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database

url, now, folder, module, step, when = sys.argv[1:]
module = {"parquet_file": parquet_file, "partition_part": partition_part, "ending": ending}[module]
where = getattr(module, step)
def die(*given):
    if when == "after":
        where(*given)
    os.kill(os.getpid(), 9)
setattr(module, step, die)
detail.end_old(Database(url), datetime.fromisoformat(now), Archive(folder))
"""


@pytest.mark.parametrize(
    ("module", "step", "when"),
    [
        ("partition_part", "detach", "after"),
        ("parquet_file", "write", "before"),
        ("parquet_file", "read_back", "after"),
        ("ending", "keep", "after"),
        ("ending", "drop", "after"),
    ],
)
def test_killed_at_any_step_the_next_call_goes_on(
    world: Database, tmp_path: Path, module: str, step: str, when: str
) -> None:
    command = [sys.executable, "-c", _KILLED, world.url, NOW.isoformat(), str(tmp_path), module, step, when]
    assert subprocess.run(command, check=False).returncode == -9
    assert (known_from(world) == "") == (step == "detach")
    end(world, Archive(str(tmp_path)))
    assert states(world) == LEFT
    query = "select count(*) from read_parquet(?)"
    assert duckdb.execute(query, [f"{tmp_path}/dev/partitions/*.parquet"]).fetchall() == [(4,)]
    assert verify(world, "dev").found.agrees
    with world.transaction() as connection:
        assert connection.execute("select from ending").fetchall() == []


def test_states_from_before_months_were_cut_are_moved_into_them(empty_database_url: str, tmp_path: Path) -> None:
    migrate_before(empty_database_url, tmp_path / "migrations", "0050")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("insert into task (environment, id, namespace, name) values (1, 7, 'ns', 'extract')")
        for key in ("", OLD.isoformat(), LIVING.isoformat(), NOW.date().isoformat()):
            connection.execute(
                "insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence,"
                " task_id, run) values (1, 'task', 7, %s, 'failed', 'failed', 'reported', 7, 'r')",
                [key],
            )
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute("select partition, tableoid::regclass::text from partition_state").fetchall()
    assert dict(rows) == {
        "": "partition_state_rest",
        OLD.isoformat(): "partition_state_before",
        LIVING.isoformat(): f"partition_state_{LIVING:%Y%m}",
        NOW.date().isoformat(): f"partition_state_{NOW:%Y%m}",
    }


def test_a_look_up_by_key_reads_one_part(world: Database) -> None:
    with world.transaction() as connection:
        rows = connection.execute(
            "explain (costs off) select status from partition_state where environment = 1 and node_kind = 'task'"
            " and node_id = 7 and partition = %s",
            [LIVING.isoformat()],
        ).fetchall()
    plan = " ".join(row[0] for row in rows)
    assert f"partition_state_{LIVING:%Y%m}" in plan
    assert "Append" not in plan


def lines(database: Database, environment: str) -> list[bytes]:
    with database.transaction() as connection:
        return list(canonical_lines(connection, environments.find(connection, environment).id))


def is_ended(line: bytes, day: str) -> bool:
    table, row = line.split(b"\t", 1)
    return table == b"partition_state" and has_ended(json.loads(row)[2], day)


def living(answer: Verdict, day: str) -> list[tuple[object, ...]]:
    """What a verdict says that is not of ended windows. When something is expected is learnt from what is left."""
    reasons = (each for each in (*answer.reasons, *answer.warnings) if each.code != "detail_ended")
    return [
        (each.code, each.upstream, each.partition, each.state, each.since, each.run)
        for each in reasons
        if not has_ended(each.partition or "", day)
    ]


@pytest.fixture(scope="module")
def twins(postgres_server: str, template_database: str) -> Iterator[tuple[Database, Database]]:
    """Two databases: in one detail ends, in the other it never does."""
    with (
        new_database(postgres_server, template_database) as one,
        new_database(postgres_server, template_database) as two,
    ):
        pair = Database(one, max_size=3), Database(two, max_size=3)
        yield pair
        for each in pair:
            each.close()


_RAN = st.tuples(
    st.sampled_from(["extract", "load", "trend", "total"]),
    st.sampled_from([OLD, LAST, LIVING, LIVING + timedelta(days=1)]),
    st.sampled_from(["succeeded", "failed", "skipped", "running"]),
    st.integers(0, 3),
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(_RAN, max_size=12), later=st.lists(_RAN, min_size=1, max_size=8), redeclared=st.booleans())
def test_what_lives_is_as_if_nothing_had_ended(
    twins: tuple[Database, Database], before: list[Any], later: list[Any], redeclared: bool
) -> None:
    """Ending a month changes no state and no verdict of what lives, whatever came before and comes later."""
    name = f"twin{next(_environments)}"
    for each in twins:
        with each.transaction() as connection:
            connection.execute("delete from environment where name in ('dev', 'staging')")
            connection.execute("update environment set detail_days = 36500")
            connection.execute("insert into environment (name) values (%s)", [name])
        declare(each, name, definition.parse({"tasks": TASKS}, "test"))
        tell(each, name, before, NOW - timedelta(days=20))
    with twins[0].transaction() as connection:
        connection.execute("update environment set detail_days = 90")
    end(twins[0])
    day = known_from(twins[0], name)
    for each in twins:
        tell(each, name, later, NOW - timedelta(days=10))
        if redeclared:
            hourly = {**TASKS[1], "partitioning": {"kind": "hourly", "start": OLD.isoformat()}}
            declare(each, name, definition.parse({"tasks": [TASKS[0], hourly, *TASKS[2:]]}, "test"))
    assert lines(twins[0], name) == [line for line in lines(twins[1], name) if not is_ended(line, day)]
    for task_name, asked in (("load", LIVING), ("trend", LIVING), ("total", LIVING + timedelta(days=1))):
        mine, theirs = (ask(each, task_name, asked, name) for each in twins)
        assert living(mine, day) == living(theirs, day)
    assert verify(twins[0], name).found.agrees


def tell(database: Database, environment: str, told: list[Any], at: datetime) -> None:
    events = [
        event
        for place, (name, day, state, hours) in enumerate(told)
        for event in ran(name, day.isoformat(), at + timedelta(hours=hours, seconds=place), state)
    ]
    assert not record_native(database, environment, events, NOTHING).rejected
