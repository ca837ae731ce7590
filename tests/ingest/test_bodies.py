"""Bodies end when they are old and covered, as whole parts; what was recorded stays known, and the state right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import workload
from dataforge.ingest import rebuild
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, replay, verify
from dataforge.ledger.bodies import Fate, end_old, fates
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.verify import digest
from dataforge.model.errors import Conflict
from dataforge.storage.archive import Archive
from dataforge.storage.body_part import REST, premake
from dataforge.storage.database import Database
from dataforge.storage.signing_key import signing_key

DAYS = 90
LATER = datetime.now(UTC) + timedelta(days=DAYS + 8)  # what is recorded now is old then, and its week is over


class Installation:
    """A home with its key and checkpoints."""

    def __init__(self, home: Path) -> None:
        self.key = signing_key(home / "keys")
        self.folder = home / "checkpoints"
        self.archive = Archive(str(home / "archive"))

    def shelf(self, environment: str = "dev") -> Shelf:
        return Shelf(self.folder, environment, self.key.public)

    def end(self, database: Database, now: datetime = LATER) -> list[Fate]:
        return end_old(database, self.shelf, DAYS, now, self.archive).fates

    def keep(self, database: Database, environment: str = "dev") -> Path:
        made = checkpoint(database, environment, self.shelf(environment), self.key, datetime.now(UTC)).checkpoint
        assert made is not None
        return made.folder


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def dropped(judged: list[Fate]) -> int:
    return sum(fate.events or 0 for fate in judged if fate.stays is None)


def count(database: Database, table: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
    return int(row[0]) if row else 0


def test_old_bodies_that_are_covered_are_dropped_and_verifying_goes_on(
    database: Database, installation: Installation
) -> None:
    events = workload.native(60)
    record_native(database, "dev", events[:40], NOTHING)
    installation.keep(database)
    before = digest(database, "dev")
    assert dropped(installation.end(database)) == 40
    assert (count(database, "event_body"), count(database, "event")) == (0, 40)
    assert record_native(database, "dev", events[:40], NOTHING).duplicates == 40
    assert digest(database, "dev") == before
    assert record_native(database, "dev", events[40:], NOTHING).applied == 20
    found = verify(database, "dev", shelf=installation.shelf())
    assert (found.found.first, found.events, found.covered) == ((), 20, 40)
    with database.transaction() as connection:
        connection.execute("delete from partition_state")
    replay(database, "dev", shelf=installation.shelf())
    assert verify(database, "dev", shelf=installation.shelf()).found.agrees
    installation.keep(database)
    assert dropped(installation.end(database)) == 20


def test_what_no_checkpoint_covers_is_never_dropped(database: Database, installation: Installation) -> None:
    events = workload.native(60)
    record_native(database, "dev", events[:40], NOTHING)
    assert dropped(installation.end(database)) == 0
    kept = installation.keep(database)
    record_native(database, "staging", events[40:], NOTHING)
    (reason,) = {fate.stays for fate in installation.end(database) if fate.events}
    assert reason is not None
    assert reason.startswith("no checkpoint of staging covers event number")
    installation.keep(database, "staging")
    (kept / "task.zst").write_bytes(b"")
    assert dropped(installation.end(database)) == 0
    assert count(database, "event_body") == 60


def test_young_bodies_stay(database: Database, installation: Installation) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    installation.keep(database)
    assert dropped(installation.end(database, LATER - timedelta(days=9))) == 0
    assert dropped(fates(database, installation.shelf, DAYS, LATER)) == 20
    assert count(database, "event_body") == 20


def test_without_a_good_checkpoint_dropped_bodies_are_missed_by_name(
    database: Database, installation: Installation
) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    kept = installation.keep(database)
    installation.end(database)
    with pytest.raises(Conflict, match="the bodies of events up to number 20 were dropped"):
        verify(database, "dev")
    (kept / "attempt.zst").write_bytes(b"")
    with pytest.raises(Conflict, match=f"{kept.name}: attempt.zst was changed"):
        replay(database, "dev", shelf=installation.shelf())


def test_facts_of_other_rules_are_started_from_only_where_bodies_are_gone(
    database: Database, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    kept = installation.keep(database)
    monkeypatch.setattr(rebuild, "rules_version", lambda: "0" * 16)
    found = verify(database, "dev", shelf=installation.shelf())
    assert (found.checkpoint, found.events) == (None, 20)
    installation.end(database)
    found = verify(database, "dev", shelf=installation.shelf())
    assert (found.checkpoint, found.other_rules, found.found.agrees) == (kept.name, True, True)


def test_a_repeat_that_is_no_longer_known_gives_the_same_state(database: Database, installation: Installation) -> None:
    events = workload.native(20)
    record_native(database, "dev", events, NOTHING)
    installation.keep(database)
    before = digest(database, "dev")
    installation.end(database)
    with database.transaction() as connection:
        connection.execute("delete from event where number < 15")
    assert record_native(database, "dev", events, NOTHING).applied == 14
    assert digest(database, "dev") == before
    assert verify(database, "dev", shelf=installation.shelf()).found.agrees


def test_bodies_that_are_dropped_while_they_are_read_are_no_silent_gap(
    database: Database, installation: Installation
) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    installation.keep(database)

    def meanwhile(_done: int, _total: int) -> None:
        installation.end(database)

    with pytest.raises(Conflict, match="bodies were dropped while events were read"):
        replay(database, "dev", meanwhile)


def test_what_no_week_is_made_for_is_kept_and_ends_like_the_others(
    database: Database, installation: Installation
) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    with database.transaction() as connection:
        connection.execute(
            "insert into event_body (environment, number, recorded_at, occurred_at, id, kind, body)"
            " select environment, number + 100, '2090-01-04', occurred_at, id, kind, body from event_body limit 1"
        )
        assert premake(connection) == 0
        row = connection.execute("select premake_event_bodies('2090-01-04', 2)").fetchone()
        assert row == (1,)  # not the week of which the rest has a row
        connection.execute("alter table event disable trigger event_is_append_only")
        connection.execute("update event set number = number + 100 where id in (select id from event_body_rest)")
    installation.keep(database)
    far = datetime(2091, 1, 1, tzinfo=UTC)
    assert dropped(installation.end(database, far)) == 21
    assert count(database, REST) == 0
    assert record_native(database, "dev", workload.native(30), NOTHING).applied == 10


def test_a_part_is_the_only_thing_that_can_be_dropped(database: Database) -> None:
    import psycopg

    with pytest.raises(psycopg.errors.RestrictViolation), database.transaction() as connection:
        connection.execute("select detach_event_bodies('event'::regclass)")
