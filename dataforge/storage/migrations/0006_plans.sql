-- The claims of all mapped instances of one run, which stand together. What has no partitions has every claim of its
-- history on one place, so that looking through those of the task there would cost more with every run.
create index write_by_group on write (environment, task_id, group_run);
