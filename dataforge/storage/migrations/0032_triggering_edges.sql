-- An edge whose node's updates trigger the task. It may be an edge by which the task waits for a partition as well: the
-- condition says what it waits for, `trigger` of one by which it waits for none.
alter table edge add column triggers boolean not null default false;
update edge set triggers = true where condition ->> 'kind' = 'trigger';
update edge e set triggers = true from task t, dataset d
where t.environment = e.environment and t.id = e.task_id and d.environment = e.environment and d.id = e.node_id
    and e.origin = 'declared' and e.relation = 'consumes' and e.node_kind = 'dataset' and t.definition ? 'trigger'
    and jsonb_path_exists(t.definition -> 'trigger', '$.** ? (@.namespace == $namespace && @.name == $name)',
        jsonb_build_object('namespace', d.namespace, 'name', d.name));
alter table edge add constraint edge_triggers_by_a_dataset_consumed
    check (not triggers or (relation = 'consumes' and node_kind = 'dataset' and origin = 'declared'));
alter table edge add constraint edge_waits_or_triggers check (triggers or condition ->> 'kind' <> 'trigger');
