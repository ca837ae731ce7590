"""Runs: every execution as it stands after its last attempt. Derived, and made anew whenever a fact is added."""

from collections.abc import Mapping, Sequence

from psycopg import Connection
from psycopg.types.json import Jsonb

from dataforge.model.run import Run
from dataforge.storage.attempt import RunKey

SAVE = """
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, attempt_id,
    partitions, partition_from, started_at, ended_at, interval_start, interval_end, error, source)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (environment, task_id, run) do update set
    kind = excluded.kind, group_run = excluded.group_run, map_index = excluded.map_index, state = excluded.state,
    evidence = excluded.evidence, attempt = excluded.attempt, attempt_id = excluded.attempt_id,
    partitions = excluded.partitions, partition_from = excluded.partition_from, started_at = excluded.started_at,
    ended_at = excluded.ended_at, interval_start = excluded.interval_start, interval_end = excluded.interval_end,
    error = excluded.error, source = excluded.source
"""


def save(connection: Connection, environment: int, runs: Mapping[RunKey, Run]) -> None:
    """Replaces these runs."""
    rows = []
    for (task_id, key), run in sorted(runs.items()):
        interval = run.interval
        rows.append(
            (environment, task_id, key, run.kind, run.group_run, run.map_index)
            + (run.belief.state, run.belief.evidence.label, run.ordinal, run.attempt_id, list(run.partitions))
            + (run.partition_from, run.started_at, run.ended_at, interval.start if interval else None)
            + (interval.end if interval else None, run.error, Jsonb(run.source))
        )
    connection.cursor().executemany(SAVE, rows)


DELETE = """
delete from run using unnest(%(tasks)s::bigint[], %(runs)s::text[]) as gone (task_id, run)
where environment = %(environment)s and run.task_id = gone.task_id and run.run = gone.run
"""


def delete(connection: Connection, environment: int, runs: Sequence[RunKey]) -> None:
    """Removes runs that the facts no longer name, such as a task's own where it turned out to be mapped."""
    parameters = {"environment": environment, "tasks": [r[0] for r in runs], "runs": [r[1] for r in runs]}
    connection.execute(DELETE, parameters)
