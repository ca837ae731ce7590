-- A run that ends is changed where it lies: `run_without_begin` held the end of every run among its columns, so that each end
-- moved the row and made an entry in all four indexes. `ended_alone` is what it is about, and stays as it is in a run with
-- a begin. The table is written anew, and waits meanwhile.

drop index run_without_begin;
alter table run add column ended_alone timestamptz
    generated always as (case when started_at is null then coalesce(ended_at, 'infinity') end) stored;
create index run_without_begin on run (environment, task_id, ended_alone desc, run) where started_at is null;
