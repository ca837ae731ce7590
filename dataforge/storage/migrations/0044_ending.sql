-- Parts end by steps: detached, exported, dropped. Each is a commit of its own, so that whoever is killed goes on at the next call.
--
-- What is detached is no part of its table any more: nobody writes to it or reads from it, so what is exported of it is all
-- of it. `ending` says what is on the way; `archived` for good what is in which file, by what it was verified when it was
-- read back. A detached part has another name than it had, since a part of its time may be made again.

create table ending (
    part text primary key,  -- its name since it was detached
    was text not null,
    detached_at timestamptz not null default now()
);

create table archived (
    environment smallint not null references environment,
    file text not null,  -- below the archive's folder
    rows bigint not null check (rows > 0),
    digest bytea not null check (octet_length(digest) = 32),
    size bigint not null check (size > 0),
    archived_at timestamptz not null default now(),
    primary key (environment, file)
);

drop function drop_event_bodies;

-- Takes one part from its table, and returns its new name; the rest is made anew, empty.
create function detach_event_bodies(part regclass) returns text language plpgsql as $$
declare
    was text := part::text;
    away text := 'ending_' || was || '_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDDHH24MISSUS');
begin
    if not exists (select from pg_inherits where inhrelid = part and inhparent = 'event_body'::regclass) then
        raise exception '% is no part of event_body', part using errcode = 'restrict_violation';
    end if;
    execute format('alter table event_body detach partition %s', part);
    execute format('alter table %s rename to %I', part, away);
    if was = 'event_body_rest' then
        create table event_body_rest partition of event_body default;
    end if;
    insert into ending (part, was) values (away, was);
    return away;
end
$$;

-- Drops what was detached.
create function drop_ended(away text) returns void language plpgsql as $$
begin
    delete from ending where part = away;
    if not found then
        raise exception '% is not ending', away using errcode = 'restrict_violation';
    end if;
    execute format('drop table %I', away);
end
$$;
