"""Runs end by half-years: files hold them, by months, before they go, and lists of runs find them there."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks import workload
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.rebuild import rebuilt
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger import catalog, run_end, run_history
from dataforge.ledger.bodies import Ended
from dataforge.ledger.run_graph import run_graph
from dataforge.ledger.run_history import DATABASE, FoundRun, runs
from dataforge.ledger.scope import Part
from dataforge.model.catalog import RunItem
from dataforge.model.errors import ArchiveUnavailable, Conflict, DatabaseUnavailable, NotFound
from dataforge.model.filter import RunFilter
from dataforge.storage import run_part
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database, migrate
from tests.ingest.bucket import s3
from tests.ingest.ended import cut, end_at, fresh
from tests.storage.older import migrate_before

NOW = datetime(2026, 3, 1, tzinfo=UTC)
JANUARY = datetime(2025, 1, 1, tzinfo=UTC)  # what ended before it is 424 days old
ALL = RunFilter(since=datetime(2024, 1, 1, tzinfo=UTC))


def told(at: datetime, name: str = "load", run: str | None = None, state: str = "succeeded") -> list[bytes]:
    """That a run began, and how it ended five minutes later where it did."""
    base = {
        "task": {"namespace": "shop", "name": name},
        "run": run or f"{name}-{at:%Y%m%dT%H%M%S}",
        "partition": f"{at:%Y-%m-%d}",
    }
    outputs = [{"namespace": "s3://lake", "name": name, "rows": 3}]
    ended = {**base, "time": (at + timedelta(minutes=5)).isoformat(), "state": state, "outputs": outputs}
    events = [{**base, "time": at.isoformat(), "state": "running"}, *([] if state == "running" else [ended])]
    return [workload.encode(each) for each in events]


def record(database: Database, *runs: list[bytes], environment: str = "dev") -> None:
    assert not record_native(database, environment, [body for run in runs for body in run], NOTHING).rejected


def end(database: Database, archive: Archive | None, now: datetime = NOW) -> Ended:
    ended = run_end.end_old(database, now, archive)
    with database.transaction() as connection:
        assert connection.execute("select from ending").fetchall() == []
    return ended


def whole(database: Database, archive: Archive, wanted: RunFilter) -> list[FoundRun]:
    """All pages of a list."""
    found: list[FoundRun] = []
    while True:
        page = runs(database, "dev", wanted, archive)
        found += page.items
        if page.next_cursor is None:
            return found
        wanted = msgspec.structs.replace(wanted, cursor=page.next_cursor)


def untouched(item: RunItem) -> RunItem:
    return msgspec.structs.replace(item, inputs=[], outputs=[])


@pytest.fixture
def world(database: Database) -> Database:
    """Of which each task has run lately, so that nothing of it stays for being its last."""
    cut(database, JANUARY - timedelta(days=1), NOW)
    record(database, *living())
    return database


def living() -> list[list[bytes]]:
    at = NOW - timedelta(days=9)
    return [
        told(at + timedelta(hours=hours), name, state=state)
        for hours, (name, state) in enumerate(product(("load", "report"), ("failed", "succeeded")))
    ]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "archive"))


def names(tmp_path: Path) -> list[str]:
    folder = tmp_path / "archive" / "dev" / "runs"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def test_half_years_that_are_old_enough_end_and_others_stay(world: Database, archive: Archive, tmp_path: Path) -> None:
    record(world, *(told(JANUARY + timedelta(days=days)) for days in (-93, -62, -31, 0, 31)))
    first, second, *_ = run_end.fates(world, NOW)
    assert (first.part.name, first.events, first.stays) == ("run_2024h2", 3, None)
    assert second.stays == "younger than 400 days, which dev keeps"
    ended = end(world, archive)
    assert [each.file[:16] for each in ended.files] == ["dev/runs/2024-09", "dev/runs/2024-10", "dev/runs/2024-12"]
    assert [each.rows for each in ended.files] == [1, 1, 1]
    assert [f"dev/runs/{name}" for name in names(tmp_path)] == [each.file for each in ended.files]
    starts = [item.started_at for item in catalog.runs(world, "dev", ALL).items]
    assert [at for at in starts if at and at < NOW - timedelta(days=9)] == [JANUARY + timedelta(days=31), JANUARY]
    again = end(world, archive)
    assert (again.files, [fate.part.name for fate in again.fates][:1]) == ([], ["run_2025h1"])


def test_the_last_part_takes_what_is_younger_until_the_next_is_made(world: Database, archive: Archive) -> None:
    for at in (NOW, datetime(2031, 1, 1, tzinfo=UTC)):
        record(world, told(at))
    where = "select part = last_part from run join environment e on e.id = 1 where started_at >= %s"
    with world.transaction() as connection:
        assert connection.execute(where, [NOW]).fetchall() == [(True,), (True,)]
        assert connection.execute("select premake_run_parts('2031-01-01')").fetchone() == (1,)
    record(world, told(datetime(2031, 1, 2, tzinfo=UTC)), told(datetime(2028, 1, 2, tzinfo=UTC)))
    ended = run_end.end_old(world, datetime(2032, 12, 1, tzinfo=UTC), archive)
    assert [fate.stays for fate in ended.fates] == [None] * 4 + ["the last one there is"]
    assert verify(world, "dev").found.agrees


def test_the_environment_that_keeps_longest_decides(world: Database, archive: Archive) -> None:
    for environment in ("dev", "prod"):
        record(world, told(JANUARY - timedelta(days=1)), environment=environment)
    run_end.set_days(world, "prod", 430)
    assert run_end.fates(world, NOW)[0].stays == "younger than 430 days, which prod keeps"
    assert end(world, archive).files == []
    run_end.set_days(world, "prod", 420)
    assert [each.file[:16] for each in end(world, archive).files] == ["dev/runs/2024-12"]  # the only one of prod stays


def test_without_an_archive_they_are_gone(world: Database) -> None:
    record(world, told(JANUARY - timedelta(days=1)))
    before = len(catalog.runs(world, "dev", ALL).items)
    assert end(world, None).files == []
    assert len(catalog.runs(world, "dev", ALL).items) == before - 1


def test_what_ended_is_found_in_the_files_as_it_was(world: Database, archive: Archive) -> None:
    record(world, *(told(JANUARY - timedelta(days=day), state="failed") for day in range(1, 9)))
    before = catalog.runs(world, "dev", ALL).items
    (file,) = end(world, archive).files
    after = whole(world, archive, ALL)
    assert [found.origin for found in after] == [DATABASE] * len(living()) + [file.file] * 8
    assert [untouched(found.run) for found in after] == [untouched(item) for item in before]


def test_what_goes_on_or_was_told_of_since_stays_with_all_of_it(world: Database, archive: Archive) -> None:
    for number in range(3):  # of which two are not the last that began
        record(world, told(JANUARY - timedelta(days=1), run=f"open{number}", state="running"))
    record(world, told(JANUARY - timedelta(days=1), run="again", state="failed"))
    record(world, told(JANUARY + timedelta(days=40), run="again", state="succeeded"))
    assert end(world, archive).files == []
    found = {item.run: item.started_at for item in catalog.runs(world, "dev", ALL).items}
    assert [found.get(run) for run in ("open0", "open1", "open2", "again")] == [JANUARY - timedelta(days=1)] * 4
    assert verify(world, "dev").found.agrees


def test_a_word_that_changes_nothing_is_one_too(world: Database, archive: Archive) -> None:
    record(world, told(JANUARY - timedelta(days=1), run="seen"), told(JANUARY - timedelta(days=2), run="gone"))
    record(world, told(JANUARY + timedelta(days=40), run="seen", state="running"))  # after its success
    assert [each.rows for each in end(world, archive).files] == [1]
    assert "seen" in {item.run for item in catalog.runs(world, "dev", ALL).items}
    assert verify(world, "dev").found.agrees


def test_what_somebody_marked_or_a_partition_stands_by_stays(world: Database, archive: Archive) -> None:
    at = JANUARY - timedelta(days=3)
    said = {"task": {"namespace": "shop", "name": "load"}, "time": at.isoformat()}
    order = said | {"control": "mark", "state": "failed", "by": "anna", "reason": "seen"}
    marks = [order | {"run": f"m{number}"} for number in (1, 2)]
    keys = [said | {"run": key, "partition": key, "state": "succeeded"} for key in ("acme", "beta")]
    gone = said | {"run": "gone", "partition": "2024-12-01", "state": "succeeded"}
    last = gone | {"run": "last", "time": NOW.isoformat()}
    record(world, [workload.encode(each) for each in (*marks, *keys, gone, last)])
    end(world, archive)
    with world.transaction() as connection:
        left = connection.execute("select run from run where started_at is null order by run").fetchall()
    assert [run for (run,) in left] == ["acme", "beta", "last", "m1", "m2"]


def test_openlineage_runs_come_back_as_they_were(database: Database, archive: Archive) -> None:
    assert record_openlineage(database, "dev", workload.airflow(400), NOTHING).applied == 400
    wanted = RunFilter(since=datetime(2000, 1, 1, tzinfo=UTC), limit=1_000)
    before = catalog.runs(database, "dev", wanted).items
    end_at(database, datetime(2100, 1, 1, tzinfo=UTC), archive)
    after = whole(database, archive, wanted)
    assert before
    assert {found.origin == DATABASE for found in after} == {True, False}
    assert [untouched(found.run) for found in after] == [untouched(item) for item in before]


def test_what_never_began_is_in_the_files_and_in_no_list(world: Database, archive: Archive) -> None:
    said = {"task": {"namespace": "shop", "name": "load"}, "run": "never", "state": "upstream_failed"}
    ends = [{**said, "time": at.isoformat()} for at in (JANUARY - timedelta(days=40),)]
    record(world, [workload.encode(each) for each in (*ends, {**ends[0], "run": "x", "time": NOW.isoformat()})])
    (file,) = end(world, archive).files
    assert (file.file[:16], file.rows) == ("dev/runs/2024-11", 1)
    assert "never" not in [found.run.run for found in whole(world, archive, ALL)]


def test_runs_are_found_in_a_bucket_too(world: Database) -> None:
    record(world, told(JANUARY - timedelta(days=1)))
    before = catalog.runs(world, "dev", ALL).items
    with s3() as (client, query):
        client.create_bucket(Bucket="runs")
        archive = Archive(f"s3://runs/kept?{query}")
        (file,) = end(world, archive).files
        there = {each["Key"]: each["Size"] for each in client.list_objects_v2(Bucket="runs")["Contents"]}
        assert {key: size for key, size in there.items() if size} == {f"kept/{file.file}": file.size}
        found = whole(world, archive, ALL)[-1]
    assert (found.run, found.origin) == (untouched(before[-1]), file.file)


def test_what_ended_and_is_told_of_again_begins_anew(world: Database, archive: Archive) -> None:
    record(world, told(JANUARY - timedelta(days=1), run="old"))
    end(world, archive)
    (refused,) = record_native(world, "dev", told(JANUARY - timedelta(days=2), run="old")[:1], NOTHING).rejected
    assert (refused.errors[0].field, refused.errors[0].expected[:32]) == ("time", "a time from 2025-01-01T00:00:00+")
    record(world, told(JANUARY + timedelta(days=50), run="old", state="failed"))
    with world.transaction() as connection:
        claims = connection.execute("select status from write where run = 'old' and node_kind = 'task'").fetchall()
    assert claims == [("failed",)]
    found = [(each.run.state, each.origin) for each in whole(world, archive, ALL) if each.run.run == "old"]
    assert found == [("failed", DATABASE)]
    assert verify(world, "dev").found.agrees


def test_who_asks_for_one_that_has_ended_is_told_where_it_may_be(world: Database, archive: Archive) -> None:
    record(world, told(JANUARY - timedelta(days=1), run="old"))
    task = ("shop", "load")
    run_graph(world, "dev", task, "old", NOW)
    end(world, archive)
    with pytest.raises(NotFound, match="no run 'old' of shop/load: those of which nothing was told since 2025-01-01"):
        run_graph(world, "dev", task, "old", NOW)


_RUNS = st.lists(
    st.tuples(st.integers(0, 59), st.sampled_from(["load", "report"]), st.sampled_from(["failed", "succeeded"])),
    min_size=1,
    max_size=14,
    unique_by=lambda each: each[:2],
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=_RUNS,
    new=_RUNS,
    limit=st.integers(1, 4),
    stretch=st.integers(1, 5),
    wanted=st.sampled_from([{}, {"name": "load"}, {"state": "failed"}, {"until": JANUARY - timedelta(days=20)}]),
)
@example(  # a stretch of files that ends before the page does
    old=[(0, "load", "failed"), (1, "load", "failed")],
    new=[(2, "load", "failed")],
    limit=4,
    stretch=1,
    wanted={},
)
def test_every_run_is_listed_once_in_its_place_wherever_it_is(
    postgres_server: str,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
    old: list[tuple[int, str, str]],
    new: list[tuple[int, str, str]],
    limit: int,
    stretch: int,
    wanted: dict[str, Any],
) -> None:
    """What files and the database hold is listed as if the database held all of it; of both, as the database has it."""
    archive = Archive(str(tmp_path_factory.mktemp("archive")))
    with fresh(postgres_server, template_database) as database:
        cut(database, JANUARY - timedelta(days=1), NOW)
        record(database, *living())
        record(database, *(told(day_before(day), name, f"{name}-{day}", state) for day, name, state in old))
        end(database, archive)
        record(database, *(told(day_after(day), name, f"{name}-{day}", state) for day, name, state in new))
        asked = RunFilter(since=ALL.since, limit=limit, **{"until": NOW - timedelta(days=20), **wanted})
        with mock.patch.object(run_history, "MOST_EXAMINED", stretch):
            found = whole(database, archive, asked)
    told_of = {each[:2]: (each[2], "file", day_before(each[0])) for each in old}
    told_of |= {each[:2]: (each[2], DATABASE, day_after(each[0])) for each in new}
    expected = [
        (f"{name}-{day}", state, origin)
        for (day, name), (state, origin, at) in told_of.items()
        if wanted.get("name", name) == name
        and wanted.get("state", state) == state
        and ("until" not in wanted or at < wanted["until"])
    ]
    shown = [(each.run.run, each.run.state, each.origin if each.origin == DATABASE else "file") for each in found]
    assert sorted(shown) == sorted(expected)
    starts = [each.run.started_at for each in found if each.run.started_at is not None]
    assert starts == sorted(starts, reverse=True)


def day_before(day: int) -> datetime:
    return JANUARY - timedelta(days=day + 1)


def day_after(day: int) -> datetime:
    return JANUARY + timedelta(days=day + 1)


def test_a_task_that_nobody_knows_is_refused(database: Database, archive: Archive) -> None:
    with pytest.raises(NotFound):
        runs(database, "dev", RunFilter(since=JANUARY, name="nobody"), archive)


def test_a_bad_file_is_named(database: Database, archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "dev" / "runs"
    folder.mkdir(parents=True)
    (folder / f"2024-12-{'0' * 16}.parquet").write_bytes(b"PAR1, almost")
    with pytest.raises(ArchiveUnavailable, match=r"2024-12-0{16}\.parquet"):
        runs(database, "dev", ALL, archive)
    assert runs(database, "dev", RunFilter(since=JANUARY), archive).items == []


_KILLED = """
import os, sys
from datetime import datetime
from dataforge.ledger import run_end
from dataforge.storage import ending, parquet_file, run_part
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database

