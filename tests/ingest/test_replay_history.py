"""Orders, checks and the history of definitions are rebuilt like all else, and what is swapped in wakes who waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest

from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.replay import checkpoint, replay, verify
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.storage.database import Database
from dataforge.storage.signing_key import signing_key
from tests.dispatch.night import DAY, LAKE, NOW, at, declared, ordered, recorded, said, task

ORDERS = {"namespace": LAKE, "name": "orders", "partition": DAY}
WHY = "it has two outliers"


def _kept(database: Database, folder: Path) -> Shelf:
    key = signing_key(folder / "keys")
    shelf = Shelf(folder / "checkpoints", "dev", key.public)
    assert checkpoint(database, "dev", shelf, key, NOW).checkpoint is not None
    return shelf


def _night(database: Database) -> None:
    """A source whose history has a change, an order of every sort of subject, and a check by a reader."""
    checks = [{"name": "rows", "success": True}]
    declared(database, task("load"), task("report", "load", domain="sales"))
    declared(database, task("load", owner="anna"), task("report", "load", domain="sales"))
    recorded(
        database,
        said("load", "succeeded", 0, outputs=[ORDERS]),
        said("report", "succeeded", 1, inputs=[{**ORDERS, "checks": checks}]),
        ordered("pause", 2, domain="sales"),
        ordered("set", 2, fact="books-closed", value=True),
        ordered("quarantine", 3, dataset={"namespace": LAKE, "name": "orders"}, partition=DAY, reason=WHY),
        ordered("quarantine", 3, "unheard-of", partition=DAY, reason=WHY),
    )


def _count(database: Database, table: LiteralString) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"select count(*) from {table} where environment = 1".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_orders_checks_and_declarations_are_the_same_from_a_checkpoint(database: Database, tmp_path: Path) -> None:
    _night(database)
    assert [_count(database, table) for table in ("control", "quality", "declaration")] == [4, 1, 2]
    shelf = _kept(database, tmp_path)
    recorded(database, ordered("resume", 4, domain="sales"))
    declared(database, task("load", owner="bert"))
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.events) == ((), 1)
    assert verify(database, "dev").found.first == ()


DAMAGE: dict[str, LiteralString] = {
    "control": "update control set value = 'null' where environment = 1",
    "quality": "delete from quality where environment = 1",
    "upstream_list": """
    insert into upstream_list
    select environment, id, repeat('x', 16)::bytea, '{1}', now(), now() from task where name = 'load'
    """,
    "definition_span": "update definition_span set valid_to = valid_from + interval '1 second' where valid_to is null",
}


@pytest.mark.parametrize("table", DAMAGE)
@pytest.mark.parametrize("kept", [False, True], ids=["from the events", "from a checkpoint"])
def test_what_was_damaged_is_found_and_mended(database: Database, tmp_path: Path, table: str, kept: bool) -> None:
    _night(database)
    before = digest(database, "dev")
    shelf = _kept(database, tmp_path) if kept else None
    with database.transaction() as connection:
        connection.execute(DAMAGE[table].encode())
    assert replay(database, "dev", shelf=shelf).found.counts.keys() == {table}
    assert verify(database, "dev").found.agrees
    assert digest(database, "dev") == before


def test_of_two_declarations_for_one_moment_the_later_received_holds_in_any_order_of_arrival(
    database: Database,
) -> None:
    def said_of(name: str, **more: Any) -> None:
        parsed = definition.parse({"source": "s", "valid_from": at(0).isoformat(), "tasks": [task(name)]})
        declare(database, "dev", parsed, **more)

    said_of("stands", now=at(20))
    said_of("never held", now=at(10))
    assert verify(database, "dev").found.first == ()
    said_of("held a while", now=at(30))
    assert verify(database, "dev").found.first == ()


def test_what_is_declared_of_the_past_while_events_are_read_is_in_the_rebuilt_history(database: Database) -> None:
    _night(database)
    moments = iter(range(1, 100))

    def meanwhile(_done: int, _total: int) -> None:
        began = at(0) - timedelta(days=next(moments))
        named = {"source": "s", "valid_from": began.isoformat(), "tasks": [task(f"t{began.day}")]}
        declare(database, "dev", definition.parse(named))

    assert verify(database, "dev", meanwhile).found.first == ()
    assert replay(database, "dev", meanwhile).found.agrees


def _announced(database: Database) -> list[str]:
    while announce(database, "dev", at(60)):
        pass
    return [item.task.name for item in waiting(database, "dev", 1_000, at(60)).items]


def test_what_is_swapped_in_wakes_who_waits_for_it(database: Database) -> None:
    declared(database, task("a"), task("load", "a"))
    recorded(database, said("a", "succeeded", 0))
    with database.transaction() as connection:
        connection.execute("delete from partition_state")
    assert _announced(database) == ["a"]
    replay(database, "dev")
    assert _announced(database) == ["load"]


@pytest.mark.parametrize("use", [verify, replay])
def test_rebuilding_what_agrees_wakes_nobody(database: Database, use: Callable[..., object]) -> None:
    _night(database)
    _announced(database)
    use(database, "dev")
    with database.transaction() as connection:
        assert connection.execute("select count(*) from outbox").fetchone() == (0,)
