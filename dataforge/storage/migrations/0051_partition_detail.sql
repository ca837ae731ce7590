-- Detail of partitions ends: from which day on windows have states, and for how long each environment keeps them.
--
-- A window has ended by its key alone: it begins with a date, and sorts before `states_known_from`. What is told of it
-- later is kept as a fact and makes no state, whatever order it comes in; so a state that is built anew is the same.

alter table environment
    add column states_known_from text collate "C" check (states_known_from ~ '^\d{4}-\d{2}-01$'),
    add column detail_days integer not null default 90 check (detail_days between 1 and 36500);

create function has_ended(key text, known_from text) returns boolean language sql immutable as $$
    select coalesce(key collate "C" < known_from and key ~ '^\d{4}-\d{2}-\d{2}', false)
$$;

-- Takes one part from its table, and returns its new name. What it holds that has not ended goes back, to the rest,
-- which is made anew where it is the part.
create function detach_partition_states(part regclass, known_from text) returns text language plpgsql as $$
declare
    was text := part::text;
    away text := 'ending_' || was || '_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDDHH24MISSUS');
begin
    if not exists (select from pg_inherits where inhrelid = part and inhparent = 'partition_state'::regclass) then
        raise exception '% is no part of partition_state', part using errcode = 'restrict_violation';
    end if;
    execute format('alter table partition_state detach partition %s', part);
    execute format('alter table %s rename to %I', part, away);
    if was = 'partition_state_rest' then
        create table partition_state_rest partition of partition_state default with (fillfactor = 80);
    end if;
    execute format('with staying as (delete from %I where not has_ended(partition, $1) returning *)
        insert into partition_state select * from staying', away) using known_from;
    insert into ending (part, was) values (away, was);
    return away;
end
$$;
