-- What an upstream task is to the task that consumes it, where that is more than one of those that its trigger rule
-- counts. Airflow maps a task over what another returns, and then wants that one's success whatever the rule; and it
-- wants the success of every setup that a task works under, also where it does not come directly after it; and a short
-- circuit may skip all that is behind it.

alter table edge add column role text not null default 'upstream'
    check (role in ('upstream', 'mapped_over', 'setup', 'short_circuit'));
alter table edge add constraint edge_role_is_of_a_task_consumed
    check (role = 'upstream' or (relation = 'consumes' and node_kind = 'task' and origin = 'declared'));