url, now, folder, where, step = sys.argv[1:]
owner = {"parquet_file": parquet_file, "archive": Archive, "ending": ending, "run_part": run_part}[where]
done = getattr(owner, step)
def die(*given):
    done(*given)
    os.kill(os.getpid(), 9)
setattr(owner, step, die)
run_end.end_old(Database(url), datetime.fromisoformat(now), Archive(folder))
"""


@pytest.mark.parametrize(
    ("where", "step"),
    [
        *[("run_part", "detach"), ("run_part", "premake")],
        *[("parquet_file", "write"), ("parquet_file", "read_back"), ("archive", "rename")],
        *[("ending", "keep"), ("ending", "drop")],
    ],
)
def test_killed_at_any_step_the_next_call_goes_on_and_all_is_listed_once(
    world: Database, archive: Archive, tmp_path: Path, where: str, step: str
) -> None:
    record(world, told(JANUARY - timedelta(days=1)), told(JANUARY - timedelta(days=40)))
    before = catalog.runs(world, "dev", ALL).items
    command = [sys.executable, "-c", _KILLED, world.url, NOW.isoformat(), str(tmp_path / "archive"), where, step]
    assert subprocess.run(command, check=False).returncode == -9
    end(world, archive)
    assert [name[:7] for name in names(tmp_path)] == ["2024-11", "2024-12"]
    found = whole(world, archive, ALL)
    assert [untouched(each.run) for each in found] == [untouched(item) for item in before]
    assert [each.origin == DATABASE for each in found] == [True] * len(living()) + [False] * 2
    assert verify(world, "dev").found.agrees


def test_what_was_there_before_it_was_cut_is_one_part_as_it_lies(empty_database_url: str, tmp_path: Path) -> None:
    migrate_before(empty_database_url, tmp_path / "migrations", "0057")
    lies = "select relname, relfilenode from pg_class where relname = any(%s)"
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("insert into task (environment, id, namespace, name) values (1, 7, 'ns', 'load')")
        connection.execute(
            "insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt,"
            " partitions, source) values (1, 7, 'r', 'task', 'r', -1, 'failed', 'reported', 1, '{}', '{}')"
        )
        files = {
            row[0]: row[1] for row in connection.execute(lies, [["run", "attempt", "touch", "outcome", "shard_chunk"]])
        }
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        (half,) = connection.execute("select substr(run_part_name('', run_part_of(now())), 2)").fetchone() or ("",)
        now = {row[0]: row[1] for row in connection.execute(lies, [[f"{table}_{half}" for table in files]])}
        rows = connection.execute("select tableoid::regclass::text, run, part = run_part_of(now()) from run").fetchall()
    assert now == {f"{table}_{half}": file for table, file in files.items()}
    assert rows == [(f"run_{half}", "r", True)]


def test_who_reads_on_for_long_is_not_in_the_way_of_others(
    world: Database, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_part, "TRIES", 1)
    record(world, told(JANUARY - timedelta(days=1), run="old"))
    with world.transaction() as connection:
        connection.execute("select from attempt limit 1")
        with pytest.raises(DatabaseUnavailable, match="read or wrote runs for too long to drop run_2024h2: try again"):
            run_end.end_old(world, NOW, archive)
        assert connection.execute("select from run where run = 'old'").fetchone() is not None
    assert len(end(world, archive).files) == 1


def test_runs_that_end_while_events_are_read_again_are_told(world: Database, archive: Archive) -> None:
    record(world, told(JANUARY - timedelta(days=1)))
    with rebuilt(world, "dev", None, lambda *_: None) as rebuild:
        end(world, archive)
        with world.transaction() as connection, pytest.raises(Conflict, match="runs ended while events were read"):
            rebuild.finish(connection)
    with pytest.raises(Conflict, match="runs have ended since the last checkpoint"):
        verify(world, "dev", part=Part(since=NOW - timedelta(days=20)))
