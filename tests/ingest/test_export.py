"""What ends is exported first: files hold all of it, and nobody who is killed on the way loses any."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, verify
from dataforge.ledger import bodies, export
from dataforge.ledger.checkpoint import Shelf
from dataforge.model.errors import ArchiveUnavailable, Conflict
from dataforge.storage import body_file, ending, event, parquet_file
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database
from dataforge.storage.event import Recorded
from dataforge.storage.signing_key import signing_key
from tests.ingest.bucket import s3

DAYS = 90
LATER = datetime.now(UTC) + timedelta(days=DAYS + 8)


def keep(database: Database, home: Path, environment: str) -> None:
    key = signing_key(home / "keys")
    shelf = Shelf(home / "checkpoints", environment, key.public)
    assert checkpoint(database, environment, shelf, key, datetime.now(UTC)).checkpoint is not None


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Path:
    """An installation with bodies of two environments, all old and covered."""
    events = workload.native(50)
    record_native(database, "dev", events[:30], NOTHING)
    record_native(database, "staging", events[30:], NOTHING)
    for environment in ("dev", "staging"):
        keep(database, tmp_path, environment)
    return tmp_path


def end(database: Database, home: Path, archive: Archive | None) -> bodies.Ended:
    key = signing_key(home / "keys")
    return bodies.end_old(database, lambda name: Shelf(home / "checkpoints", name, key.public), DAYS, LATER, archive)


def recorded(database: Database, environment: int) -> list[Recorded]:
    with database.transaction() as connection:
        return [each for page in event.read_all(connection, environment) for each in page]


def left(database: Database) -> tuple[int, int]:
    """How many bodies there are, and how many parts on their way out."""
    with database.transaction() as connection:
        row = connection.execute("select (select count(*) from event_body), (select count(*) from ending)").fetchone()
    assert row is not None
    return row[0], row[1]


def read(files: str) -> list[tuple[object, ...]]:
    query = "select number, id, epoch_us(occurred_at), kind, body from read_parquet(?) order by number"
    return duckdb.execute(query, [files]).fetchall()


def rows(events: list[Recorded]) -> list[tuple[object, ...]]:
    epoch, tick = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    return [(e.number, e.id, (e.occurred_at - epoch) // tick, e.kind, e.body.decode()) for e in events]


def test_what_has_gone_is_in_the_files_as_it_was_each_environment_by_itself(database: Database, home: Path) -> None:
    dev, staging = recorded(database, 1), recorded(database, 2)
    found = end(database, home, Archive(str(home / "archive")))
    assert [each.rows for each in found.files] == [30, 20]
    assert left(database) == (0, 0)
    assert read(f"{home}/archive/dev/bodies/*.parquet") == rows(dev)
    assert read(f"{home}/archive/staging/bodies/*.parquet") == rows(staging)
    assert verify(database, "dev", shelf=Shelf(home / "checkpoints", "dev", signing_key(home / "keys").public)).covered


def test_a_file_that_does_not_hold_all_of_it_is_refused_and_nothing_is_dropped(
    database: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, pages = Archive(str(home / "archive")), ending.pages

    def torn(*given: object) -> Iterator[list[body_file.KeptBody]]:
        for page in pages(*given):  # type: ignore[arg-type]
            yield page[:-1]

    monkeypatch.setattr(ending, "pages", torn)
    with pytest.raises(ArchiveUnavailable, match="29 of 30 rows came from"):
        end(database, home, archive)
    monkeypatch.setattr(ending, "pages", pages)
    assert left(database) == (0, 1)
    found = end(database, home, archive)
    assert [each.rows for each in found.files] == [30, 20]
    assert [fate.events for fate in found.fates if fate.events] == [50]
    assert left(database) == (0, 0)


def test_a_file_that_was_changed_on_the_way_is_refused(
    database: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_back = parquet_file.read_back

    def other(archive: Archive, file: str, form: parquet_file.Form) -> tuple[parquet_file.Written, int]:
        path = home / "archive" / file
        duckdb.execute(
            "copy (select * replace (replace(body, 'task', 'tusk') as body) from read_parquet($1))"
            " to $2 (format parquet)",
            {"1": str(path), "2": f"{path}.new"},
        )
        Path(f"{path}.new").rename(path)
        return read_back(archive, file, form)

    monkeypatch.setattr(parquet_file, "read_back", other)
    with pytest.raises(ArchiveUnavailable, match="holds others than were written"):
        end(database, home, Archive(str(home / "archive")))
    assert left(database) == (0, 1)


def test_an_archive_that_cannot_be_written_is_named_and_what_waits_is_listed(database: Database, home: Path) -> None:
    (home / "archive").write_text("no folder")
    with pytest.raises(ArchiveUnavailable, match="correct DATAFORGE_ARCHIVE"):
        end(database, home, Archive(str(home / "archive")))
    (away,) = export.on_the_way(database, bodies.BODIES)
    assert away.part.name.startswith("event_body_2")
    assert away.events == 50


def test_one_process_ends_at_a_time(database: Database, home: Path) -> None:
    with ending.alone(database), pytest.raises(Conflict, match="another process is ending parts now"):
        end(database, home, None)


_KILLED = """
import os, sys
from datetime import datetime
from pathlib import Path
from dataforge.ledger import bodies
from dataforge.ledger.checkpoint import Shelf
from dataforge.storage import parquet_file, body_part, ending
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database
from dataforge.storage.signing_key import trusted_key

url, later, home, module, step, before = sys.argv[1:]
module = {"parquet_file": parquet_file, "body_part": body_part, "ending": ending}[module]
where = getattr(module, step)
def die(*given):
    if before == "after":
        where(*given)
    os.kill(os.getpid(), 9)
setattr(module, step, die)
home = Path(home)
key = trusted_key(home / "keys")
bodies.end_old(Database(url), lambda name: Shelf(home / "checkpoints", name, key), 90,
    datetime.fromisoformat(later), Archive(str(home / "archive")))
"""


@pytest.mark.parametrize(
    ("module", "step", "when"),
    [
        ("body_part", "detach", "after"),
        ("parquet_file", "write", "before"),
        ("parquet_file", "write", "after"),
        ("parquet_file", "read_back", "after"),
        ("ending", "keep", "after"),
        ("ending", "drop", "before"),
        ("ending", "drop", "after"),
    ],
)
def test_killed_at_any_step_the_next_call_goes_on_and_all_is_in_the_files_once(
    database: Database, home: Path, module: str, step: str, when: str
) -> None:
    dev = recorded(database, 1)
    command = [sys.executable, "-c", _KILLED, database.url, LATER.isoformat(), str(home), module, step, when]
    assert subprocess.run(command, check=False).returncode == -9
    end(database, home, Archive(str(home / "archive")))
    assert left(database) == (0, 0)
    assert read(f"{home}/archive/dev/bodies/*.parquet") == rows(dev)


def test_a_bucket_is_an_archive_too(database: Database, home: Path) -> None:
    with s3() as (client, query):
        with pytest.raises(ArchiveUnavailable, match="s3://bodies/kept"):
            end(database, home, Archive(f"s3://bodies/kept?{query}"))
        client.create_bucket(Bucket="bodies")
        found = end(database, home, Archive(f"s3://bodies/kept?{query}"))
        there = {each["Key"]: each["Size"] for each in client.list_objects_v2(Bucket="bodies")["Contents"]}
    assert there == {f"kept/{each.file}": each.size for each in found.files}
    assert left(database) == (0, 0)
