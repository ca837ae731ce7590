"""Rows that are copied by many are those that are inserted one by one, in every column of every table."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec

from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.storage import difference, event
from dataforge.storage import environment as environments
from dataforge.storage.database import Database
from dataforge.storage.rebuilt import STATE
from dataforge.storage.record_set import FEW

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
CAPTURED = [
    line
    for platform in ("airflow", "airflow_edge", "spark", "spark_edge", "dbt")
    for line in (CAPTURES / platform / "events.jsonl").read_bytes().splitlines()[:60]
]
AT = datetime(2026, 11, 2, 1, 30, 0, 250, tzinfo=timezone(timedelta(hours=2)))


def _native(number: int) -> bytes:
    """The end of a run that says all that an event can, in another zone than the server's."""
    said: dict[str, Any] = {
        "time": (AT + timedelta(minutes=number)).isoformat(),
        "task": {"namespace": "näm\te", "name": f"t\\{number}"},
        "run": f'r"{number}',
        "partition": "2026-11-02",
        "state": "failed" if number % 3 else "succeeded",
        "error": "line\nbreak" if number % 3 else None,
        "outputs": [{"namespace": "lake", "name": f"d{number}", "rows": number, "version": f"v{number}"}],
    }
    return msgspec.json.encode({key: value for key, value in said.items() if value is not None})


def test_many_rows_are_the_same_as_each_by_itself(database: Database) -> None:
    natives = [_native(number) for number in range(FEW + 1)]
    for record, bodies in ((record_native, natives), (record_openlineage, CAPTURED)):
        assert len(bodies) > FEW
        assert record(database, "dev", bodies, NOTHING).rejected == []
        for body in bodies:
            record(database, "staging", [body], NOTHING)
    with database.transaction() as connection:
        many, single = (environments.find(connection, name).id for name in ("dev", "staging"))
        found = {table.name: difference.count(connection, table, many, single).total for table in STATE}
        assert found == dict.fromkeys(found, 0)
        in_both = [{each.id: each for each in event.read(connection, one, 0, 10_000)} for one in (many, single)]
        assert in_both[0].keys() == in_both[1].keys()
        for one, other in zip(*(sorted(each.values(), key=lambda e: e.id) for each in in_both), strict=True):
            assert (one.occurred_at, one.kind, one.body) == (other.occurred_at, other.kind, other.body)
        [(at,)] = connection.execute(
            "select started_at from write where environment = %s and run = %s and node_kind = 'task'", [many, 'r"3']
        ).fetchall()
        assert at.astimezone(UTC) == (AT + timedelta(minutes=3)).astimezone(UTC)
