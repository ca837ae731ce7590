"""Partition states: which of the claims that runs have on a partition is believed. Derived."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection

from dataforge.model.completeness import Judged
from dataforge.model.reference import NodeKind
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import Row, spread

Place = tuple[NodeKind, int, str]  # kind, node id, partition


class Contested(msgspec.Struct, frozen=True):
    """A partition of a dataset, by canonical id, on which there are more claims than that of the run it stands by."""

    node: int
    partition: str
    names: Sequence[int]  # of the dataset
    groups: list[list[Any]]  # the run, as task id and group run
    since: datetime

    @property
    def runs(self) -> list[RunKey]:
        return [(task, run) for task, run in self.groups]


PLACES_OF_DATASETS = """
select distinct partition from write
where environment = %s and node_kind = 'dataset' and node_id = any(%s)
"""


def partitions_of(connection: Connection, environment: int, datasets: Iterable[int]) -> set[str]:
    """Every partition of these datasets that a run has a claim on."""
    return {row[0] for row in connection.execute(PLACES_OF_DATASETS, [environment, list(datasets)]).fetchall()}


class Names(NamedTuple):
    """Which dataset stands for each of some, and under which names that is known."""

    stands: Mapping[int, int]
    members: Mapping[int, list[int]]  # by the one that stands for them


NAMES = """
select d.id, d.canonical_id, m.names
from unnest(%(datasets)s::bigint[]) as asked (id)
cross join lateral (
    select id, canonical_id from dataset
    where environment = (select %(environment)s::smallint) and id = asked.id offset 0
) d
cross join lateral (
    select array_agg(id) as names from dataset
    where environment = (select %(environment)s::smallint) and canonical_id = d.canonical_id
) m
"""


def names(connection: Connection, environment: int, places: Iterable[Place]) -> Names:
    """The names of all datasets that these places are of."""
    ids = sorted({node for kind, node, _ in places if kind == "dataset"})
    parameters = {"environment": environment, "datasets": ids}
    rows = connection.execute(NAMES, parameters).fetchall() if ids else []
    return Names({row[0]: row[1] for row in rows}, {row[1]: row[2] for row in rows})


def canonical(places: Iterable[Place], names: Names) -> set[Place]:
    """The same places, each dataset under the name that stands for it."""
    return {(kind, names.stands.get(node, node) if kind == "dataset" else node, key) for kind, node, key in places}


# Between runs of one partition the later started wins, then the run's identity. Mapped instances of one task are
# one run here: it is ready when all of them are, and was when each is or was. A dataset's claims are looked up under
# all of its names (`members`); a place that no claim is left on is missing, and has no row. A state that stays as it
# was is not written again: it is no change, and readers of the feed need not look at it. What a run had begun to make
# when it was ordered into quarantine is quarantined, until that is lifted or a later run has made it anew; and so is
# what a blocking check has refused since then, or the run's own check, until a release ordered no earlier than that.
# Where both the check and the data name a version, another version than that of the data was not refused; of what
# several runs make, another than any of theirs.
# Most places have one claim, and nothing else is known of them: they stand as it says (`sole`), and need none of this.
# A partition that several runs make together comes with those that count (`groups`, of which the worst state and the
# weakest evidence stand for the whole), whether more has to come (`short`), and whether it was ever whole (`made`).
# What is asked of the run that decided, and of that of the last success, stands with the state: when it began, of which
# mapped task it is an instance (`group_run`), which task's run is above it, and for which partitions it ran.
# The last success of a mapped task began when the first of its instances did.
# Claims of a group are those of the run of that name, and of instances: only the latter are found by their group.
# What has ended (its key alone says so) gets no state, whatever is told of it.
RESOLVE = """
with said as (
    select * from json_to_recordset(%(places)s::json) as w (kind node_kind, node bigint, key text, members bigint[],
        groups jsonb, short boolean, made boolean)
    where not has_ended(w.key, (select states_known_from from environment where id = %(environment)s))
), sole as materialized (
    select said.*, c.claimed, c.status, c.run_state, c.evidence, c.since, c.version, c.producer_task_id, c.producer_run,
        c.began, c.group_run, c.parent_task_id, c.made_for
    from said left join lateral (
        select true as claimed, c.status, c.run_state, c.evidence, c.since, c.version, c.producer_task_id,
            c.producer_run, c.past, least(c.began, c.started_at) as began, c.parent_task_id, c.made_for,
            case when c.run <> c.group_run and c.run = c.producer_run and c.attempt_id <> '~watermark'
                then c.group_run end as group_run, count(*) over () as number
        from unnest(said.members) as member (id) cross join lateral (
            select * from write
            where environment = (select %(environment)s::smallint)
              and node_kind = said.kind and node_id = member.id and partition = said.key
            limit 2
        ) c
        limit 2
    ) c on c.number = 1 and not c.past and said.groups is null and not exists (
        select from unnest(said.members) as member (id) cross join lateral (
            select kind from control
            where environment = (select %(environment)s::smallint) and scope = said.kind::text
              and subject_id = member.id and partition = said.key offset 0
        ) held
        where held.kind = 'quarantine'
    ) and not exists (
        select from unnest(said.members) as member (id) cross join lateral (
            select from failed_check
            where environment = (select %(environment)s::smallint) and dataset_id = member.id and partition = said.key
            offset 0
        ) refused
        where said.kind = 'dataset'
    )
), place as (
    select kind, node, key, members, groups, short, made from sole where claimed is null
), believed as (
    select place.kind, place.node, place.key, place.members, place.made, seen.since as ended,
        case when place.kind = 'dataset' and place.groups is null then latest.groups end as groups,
        seen.run_state, seen.evidence, seen.version, seen.producer_task_id, seen.producer_run, seen.began,
        seen.group_run, case when held.at is not null then 'quarantined' else seen.status end as status,
        greatest(seen.since, held.at) as since, held.why as held
    from place cross join lateral (
        select coalesce(place.groups, (
            select jsonb_build_array(jsonb_build_array(c.task_id, c.group_run))
            from unnest(place.members) as member (id) cross join lateral (
                select c.task_id, c.group_run, c.run, c.started_at from write c
                where c.environment = (select %(environment)s::smallint)
                  and c.node_kind = place.kind and c.node_id = member.id
                  and c.partition = place.key and not c.past
                order by c.started_at desc nulls last, c.task_id, c.run desc limit 1
            ) c
            order by c.started_at desc nulls last, c.task_id, c.run desc limit 1)) as groups
    ) latest cross join lateral (
        select case when bool_or(c.status = 'failed') then 'failed'
                    when bool_or(c.status = 'running') then 'running'
                    when place.short then 'missing'
                    when bool_and(c.status = 'skipped') then 'skipped'
                    when bool_or(c.status = 'stale') then 'stale' else 'ready' end::partition_status as status,
               case when bool_or(c.status = 'failed') then max(c.run_state)
                    when bool_or(c.status = 'running') then min(c.run_state)
                    when bool_and(c.status = 'skipped') then 'skipped' else 'succeeded' end::run_state as run_state,
               min(c.evidence) as evidence, max(c.since) as since, max(c.version) as version,
               array_remove(array_agg(c.version), null) as versions,
               min(c.producer_task_id) as producer_task_id,
               (array_agg(c.producer_run order by c.producer_task_id, c.producer_run))[1] as producer_run,
               (array_agg(case when c.run <> c.group_run and c.run = c.producer_run and c.attempt_id <> '~watermark'
                   then c.group_run end order by c.producer_task_id, c.producer_run))[1] as group_run,
               (array_agg(least(c.began, c.started_at)
                   order by c.producer_task_id, c.producer_run, least(c.began, c.started_at)))[1] as began,
               min(c.started_at) as begun
        from jsonb_array_elements(latest.groups) as run (key) cross join lateral (
            select * from write
            where environment = (select %(environment)s::smallint)
              and task_id = (run.key ->> 0)::bigint and group_run = run.key ->> 1
              and (run = run.key ->> 1 or run <> group_run) offset 0
        ) c
        where c.node_kind = place.kind and c.node_id = any(place.members) and c.partition = place.key and not c.past
        having count(*) > 0
    ) seen left join lateral (
        select c.at, c.value, c.ordered_by, c.reason
        from unnest(place.members) as member (id) cross join lateral (
            select * from control
            where environment = (select %(environment)s::smallint)
              and scope = place.kind::text and subject_id = member.id
              and partition = place.key offset 0
        ) c
        where c.kind = 'quarantine' order by c.at desc, c.said_by desc limit 1
    ) said on true left join lateral (
        select f.at, f.checks, f.task_id, f.run, f.attempt_id, sum(f.number) over () as number
        from (
            select f.* from jsonb_array_elements(latest.groups) as run (key) cross join lateral (
                select * from write
                where environment = (select %(environment)s::smallint)
                  and task_id = (run.key ->> 0)::bigint and group_run = run.key ->> 1
                  and (run = run.key ->> 1 or run <> group_run) offset 0
            ) c cross join lateral (
                select * from failed_check
                where environment = (select %(environment)s::smallint) and dataset_id = c.node_id
                  and partition = c.partition and task_id = c.task_id and run = c.run and attempt_id = c.attempt_id
                  and own offset 0
            ) f
            where c.node_kind = place.kind and c.node_id = any(place.members) and c.partition = place.key and not c.past
            union all
            select f.* from unnest(place.members) as member (id) cross join lateral (
                select * from failed_check
                where environment = (select %(environment)s::smallint) and dataset_id = member.id
                  and partition = place.key and not own and at >= coalesce(seen.begun, '-infinity')
                  and (version = '' or seen.version is null or version = any(seen.versions))
                order by at limit 100
            ) f
        ) f
        where place.kind = 'dataset' and seen.status in ('ready', 'stale')
          and (said.value is distinct from 'false' or said.at < f.at)
        order by f.at, f.task_id, f.run, f.attempt_id, f.own limit 1
    ) failed on true left join lateral (
        select least(failed.at, ordered.at) as at, coalesce(ordered.why, jsonb_build_object('at', failed.at,
            'checks', failed.checks, 'number', failed.number, 'task_id', failed.task_id, 'run', failed.run,
            'attempt_id', failed.attempt_id)) as why
        from (select) one left join lateral (
            select said.at, jsonb_strip_nulls(jsonb_build_object('at', said.at, 'by', said.ordered_by,
                'reason', said.reason)) as why
            where said.value = 'true' and (seen.begun is null or said.at >= seen.begun)
        ) ordered on true
        where failed.at is not null or ordered.at is not null
    ) held on seen.status in ('ready', 'stale')
), changed as (
    insert into partition_state as known (environment, node_kind, node_id, partition, status, run_state, evidence,
        since, task_id, run, version, ready_task_id, ready_run, ready_since, ready_version, held, began, group_run,
        ready_began, ready_parent_task_id, ready_made_for)
    select %(environment)s, a.kind, a.node, a.key, a.status, case when done then 'succeeded' else a.run_state end,
        a.evidence, a.since, a.producer_task_id, a.producer_run, a.version, case when done then a.producer_task_id end,
        case when done then a.producer_run end, case when done then a.since end, case when done then a.version end,
        null, a.began, a.group_run, case when done then a.began end, case when done then a.parent_task_id end,
        case when done then a.made_for end
    from sole a cross join lateral (select a.status in ('ready', 'stale')) as how (done)
    where a.claimed
    union all
    select %(environment)s, b.kind, b.node, b.key, b.status, b.run_state, b.evidence, b.since, b.producer_task_id,
        b.producer_run, b.version, done.producer_task_id, done.producer_run, done.since, done.version, b.held, b.began,
        b.group_run, least(done.began, done.started_at, mapped.began), done.parent_task_id, done.made_for
    from believed b left join lateral (
        select c.* from unnest(b.members) as member (id) cross join lateral (
            select c.producer_task_id, c.producer_run, c.since, c.version, c.started_at, c.task_id, c.run,
                c.attempt_id, c.node_id, c.group_run, c.began, c.parent_task_id, c.made_for
            from write c
            where c.environment = (select %(environment)s::smallint) and c.node_kind = b.kind and c.node_id = member.id
              and c.partition = b.key and c.status in ('ready', 'stale') and b.made is distinct from false
              and (c.run = c.group_run or not exists (
                select from (
                    select * from write
                    where environment = c.environment and task_id = c.task_id and group_run = c.group_run
                      and (run = c.group_run or run <> group_run) offset 0
                ) other
                where other.node_kind = c.node_kind and other.node_id = c.node_id and other.partition = c.partition
                  and other.status in ('failed', 'running') and not exists (
                    select from (
                        select * from write
                        where environment = other.environment and task_id = other.task_id and run = other.run offset 0
                    ) before
                    where before.node_kind = other.node_kind and before.node_id = other.node_id
                      and before.partition = other.partition and before.past)))
            order by c.started_at desc nulls last, c.task_id, c.run desc, c.version desc nulls last, c.attempt_id desc
            limit 1
        ) c
        order by c.started_at desc nulls last, c.task_id, c.run desc, c.version desc nulls last, c.attempt_id desc,
            c.node_id limit 1
    ) done on true left join lateral (
        select min(least(c.began, c.started_at)) as began
        from (
            select * from write
            where environment = (select %(environment)s::smallint)
              and task_id = done.task_id and group_run = done.group_run
              and (run = done.group_run or run <> group_run) offset 0
        ) c
        where c.node_kind = b.kind and c.node_id = any(b.members) and c.partition = b.key
          and done.run <> done.group_run and done.attempt_id <> '~watermark'
    ) mapped on true
    on conflict (environment, node_kind, node_id, partition) do update set
        status = excluded.status, run_state = excluded.run_state, evidence = excluded.evidence,
        since = excluded.since, task_id = excluded.task_id, run = excluded.run, version = excluded.version,
        ready_task_id = excluded.ready_task_id, ready_run = excluded.ready_run, ready_since = excluded.ready_since,
        ready_version = excluded.ready_version, held = excluded.held, began = excluded.began,
        group_run = excluded.group_run, ready_began = excluded.ready_began,
        ready_parent_task_id = excluded.ready_parent_task_id, ready_made_for = excluded.ready_made_for,
        changed_by = excluded.changed_by
    where (known.status, known.run_state, known.evidence, known.since, known.task_id, known.run, known.version,
            known.ready_task_id, known.ready_run, known.ready_since, known.ready_version, known.held, known.began,
            known.group_run, known.ready_began, known.ready_parent_task_id, known.ready_made_for)
        is distinct from (excluded.status, excluded.run_state, excluded.evidence, excluded.since, excluded.task_id,
            excluded.run, excluded.version, excluded.ready_task_id, excluded.ready_run, excluded.ready_since,
            excluded.ready_version, excluded.held, excluded.began, excluded.group_run, excluded.ready_began,
            excluded.ready_parent_task_id, excluded.ready_made_for)
    returning node_kind, node_id, partition, status, run_state, evidence
), woken as (
    insert into outbox (environment, node_kind, change, nodes, partitions)
    select %(environment)s, node_kind, change, array_agg(node_id), array_agg(partition)
    from (
        select node_kind, change, node_id, partition, row_number() over () / 50 as place
        from (
            select node_kind, node_id, partition, case when status = 'running'
                and (run_state, evidence) <> ('queued', 'operator') then 'began' else 'ended' end as change
            from changed
            where node_kind = 'task' or status <> 'running'
            order by node_kind, change, node_id, partition
        ) ordered
    ) placed
    group by node_kind, change, place
    order by min(place)
)
select kind, node, key, groups, ended from believed union all
select kind, node, key, null, null from sole where claimed
"""
# What had a state and has none is remembered as cleared, for the feed of changes alone.
CLEAR = """
with cleared as (
    delete from partition_state where (environment, node_kind, node_id, partition) in (
        select (select %(environment)s::smallint), s.node_kind, s.node_id, s.partition
        from json_to_recordset(%(places)s::json) as w (kind node_kind, node bigint, key text) cross join lateral (
            select * from partition_state
            where environment = (select %(environment)s::smallint)
              and node_kind = w.kind and node_id = w.node and partition = w.key
            offset 0
        ) s
    )
    returning environment, node_kind, node_id, partition
), woken as (
    insert into outbox (environment, node_kind, change, nodes, partitions)
    select environment, node_kind, 'ended', array[node_id], array[partition] from cleared
)
insert into partition_cleared (environment, node_kind, node_id, partition) select * from cleared
on conflict (environment, node_kind, node_id, partition) do update set changed_by = excluded.changed_by
"""


def resolve(
    connection: Connection,
    environment: int,
    places: set[Place],
    members: Mapping[int, list[int]],
    judged: Mapping[tuple[int, str], Judged],
) -> list[Contested]:
    """Makes the states of these partitions anew from the claims on them, and returns those of datasets with more than
    one, which one run alone stands for. Datasets are given by canonical id, `members` are their names by that; `judged`
    are their partitions that several runs make together."""
    rows: list[Row] = [
        {
            "kind": kind,
            "node": node,
            "key": key,
            "members": members.get(node, ()) if kind == "dataset" else [node],
            **(_together(judged[node, key]) if kind == "dataset" and (node, key) in judged else {}),
        }
        for kind, node, key in sorted(places)
    ]
    parameters = {"environment": environment, "places": spread(rows)}
    resolved = connection.execute(RESOLVE, parameters).fetchall()
    claimed = {(kind, node, key) for kind, node, key, _, _ in resolved}
    if left := [row for row in rows if (row["kind"], row["node"], row["key"]) not in claimed]:
        connection.execute(CLEAR, {"environment": environment, "places": spread(left)})
    return [
        Contested(node, key, members.get(node, ()), groups, since)
        for _, node, key, groups, since in resolved
        if groups and since is not None
    ]


def _together(judged: Judged) -> Row:
    return {"groups": judged.groups, "short": judged.short, "made": judged.made}
