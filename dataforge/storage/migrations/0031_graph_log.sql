-- What became of the graph, for the copies of it in memory: whoever is behind by a little reads that alone, not all edges.
--
-- A row says what one statement changed: edges that it added or removed, column by column, by the numbers that a copy
-- holds of them; or a task that became a step or is none any more, or a dataset that stands under another name. Of those
-- only the id is kept: a reader looks up how it stands in the state that he reads. Triggers write the rows, in the
-- statement that changes the table, whoever runs it: a declaration, an event, a state that is swapped in. One that
-- changes no row of an edge, of a kind or of a name leaves none.
--
-- Rows of a version are added up, so their order means nothing: what one statement removes and the next adds again
-- is there as it was. The version is the one that the transaction is about to give the graph; the environment's lock,
-- under which it writes, keeps others from that number. Hidden environments have no copies in memory, and leave no rows.
--
-- `position` counts changes, so that old rows are let go by how much there is behind them (dataforge.storage.environment).
create type graph_change as enum ('added', 'removed', 'step', 'name');

create table graph_log (
    environment smallint not null references environment,
    position bigint not null check (position >= 0),  -- how many changes lie before these
    version bigint not null,  -- of the graph, from which on these changes are in it
    change graph_change not null,
    tasks bigint[] not null,
    nodes bigint[] not null check (cardinality(nodes) > 0),
    flags smallint[] not null,
    primary key (environment, position),
    check (cardinality(tasks) = case when change in ('added', 'removed') then cardinality(nodes) else 0 end),
    check (cardinality(flags) = cardinality(tasks))
);
create index graph_log_by_version on graph_log (environment, version);

-- What changed after this version is all in the log.
alter table environment add column graph_logged_after bigint not null default 0;
update environment set graph_logged_after = graph_version;
alter table environment add check (graph_logged_after <= graph_version + 1);

-- Which kind of edge it is, as one small number: 1 where it is consumed, 2 a dataset, 4 declared.
create function edge_flags(edge_relation, node_kind, origin) returns smallint language sql immutable parallel safe
return (($1 = 'consumes')::integer + 2 * ($2 = 'dataset')::integer + 4 * ($3 = 'declared')::integer)::smallint;

create function graph_log_end(of_environment smallint) returns bigint language sql stable
return coalesce((select position + cardinality(nodes) from graph_log
                 where environment = of_environment order by position desc limit 1), 0);

create function log_edges() returns trigger language plpgsql as $$
begin
    if exists (select from moved) then
        insert into graph_log (environment, position, version, change, tasks, nodes, flags)
        select e.id, graph_log_end(e.id), e.graph_version + 1, tg_argv[0]::graph_change,
            array_agg(task_id), array_agg(node_id), array_agg(edge_flags(relation, node_kind, origin))
        from moved join environment e on e.id = moved.environment
        where moved.environment > 0 group by e.id;
    end if;
    return null;
end
$$;
create trigger edge_is_logged_as_added after insert on edge referencing new table as moved
    for each statement execute function log_edges('added');
create trigger edge_is_logged_as_removed after delete on edge referencing old table as moved
    for each statement execute function log_edges('removed');

create function log_node() returns trigger language plpgsql as $$
begin
    insert into graph_log (environment, position, version, change, tasks, nodes, flags)
    select e.id, graph_log_end(e.id), e.graph_version + 1, tg_argv[0]::graph_change, '{}', array[new.id], '{}'
    from environment e where e.id = new.environment;
    return null;
end
$$;
create trigger step_is_logged after insert on task for each row
    when (new.environment > 0 and new.kind = 'step') execute function log_node('step');
create trigger step_is_logged_as_changed after update of kind on task for each row
    when (new.environment > 0 and (old.kind = 'step') <> (new.kind = 'step')) execute function log_node('step');
create trigger name_is_logged after insert on dataset for each row
    when (new.environment > 0 and new.canonical_id <> new.id) execute function log_node('name');
create trigger name_is_logged_as_changed after update of canonical_id on dataset for each row
    when (new.environment > 0 and old.canonical_id <> new.canonical_id) execute function log_node('name');
