-- Bodies by themselves: what an event said lives as long as the setting says, that it was said lives longer.
--
-- `event` keeps the identity of every event, so that one that comes again is known after its body has gone. Its
-- `number` is the order of recording: writers of one environment take turns and draw it inside their turn, so within an
-- environment numbers commit in their order, and "all up to number N" is an exact cut, whatever the clocks say. A
-- checkpoint is made at such a cut, and what came after it is read by its number.
--
-- `event_body` is cut by the week in which an event was recorded, not by the time it speaks of: history that is
-- imported late lands in this week's part, and every part is behind a cut as a whole. A part ends by being detached and
-- dropped, never row by row. Parts are premade; what finds none, because nobody has premade any for months, goes to
-- `event_body_rest`, which ends like any other part when all of it is old enough.
--
-- `event_body_dropped` says per environment up to which number bodies may be gone: what is rebuilt from must reach so far.

create sequence event_number;
alter table event add column number bigint not null default nextval('event_number');

create table event_body (
    environment smallint not null,
    number bigint not null,
    recorded_at timestamptz not null default now(),
    occurred_at timestamptz not null,
    id bytea not null check (octet_length(id) = 16),
    kind text not null check (kind in ('run', 'job', 'dataset', 'native', 'control')),
    body bytea not null check (octet_length(body) > 0),  -- zstandard, with the dictionary that its frame names
    primary key (environment, number, recorded_at)
) partition by range (recorded_at);
create table event_body_rest partition of event_body default;

create table event_body_dropped (
    environment smallint primary key references environment,
    number bigint not null  -- the last that was dropped
);

-- Makes the parts of `weeks` weeks from `since` on, and returns how many are new. A week of which the rest holds rows
-- already stays there. Attaching takes a lock that lets readers and writers go on; one table is made at a time.
create function premake_event_bodies(since timestamptz, weeks integer) returns integer language plpgsql as $$
declare
    first timestamp := date_trunc('week', since at time zone 'UTC');
    begins timestamptz;
    ends timestamptz;
    part text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('dataforge.event_body', 0));
    for week in 0 .. weeks - 1 loop
        begins := (first + week * interval '7 days') at time zone 'UTC';
        ends := (first + (week + 1) * interval '7 days') at time zone 'UTC';
        part := 'event_body_' || to_char(begins at time zone 'UTC', 'YYYYMMDD');
        continue when to_regclass(part) is not null
            or exists (select from event_body_rest where recorded_at >= begins and recorded_at < ends);
        execute format('create table %I (like event_body including defaults including constraints)', part);
        execute format('alter table event_body attach partition %I for values from (%L) to (%L)', part, begins, ends);
        made := made + 1;
    end loop;
    return made;
end
$$;

-- Ends one part; the rest is made anew, empty.
create function drop_event_bodies(part regclass) returns void language plpgsql as $$
begin
    if not exists (select from pg_inherits where inhrelid = part and inhparent = 'event_body'::regclass) then
        raise exception '% is no part of event_body', part using errcode = 'restrict_violation';
    end if;
    execute format('alter table event_body detach partition %s', part);
    if part = 'event_body_rest'::regclass then
        execute format('drop table %s', part);
        create table event_body_rest partition of event_body default;
    else
        execute format('drop table %s', part);
    end if;
end
$$;

select premake_event_bodies(
    coalesce(min(recorded_at), now()),
    26 + (extract(epoch from now() - coalesce(min(recorded_at), now())) / 604800)::integer)
from event;

insert into event_body (environment, number, recorded_at, occurred_at, id, kind, body)
select environment, number, recorded_at, occurred_at, id, kind, body from event;
alter table event drop column body, drop column kind;

create trigger event_body_is_append_only before update on event_body for each row execute function refuse_change();

-- A state that is rebuilt beside a live one stands in an environment below 0, and is removed with all it holds.
drop trigger task_version_is_append_only on task_version;
create trigger task_version_is_append_only before update or delete on task_version
    for each row when (old.environment > 0) execute function refuse_change();
drop trigger manifest_is_append_only on manifest;
create trigger manifest_is_append_only before update or delete on manifest
    for each row when (old.environment > 0) execute function refuse_change();
drop trigger declaration_is_append_only on declaration;
create trigger declaration_is_append_only before update or delete on declaration
    for each row when (old.environment > 0) execute function refuse_change();
drop trigger dataset_version_is_append_only on dataset_version;
create trigger dataset_version_is_append_only before update or delete on dataset_version
    for each row when (old.environment > 0) execute function refuse_change();
drop trigger version_edge_is_append_only on version_edge;
create trigger version_edge_is_append_only before update or delete on version_edge
    for each row when (old.environment > 0) execute function refuse_change();
