-- What changed of tasks, datasets and edges, for the processes that remember how they stand (dataforge.ledger.memory).
--
-- `environment.nodes_version` says which state of them a transaction sees. It is the time of the change in
-- microseconds, or one more than the last: it grows from commit to commit, since whoever changes it holds the row, and
-- a state that was restored from a backup never gets a version that another state had. `node_change` tells for each
-- version whose rows are otherwise than before: of a task its own row and its edges, of a dataset its own row and who
-- writes it.
--
-- Triggers write both, whoever changes the tables. One that changes nothing which a verdict looks at leaves no word.
-- `nodes_changed_by` lets a transaction that has changed nodes itself know that it has: what it sees may never be.
alter table environment
    add column nodes_version bigint not null default (extract(epoch from clock_timestamp()) * 1000000)::bigint,
    add column nodes_changed_by xid8;

-- Like the outbox it has no foreign key: whoever writes a row has just written that of its environment.
create table node_change (
    environment smallint not null,
    version bigint not null,
    id bigint generated always as identity,
    tasks bigint[] not null,
    datasets bigint[] not null,
    primary key (environment, version, id)
);

create function note_nodes(of_environment smallint, of_tasks bigint[], of_datasets bigint[]) returns void
language plpgsql as $$
declare
    noted bigint := (select nodes_version from environment
                     where id = of_environment and nodes_changed_by = pg_current_xact_id());
begin
    if noted is null then
        update environment
        set nodes_version = greatest(nodes_version + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint),
            nodes_changed_by = pg_current_xact_id()
        where id = of_environment returning nodes_version into noted;
        -- Whoever has not asked for an hour forgets everything.
        delete from node_change where environment = of_environment and version < noted - 3600000000;
    end if;
    insert into node_change (environment, version, tasks, datasets)
    values (of_environment, noted, coalesce(of_tasks, '{}'), coalesce(of_datasets, '{}'));
end
$$;

create function note_edges() returns trigger language plpgsql as $$
declare
    each record;
begin
    for each in
        select m.environment, array_agg(distinct m.task_id) as tasks,
            array_agg(distinct d.canonical_id) filter (where m.relation = 'produces') as datasets
        from moved m
        left join dataset d on m.node_kind = 'dataset' and d.environment = m.environment and d.id = m.node_id
        where m.environment > 0 group by m.environment
    loop
        perform note_nodes(each.environment, each.tasks, each.datasets);
    end loop;
    return null;
end
$$;
create trigger edge_is_noted_as_added after insert on edge referencing new table as moved
    for each statement execute function note_edges();
create trigger edge_is_noted_as_removed after delete on edge referencing old table as moved
    for each statement execute function note_edges();

create function note_edge() returns trigger language plpgsql as $$
begin
    perform note_nodes(new.environment, array[new.task_id], array(
        select canonical_id from dataset
        where environment = new.environment and id = new.node_id and new.relation = 'produces'));
    return null;
end
$$;
create trigger edge_is_noted_as_changed after update on edge for each row
    when (new.environment > 0
        and (old.mapping, old.condition, old.required, old.staleness, old.role)
            is distinct from (new.mapping, new.condition, new.required, new.staleness, new.role))
    execute function note_edge();

create function note_task() returns trigger language plpgsql as $$
begin
    perform note_nodes(old.environment, array[old.id], array(
        select distinct d.canonical_id from edge e
        join dataset d on d.environment = e.environment and d.id = e.node_id
        where e.environment = old.environment and e.task_id = old.id and e.relation = 'produces'));
    return null;
end
$$;
create trigger task_is_noted_as_removed after delete on task for each row
    when (old.environment > 0) execute function note_task();
-- Of what was observed, what a verdict looks at; it stands there with the time it was said at, which is none of it.
create trigger task_is_noted_as_changed after update on task for each row
    when (new.environment > 0
        and (old.kind, old.seen or old.definition is not null, old.platform, old.owner, old.domain, old.definition,
            old.partitioning, old.partitioning_origin, old.observed ? 'upstreams',
            old.observed -> 'trigger_rule' ->> 2, old.observed -> 'operator' ->> 2, old.observed -> 'setup' ->> 2)
        is distinct from (new.kind, new.seen or new.definition is not null, new.platform, new.owner, new.domain,
            new.definition, new.partitioning, new.partitioning_origin, new.observed ? 'upstreams',
            new.observed -> 'trigger_rule' ->> 2, new.observed -> 'operator' ->> 2, new.observed -> 'setup' ->> 2))
    execute function note_task();

-- A dataset that stands under another name changes the edges of all who read or write it.
create function note_dataset() returns trigger language plpgsql as $$
declare
    renamed boolean := tg_op <> 'UPDATE' or old.canonical_id <> new.canonical_id;
    here smallint := coalesce(new.environment, old.environment);
    named bigint := coalesce(new.id, old.id);
begin
    perform note_nodes(here, array(
        select distinct task_id from edge
        where renamed and environment = here and node_kind = 'dataset' and node_id = named),
        array(select distinct each from unnest(array[named, old.canonical_id, new.canonical_id]) each
              where each is not null));
    return null;
end
$$;
create trigger dataset_is_noted_as_added after insert on dataset for each row
    when (new.environment > 0 and new.canonical_id <> new.id) execute function note_dataset();
create trigger dataset_is_noted_as_removed after delete on dataset for each row
    when (old.environment > 0) execute function note_dataset();
create trigger dataset_is_noted_as_changed after update on dataset for each row
    when (new.environment > 0
        and (old.canonical_id, old.owner, old.definition, old.partitioning)
            is distinct from (new.canonical_id, new.owner, new.definition, new.partitioning))
    execute function note_dataset();
