-- What is asked of the run that made a partition stands with its state, and with the claim that the state follows from.
--
-- Verdicts and freshness ask when it began, which task's run is above it, of which mapped task it is an instance and, of
-- a dataset, for which partitions it ran. Looked up in `run` and `attempt` for each state, that was most of what they
-- read; and no run could ever go that a state names.
--
-- Both are derived. What is there is filled as it would be made: of a step's claims by the run that it is part of.

alter table write
    add column began timestamptz,  -- of the run that answers for it, where that is before `started_at`
    add column parent_task_id bigint,  -- the task whose run is above that one
    add column made_for text[];  -- of a dataset: the partitions of that run ('' of none), unless this is the only one
alter table partition_state
    add column began timestamptz,  -- of the run that decided, as what follows
    add column group_run text,  -- of an instance of a mapped task: the task's own run
    add column ready_began timestamptz,  -- of the last success, as what follows
    add column ready_parent_task_id bigint,
    add column ready_made_for text[];

update write w set began = told.began, parent_task_id = told.parent_task_id, made_for = told.made_for
from (
    select c.environment, c.node_kind, c.node_id, c.partition, c.task_id, c.run, c.attempt_id, by.parent_task_id,
        case when c.started_at is null or by.began < c.started_at then by.began end as began,
        case when c.node_kind = 'dataset' and by.partitions <> array[c.partition] then by.partitions end as made_for
    from write c
    join run r on r.environment = c.environment and r.task_id = c.task_id and r.run = c.run
    left join attempt own on own.environment = c.environment and own.task_id = c.task_id and own.run = c.run
        and own.attempt_id = case when r.kind = 'step' then c.attempt_id else r.attempt_id end
    left join lateral (
        select true as known, a.parent_task_id, a.started_at, a.partitions from attempt a
        where r.kind = 'step' and a.environment = c.environment and a.task_id = own.parent_task_id
            and a.external_run = own.parent_run
        order by coalesce(a.incarnation, '-infinity') desc, coalesce(a.number, 0) desc, a.parent_task_id is not null desc,
            a.run collate "C" desc, a.attempt_id collate "C" desc
        limit 1
    ) above on true
    cross join lateral (
        select case when above.known then above.parent_task_id else own.parent_task_id end,
            case when above.known then above.started_at else r.started_at end,
            coalesce(nullif(case when above.known then above.partitions else r.partitions end, '{}'), '{""}')
    ) as by (parent_task_id, began, partitions)
    where c.attempt_id <> '~watermark'
) told
where w.environment = told.environment and w.node_kind = told.node_kind and w.node_id = told.node_id
    and w.partition = told.partition and w.task_id = told.task_id and w.run = told.run and w.attempt_id = told.attempt_id
    and (told.began is not null or told.parent_task_id is not null or told.made_for is not null);

update partition_state s set began = decided.began, group_run = decided.group_run, ready_began = made.began,
    ready_parent_task_id = made.parent_task_id, ready_made_for = made.made_for
from (
    select p.environment, p.node_kind, p.node_id, p.partition, p.task_id, p.run, p.ready_task_id, p.ready_run, names.ids
    from partition_state p cross join lateral (
        select case when p.node_kind = 'task' then array[p.node_id] else array(
            select id from dataset d where d.environment = p.environment and d.canonical_id = p.node_id) end as ids
    ) names
) place
left join lateral (
    select c.began, c.group_run
    from (
        select least(began, started_at) as began, case when run <> group_run and run = producer_run
                and attempt_id <> '~watermark' then group_run end as group_run,
            (task_id, group_run) = first_value((task_id, group_run))
                over (order by started_at desc nulls last, task_id, run desc) as latest
        from write
        where environment = place.environment and node_kind = place.node_kind and node_id = any(place.ids)
            and partition = place.partition and not past and producer_task_id = place.task_id
            and producer_run = place.run
    ) c
    where c.latest order by c.began limit 1
) decided on true
left join lateral (
    select least(c.began, c.started_at, case when c.run <> c.group_run and c.attempt_id <> '~watermark' then (
            select min(least(m.began, m.started_at)) from write m
            where m.environment = place.environment and m.task_id = c.task_id and m.group_run = c.group_run
                and m.node_kind = place.node_kind and m.node_id = any(place.ids) and m.partition = place.partition) end
        ) as began, c.parent_task_id, c.made_for
    from write c
    where c.environment = place.environment and c.node_kind = place.node_kind and c.node_id = any(place.ids)
        and c.partition = place.partition and c.status in ('ready', 'stale')
        and c.producer_task_id = place.ready_task_id and c.producer_run = place.ready_run
    order by c.started_at desc nulls last, c.task_id, c.run desc, c.version desc nulls last, c.attempt_id desc, c.node_id
    limit 1
) made on true
where s.environment = place.environment and s.node_kind = place.node_kind and s.node_id = place.node_id
    and s.partition = place.partition;
