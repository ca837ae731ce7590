-- Identities of events by the month in which they occurred: they end by months, never row by row.
--
-- `event` is what tells a repeat from news, one row for every event there ever was. Its key is led by the time that an
-- event speaks of, and it is looked up by that key alone, so a part is chosen by the key itself: recording costs no look
-- into the others. What is cut by the time of recording, such as `event_body`, cannot be asked whether it has an event.
--
-- A month that has ended cannot say of an event that it is new. So `environment.events_known_from` moves on with it, and
-- what occurred before is refused, where it would come in as news otherwise.
--
-- Parts are premade; what finds none, such as history from before the first one, goes to `event_rest`, which ends like any
-- other when all of it is old enough. What had been recorded until now stays there.
--
-- To drop a table with a foreign key takes `environment` from everybody, readers too, until the transaction ends. Events are
-- written under the lock of their environment, whose row is read with it; so they need none, as their bodies have none.

alter table environment add column events_known_from timestamptz;

alter table event rename to event_rest;
alter table event_rest rename constraint event_pkey to event_rest_pkey;
alter table event_rest drop constraint event_environment_fkey;
drop trigger event_is_append_only on event_rest;
drop trigger event_is_not_emptied on event_rest;

create table event (like event_rest including defaults including constraints) partition by range (occurred_at);
alter table event attach partition event_rest default;
alter table event add primary key (environment, occurred_at, id);
create trigger event_is_append_only before update on event for each row execute function refuse_change();
create trigger event_is_not_emptied before truncate on event for each statement execute function refuse_change();
create trigger event_rest_is_not_emptied before truncate on event_rest
    for each statement execute function refuse_change();

-- Makes the parts of `months` months from the one of `since` on, and returns how many are new. A month of which the rest
-- holds rows already stays there. One at a time makes them; who records waits for each a moment.
create function premake_event_months(since timestamptz, months integer) returns integer language plpgsql as $$
declare
    first timestamp := date_trunc('month', since at time zone 'UTC');
    begins timestamptz;
    ends timestamptz;
    part text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('dataforge.event', 0));
    for month in 0 .. months - 1 loop
        begins := (first + month * interval '1 month') at time zone 'UTC';
        ends := (first + (month + 1) * interval '1 month') at time zone 'UTC';
        part := 'event_' || to_char(begins at time zone 'UTC', 'YYYYMM');
        continue when to_regclass(part) is not null
            or exists (select from environment e where exists (select from event_rest r
                where r.environment = e.id and r.occurred_at >= begins and r.occurred_at < ends));
        execute format('create table %I (like event including defaults including constraints)', part);
        execute format('create trigger %I before truncate on %I for each statement execute function refuse_change()',
            part || '_is_not_emptied', part);
        execute format('alter table event attach partition %I for values from (%L) to (%L)', part, begins, ends);
        made := made + 1;
    end loop;
    return made;
end
$$;

-- Ends one part; the rest is made anew, empty.
create function drop_event_month(part regclass) returns void language plpgsql as $$
begin
    if not exists (select from pg_inherits where inhrelid = part and inhparent = 'event'::regclass) then
        raise exception '% is no part of event', part using errcode = 'restrict_violation';
    end if;
    execute format('alter table event detach partition %s', part);
    execute format('drop table %s', part);
    if to_regclass('event_rest') is null then
        create table event_rest partition of event default;
        create trigger event_rest_is_not_emptied before truncate on event_rest
            for each statement execute function refuse_change();
    end if;
end
$$;
