-- Claims and attempts in fewer indexes. No row changes, but each index is made anew: the tables wait meanwhile.
--
-- A claim's key begins with the task and the run, so that it finds the claims of a run as well; those on a place are found by
-- `write_by_start`. A run is mostly its own group, and found by its own name: the indexes by group hold only what has another.
-- Claims come and go, but are never updated, so their pages need no room.

alter table write drop constraint write_pkey;
drop index write_by_run, write_by_group;
alter table write add primary key (environment, task_id, run, node_kind, node_id, partition, attempt_id);
create index write_by_group on write (environment, task_id, group_run) where run <> group_run;
alter table write set (fillfactor = 100);

drop index attempt_by_group;
create index attempt_by_group on attempt (environment, task_id, group_run) where run <> group_run or map_index >= 0;
