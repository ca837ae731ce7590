-- A manifest of 100,000 edges in seconds: what was done for each row is done once for a statement.
--
-- What changed of tasks and datasets is noted by statement (0043 noted it by row, with a look at the edges of each).
-- A row that changes nothing which a verdict looks at still leaves no word.
--
-- Environments are compared as `(select ...)`: the planner then takes each for one like the others. It would else look
-- the number up among those that it knows, and of an environment that was filled just now it thinks that it has no
-- row: every index seems as good as any other, and each of 5,000 look-ups read all edges of the environment.
create function written_by(of_environment smallint, of_tasks bigint[]) returns bigint[]
language sql stable set plan_cache_mode = force_custom_plan as $$
    select array_agg(distinct d.canonical_id)
    from unnest(of_tasks) as wanted (id)
    cross join lateral (
        select node_id from edge
        where environment = (select of_environment) and task_id = wanted.id and relation = 'produces' offset 0
    ) e
    cross join lateral (
        select canonical_id from dataset where environment = (select of_environment) and id = e.node_id offset 0
    ) d
$$;

create or replace function note_task() returns trigger language plpgsql as $$
begin
    perform note_nodes(old.environment, array[old.id], written_by(old.environment, array[old.id]));
    return null;
end
$$;

create function note_tasks() returns trigger language plpgsql as $$
declare
    each record;
begin
    for each in
        select environment, array_agg(distinct id) as tasks from (
            select environment, id, kind, seen or definition is not null, platform, owner, domain, definition,
                partitioning, partitioning_origin, observed ? 'upstreams', observed -> 'trigger_rule' ->> 2,
                observed -> 'operator' ->> 2, observed -> 'setup' ->> 2
            from new_rows where environment > 0
            except
            select environment, id, kind, seen or definition is not null, platform, owner, domain, definition,
                partitioning, partitioning_origin, observed ? 'upstreams', observed -> 'trigger_rule' ->> 2,
                observed -> 'operator' ->> 2, observed -> 'setup' ->> 2
            from old_rows
        ) as otherwise group by environment
    loop
        perform note_nodes(each.environment, each.tasks, written_by(each.environment, each.tasks));
    end loop;
    return null;
end
$$;
drop trigger task_is_noted_as_changed on task;
create trigger tasks_are_noted_as_changed after update on task referencing old table as old_rows new table as new_rows
    for each statement execute function note_tasks();

create function note_datasets() returns trigger language plpgsql as $$
declare
    each record;
begin
    for each in
        select environment, array_agg(distinct named) as datasets from (
            (select environment, id, canonical_id, owner, definition, partitioning from new_rows
             except select environment, id, canonical_id, owner, definition, partitioning from old_rows)
            union all
            (select environment, id, canonical_id, owner, definition, partitioning from old_rows
             except select environment, id, canonical_id, owner, definition, partitioning from new_rows)
        ) as otherwise cross join lateral unnest(array[id, canonical_id]) as named
        where environment > 0 group by environment
    loop
        perform note_nodes(each.environment, (
            select array_agg(distinct e.task_id)
            from (select environment, id, canonical_id from new_rows
                  except select environment, id, canonical_id from old_rows) renamed
            cross join lateral (
                select task_id from edge
                where environment = (select each.environment) and node_kind = 'dataset' and node_id = renamed.id offset 0
            ) e
            where renamed.environment = each.environment
        ), each.datasets);
    end loop;
    return null;
end
$$;
drop trigger dataset_is_noted_as_changed on dataset;
create trigger datasets_are_noted_as_changed after update on dataset
    referencing old table as old_rows new table as new_rows for each statement execute function note_datasets();

-- Of the edges that a statement adds most are of one task with many others, and read; neither is looked at one by one.
create or replace function note_edges() returns trigger language plpgsql as $$
declare
    each record;
begin
    for each in
        select named.environment, array_agg(task_id) as tasks, (
            select array_agg(distinct d.canonical_id) from moved m
            join dataset d on d.environment = m.environment and d.id = m.node_id
            where m.environment = named.environment and m.relation = 'produces') as datasets
        from (select distinct environment, task_id from moved where environment > 0) named group by named.environment
    loop
        perform note_nodes(each.environment, each.tasks, each.datasets);
    end loop;
    return null;
end
$$;

-- The edges of a version, one row for all of one relation and kind: they come and are read together, and never change.
-- A row for each took a sixth of a large manifest's time, most of it for its keys. From the other end they are found by
-- their ids, which are hashes, so that hardly an id of another environment is met.
drop trigger version_edge_is_append_only on version_edge;
alter table version_edge rename to version_edge_by_one;
create table version_edge (
    environment smallint not null,
    task_id bigint not null,
    version bytea not null,
    relation edge_relation not null check (relation <> 'runs'),
    node_kind node_kind not null,
    nodes bigint[] not null check (cardinality(nodes) > 0),  -- in order
    primary key (environment, task_id, version, relation, node_kind),
    foreign key (environment, task_id, version) references task_version,
    check (relation <> 'produces' or node_kind = 'dataset')
);
insert into version_edge
select environment, task_id, version, relation, node_kind, array_agg(node_id order by node_id)
from version_edge_by_one group by environment, task_id, version, relation, node_kind;
drop table version_edge_by_one;
alter index version_edge_pkey1 rename to version_edge_pkey;
create index version_edge_by_node on version_edge using gin (nodes);
create trigger version_edge_is_append_only before update or delete on version_edge
    for each row when (old.environment > 0) execute function refuse_change();

-- That an edge is of a task that there is, is asked once for all edges that a statement adds, and once for all tasks that
-- one takes away. A foreign key asks for each, by a plan that the session may have made while there was hardly a task.
alter table edge drop constraint edge_environment_task_id_fkey;
create function refuse_edges_of_no_task() returns trigger language plpgsql as $$
declare
    lacking record;
begin
    select named.* into lacking from (select distinct environment, task_id from moved) named
    left join lateral (
        select true as there from task where environment = named.environment and id = named.task_id offset 0
    ) known on true
    where known.there is null limit 1;
    if found then
        raise exception 'an edge of the task % of the environment %, where there is none', lacking.task_id,
            lacking.environment using errcode = 'foreign_key_violation';
    end if;
    return null;
end
$$;
create trigger edge_is_of_a_task after insert on edge referencing new table as moved
    for each statement execute function refuse_edges_of_no_task();
create function refuse_move() returns trigger language plpgsql as $$
begin
    raise exception 'an edge stays with its task' using errcode = 'restrict_violation';
end
$$;
create trigger edge_stays_with_its_task after update of environment, task_id on edge
    for each row when ((old.environment, old.task_id) is distinct from (new.environment, new.task_id))
    execute function refuse_move();

create function refuse_tasks_with_edges() returns trigger language plpgsql as $$
declare
    left_over record;
begin
    select gone.environment, gone.id into left_over from gone
    cross join lateral (
        select from edge where environment = gone.environment and task_id = gone.id limit 1
    ) still limit 1;
    if found then
        raise exception 'the task % of the environment % has edges', left_over.id, left_over.environment
            using errcode = 'foreign_key_violation';
    end if;
    return null;
end
$$;
create trigger task_goes_after_its_edges after delete on task referencing old table as gone
    for each statement execute function refuse_tasks_with_edges();
