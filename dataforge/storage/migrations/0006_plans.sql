-- No statistics of the environment: every key begins with it, and every query names one.
--
-- With them the planner takes an environment that it has not seen yet, a new one or the one in which `dataforge verify`
-- rebuilds, for empty. Any index that begins with the environment then looks as good as the right one, and a batch is
-- folded by reading a table over and over: 500 events took 30 seconds. Without them an environment counts as one of
-- 200 alike, and what else a query names decides. Every table with an environment has this; a test sees to it.

alter table event alter column environment set statistics 0;
alter table reject alter column environment set statistics 0;
alter table progress alter column environment set statistics 0;
alter table definition_source alter column environment set statistics 0;
alter table task alter column environment set statistics 0;
alter table task_version alter column environment set statistics 0;
alter table dataset alter column environment set statistics 0;
alter table alias alter column environment set statistics 0;
alter table edge alter column environment set statistics 0;
alter table pool alter column environment set statistics 0;
alter table attempt alter column environment set statistics 0;
alter table touch alter column environment set statistics 0;
alter table outcome alter column environment set statistics 0;
alter table run alter column environment set statistics 0;
alter table write alter column environment set statistics 0;
alter table partition_state alter column environment set statistics 0;
alter table partition_cleared alter column environment set statistics 0;

-- The claims of all mapped instances of one run, which stand together. What has no partitions has every claim of its
-- history on one place, so that looking through those of the task there would cost more with every run.
create index write_by_group on write (environment, task_id, group_run);
