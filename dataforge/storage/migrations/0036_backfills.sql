-- Backfills: what somebody asked to be built again, as it was planned, and how far it has come.
--
-- A backfill is no fact of history, as a lease is none: its partitions are run by claims like any other, and what ran
-- is told by events. What stands here is the plan and its pace: which partitions may be claimed by now. It is written by
-- the worker, one transaction a step, so that what is killed goes on where it was.
--
-- `waits` is how many of the item's upstreams in the plan have not been made yet; `feeds` are the items below it, whose
-- count goes down in the transaction that finds it made. So whatever has no wait left is found by an index, however large
-- the plan is, and a plan needs no second table for its edges.

create table backfill (
    environment smallint not null references environment,
    id uuid not null,
    request jsonb not null,
    state text not null default 'running' check (state in ('running', 'paused', 'canceled', 'failed', 'done')),
    began_at timestamptz not null,
    counts jsonb not null default '{}',  -- how many of its items are in each state: a list would count millions
    primary key (environment, id)
);
create index backfill_by_time on backfill (environment, began_at desc, id desc);
create index backfill_at_work on backfill (environment, id) where state in ('running', 'paused', 'failed');

create table backfill_change (
    environment smallint not null,
    backfill uuid not null,
    number bigint not null generated always as identity,
    what text not null check (what in ('began', 'paused', 'resumed', 'canceled', 'retried', 'ended')),
    at timestamptz not null,
    by text not null check (by <> ''),
    reason text not null,
    primary key (environment, backfill, number),
    foreign key (environment, backfill) references backfill
);
create trigger backfill_change_is_append_only before update or delete on backfill_change
    for each row execute function refuse_change();

create table backfill_item (
    environment smallint not null,
    backfill uuid not null,
    number integer not null check (number >= 0),  -- its place in the plan
    task_id bigint not null,
    partition text not null,
    wave integer not null check (wave >= 0),
    again boolean not null,  -- there was something of it: it is ordered to be run again when it is released
    cost double precision not null check (cost >= 0),
    reason text not null,  -- why it is built, or left as it is; then what it waits for, or how it failed
    waits integer not null check (waits >= 0),
    feeds integer[] not null,
    state text not null check (state in ('planned', 'released', 'succeeded', 'failed', 'blocked', 'canceled', 'skipped')),
    looked_at timestamptz,  -- when it last might have been released and something else stood in the way
    released_at timestamptz,
    ended_at timestamptz,
    primary key (environment, backfill, number),
    unique (environment, backfill, task_id, partition),
    foreign key (environment, backfill) references backfill,
    foreign key (environment, task_id) references task,
    check ((wave = 0) = (state = 'skipped')),
    check (state not in ('released', 'succeeded', 'failed') or released_at is not null or ended_at is not null)
);
create index backfill_item_next on backfill_item (environment, backfill, wave, number) where state = 'planned' and waits = 0;
create index backfill_item_under_way on backfill_item (environment, backfill, number) where state in ('released', 'failed');
create index backfill_item_released on backfill_item (environment, task_id, partition) where state = 'released';
create index backfill_item_paid on backfill_item (environment, backfill, released_at) where released_at is not null;

-- What a backfill has released stands behind all that is live.
alter table wakeup add column backfill uuid;
drop index wakeup_by_rank;
create index wakeup_by_rank on wakeup (environment, (backfill is not null), priority desc, since, task_id, partition)
    where not held;
