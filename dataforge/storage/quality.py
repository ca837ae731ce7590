"""Quality: what runs reported of partitions that they read, such as the outcomes of dbt's tests, and which partitions
they refused. Derived."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.model.quality import Failure
from dataforge.model.report import Report
from dataforge.storage.attempt import RunKey
from dataforge.storage.partition import Place
from dataforge.storage.record_set import Row, keys, spread


class Checked(msgspec.Struct, frozen=True):
    """What one attempt of a run reported of one partition, a dataset under the name it was read by."""

    dataset_id: int
    partition: str
    task_id: int
    run: str
    attempt_id: str
    at: datetime
    report: Report


WITHDRAW = """
delete from quality where (environment, dataset_id, partition, task_id, run, attempt_id) in (
    select (select %(environment)s::smallint), q.dataset_id, q.partition, q.task_id, q.run, q.attempt_id
    from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as gone (task_id, run) cross join lateral (
        select * from quality
        where environment = (select %(environment)s::smallint) and task_id = gone.task_id and run = gone.run offset 0
    ) q
)
"""


def withdraw(connection: Connection, environment: int, runs: Sequence[RunKey]) -> None:
    """Removes all that these runs reported."""
    connection.execute(WITHDRAW, {"environment": environment, **keys(runs)})


# Whoever asks for a check is decided on anew when it has been made: the partition itself has not changed by it.
REPORT = """
with reported as (
    insert into quality (environment, dataset_id, partition, task_id, run, attempt_id, at, report)
    select %(environment)s, * from jsonb_to_recordset(%(said)s::jsonb) as said (dataset_id bigint, partition text,
        task_id bigint, run text, attempt_id text, at timestamptz, report jsonb)
    returning environment, dataset_id, partition
)
insert into outbox (environment, node_kind, node_id, partition, change)
select distinct r.environment, 'dataset'::node_kind, d.canonical_id, r.partition, 'ended'
from reported r cross join lateral (
    select canonical_id from dataset
    where environment = (select %(environment)s::smallint) and id = r.dataset_id offset 0
) d
"""


def report(connection: Connection, environment: int, found: Sequence[Checked]) -> None:
    """Keeps what runs report of what they read, of which nothing is kept yet."""
    if found:
        said = spread(map(msgspec.structs.asdict, found))
        connection.execute(REPORT, {"environment": environment, "said": said})


class FailedCheck(msgspec.Struct, frozen=True):
    """That blocking checks failed in an attempt of a run, on a partition of a dataset under the name it used."""

    dataset_id: int
    partition: str
    task_id: int
    run: str
    attempt_id: str
    own: bool  # of what the run wrote itself
    failure: Failure

    @property
    def place(self) -> Place:
        return ("dataset", self.dataset_id, self.partition)


WITHDRAW_FAILED = """
delete from failed_check where (environment, dataset_id, partition, task_id, run, attempt_id, own) in (
    select (select %(environment)s::smallint), f.dataset_id, f.partition, f.task_id, f.run, f.attempt_id, f.own
    from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as gone (task_id, run) cross join lateral (
        select * from failed_check
        where environment = (select %(environment)s::smallint) and task_id = gone.task_id and run = gone.run offset 0
    ) f
)
returning dataset_id, partition
"""


def withdraw_failed(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[Place]:
    """Removes all that these runs refused, and returns the places."""
    rows = connection.execute(WITHDRAW_FAILED, {"environment": environment, **keys(runs)})
    return {("dataset", row[0], row[1]) for row in rows}


FAIL = """
insert into failed_check (environment, dataset_id, partition, task_id, run, attempt_id, own, at, checks, number,
    version)
select %s, * from jsonb_to_recordset(%s::jsonb) as said (dataset_id bigint, partition text, task_id bigint, run text,
    attempt_id text, own boolean, at timestamptz, checks text, number integer, version text)
"""


def fail(connection: Connection, environment: int, found: Sequence[FailedCheck]) -> set[Place]:
    """Keeps what runs refuse, of which nothing is kept yet; returns the places that they refuse."""
    if found:
        connection.execute(FAIL, [environment, spread(map(_failed, found))])
    return {each.place for each in found}


def _failed(found: FailedCheck) -> Row:
    failure = found.failure
    return {
        "dataset_id": found.dataset_id,
        "partition": found.partition,
        "task_id": found.task_id,
        "run": found.run,
        "attempt_id": found.attempt_id,
        "own": found.own,
        "at": failure.at,
        "checks": failure.checks,
        "number": failure.number,
        "version": failure.version,
    }
