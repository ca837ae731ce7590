"""Months of identities end when they are old, as whole parts; and nothing that was dropped comes in as news."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import workload
from dataforge.ingest.batch import BatchResult, record_native, record_openlineage
from dataforge.ingest.native import parse
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, verify
from dataforge.ledger import bodies
from dataforge.ledger.bodies import Fate
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.retention import end_old, fates
from dataforge.ledger.verify import digest
from dataforge.storage import environment as environments
from dataforge.storage.database import Connection, Database, migrate
from dataforge.storage.environment import Environment
from dataforge.storage.event_part import REST, premake
from dataforge.storage.signing_key import signing_key
from tests.storage.older import migrate_before

DAYS = 400
LATER = datetime.now(UTC) + timedelta(days=DAYS + 32)  # what is recorded now is old then, and its month is over
THIS_MONTH = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month(ago: int) -> datetime:
    """The begin of the month so many months ago."""
    years, number = divmod(THIS_MONTH.year * 12 + THIS_MONTH.month - 1 - ago, 12)
    return THIS_MONTH.replace(year=years, month=number + 1)


def event(at: datetime, name: str = "load") -> bytes:
    return json.dumps({"time": at.isoformat(), "task": {"namespace": "n", "name": name}, "state": "running"}).encode()


def record(database: Database, *events: bytes, environment: str = "dev") -> BatchResult:
    return record_native(database, environment, list(events), NOTHING)


def bare(_environment: str) -> Shelf:
    """A place without checkpoints."""
    return Shelf(Path("nowhere"), "dev", None)


def shelf_of(folder: Path, environment: str = "dev") -> Shelf:
    return Shelf(folder / "checkpoints", environment, signing_key(folder / "keys").public)


def ended(judged: list[Fate]) -> list[str]:
    return [fate.part.name for fate in judged if fate.stays is None and fate.events]


def count(database: Database, table: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
    return int(row[0]) if row else 0


def known_from(database: Database, environment: str = "dev") -> datetime | None:
    with database.transaction() as connection:
        row = connection.execute("select events_known_from from environment where name = %s", [environment]).fetchone()
    return row[0] if row else None


def test_old_months_end_and_the_state_stays(database: Database) -> None:
    record(database, event(month(3)), event(month(2)), event(THIS_MONTH))
    before = digest(database, "dev")
    listed = fates(database, bare, DAYS, LATER)
    assert len(ended(listed)) == 3
    assert end_old(database, bare, DAYS, LATER) == listed
    assert count(database, "event") == 0
    assert digest(database, "dev") == before
    assert verify(database, "dev").found.agrees


def test_what_occurred_before_is_refused_by_name_and_what_occurred_later_is_news(database: Database) -> None:
    old, last, new = event(month(3)), event(month(2)), event(month(2) + timedelta(microseconds=1))
    record(database, old, last)
    end_old(database, bare, DAYS, LATER)
    found = record(database, old, new, last)
    assert (found.applied, found.duplicates, [each.index for each in found.rejected]) == (1, 0, [0, 2])
    (error,) = found.rejected[0].errors
    assert (error.field, error.value) == ("time", month(3).isoformat())
    assert "no longer known what was recorded" in error.expected
    assert count(database, "reject") == 2
    assert record(database, new).duplicates == 1


def test_openlineage_is_refused_by_its_own_field(database: Database) -> None:
    (airflow,) = workload.airflow(1)
    assert record_openlineage(database, "dev", [airflow], NOTHING).applied == 1
    end_old(database, bare, DAYS, LATER)
    (refused,) = record_openlineage(database, "dev", [airflow], NOTHING).rejected
    assert [each.field for each in refused.errors] == ["eventTime"]


def test_one_environment_forgets_only_what_it_had(database: Database) -> None:
    record(database, event(month(2)))
    end_old(database, bare, DAYS, LATER)
    assert known_from(database, "staging") is None
    assert record(database, event(month(2)), environment="staging").applied == 1


def test_what_was_recorded_lately_stays_however_old_it_is_and_so_does_what_follows(database: Database) -> None:
    record(database, event(month(3)), event(month(2)))
    now = datetime.now(UTC) + timedelta(days=DAYS - 1)
    assert ended(end_old(database, bare, DAYS, now)) == []
    with database.transaction() as connection:
        connection.execute("alter table event disable trigger event_is_append_only")
        connection.execute(
            "update event set recorded_at = recorded_at - interval '90 days' where occurred_at = %s", [month(2)]
        )
    judged = end_old(database, bare, DAYS, now)
    (later,) = [fate for fate in judged if fate.part.begins == month(2)]
    assert later.stays == f"event_{month(3):%Y%m}, which is older, stays"
    assert count(database, "event") == 2


def test_the_event_that_a_checkpoint_ends_with_stays_known(database: Database, tmp_path: Path) -> None:
    events = workload.native(40)
    record(database, *events)
    key = signing_key(tmp_path / "keys")
    checkpoint(database, "dev", shelf_of(tmp_path), key, datetime.now(UTC))
    shelves = partial(shelf_of, tmp_path)
    bodies.end_old(database, shelves, 90, LATER, None)
    for _ in range(2):
        end_old(database, shelves, DAYS, LATER)
        assert (count(database, "event"), count(database, REST)) == (1, 1)
    record(database, event(datetime.now(UTC)))
    found = verify(database, "dev", shelf=shelf_of(tmp_path))
    assert (found.covered, found.events, found.found.agrees) == (40, 1, True)


def test_a_month_in_which_something_is_recorded_meanwhile_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(database, event(month(3)), event(month(2)))
    lock = environments.lock

    def late(connection: Connection, name: str) -> Environment:
        if name == "dev":
            monkeypatch.setattr(environments, "lock", lock)
            record(database, event(month(2), "late"))
        return lock(connection, name)

    monkeypatch.setattr(environments, "lock", late)
    assert ended(end_old(database, bare, DAYS, LATER)) == [f"event_{month(3):%Y%m}"]
    assert known_from(database) == month(3) + timedelta(microseconds=1)
    assert record(database, event(month(2), "late")).duplicates == 1


def test_what_no_month_is_made_for_is_kept_and_ends_like_the_others(database: Database) -> None:
    ancient, far = datetime(2003, 5, 1, tzinfo=UTC), datetime(2090, 1, 4, tzinfo=UTC)
    record(database, event(ancient), event(far))
    with database.transaction() as connection:
        assert premake(connection) == 0
        assert connection.execute("select premake_event_months('2090-01-04', 2)").fetchone() == (1,)
    assert count(database, REST) == 2
    assert ended(end_old(database, bare, DAYS, LATER)) == []
    assert ended(end_old(database, bare, DAYS, datetime(2092, 1, 1, tzinfo=UTC))) == [REST]
    assert (count(database, REST), known_from(database)) == (0, far + timedelta(microseconds=1))
    assert record(database, event(ancient)).rejected


def test_a_month_is_the_only_thing_that_can_be_dropped_and_none_is_emptied(database: Database) -> None:
    for statement in ("select drop_event_month('event_body'::regclass)", f"truncate {REST}", "truncate event"):
        with pytest.raises(psycopg.errors.RestrictViolation), database.transaction() as connection:
            connection.execute(statement.encode())
    part = f"event_{THIS_MONTH:%Y%m}"
    with pytest.raises(psycopg.errors.RestrictViolation), database.transaction() as connection:
        connection.execute(f"truncate {part}".encode())


def test_recording_looks_into_the_month_of_the_event_alone(database: Database) -> None:
    record(database, event(THIS_MONTH))
    with database.transaction() as connection:
        rows = connection.execute(
            "explain (costs off) select number from event where environment = 1 and occurred_at = %s and id = %s",
            [THIS_MONTH, bytes(16)],
        ).fetchall()
    plan = " ".join(row[0] for row in rows)
    assert f"event_{THIS_MONTH:%Y%m}_pkey" in plan
    assert "Append" not in plan


_KILLED = """
import os, sys
from datetime import datetime
from pathlib import Path
from dataforge.ledger import retention
from dataforge.ledger.checkpoint import Shelf
from dataforge.storage import event_part
from dataforge.storage.database import Database

