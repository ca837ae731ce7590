"""A position in the feed of changes that leads nowhere: it begins anew, or is refused, and nothing is missed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from benchmarks.scratch import new_database
from dataforge.ledger.change import changes
from dataforge.model.errors import InvalidInput
from dataforge.model.listing import read_cursor, write_cursor
from dataforge.storage.change import ChangePlace
from dataforge.storage.database import Database, migrate
from tests.ledger.change_feed import event, send


def test_a_position_of_another_cluster_or_of_the_future_begins_anew(database: Database) -> None:
    send(database, event("succeeded", partition="p"))
    page = changes(database, "dev")
    place = read_cursor(page.position, ChangePlace)
    assert place is not None
    assert changes(database, "dev", page.position).items == ()
    for stranger in (replace(place, history="1/1"), replace(place, transaction=2**62)):
        assert changes(database, "dev", write_cursor(stranger)).items == page.items


def test_a_position_of_another_environment_begins_anew(database: Database) -> None:
    send(database, event("succeeded", partition="p"), environment="staging")
    send(database, event("succeeded", partition="p"))
    elsewhere = changes(database, "dev").position
    assert len(changes(database, "staging", elsewhere).items) == 1


def test_a_position_begins_anew_in_a_copy_of_the_database(database: Database, postgres_server: str) -> None:
    """As in a dump that is loaded again: it may be older than what the reader has seen."""
    send(database, event("succeeded", partition="p"))
    position = changes(database, "dev").position
    database.close()
    with new_database(postgres_server, urlsplit(database.url).path.removeprefix("/")) as url:
        copy = Database(url)
        try:
            assert len(changes(copy, "dev", position).items) == 1
        finally:
            copy.close()


def test_a_position_that_nobody_can_read_is_refused(database: Database) -> None:
    for wrong in ("", "x", "WzFd", "é", write_cursor(ChangePlace("c", -1))):
        with pytest.raises(InvalidInput, match=r"after is .*: expected the position of an answer before") as refused:
            changes(database, "dev", wrong)
        assert [error.field for error in refused.value.errors] == ["after"]


def test_a_state_from_another_cluster_is_numbered_anew(database: Database) -> None:
    """As when a dump is loaded into a cluster that has not come as far."""
    send(database, event("running", run="r", partition="2026-11-01"))
    send(database, event("running", 1, run="r", partition="2026-11-02"))
    with database.transaction() as connection:
        connection.execute("update partition_state set changed_by = '99999999999'")
        connection.execute("update partition_cleared set changed_by = '99999999999'")
    assert changes(database, "dev").items == ()
    migrate(database.url)
    assert {item.partition: item.status for item in changes(database, "dev").items} == {
        "2026-11-01": "missing",
        "2026-11-02": "running",
    }
