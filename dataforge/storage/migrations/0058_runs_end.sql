-- Runs end: a part of them leaves with all that it holds of runs of which nothing was told since its end.
--
-- A run is silent at a time where its last word is older; all instances of a mapped run, and what its platform said of it
-- afterwards, are silent together. Some silent runs stay, since somebody still takes something from them: one that goes on,
-- that a person marked, or that a partition without a window stands by; of each task the last run in each state (of those
-- that Airflow was asked for apart from others), since what triggers a task next follows from when it ran last; what
-- stands above a run that stays, and what is a part of it.
--
-- `run_end` says at which event of an environment that was, and `run_spared` which silent runs stayed, so that who reads the
-- events again ends the same runs at the same point. What is told of one later begins it anew. Its claims, and what it
-- found when it looked at partitions, stay: how partitions stand follows from them.
--
-- What stays of a part that leaves goes to the next one, which takes all that is older from then on.

create table run_end (
    environment smallint not null references environment,
    number bigint not null,  -- of the last event that was recorded before
    known_from timestamptz not null,  -- runs with a word from then on stayed
    ended_at timestamptz not null default now(),
    primary key (environment, known_from)
);

create table run_spared (
    environment smallint not null,
    known_from timestamptz not null,
    task_id bigint not null,
    group_run text not null,
    primary key (environment, known_from, task_id, group_run),
    foreign key (environment, known_from) references run_end deferrable initially deferred
);

alter table environment
    add column runs_known_from timestamptz;  -- what has no word from then on has ended

alter table ending add column beside text[] not null default '{}';  -- tables that go with it

create or replace function drop_ended(away text) returns void language plpgsql as $$
declare
    tables text[];
    each text;
begin
    delete from ending where part = away returning beside || part into tables;
    if tables is null then
        raise exception '% is not ending', away using errcode = 'restrict_violation';
    end if;
    foreach each in array tables loop
        execute format('drop table %I', each);
    end loop;
end
$$;

-- Whether a run says that a person, a clock or a backfill asked Airflow for it.
create function asked_for(source jsonb) returns boolean language sql immutable as $$
    select coalesce(source ->> 'run_id', '') ~ '^(manual|scheduled|backfill)__'
$$;

create function is_going(environment smallint, task_id bigint, group_run text) returns boolean language plpgsql as $$
begin
    return exists (select from going g where g.environment = $1 and g.task_id = $2 and g.group_run = $3);
end
$$;

-- Fills `going` with the runs, by their groups, of which nothing was told since a time: of those in these tables, the part
-- that is to leave or all there is, and of one environment or, where none is named, of all but those that are being rebuilt.
create function find_silent_runs(
    of_attempts regclass, of_outcomes regclass, of_runs regclass, within smallint, known_from timestamptz
) returns void language plpgsql as $$
begin
    create temp table if not exists going (
        environment smallint, task_id bigint, group_run text, primary key (environment, task_id, group_run)
    ) on commit drop;
    truncate going;
    execute format('insert into going
        select environment, task_id, group_run from %1$s where environment = $1 or ($1 is null and environment > 0) union
        select environment, task_id, group_run from %2$s where environment = $1 or ($1 is null and environment > 0) union
        select environment, task_id, group_run from %3$s where environment = $1 or ($1 is null and environment > 0)',
        of_attempts, of_outcomes, of_runs) using within;
    analyze going;
    delete from going g where exists (
        select from attempt a where a.environment = g.environment and a.task_id = g.task_id and a.group_run = g.group_run
            and (a.run = g.group_run or a.run <> a.group_run) and coalesce(a.heard_at, a.said_at) >= known_from
    ) or exists (
        select from outcome o where o.environment = g.environment and o.task_id = g.task_id and o.group_run = g.group_run
            and greatest(o.at, o.incarnation) >= known_from
    );
end
$$;

