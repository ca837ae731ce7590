"""What is told of a run after its begin changes it where it lies, without an entry in any index."""

from typing import Any

import msgspec

from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.record import record
from dataforge.model.event import Event
from dataforge.storage import environment as environments
from dataforge.storage.database import Database

IN_PLACE = """
select sum(pg_stat_get_xact_tuples_updated(inhrelid)), sum(pg_stat_get_xact_tuples_hot_updated(inhrelid))
from pg_inherits where inhparent = %(table)s::regclass
"""


def _event(hour: int, state: str, **more: Any) -> Event:
    said = {
        "time": f"2026-11-02T{hour:02}:00:00Z",
        "task": {"namespace": "n", "name": "t"},
        "run": "r",
        "partition": "2026-11-02",
        "state": state,
        **more,
    }
    return native.parse(msgspec.json.encode(said), NOTHING)


def test_a_run_ends_where_it_lies(database: Database) -> None:
    begun, ended = _event(1, "running"), _event(2, "succeeded", outputs=[{"namespace": "n", "name": "d"}])
    with database.transaction() as connection:
        record(connection, environments.lock(connection, "dev"), [begun])
    with database.transaction() as connection:
        record(connection, environments.lock(connection, "dev"), [ended])
        for table in ("run", "attempt"):
            assert connection.execute(IN_PLACE, {"table": table}).fetchone() == (1, 1)
