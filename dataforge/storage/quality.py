"""Quality: what runs reported of partitions that they read, such as the outcomes of dbt's tests, and which partitions
they refused. Derived."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from dataforge.model.quality import Failure, Held
from dataforge.model.report import Report
from dataforge.storage.attempt import RunKey
from dataforge.storage.partition import Place
from dataforge.storage.record_set import Row, spread


class Checked(msgspec.Struct, frozen=True):
    """What one attempt of a run reported of one partition, a dataset under the name it was read by."""

    dataset_id: int
    partition: str
    task_id: int
    run: str
    attempt_id: str
    at: datetime
    report: Report


# Whoever asks for a check is decided on anew when it has been made: the partition itself has not changed by it.
REPORT = """
with reported as (
    insert into quality (environment, dataset_id, partition, task_id, run, attempt_id, at, report)
    select %(environment)s, * from json_to_recordset(%(said)s::json) as said (dataset_id bigint, partition text,
        task_id bigint, run text, attempt_id text, at timestamptz, report jsonb)
    returning environment, dataset_id, partition
)
insert into outbox (environment, node_kind, change, nodes, partitions)
select distinct r.environment, 'dataset'::node_kind, 'ended', array[d.canonical_id], array[r.partition]
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


FAIL = """
insert into failed_check (environment, dataset_id, partition, task_id, run, attempt_id, own, at, checks, number,
    version)
select %s, * from json_to_recordset(%s::json) as said (dataset_id bigint, partition text, task_id bigint, run text,
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


class Reign(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when what a run had made of a partition of a dataset could be refused, and what let it go."""

    dataset_id: int  # the canonical one
    partition: str
    run: RunKey  # of a mapped run that as a whole
    version: str | None
    begun: datetime
    until: datetime
    released_at: datetime | None = None


# Of what was looked at the first that failed on this version; of the run's own checks the first of its instances.
REFUSED = """
select distinct on (w.place) w.place, f.at, f.checks, f.number, t.name, f.run, a.error
from unnest(%(nodes)s::bigint[], %(partitions)s::text[], %(tasks)s::bigint[], %(runs)s::text[], %(versions)s::text[],
    %(begun)s::timestamptz[], %(untils)s::timestamptz[], %(released)s::timestamptz[])
    with ordinality as w (node, partition, task_id, run, version, begun, until, released, place)
cross join lateral (
    select id from dataset where environment = %(environment)s and canonical_id = w.node offset 0
) d
cross join lateral (
    (select * from failed_check
    where environment = %(environment)s and dataset_id = d.id and partition = w.partition and not own
        and at >= w.begun and at <= w.until and (w.released is null or at > w.released)
        and (version = '' or w.version is null or version = w.version)
    order by at limit 1)
    union all
    (select f.* from (
        select * from failed_check
        where environment = %(environment)s and dataset_id = d.id and partition = w.partition
            and task_id = w.task_id offset 0
    ) f
    where f.own and f.at >= w.begun and f.at <= w.until and (w.released is null or f.at > w.released)
        and exists (
            select from (
                select group_run from write
                where environment = %(environment)s and task_id = f.task_id and run = f.run offset 0
            ) c where c.group_run = w.run)
    order by f.at limit 1)
) f
join task t on t.environment = %(environment)s and t.id = f.task_id
left join attempt a on a.environment = %(environment)s and a.task_id = f.task_id and a.run = f.run
    and a.attempt_id = f.attempt_id
order by w.place, f.at, f.task_id, f.run
"""


def refused(connection: Connection, environment: int, reigns: Sequence[Reign]) -> list[Held | None]:
    """For each of these the first check that refused it; None where none did."""
    found: list[Held | None] = [None] * len(reigns)
    for place, at, checks, number, task, run, error in (
        connection.execute(REFUSED, refused_of(environment, reigns)) if reigns else ()
    ):
        found[place - 1] = Held(at=at, checks=checks, number=number, task=task, run=run, error=error)
    return found


def refused_of(environment: int, reigns: Sequence[Reign]) -> dict[str, Any]:
    """The parameters of `refused`."""
    return {
        "environment": environment,
        "nodes": [each.dataset_id for each in reigns],
        "partitions": [each.partition for each in reigns],
        "tasks": [each.run[0] for each in reigns],
        "runs": [each.run[1] for each in reigns],
        "versions": [each.version for each in reigns],
        "begun": [each.begun for each in reigns],
        "untils": [each.until for each in reigns],
        "released": [each.released_at for each in reigns],
    }


LOOKED = """
select w.place
from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(nodes)s::bigint[], %(partitions)s::text[])
    with ordinality as w (task_id, run, node, partition, place)
where exists (
    select from (
        select * from quality
        where environment = %(environment)s and task_id = w.task_id and run = w.run offset 0
    ) q join dataset d on d.environment = %(environment)s and d.id = q.dataset_id
    where d.canonical_id = w.node and q.partition = w.partition)
"""


def looked(connection: Connection, environment: int, asked: Sequence[tuple[RunKey, int, str]]) -> set[int]:
    """Which of these runs reported of these partitions of datasets (by canonical id) that they read: by place."""
    parameters = {
        "environment": environment,
        "tasks": [run[0] for run, _, _ in asked],
        "runs": [run[1] for run, _, _ in asked],
        "nodes": [node for _, node, _ in asked],
        "partitions": [partition for _, _, partition in asked],
    }
    return {row[0] - 1 for row in connection.execute(LOOKED, parameters).fetchall()} if asked else set()