-- Takes out of `going` what stays nevertheless, and writes it down. `of_runs` is the part that is to leave.
create function spare_runs(of_runs regclass, known_from timestamptz) returns void language plpgsql as $$
begin
    create temp table if not exists silent (like going including all) on commit drop;
    truncate silent;
    insert into silent select * from going;
    -- What a person marked.
    delete from going g using mark m where m.environment = g.environment and m.task_id = g.task_id and (
        m.run = g.group_run or exists (
            select from attempt a where a.environment = m.environment and a.task_id = m.task_id and a.run = m.run
                and a.group_run = g.group_run));
    -- What goes on, and the last of its task in its state.
    execute format($find$
        delete from going g using %s r
        where r.environment = g.environment and r.task_id = g.task_id and r.group_run = g.group_run and (
            r.state in ('unknown', 'queued', 'running', 'up_for_retry') or not exists (
                select from run l where l.environment = r.environment and l.task_id = r.task_id and l.state = r.state
                    and asked_for(l.source) = asked_for(r.source) and case when r.started_at is null
                        then l.started_at is null and (l.ended_alone, l.run) > (r.ended_alone, r.run)
                        else l.started_at >= r.started_at and (l.started_at, l.run) > (r.started_at, r.run) end))
        $find$, of_runs);
    -- What a partition without a window stands by.
    execute format($find$
        delete from going g using (
            select environment, task_id, run from partition_state_rest union
            select environment, ready_task_id, ready_run from partition_state_rest
        ) n left join %s r on r.environment = n.environment and r.task_id = n.task_id and r.run = n.run
        where g.environment = n.environment and g.task_id = n.task_id and g.group_run = coalesce(r.group_run, n.run)
        $find$, of_runs);
    -- What stands above a run that stays; and what is a part of one.
    loop
        delete from going g using attempt a
        where a.environment = g.environment and a.task_id = g.task_id and a.group_run = g.group_run
            and (a.run = g.group_run or a.run <> a.group_run) and (exists (
                select from attempt c where c.environment = a.environment and c.parent_run = a.external_run
                    and c.parent_task_id = a.task_id and not is_going(c.environment, c.task_id, c.group_run)
            ) or exists (
                select from attempt c where c.environment = a.environment and c.root_run = a.external_run
                    and c.root_task_id = a.task_id and not is_going(c.environment, c.task_id, c.group_run)
            ) or a.kind = 'step' and exists (
                select from attempt p where p.environment = a.environment and p.external_run = a.parent_run
                    and p.task_id = a.parent_task_id and not is_going(p.environment, p.task_id, p.group_run)));
        exit when not found;
    end loop;
    insert into run_spared (environment, known_from, task_id, group_run)
        select s.environment, spare_runs.known_from, s.task_id, s.group_run from silent s
        where not is_going(s.environment, s.task_id, s.group_run);
end
$$;

-- Looks through a part for what is to leave with it, and what stays; who reads is not in the way yet.
create function choose_ended_runs(part text, known_from timestamptz) returns void language plpgsql as $$
begin
    perform find_silent_runs(('attempt_' || part)::regclass, ('outcome_' || part)::regclass, ('run_' || part)::regclass,
        null, known_from);
    perform spare_runs(('run_' || part)::regclass, known_from);
end
$$;

-- Takes the oldest part from its tables, when that was done, and returns the name that its runs have from now on. The next
-- one takes what is older than it from then on, up to `until`, and with that what stays.
create function detach_run_part(part text, next text, until integer) returns text language plpgsql as $$
declare
    tables constant text[] := array['touch', 'shard_chunk', 'attempt', 'outcome', 'run'];
    suffix constant text := '_' || part || '_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDDHH24MISSUS');
    gone constant text := 'not exists (select from going g
        where g.environment = x.environment and g.task_id = x.task_id and g.group_run = x.group_run)';
    gone_with_attempt constant text := format('not exists (select from %I a join going g
        on g.environment = a.environment and g.task_id = a.task_id and g.group_run = a.group_run
        where a.environment = x.environment and a.task_id = x.task_id and a.run = x.run)', 'ending_attempt' || suffix);
    of text;
    away text;
    columns text;
