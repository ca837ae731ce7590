"""Outcomes: what a platform said of its tasks after the fact, the latest of each."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from dataforge.model.attempt import Interval, RunPointer
from dataforge.model.event import Outcome
from dataforge.model.reference import TaskRef
from dataforge.model.state import RunState
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import Row, keys


class SaidOutcome(msgspec.Struct, frozen=True):
    """An outcome, and the event that said it."""

    outcome: Outcome
    at: datetime
    event: bytes

    @property
    def precedence(self) -> tuple[datetime, datetime, bytes]:
        """Of two the later incarnation of the DAG run wins, then the later event, then its id."""
        return (self.outcome.incarnation, self.at, self.event)


# By the start of its DAG run, which only a later one replaces.
SAVE = """
insert into outcome (environment, task_id, group_run, incarnation, state, at, said_by, parent_task_id, parent_run,
    interval_start, interval_end, source, part)
values (%(environment)s, %(task_id)s, %(group_run)s, %(incarnation)s, %(state)s, %(at)s, %(said_by)s,
    %(parent_task_id)s, %(parent_run)s, %(interval_start)s, %(interval_end)s, %(source)s, coalesce(
        (select part from outcome
        where environment = (select %(environment)s::smallint) and task_id = %(task_id)s and group_run = %(group_run)s),
        (select least(run_part_of(%(incarnation)s), last_part) from environment where id = %(environment)s)))
on conflict (environment, task_id, group_run, part) do update set
    incarnation = excluded.incarnation, state = excluded.state, at = excluded.at, said_by = excluded.said_by,
    parent_task_id = excluded.parent_task_id, parent_run = excluded.parent_run,
    interval_start = excluded.interval_start, interval_end = excluded.interval_end, source = excluded.source
where (outcome.incarnation, outcome.at, outcome.said_by) < (excluded.incarnation, excluded.at, excluded.said_by)
"""


def save(connection: Connection, environment: int, said: Iterable[SaidOutcome]) -> None:
    """Keeps each outcome that is later than the one that stands."""
    ordered = sorted(said, key=lambda each: (each.outcome.task.id, each.outcome.group_run, each.precedence))
    if ordered:
        connection.cursor().executemany(SAVE, [{"environment": environment, **_row(each)} for each in ordered])


def _row(said: SaidOutcome) -> Row:
    outcome, interval = said.outcome, said.outcome.interval
    return {
        "task_id": outcome.task.id,
        "group_run": outcome.group_run,
        "incarnation": outcome.incarnation,
        "state": outcome.state,
        "at": said.at,
        "said_by": said.event,
        "parent_task_id": outcome.parent.task.id,
        "parent_run": outcome.parent.external_run,
        "interval_start": interval.start if interval else None,
        "interval_end": interval.end if interval else None,
        "source": Jsonb(outcome.source),
    }


LOAD = """
select t.namespace, t.name, o.group_run, o.incarnation, o.state, o.at, o.said_by, p.namespace, p.name, o.parent_run,
       o.interval_start, o.interval_end, o.source
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select * from outcome
    where environment = (select %(environment)s::smallint)
      and task_id = wanted.task_id and group_run = wanted.run offset 0
) o
join task t on t.environment = o.environment and t.id = o.task_id
join task p on p.environment = o.environment and p.id = o.parent_task_id
"""


def of_runs(connection: Connection, environment: int, runs: Sequence[RunKey]) -> dict[RunKey, Outcome]:
    """What was said of these runs, by their key."""
    parameters = {"environment": environment, **keys(runs)}
    found = {}
    for namespace, name, group_run, incarnation, state, _at, _event, *rest in connection.execute(
        LOAD, parameters
    ).fetchall():
        parent_namespace, parent_name, parent_run, start, end, source = rest
        outcome = Outcome(
            task=TaskRef(namespace, name),
            group_run=group_run,
            incarnation=incarnation,
            state=RunState(state),
            parent=RunPointer(TaskRef(parent_namespace, parent_name), parent_run),
            interval=Interval(start, end) if start is not None else None,
            source=source,
        )
        found[outcome.task.id, group_run] = outcome
    return found
