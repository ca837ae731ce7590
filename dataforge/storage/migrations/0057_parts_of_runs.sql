-- Runs and what they told by the half-year in which that was said: they end by parts, never row by row.
--
-- `part` is that half-year as a number, twice the year and one more in its second half: of an attempt that of the first event
-- by which it was known here, of what it touched and of shards that of the attempt, of an outcome that of its DAG run's start.
-- What is told of it later stays beside it. So whatever lies in a part has at least one word from its begin on, and what has
-- none since then lies in older parts alone. What is found by its name is looked for in each part; so parts are few, and
-- whoever has found a row names its part from then on.
--
-- The oldest part takes all that is older, too. `environment.last_part` is the last part there is, and takes what is
-- younger; so nothing is without one, however late the next is made. What is there already becomes one part as it lies;
-- only its keys are made anew.
--
-- `heard_at` is when an attempt was last told of, where its state rests on an earlier word.
--
-- To drop a table with a foreign key takes the other one from everybody, readers too, until the transaction ends. Names
-- are written by the same transaction as what speaks of them, and never removed.

create function run_part_of(at timestamptz) returns smallint language sql immutable as $$
    select (2 * extract(year from at at time zone 'UTC')
        + case when extract(month from at at time zone 'UTC') > 6 then 1 else 0 end)::smallint
$$;

create function run_part_name(of text, part integer) returns text language sql immutable as $$
    select of || '_' || part / 2 || 'h' || part % 2 + 1
$$;

alter table environment add column last_part smallint;
update environment set last_part = run_part_of(now());
create function last_run_part() returns smallint language sql stable as 'select max(last_part) from environment';
alter table environment alter column last_part set not null, alter column last_part set default last_run_part();

alter table attempt drop constraint attempt_environment_task_id_fkey;
alter table outcome drop constraint outcome_environment_task_id_fkey;
alter table touch drop constraint touch_environment_dataset_id_fkey;
alter table shard_chunk drop constraint shard_chunk_environment_task_id_fkey;

alter table attempt add column heard_at timestamptz check (heard_at > said_at);

do $$
declare
    first constant integer := run_part_of(now());
    part text;
    of text;
    of_it text;
begin
    foreach of in array array['run', 'attempt', 'touch', 'outcome', 'shard_chunk'] loop
        part := run_part_name(of, first);
        execute format('alter table %I add column part smallint not null default %s', of, first);
        execute format('alter table %I alter column part drop default', of);
        execute format('alter table %I drop constraint %I', of, of || '_pkey');
        execute format('alter table %I add constraint %I check (part < %s)', of, of || '_is_of_its_part', first + 1);
        execute format('alter table %I rename to %I', of, part);
        for of_it in select indexrelid::regclass::text from pg_index where indrelid = part::regclass loop
            execute format('alter index %I rename to %I', of_it, replace(of_it, of || '_', part || '_'));
        end loop;
        execute format('create table %I (like %I including defaults including constraints including generated
            including storage) partition by range (part)', of, part);
        execute format('alter table %I drop constraint %I', of, of || '_is_of_its_part');
        execute format('alter table %I alter column part set default last_run_part()', of);
        execute format('alter table %I attach partition %I for values from (minvalue) to (%s)', of, part, first + 1);
    end loop;
end
$$;

alter table attempt add primary key (environment, task_id, run, attempt_id, part);
create index attempt_by_external_run on attempt (environment, external_run);
create index attempt_by_parent_run on attempt (environment, parent_run) where parent_run is not null;
create index attempt_by_root_run on attempt (environment, root_run) where root_run is not null;
create index attempt_by_group on attempt (environment, task_id, group_run) where run <> group_run or map_index >= 0;
alter table touch add primary key (environment, task_id, run, attempt_id, direction, dataset_id, partition, part);
create index touch_by_place on touch (environment, dataset_id, partition) where partition <> '';
alter table outcome add primary key (environment, task_id, group_run, part);
create index outcome_by_parent on outcome (environment, parent_run);
alter table shard_chunk add primary key (environment, task_id, run, first, part);
alter table run add primary key (environment, task_id, run, part);
create index run_by_start on run (environment, kind, started_at desc nulls last, task_id, run);
create index run_by_task on run (environment, task_id, started_at desc nulls last, run);
create index run_without_begin on run (environment, task_id, ended_alone desc, run) where started_at is null;

-- Makes the part that holds a time, where there is none yet, and returns how many are new.
create function premake_run_parts(upto timestamptz) returns integer language plpgsql as $$
declare
    last integer;
    wanted constant integer := run_part_of(upto);
    part text;
    of text;
    made text;
    whole text;
begin
    perform pg_advisory_xact_lock(hashtextextended('dataforge.run', 0));
    last := (select max(last_part) from environment);
    if last >= wanted then
        return 0;
    end if;
    foreach of in array array['run', 'attempt', 'touch', 'outcome', 'shard_chunk'] loop
        part := run_part_name(of, wanted);
        execute format('create table %I (like %I including defaults including constraints including generated
            including storage) %s', part, of, case when of in ('run', 'attempt') then 'with (fillfactor = 80)' else '' end);
        execute format('alter table %I add constraint %I check (part < %s)', part, of || '_is_of_its_part', wanted + 1);
        execute format('alter table %I attach partition %I for values from (%s) to (%s)', of, part, last + 1, wanted + 1);
        for made, whole in
            select i.indexrelid::regclass::text, h.inhparent::regclass::text
            from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid
            where i.indrelid = part::regclass and not i.indisprimary
        loop
            execute format('alter index %I rename to %I', made, replace(whole, of || '_', part || '_'));
        end loop;
    end loop;
    update environment set last_part = wanted;
    return 1;
end
$$;
