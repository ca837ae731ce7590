"""Runs: every execution as it stands after its last attempt. Derived, and made anew whenever a fact is added."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from psycopg import Connection

from dataforge.model.run import Run
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import Added, Row, add, keys, spread

_COLUMNS = """
task_id, run, kind, group_run, map_index, state, evidence, attempt, attempt_id, partitions, partition_from,
    started_at, ended_at, interval_start, interval_end, error, source, shards"""
_STANDS = """
json_to_recordset(%(runs)s::json) as stands (task_id bigint, run text, kind run_kind, group_run text,
    map_index integer, state run_state, evidence evidence, attempt integer, attempt_id text, partitions text[],
    partition_from text, started_at timestamptz, ended_at timestamptz, interval_start timestamptz,
    interval_end timestamptz, error text, source jsonb, shards jsonb, part smallint)
"""
ADD = Added(
    insert=f"insert into run (environment, {_COLUMNS}, part) select %s, * from {_STANDS.replace('%(runs)s', '%s')}",  # noqa: S608  # all are literals
    copy=f"copy run (environment, {_COLUMNS}, part) from stdin (format binary)",
    types=(
        *("int8", "text", "text", "text", "int4", "text", "text", "int4", "text", "text[]", "text"),
        *("timestamptz", "timestamptz", "timestamptz", "timestamptz", "text", "jsonb", "jsonb", "int2"),
    ),
)
# A run that is known stays in its part. One that no attempt told of lies with what its platform said of it, or else by
# the time at which a person did.
SAVE = f"""
with placed as materialized (
    select *, (
        select r.part from run r where r.environment = (select %(environment)s::smallint)
            and r.task_id = stands.task_id and r.run = stands.run
    ) as known
    from {_STANDS}
), saved as (
    insert into run (environment, {_COLUMNS}, part)
    select %(environment)s, {_COLUMNS}, coalesce(known, part, (
        select o.part from outcome o where o.environment = (select %(environment)s::smallint)
            and o.task_id = placed.task_id and o.group_run = placed.run
    ), (
        select least(run_part_of(m.at), e.last_part) from mark m join environment e on e.id = m.environment
        where m.environment = (select %(environment)s::smallint) and m.task_id = placed.task_id and m.run = placed.run
    ))
    from placed
    on conflict (environment, task_id, run, part) do update set
        kind = excluded.kind, group_run = excluded.group_run, map_index = excluded.map_index, state = excluded.state,
        evidence = excluded.evidence, attempt = excluded.attempt, attempt_id = excluded.attempt_id,
        partitions = excluded.partitions, partition_from = excluded.partition_from, started_at = excluded.started_at,
        ended_at = excluded.ended_at, interval_start = excluded.interval_start, interval_end = excluded.interval_end,
        error = excluded.error, source = excluded.source, shards = excluded.shards
)
select task_id, run from placed where known is null
"""  # noqa: S608  # all are literals


def save(
    connection: Connection,
    environment: int,
    runs: Mapping[RunKey, Run],
    new: Set[RunKey],
    parts: Mapping[RunKey, int],
) -> set[RunKey]:
    """Replaces these runs, and returns those that were not there before. Those in `new` are known not to be. `parts`
    has where those lie that attempts told of."""
    rows = {key: _row(key, run, parts.get(key)) for key, run in sorted(runs.items())}
    add(connection, environment, ADD, [row for key, row in rows.items() if key in new])
    kept = [row for key, row in rows.items() if key not in new]
    parameters = {"environment": environment, "runs": spread(kept)}
    return {(row[0], row[1]) for row in connection.execute(SAVE, parameters)} | new if kept else set(new)


class Beside(NamedTuple):
    """What there is of some runs beside what they told themselves."""

    outcomes: bool  # what their platform said afterwards
    marks: bool  # what people said
    shards: bool
    ended: bool  # whether runs have ended here, of any name, of which there may still be claims


BESIDE = """
with wanted (task_id, run) as materialized (select * from unnest(%(tasks)s::bigint[], %(runs)s::text[]))
select
    exists (select from wanted w cross join lateral (
        select from outcome where environment = (select %(environment)s::smallint) and task_id = w.task_id
            and group_run = w.run limit 1) o),
    exists (select from wanted w cross join lateral (
        select from mark where environment = (select %(environment)s::smallint) and task_id = w.task_id
            and run = w.run limit 1) m),
    exists (select from wanted w cross join lateral (
        select from shard_chunk where environment = (select %(environment)s::smallint) and task_id = w.task_id
            and run = w.run limit 1) s),
    (select runs_known_from is not null from environment where id = %(environment)s)
"""


def beside(connection: Connection, environment: int, runs: Sequence[RunKey]) -> Beside:
    """Whether anything else is kept of any of these runs: of most there is nothing."""
    row = connection.execute(BESIDE, {"environment": environment, **keys(runs)}).fetchone()
    assert row is not None, "a query without a table has one row"
    return Beside(*row)


def _row(key: RunKey, run: Run, part: int | None) -> Row:
    return {
        "task_id": key[0],
        "run": key[1],
        "kind": run.kind,
        "group_run": run.group_run,
        "map_index": run.map_index,
        "state": run.belief.state,
        "evidence": run.belief.evidence.label,
        "attempt": run.ordinal,
        "attempt_id": run.attempt_id,
        "partitions": list(run.partitions),
        "partition_from": run.partition_from,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "interval_start": run.interval.start if run.interval else None,
        "interval_end": run.interval.end if run.interval else None,
        "error": run.error,
        "source": run.source,
        "shards": run.shards,
        "part": part,
    }


DELETE = """
delete from run using unnest(%(tasks)s::bigint[], %(runs)s::text[]) as gone (task_id, run)
where environment = %(environment)s and run.task_id = gone.task_id and run.run = gone.run
"""


def delete(connection: Connection, environment: int, runs: Sequence[RunKey]) -> None:
    """Removes runs that the facts no longer name, such as a task's own where it turned out to be mapped."""
    if runs:
        connection.execute(DELETE, {"environment": environment, **keys(runs)})
