-- Checks that failed: what holds a partition back until somebody releases it, or a later run has made it anew.
--
-- A check may be passed later on the very data that it failed on: a flaky test, a run of the same name that is tried
-- again. That lifts nothing, so the latest failure is a fact of its own beside the registers of a report, in which the
-- latest word of each check stands: `touch.report` holds it as `failed`, [event time, event id, checks, how many, the
-- version that was looked at].
--
-- `failed_check` is derived, as `quality` is: of each attempt and partition the latest failure, of what the run wrote
-- itself (`own`) or of what it looked at. The state of a partition asks for those from a time on, so time leads the index.
--
-- `partition_state.held` says what holds it back: the check, by its run, or the order, with who gave it. It is none of
-- what stands by the orders of before; replaying fills it in.

create table failed_check (
    environment smallint not null,
    dataset_id bigint not null,
    partition text not null,
    task_id bigint not null,
    run text not null,
    attempt_id text not null,
    own boolean not null,
    at timestamptz not null,
    checks text not null check (checks <> ''),
    number integer not null check (number > 0),  -- of checks that failed then
    version text not null,  -- of the data that was looked at; '' where nobody says
    primary key (environment, dataset_id, partition, task_id, run, attempt_id, own),
    foreign key (environment, task_id) references task,
    foreign key (environment, dataset_id) references dataset
);
create index failed_check_by_run on failed_check (environment, task_id, run);
create index failed_check_by_time on failed_check (environment, dataset_id, partition, at) where not own;

alter table partition_state add column held jsonb
    check (held is null or (status = 'quarantined' and jsonb_typeof(held) = 'object'));

-- What people said of runs: marked succeeded, failed or skipped, or cleared to be run again (`queued`).
--
-- A mark is a fact of a run as a whole, by its own name, and of a mapped run of all its instances. The latest stands; the
-- run's state follows it until an attempt begins after it (dataforge.model.mark).

create table mark (
    environment smallint not null references environment,
    task_id bigint not null,
    run text not null check (run <> ''),
    state run_state not null check (state in ('queued', 'succeeded', 'skipped', 'failed')),
    partition text,  -- of a run that nobody else has told of
    at timestamptz not null,
    said_by bytea not null check (octet_length(said_by) = 16),  -- the event
    marked_by text not null check (marked_by <> ''),
    reason text,
    primary key (environment, task_id, run),
    foreign key (environment, task_id) references task
);

-- Who declares a task or a dataset leaves word too: what it waits for may be there already, and nothing flips then.

alter table outbox drop constraint outbox_change_check;
alter table outbox add constraint outbox_change_check check (change in ('began', 'ended', 'ordered', 'declared'));
