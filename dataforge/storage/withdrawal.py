"""Taking back all that follows from runs, before it is made anew: claims, reports of what they read, and refusals."""

from collections.abc import Sequence

from psycopg import Connection

from dataforge.storage.attempt import RunKey
from dataforge.storage.partition import Place
from dataforge.storage.record_set import keys

# Each table is searched by run alone (`offset 0`), and its rows are then removed by their keys.
WITHDRAW = """
with gone (task_id, run) as materialized (
    select * from unnest(%(tasks)s::bigint[], %(runs)s::text[])
), claims as (
    delete from write where (environment, node_kind, node_id, partition, task_id, run, attempt_id) in (
        select (select %(environment)s::smallint), c.node_kind, c.node_id, c.partition, c.task_id, c.run, c.attempt_id
        from gone cross join lateral (
            select * from write
            where environment = (select %(environment)s::smallint) and task_id = gone.task_id and run = gone.run
                and attempt_id <> '~watermark' offset 0
        ) c
    )
    returning node_kind, node_id, partition
), refusals as (
    delete from failed_check where (environment, dataset_id, partition, task_id, run, attempt_id, own) in (
        select (select %(environment)s::smallint), f.dataset_id, f.partition, f.task_id, f.run, f.attempt_id, f.own
        from gone cross join lateral (
            select * from failed_check
            where environment = (select %(environment)s::smallint) and task_id = gone.task_id and run = gone.run
            offset 0
        ) f
    )
    returning dataset_id, partition
), reports as (
    delete from quality where (environment, dataset_id, partition, task_id, run, attempt_id) in (
        select (select %(environment)s::smallint), q.dataset_id, q.partition, q.task_id, q.run, q.attempt_id
        from gone cross join lateral (
            select * from quality
            where environment = (select %(environment)s::smallint) and task_id = gone.task_id and run = gone.run
            offset 0
        ) q
    )
)
select node_kind, node_id, partition from claims union select 'dataset', dataset_id, partition from refusals
"""


def withdraw(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[Place]:
    """Removes all that follows from these runs but the claims of their watermarks, and returns the places that they
    claimed or refused."""
    rows = connection.execute(WITHDRAW, {"environment": environment, **keys(runs)})
    return {(row[0], row[1], row[2]) for row in rows}
