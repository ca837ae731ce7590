"""Lists of columns, each stored once for each dataset that a run showed with it."""

from collections.abc import Iterable, Mapping

from psycopg import Connection

from dataforge.model.column_change import Shown
from dataforge.model.column_list import ColumnList
from dataforge.storage.record_set import spread

SAVE = """
insert into column_list (environment, dataset_id, hash, columns)
select %s, * from json_to_recordset(%s::json) as said (dataset_id bigint, hash text, columns jsonb)
on conflict do nothing
"""


def save(connection: Connection, environment: int, shown: Mapping[tuple[int, str], ColumnList]) -> None:
    """Keeps these lists, by dataset and hash."""
    rows = [
        {"dataset_id": dataset, "hash": each.hash, "columns": each.columns}
        for (dataset, _), each in sorted(shown.items())
    ]
    if rows:
        connection.execute(SAVE, [environment, spread(rows)])


# Only datasets of which more than one list is known are looked at. Their results are found by the moments at which runs
# ended, each step one look into the index, however many partitions a run wrote; of runs that ended in one microsecond
# one counts. What a blocking check has refused is no good result: of the partition as it stands its state says so, of
# what was made anew since then the check that came before that.
SHOWN = """
select asked.id, c.partition, c.producer_task_id, c.producer_run, c.since, t.columns, l.columns, s.good and not exists (
    select from (
        select at from failed_check
        where environment = %(environment)s and dataset_id = c.node_id and partition = c.partition offset 0
    ) f
    where f.at >= c.started_at and f.at < later.begun
)
from unnest(%(ids)s::bigint[]) as asked (id)
cross join lateral (
    select array_agg(id) as ids from dataset where environment = %(environment)s and canonical_id = asked.id
) names
cross join lateral (
    select from column_list where environment = %(environment)s and dataset_id = any(names.ids)
    having count(distinct hash) > 1
) several
cross join lateral (
    with recursive result as (
        select 'infinity'::timestamptz as since, 0 as place, null::write as claim
        union all
        select next.since, result.place + 1, next.claim from result cross join lateral (
            select found.* from unnest(names.ids) as member (id) cross join lateral (
                select w as claim, w.since, w.node_id from write w
                where environment = %(environment)s and node_kind = 'dataset' and node_id = member.id
                    and status = 'ready' and evidence <> 'inferred' and attempt_id <> '~watermark'
                    and since < result.since
                order by since desc limit 1
            ) found
            order by found.since desc, found.node_id limit 1
        ) next
        where result.place < %(most)s
    )
    select (claim).* from result where place > 0
) c
cross join lateral (
    select columns from touch
    where environment = %(environment)s and task_id = c.task_id and run = c.run and attempt_id = c.attempt_id
        and direction = 'output' and dataset_id = c.node_id and partition in (c.partition, '') and columns is not null
    order by columns_at desc, columns desc limit 1
) t
cross join lateral (
    select columns from column_list
    where environment = %(environment)s and dataset_id = c.node_id and hash = t.columns offset 0
) l
cross join lateral (
    select min(started_at) as begun from write
    where environment = %(environment)s and node_kind = 'dataset' and node_id = c.node_id and partition = c.partition
        and started_at > c.started_at
) later
cross join lateral (
    select coalesce(bool_and(
        status <> 'quarantined' or (ready_task_id, ready_run) <> (c.producer_task_id, c.producer_run)
    ), true) as good
    from partition_state
    where environment = %(environment)s and node_kind = 'dataset' and node_id = asked.id and partition = c.partition
) s
order by asked.id, c.since desc
"""


def shown(connection: Connection, environment: int, datasets: Iterable[int], most: int) -> dict[int, list[Shown]]:
    """Those of the last `most` results of each of these datasets, by canonical id, that showed columns: the newest
    first, of one run the last. None of those that have shown the same ones all the time."""
    parameters = {"environment": environment, "ids": list(datasets), "most": most}
    found: dict[int, list[Shown]] = {}
    runs: set[tuple[int, int, str]] = set()
    for dataset, key, task, run, since, name, columns, good in connection.execute(SHOWN, parameters):
        if (dataset, task, run) not in runs:
            runs.add((dataset, task, run))
            told = ColumnList(name, tuple((column, of) for column, of in columns))
            found.setdefault(dataset, []).append(Shown(key or None, run, since, told, good=good))
    return found
