-- More of what must not be: states that contradict themselves, and times that run backwards.

alter table partition_state add constraint partition_state_ready_succeeded
    check (status not in ('ready', 'stale', 'quarantined') or run_state = 'succeeded');
alter table write add constraint write_ready_succeeded check (status <> 'ready' or run_state = 'succeeded');
alter table run add constraint run_map_index check (map_index >= -1);
alter table touch add constraint touch_times check (last_at >= first_at);
alter table touch add constraint touch_rows check (rows >= 0);
alter table write add constraint write_rows check (rows >= 0);
alter table attempt add constraint attempt_interval check (interval_end >= interval_start);
alter table outcome add constraint outcome_interval check (interval_end >= interval_start);
alter table run add constraint run_interval check (interval_end >= interval_start);
alter table edge add constraint edge_shapes
    check (jsonb_typeof(mapping) = 'object' and jsonb_typeof(condition) = 'object');
alter table task add constraint task_shapes
    check (jsonb_typeof(observed) = 'object' and jsonb_typeof(partitioning) = 'object'
        and coalesce(jsonb_typeof(definition), 'object') = 'object');

-- What is recorded is not emptied either. Rows go by dropping the part of a table that holds them, never one by one.
create trigger event_is_not_emptied before truncate on event for each statement execute function refuse_change();
create trigger task_version_is_not_emptied before truncate on task_version
    for each statement execute function refuse_change();
