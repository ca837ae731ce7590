"""Touches: what attempts read and wrote, of each dataset and partition what was last said."""

from collections.abc import Iterable, Sequence

from psycopg import Connection

from dataforge.model import report as reports
from dataforge.model.attempt import Attempt, AttemptKey, Touch
from dataforge.model.reference import DatasetRef
from dataforge.storage.record_set import Added, Row, add, spread

TOUCHES = """
select x.task_id, x.run, x.attempt_id, x.direction, d.namespace, d.name, x.partition, x.first_at, x.last_at,
       x.version, x.version_at, x.rows, x.measured, x.change, x.report, x.columns, x.columns_at
from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(parts)s::smallint[]) as wanted (task_id, run, part)
cross join lateral (
    select * from touch
    where environment = (select %(environment)s::smallint) and task_id = wanted.task_id and run = wanted.run
        and part = wanted.part offset 0
) x
cross join lateral (
    select namespace, name from dataset
    where environment = (select %(environment)s::smallint) and id = x.dataset_id offset 0
) d
"""
AttemptName = tuple[int, str, str]  # task id, run, attempt id


def of_runs(
    connection: Connection, environment: int, runs: Iterable[tuple[int, str, int]]
) -> dict[AttemptName, list[Touch]]:
    """What the attempts of these runs have touched that lie in these parts."""
    ordered = sorted(set(runs))
    tasks, names, parts = ([run[place] for run in ordered] for place in range(3))
    parameters = {"environment": environment, "tasks": tasks, "runs": names, "parts": parts}
    found: dict[AttemptName, list[Touch]] = {}
    rows = connection.execute(TOUCHES, parameters).fetchall()
    for task_id, run, attempt_id, direction, namespace, name, *rest, said, shown, shown_at in rows:
        touch = Touch(direction, DatasetRef(namespace, name), *(*rest, reports.stored(said), shown, shown_at))
        found.setdefault((task_id, run, attempt_id), []).append(touch)
    return found


_INSERT = """
insert into touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at,
    version, version_at, rows, measured, change, report, columns, columns_at, part)
select %s, * from json_to_recordset(%s::json) as said (task_id bigint, run text, attempt_id text, direction text,
    dataset_id bigint, partition text, first_at timestamptz, last_at timestamptz, version text,
    version_at timestamptz, rows bigint, measured boolean, change text, report jsonb, columns text,
    columns_at timestamptz, part smallint)
"""
ADD = Added(
    insert=_INSERT,
    copy="""
copy touch (environment, task_id, run, attempt_id, direction, dataset_id, partition, first_at, last_at, version,
    version_at, rows, measured, change, report, columns, columns_at, part)
from stdin (format binary)
""",
    types=(
        *("int8", "text", "text", "text", "int8", "text", "timestamptz", "timestamptz", "text", "timestamptz"),
        *("int8", "bool", "text", "jsonb", "text", "timestamptz", "int2"),
    ),
)
SAVE = (
    _INSERT
    + """
on conflict (environment, task_id, run, attempt_id, direction, dataset_id, partition, part) do update set
    first_at = excluded.first_at, last_at = excluded.last_at, version = excluded.version,
    version_at = excluded.version_at, rows = excluded.rows, measured = excluded.measured, change = excluded.change,
    report = excluded.report, columns = excluded.columns, columns_at = excluded.columns_at
"""
)


def save(connection: Connection, environment: int, attempts: Iterable[tuple[Attempt, int, Sequence[Touch]]]) -> None:
    """Keeps what attempts touched, in their parts; the given touches are kept already."""
    added, changed = list[Row](), list[Row]()
    for attempt, part, known in attempts:
        before = {each.key: each for each in known}
        for touch in attempt.touches:
            if (stored := before.get(touch.key)) != touch:
                (added if stored is None else changed).append(_row(attempt.key, touch, part))
    add(connection, environment, ADD, added)
    if changed:
        connection.execute(SAVE, [environment, spread(changed)])


def _row(key: AttemptKey, touch: Touch, part: int) -> Row:
    return {
        "task_id": key.task.id,
        "run": key.run,
        "attempt_id": key.attempt_id,
        "direction": touch.direction,
        "dataset_id": touch.dataset.id,
        "partition": touch.partition,
        "first_at": touch.first_at,
        "last_at": touch.last_at,
        "version": touch.version,
        "version_at": touch.version_at,
        "rows": touch.rows,
        "measured": touch.measured,
        "change": touch.change,
        "report": touch.report,
        "columns": touch.columns,
        "columns_at": touch.columns_at,
        "part": part,
    }
