"""The plans of folding: a batch looks its keys up, whatever the tables hold and however old their statistics are."""

import json
import re
from typing import Any, LiteralString

import pytest

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage import attempt, completeness, mark, out_of_order, partition, reach, run, shard, touch, withdrawal
from dataforge.storage.database import Database
from dataforge.storage.record_set import keys, spread
from tests.storage.plan import whole

pytestmark = pytest.mark.xdist_group("fold-plans")  # in one process, which makes once what they share

COMPLETENESS = ["PRODUCTS", "LISTED", "CLAIMED", "RUNS", "PARTITIONS"]
STATEMENTS = [
    "OF_RUNS",
    "OF_EXTERNAL",
    "TOUCHES",
    "CHILDREN",
    "MAPPED",
    "WITHDRAW",
    "BESIDE",
    "NAMES",
    "RESOLVE",
    "CLEAR",
    "OVERTAKEN",
    *COMPLETENESS,
]
STATEMENTS += ["INSTANCES", "RECENT", "WANTED", "FIRSTS", "CONTENTS", "TALLY"]
GROWING = re.compile(r"Seq Scan on (attempt|touch|write|run|outcome|partition_state|event|failed_check|shard_chunk)\b")


_OUTCOMES = """
insert into outcome (environment, task_id, group_run, incarnation, state, at, said_by, parent_task_id, parent_run,
    source)
select environment, task_id, run, said_at, 'succeeded', said_at, said_by, task_id, run, '{}' from attempt
on conflict do nothing
"""


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def grown(module_database: Database, request: pytest.FixtureRequest) -> Database:
    events = workload.native(3_000)
    for begin in range(0, len(events), 500):
        record_native(module_database, "dev", [*map(_refused, events[begin : begin + 500])], NOTHING)
    with module_database.transaction() as connection:
        connection.execute(_OUTCOMES)
    if request.param == "analyzed":
        with module_database.transaction() as connection:
            connection.execute("analyze")
    return module_database


def _refused(body: bytes) -> bytes:
    """The event with a check that failed on what it wrote and a shard, so that there are many of them too."""
    event = {**json.loads(body), "shards": [{"key": "a"}]}
    for output in event.get("outputs", []):
        output["checks"] = [{"name": "rows", "success": False}]
    return json.dumps(event).encode()


def _parameters(database: Database, environment: int = 1) -> dict[str, Any]:
    with database.transaction() as connection:
        runs = [(row[0], row[1]) for row in connection.execute("select task_id, run from attempt limit 100")]
        places = connection.execute("select node_kind, node_id, partition from write limit 100").fetchall()
    nodes = {"kinds": [row[0] for row in places], "nodes": [row[1] for row in places]}
    nodes["partitions"] = [run for _, run in runs]
    rows = [{"kind": kind, "node": node, "key": key, "members": [node], "groups": []} for kind, node, key in places]
    return {
        "environment": environment,
        **keys(runs),
        "external": [run for _, run in runs],
        "places": spread(rows),
        **nodes,
        "most": 10,
        "firsts": ["" for _ in runs],
        "parts": [4_053 for _ in runs],
        "datasets": [row["node"] for row in rows],
    }


def _plan(database: Database, name: str, environment: int) -> str:
    modules = (attempt, completeness, partition, out_of_order, mark, reach, run, shard, touch, withdrawal)
    statement: LiteralString = next(getattr(each, name) for each in modules if hasattr(each, name))
    with database.transaction() as connection:
        found = connection.execute("explain " + statement, _parameters(database, environment))
        return "\n".join(row[0] for row in found)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_batch_reads_no_growing_table_whole(grown: Database, name: str) -> None:
    plan = _plan(grown, name, 1)
    assert not GROWING.search(whole(plan)), plan


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("environment", [1, 9_999])
def test_no_index_is_read_by_the_environment_alone(grown: Database, name: str, environment: int) -> None:
    """9999 is an environment that no statistics know: a new one, or the one in which the state is rebuilt."""
    plan = _plan(grown, name, environment)
    assert not re.search(r"Index Cond: \(environment = '?\d+'?(::smallint)?\)$", plan, re.MULTILINE), plan