begin
    foreach of in array tables loop
        execute format('alter table %I detach partition %I', of, of || '_' || part);
        execute format('alter table %I rename to %I', of || '_' || part, 'ending_' || of || suffix);
        execute format('alter table %I detach partition %I', of, of || '_' || next);
        execute format('alter table %I attach partition %I for values from (minvalue) to (%s)', of, of || '_' || next, until);
    end loop;
    foreach of in array tables loop
        away := 'ending_' || of || suffix;
        columns := written_columns(of::regclass);
        execute format('with staying as (delete from %I x where %s returning *) insert into %I (%s) select %4$s from staying',
            away, case when of in ('touch', 'shard_chunk') then gone_with_attempt else gone end, of, columns);
    end loop;
    insert into ending (part, was, beside) values ('ending_run' || suffix, 'run_' || part,
        array['ending_touch' || suffix, 'ending_shard_chunk' || suffix, 'ending_attempt' || suffix, 'ending_outcome' || suffix]);
    return 'ending_run' || suffix;
end
$$;

-- The columns of a table that are written, as a statement names them.
create function written_columns(of regclass) returns text language sql stable as $$
    select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
    where attrelid = of and attnum > 0 and not attisdropped and attgenerated = ''
$$;

-- Ends in an environment that is being rebuilt the runs that ended in the live one at this point, and gives it the claims of
-- these that stand there. Returns the places that those are on, before or after.
create function end_rebuilt_runs(rebuilt smallint, live smallint, known_from timestamptz)
returns table (kind node_kind, node bigint, key text) language plpgsql as $$
declare
    of text;
    columns text;
begin
    perform find_silent_runs('attempt', 'outcome', 'run', rebuilt, known_from);
    delete from going g using run_spared s where s.environment = live and s.known_from = end_rebuilt_runs.known_from
        and s.task_id = g.task_id and s.group_run = g.group_run;
    create temp table if not exists going_run (task_id bigint, run text, primary key (task_id, run)) on commit drop;
    create temp table if not exists going_place (kind node_kind, node bigint, key text) on commit drop;
    truncate going_run, going_place;
    insert into going_run
        select a.task_id, a.run from attempt a join going g on g.task_id = a.task_id and g.group_run = a.group_run
        where a.environment = rebuilt
        union select r.task_id, r.run from run r join going g on g.task_id = r.task_id and g.group_run = r.group_run
        where r.environment = rebuilt;
    insert into going_place
        select w.node_kind, w.node_id, w.partition from write w join going_run k on k.task_id = w.task_id and k.run = w.run
        where w.environment in (rebuilt, live) and w.attempt_id <> '~watermark'
        union select 'dataset', f.dataset_id, f.partition from failed_check f
        join going_run k on k.task_id = f.task_id and k.run = f.run where f.environment in (rebuilt, live);
    delete from touch x using going_run k where x.environment = rebuilt and x.task_id = k.task_id and x.run = k.run;
    delete from shard_chunk x using going_run k
        where x.environment = rebuilt and x.task_id = k.task_id and x.run = k.run;
    delete from attempt x using going_run k where x.environment = rebuilt and x.task_id = k.task_id and x.run = k.run;
    delete from run x using going_run k where x.environment = rebuilt and x.task_id = k.task_id and x.run = k.run;
    delete from outcome x using going g where x.environment = rebuilt and x.task_id = g.task_id and x.group_run = g.group_run;
    foreach of in array array['write', 'quality', 'failed_check'] loop
        columns := written_columns(of::regclass);
        execute format('delete from %I x using going_run k where x.environment = $1 and x.task_id = k.task_id
            and x.run = k.run and x.attempt_id <> ''~watermark''', of) using rebuilt;
        execute format('insert into %1$I (%2$s) select %3$s from %1$I x join going_run k using (task_id, run)
            where x.environment = $2 and x.attempt_id <> ''~watermark''',
            of, columns, '$1' || substr(columns, length('environment') + 1)) using rebuilt, live;
    end loop;
    return query select p.kind, p.node, p.key from going_place p;
end
$$;
