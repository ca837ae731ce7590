-- A large manifest, and any other writer of edges: what follows from edges that come or go is found in one pass over them.
--
-- Three triggers read the rows that a statement added, one after the other; now one does (0031, 0043 and 0053 have what
-- each part is for). Its plans are kept for as long as the session, and the first may be made while a table has hardly a
-- row: a session that had declared one task then read all tasks and datasets for each of the 5,000 of a manifest, for
-- seven seconds. So no table is read whole here, whatever the planner thought of it.
create function edges_moved() returns trigger language plpgsql set enable_seqscan = off as $$
declare
    each record;
    of_tasks bigint[];
    lacking bigint;
begin
    for each in
        select environment, array_agg(task_id) as tasks, array_agg(node_id) as nodes,
            array_agg(edge_flags(relation, node_kind, origin)) as flags,
            array_agg(node_id) filter (where relation = 'produces') as produced
        from moved group by environment
    loop
        of_tasks := array(select distinct unnest(each.tasks));
        if tg_op = 'INSERT' then
            -- Asked once for all, in the place of a foreign key that asks for each.
            select named.id into lacking from unnest(of_tasks) as named (id)
            left join lateral (
                select true as there from task where environment = (select each.environment) and id = named.id offset 0
            ) known on true
            where known.there is null limit 1;
            if found then
                raise exception 'an edge of the task % of the environment %, where there is none', lacking,
                    each.environment using errcode = 'foreign_key_violation';
            end if;
        end if;
        continue when each.environment < 0;  -- hidden: nobody has a copy of its graph, or remembers its nodes
        insert into graph_log (environment, position, version, change, tasks, nodes, flags)
        select each.environment, graph_log_end(each.environment), graph_version + 1, tg_argv[0]::graph_change,
            each.tasks, each.nodes, each.flags
        from environment where id = each.environment;
        perform note_nodes(each.environment, of_tasks, (
            select array_agg(distinct d.canonical_id) from unnest(each.produced) as written (id)
            cross join lateral (
                select canonical_id from dataset where environment = (select each.environment) and id = written.id offset 0
            ) d));
    end loop;
    return null;
end
$$;
drop trigger edge_is_logged_as_added on edge;
drop trigger edge_is_noted_as_added on edge;
drop trigger edge_is_of_a_task on edge;
create trigger edges_are_noted_as_added after insert on edge referencing new table as moved
    for each statement execute function edges_moved('added');
drop trigger edge_is_logged_as_removed on edge;
drop trigger edge_is_noted_as_removed on edge;
create trigger edges_are_noted_as_removed after delete on edge referencing old table as moved
    for each statement execute function edges_moved('removed');
drop function log_edges(), note_edges(), refuse_edges_of_no_task();

-- A task or a dataset is inserted with its definition, which is that of its version: the version comes first.
alter table task_version drop constraint task_version_environment_task_id_fkey,
    add constraint task_version_environment_task_id_fkey foreign key (environment, task_id) references task
        deferrable initially deferred;
alter table dataset_version drop constraint dataset_version_environment_dataset_id_fkey,
    add constraint dataset_version_environment_dataset_id_fkey foreign key (environment, dataset_id) references dataset
        deferrable initially deferred;
