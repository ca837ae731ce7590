-- Partition states by the month in which their windows begin: detail ends by months, never row by row.
--
-- A key that is a time window begins with its date, and in the collation "C" it sorts as its date does. So the part follows
-- from the key that a state is looked up by, as that of an event does from its time. What is no window ('' and named
-- keys) lies in `partition_state_rest`, with windows for which no month was made.
--
-- Months are premade. What is there already lies in those of the last four months; what is older in `partition_state_before`,
-- which ends as any month does.
--
-- A range of keys that a reader of the feed has come to is compared in one collation for states and for cleared ones.

alter table partition_state rename to partition_state_old;
alter table partition_state_old drop constraint partition_state_pkey;
drop index partition_state_by_change;
alter table partition_state_old alter column partition type text collate "C";

create table partition_state (
    like partition_state_old including defaults including constraints
) partition by range (partition);
alter table partition_state add primary key (environment, node_kind, node_id, partition);
create index partition_state_by_change on partition_state (environment, changed_by, node_kind, node_id, partition);
create table partition_state_rest partition of partition_state default with (fillfactor = 80);

alter table partition_cleared alter column partition type text collate "C";

-- Makes the parts of `months` months from the one of `since` on, and returns how many are new. A month of which the rest
-- holds keys already stays there.
create function premake_partition_states(since timestamptz, months integer) returns integer language plpgsql as $$
declare
    first date := date_trunc('month', since at time zone 'UTC');
    begins text;
    ends text;
    part text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('dataforge.partition_state', 0));
    for month in 0 .. months - 1 loop
        begins := to_char(first + month * interval '1 month', 'YYYY-MM-DD');
        ends := to_char(first + (month + 1) * interval '1 month', 'YYYY-MM-DD');
        part := 'partition_state_' || to_char(first + month * interval '1 month', 'YYYYMM');
        continue when to_regclass(part) is not null
            or exists (select from partition_state_rest where partition >= begins and partition < ends);
        execute format('create table %I partition of partition_state for values from (%L) to (%L) with (fillfactor = 80)',
            part, begins, ends);
        made := made + 1;
    end loop;
    return made;
end
$$;

do $$
declare
    behind constant integer := 4;
    first timestamptz := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - behind * interval '1 month';
begin
    perform premake_partition_states(first, behind + 2);
    execute format('create table partition_state_before partition of partition_state for values from (%L) to (%L)
        with (fillfactor = 80)', '1900-01-01', to_char(first at time zone 'UTC', 'YYYY-MM-DD'));
end
$$;

insert into partition_state select * from partition_state_old;
drop table partition_state_old;
