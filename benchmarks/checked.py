"""What a run of the benchmarks has left in the ledger, held against the events that it sent.

Written for the shape of `workload.native` alone: of a task's partition the run that began last counts.
"""

import json
from typing import Any, NamedTuple

from dataforge.storage import event as event_log
from dataforge.storage.database import Connection, Database

_STATES = """
select t.name, s.partition, s.status::text, s.run from partition_state s
join task t on t.environment = s.environment and t.id = s.node_id
where s.environment = 1 and s.node_kind = 'task' and t.namespace = 'bench'
"""
_STATUS = {"running": "running", "succeeded": "ready", "failed": "failed"}


class _Run(NamedTuple):
    began: str  # ISO 8601, all in UTC: they sort as the times do
    run: str
    state: str


def check(database: Database) -> int:
    """How many partitions stand as the recorded events say. Raises AssertionError where one does not."""
    with database.transaction() as connection:
        expected = _expected(connection)
        found = {(name, key): (run, status) for name, key, status, run in connection.execute(_STATES)}
    assert found.keys() == expected.keys(), "the partitions that were told of are those that have a state"
    for place, runs in expected.items():
        last = max(runs)
        alone = sum(each.began == last.began for each in runs) == 1  # two that began at once: either may be the last
        assert not alone or found[place] == (last.run, _STATUS[last.state]), (place, found[place], last)
    return len(expected)


def _expected(connection: Connection) -> dict[tuple[str, str], list[_Run]]:
    began: dict[tuple[str, str, str], str] = {}
    state: dict[tuple[str, str, str], str] = {}
    for page in event_log.read_all(connection, 1):
        for event in page:
            said: dict[str, Any] = json.loads(event.body)
            if said.get("task", {}).get("namespace") != "bench":
                continue
            one = (said["task"]["name"], said["partition"], said["run"])
            if said["state"] == "running":
                began[one] = said["time"]
                state.setdefault(one, "running")
            else:
                state[one] = said["state"]
    runs: dict[tuple[str, str], list[_Run]] = {}
    for (name, key, run), at in began.items():
        runs.setdefault((name, key), []).append(_Run(at, run, state[name, key, run]))
    return runs
