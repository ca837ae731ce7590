-- A task that changes is noted beside the datasets that it writes. A session keeps the plan by which it looks them up, and
-- one that was made while there was hardly an edge reads all of them: a first manifest of 5,000 tasks did so for each of
-- its tasks, which took nine tenths of declaring it. So it is planned anew each time, for the table as it is by then.
create or replace function note_task() returns trigger language plpgsql set plan_cache_mode = force_custom_plan as $$
begin
    perform note_nodes(old.environment, array[old.id], array(
        select distinct d.canonical_id
        from (select * from edge where environment = old.environment and task_id = old.id offset 0) e
        cross join lateral (
            select canonical_id from dataset where environment = e.environment and id = e.node_id offset 0
        ) d
        where e.relation = 'produces'));
    return null;
end
$$;
