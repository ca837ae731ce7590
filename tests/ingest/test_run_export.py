"""Months of runs are files of the archive, whole or not at all, and lists of runs find what only they have."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks import workload
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog, run_export, run_history
from dataforge.ledger.run_history import DATABASE, FoundRun, runs
from dataforge.model.catalog import RunItem
from dataforge.model.errors import ArchiveUnavailable, NotFound
from dataforge.model.filter import RunFilter
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database
from tests.ingest.bucket import s3

NOW = datetime(2026, 3, 1, tzinfo=UTC)
JANUARY = datetime(2025, 1, 1, tzinfo=UTC)  # over for 393 days; the month before for 424
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


def forget(database: Database) -> None:
    """Makes the database another one, which knows neither the runs nor the files that the one before it wrote."""
    with database.transaction() as connection:
        connection.execute("delete from run")
        connection.execute("delete from archived")


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
def archive(tmp_path: Path) -> Archive:
    return Archive(str(tmp_path / "archive"))


def names(tmp_path: Path) -> list[str]:
    folder = tmp_path / "archive" / "dev" / "runs"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def test_months_that_are_old_enough_are_exported_once_and_others_are_not(
    database: Database, archive: Archive, tmp_path: Path
) -> None:
    record(database, *(told(JANUARY + timedelta(days=days)) for days in (-93, -62, -31, 0, 31)))
    written = run_export.export_old(database, NOW, archive)
    assert [each.file[:16] for each in written] == ["dev/runs/2024-09", "dev/runs/2024-10", "dev/runs/2024-12"]
    assert [each.rows for each in written] == [1, 1, 1]
    assert [f"dev/runs/{name}" for name in names(tmp_path)] == [each.file for each in written]
    assert run_export.export_old(database, NOW, archive) == []


def test_each_environment_says_how_long(database: Database) -> None:
    for environment in ("dev", "prod"):
        record(database, told(JANUARY), environment=environment)
    run_export.set_days(database, "prod", 30)
    assert [each.stem for each in run_export.due(database, NOW)] == ["prod/runs/2025-01"]


def test_what_another_database_has_forgotten_is_found_in_the_files_as_it_was(
    database: Database, archive: Archive
) -> None:
    record(database, *(told(JANUARY - timedelta(days=day), state="failed") for day in range(1, 9)))
    record(database, told(JANUARY - timedelta(days=1), run="open", state="running"))
    before = catalog.runs(database, "dev", ALL).items
    (file,) = run_export.export_old(database, NOW, archive)
    assert {found.origin for found in whole(database, archive, ALL)} == {DATABASE}
    forget(database)
    after = whole(database, archive, ALL)
    assert {found.origin for found in after} == {file.file}
    assert [found.run for found in after] == [untouched(item) for item in before]


def test_openlineage_runs_come_back_as_they_were(database: Database, archive: Archive) -> None:
    assert record_openlineage(database, "dev", workload.airflow(40), NOTHING).applied == 40
    wanted = RunFilter(since=datetime(2000, 1, 1, tzinfo=UTC), limit=1_000)
    before = catalog.runs(database, "dev", wanted).items
    run_export.export_old(database, datetime(2100, 1, 1, tzinfo=UTC), archive)
    forget(database)
    after = whole(database, archive, wanted)
    assert before
    assert [found.run for found in after] == [untouched(item) for item in before]


def test_runs_are_found_in_a_bucket_too(database: Database) -> None:
    record(database, told(JANUARY - timedelta(days=1)))
    before = catalog.runs(database, "dev", ALL).items
    with s3() as (client, query):
        client.create_bucket(Bucket="runs")
        archive = Archive(f"s3://runs/kept?{query}")
        (file,) = run_export.export_old(database, NOW, archive)
        there = {each["Key"]: each["Size"] for each in client.list_objects_v2(Bucket="runs")["Contents"]}
        assert {key: size for key, size in there.items() if size} == {f"kept/{file.file}": file.size}
        forget(database)
        (found,) = whole(database, archive, ALL)
    assert (found.run, found.origin) == (untouched(before[0]), file.file)


_RUNS = st.lists(
    st.tuples(st.integers(0, 59), st.sampled_from(["load", "report"]), st.sampled_from(["failed", "succeeded"])),
    min_size=1,
    max_size=14,
    unique_by=lambda each: each[:2],
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
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
    database: Database,
    tmp_path: Path,
    old: list[tuple[int, str, str]],
    new: list[tuple[int, str, str]],
    limit: int,
    stretch: int,
    wanted: dict[str, Any],
) -> None:
    """What files and the database hold is listed as if the database held all of it; of both, as the database has it."""
    archive = Archive(str(tmp_path / str(len(list(tmp_path.iterdir())))))
    with database.transaction() as connection:
        for table in ("write", "touch", "attempt", "run", "archived", "event", "event_body"):
            connection.execute(f"delete from {table}".encode())
    record(database, *(told(day_before(day), name, f"{name}-{day}", state) for day, name, state in old))
    run_export.export_old(database, NOW, archive)
    forget(database)
    with database.transaction() as connection:
        connection.execute("delete from write")
        connection.execute("delete from touch")
        connection.execute("delete from attempt")
    record(database, *(told(day_before(day, 7), name, f"{name}-{day}", state) for day, name, state in new))
    asked = RunFilter(since=ALL.since, limit=limit, **wanted)
    with mock.patch.object(run_history, "MOST_EXAMINED", stretch):
        found = whole(database, archive, asked)
    latest = {each[:2]: (each[2], "file", 0) for each in old} | {each[:2]: (each[2], DATABASE, 7) for each in new}
    expected = [
        (f"{name}-{day}", state, origin)
        for (day, name), (state, origin, minutes) in latest.items()
        if wanted.get("name", name) == name
        and wanted.get("state", state) == state
        and ("until" not in wanted or day_before(day, minutes) < wanted["until"])
    ]
    shown = [(each.run.run, each.run.state, each.origin if each.origin == DATABASE else "file") for each in found]
    assert sorted(shown) == sorted(expected)
    starts = [each.run.started_at for each in found if each.run.started_at is not None]
    assert starts == sorted(starts, reverse=True)


def day_before(day: int, minutes: int = 0) -> datetime:
    return JANUARY - timedelta(days=day + 1, minutes=-minutes)


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
from dataforge.ledger import run_export
from dataforge.storage import ending, parquet_file
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database

url, now, folder, where, step = sys.argv[1:]
owner = {"parquet_file": parquet_file, "archive": Archive, "ending": ending}[where]
done = getattr(owner, step)
def die(*given):
    done(*given)
    os.kill(os.getpid(), 9)
setattr(owner, step, die)
run_export.export_old(Database(url), datetime.fromisoformat(now), Archive(folder))
"""


@pytest.mark.parametrize(
    ("where", "step"),
    [("parquet_file", "write"), ("parquet_file", "read_back"), ("archive", "rename"), ("ending", "keep")],
)
def test_killed_at_any_step_the_next_call_writes_what_is_lacking_and_nothing_twice(
    database: Database, archive: Archive, tmp_path: Path, where: str, step: str
) -> None:
    record(database, told(JANUARY - timedelta(days=1)), told(JANUARY - timedelta(days=40)))
    before = catalog.runs(database, "dev", ALL).items
    command = [sys.executable, "-c", _KILLED, database.url, NOW.isoformat(), str(tmp_path / "archive"), where, step]
    assert subprocess.run(command, check=False).returncode == -9
    run_export.export_old(database, NOW, archive)
    assert run_export.due(database, NOW) == []
    assert [name[:7] for name in names(tmp_path)] == ["2024-11", "2024-12"]
    forget(database)
    assert [found.run for found in whole(database, archive, ALL)] == [untouched(item) for item in before]
