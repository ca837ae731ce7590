-- Leases: the right to run one attempt of one partition until a time, and the slots of pools that it takes.
--
-- A lease is no fact of history: that the attempt began and how it ended are events like any other. What stands here
-- is who may say so. The unique index is the whole of "exactly once": of two claims of one partition one commits.
-- A lease that has run out keeps its row and its place until its end is written down, by the next claim or by the
-- worker that looks for such; its slots count only while it has not run out.

create table lease (
    environment smallint not null,
    claim uuid not null,
    task_id bigint not null,
    partition text not null,
    run text not null check (run <> ''),  -- as its events name it
    attempt integer not null check (attempt > 0),
    worker text not null check (worker <> ''),
    claimed_at timestamptz not null,
    expires_at timestamptz not null check (expires_at > claimed_at),
    ended_at timestamptz,
    ending text check (ending in ('completed', 'failed', 'released', 'expired')),
    primary key (environment, claim),
    foreign key (environment, task_id) references task,
    check ((ended_at is null) = (ending is null))
);
create unique index lease_held on lease (environment, task_id, partition) where ended_at is null;
create unique index lease_by_attempt on lease (environment, task_id, run, attempt);
create index lease_by_expiry on lease (environment, expires_at) where ended_at is null;

create table lease_pool (
    environment smallint not null,
    pool text not null,
    claim uuid not null,
    slots integer not null check (slots > 0),
    primary key (environment, pool, claim),
    foreign key (environment, claim) references lease
);
create index lease_pool_by_claim on lease_pool (environment, claim);

-- Wake-ups: the partitions that may run now and that nobody has claimed, or that something of their own holds.
--
-- `outbox` is written in the transaction that changes a partition, and emptied by the announcer in the one that decides
-- on what lies downstream. Two upstreams that become ready at the same moment do not see each other, but each leaves a row,
-- and the row that is worked on last is decided on when both have committed.

create table outbox (
    environment smallint not null references environment,
    id bigint not null generated always as identity,
    node_kind node_kind,  -- none of an order: what is held is decided anew
    node_id bigint not null,
    partition text not null,
    -- what only began to run serves nothing downstream; an order speaks of the partition itself
    change text not null check (change in ('began', 'ended', 'ordered')),
    primary key (environment, id),
    check (node_kind is not null or change = 'ordered')
);

create table wakeup (
    environment smallint not null,
    task_id bigint not null,
    partition text not null,
    since timestamptz not null,  -- from when on it may run, or is held
    priority integer not null,
    held boolean not null,  -- nothing upstream is missing, and something of its own stands in the way
    due_at timestamptz,  -- when it is to be decided on anew: a time of its own passes, or an order was given
    primary key (environment, task_id, partition),
    foreign key (environment, task_id) references task
);
create index wakeup_by_rank on wakeup (environment, priority desc, since, task_id, partition) where not held;
create index wakeup_by_due on wakeup (environment, due_at) where due_at is not null;