url, later, step = sys.argv[1:]
where = {"drop": event_part.drop, "premake": event_part.premake}[step]
def die(*given):
    where(*given)
    os.kill(os.getpid(), 9)
setattr(event_part, step, die)
shelf = Shelf(Path("nowhere"), "dev", None)
retention.end_old(Database(url), lambda _: shelf, 400, datetime.fromisoformat(later))
"""


@pytest.mark.parametrize("step", ["drop", "premake"])
def test_killed_on_the_way_nothing_has_ended_and_the_next_one_ends_it(database: Database, step: str) -> None:
    record(database, event(month(3)), event(month(2)))
    command = [sys.executable, "-c", _KILLED, database.url, LATER.isoformat(), step]
    assert subprocess.run(command, check=False).returncode == -9
    assert (count(database, "event"), known_from(database)) == (2, None)
    assert record(database, event(month(3))).duplicates == 1
    assert len(ended(end_old(database, bare, DAYS, LATER))) == 2
    assert count(database, "event") == 0


_AGES = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(ages=_AGES, after=st.integers(0, 40))
def test_no_repeat_is_ever_taken_for_news(database: Database, ages: list[tuple[int, bool]], after: int) -> None:
    """Whatever was recorded, and whichever months have ended: each event again is a duplicate, or refused."""
    events = [event(month(ago) + timedelta(days=3 * odd), f"task{ago}") for ago, odd in ages]
    begin = known_from(database)
    taken = record(database, *events)
    assert taken.applied + taken.duplicates + len(taken.rejected) == len(events)
    before = digest(database, "dev")
    end_old(database, bare, DAYS, month(-after))
    again = record(database, *events)
    assert again.applied == 0
    assert again.duplicates + len(again.rejected) == len(events)
    assert digest(database, "dev") == before
    end = known_from(database)
    assert begin is None or (end is not None and end >= begin)


def test_what_was_recorded_before_months_were_cut_stays_known_and_ends(empty_database_url: str, tmp_path: Path) -> None:
    migrate_before(empty_database_url, tmp_path / "migrations", "0034")
    events = {at: event(at) for at in (month(3), THIS_MONTH)}
    with psycopg.connect(empty_database_url) as connection:
        for body in events.values():
            parsed = parse(body, NOTHING)
            connection.execute(
                "insert into event (environment, occurred_at, id) values (1, %s, %s)", [parsed.occurred_at, parsed.id]
            )
    migrate(empty_database_url)
    database = Database(empty_database_url, max_size=2)
    assert count(database, REST) == 2
    assert record(database, *events.values()).duplicates == 2
    assert ended(end_old(database, bare, DAYS, LATER)) == [REST]
    assert len(record(database, *events.values()).rejected) == 2
    assert record(database, event(THIS_MONTH + timedelta(hours=1))).applied == 1
    database.close()
