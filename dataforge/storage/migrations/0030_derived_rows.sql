-- Runs, claims and the outbox are made from facts, by one writer, in the transaction that writes the facts they name; and
-- `verify` makes them anew and compares. A foreign key on them asks, once for every row of every event, for what has just
-- been written, and locks its row: an eighth of the time that PostgreSQL spent on recording. The facts keep theirs, but
-- for what an attempt touched, which is written with the attempt by one function.
alter table run drop constraint run_environment_task_id_fkey;
alter table write drop constraint write_environment_task_id_fkey;
alter table outbox drop constraint outbox_environment_fkey;
alter table touch drop constraint touch_environment_task_id_run_attempt_id_fkey;
