"""The plans of folding: a batch looks its keys up, whatever the tables hold and however old their statistics are."""

import re
from typing import Any, LiteralString

import pytest

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage import attempt, partition
from dataforge.storage.database import Database
from dataforge.storage.record_set import keys, spread

GROWING = re.compile(r"Seq Scan on (attempt|touch|write|run|outcome|partition_state|event)\b")


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def grown(module_database: Database, request: pytest.FixtureRequest) -> Database:
    events = workload.native(3_000)
    for begin in range(0, len(events), 500):
        record_native(module_database, "dev", events[begin : begin + 500], NOTHING)
    if request.param == "analyzed":
        with module_database.transaction() as connection:
            connection.execute("analyze")
    return module_database


def _parameters(database: Database) -> dict[str, Any]:
    with database.transaction() as connection:
        runs = [(row[0], row[1]) for row in connection.execute("select task_id, run from attempt limit 100")]
        places = connection.execute("select node_kind, node_id, partition from write limit 100").fetchall()
    rows = [{"kind": kind, "node": node, "key": key, "members": [node]} for kind, node, key in places]
    return {"environment": 1, **keys(runs), "external": [run for _, run in runs], "places": spread(rows)}


@pytest.mark.parametrize(
    "name", ["OF_RUNS", "OF_EXTERNAL", "TOUCHES", "CHILDREN", "MAPPED", "WITHDRAW", "RESOLVE", "CLEAR"]
)
def test_a_batch_reads_no_growing_table_whole(grown: Database, name: str) -> None:
    statement: LiteralString = getattr(attempt, name, None) or getattr(partition, name)
    with grown.transaction() as connection:
        plan = "\n".join(row[0] for row in connection.execute("explain " + statement, _parameters(grown)))
    assert not GROWING.search(plan), plan
