-- Streams: how far a streaming task has come, and what came late.
--
-- `watermark` and `late` are facts, one row an event and output, added to and never changed, so their order does not
-- matter. A dataset of 0 stands for the task itself and all that it writes.
--
-- What follows from them are claims like any other (`write`, under the attempt `~watermark` of the streaming run): a
-- partition that a watermark has passed, by its end and the lateness that is declared, is ready since the first event
-- that said so, and is stale where data for it came after that. So lists, readiness, the feed, wake-ups and the digest
-- read what they read of batch runs. `stream` names every task that ever told of a watermark, and
-- remembers what its claims were made for (how its outputs are cut, and the lateness), so that a watermark that moves on
-- adds its own windows alone.

create table watermark (
    environment smallint not null,
    task_id bigint not null,
    dataset_id bigint not null,
    at timestamptz not null,
    said_at timestamptz not null,
    said_by bytea not null check (octet_length(said_by) = 16),
    run text not null check (run <> ''),
    primary key (environment, task_id, at, dataset_id, said_at, said_by),
    foreign key (environment, task_id) references task
);

create table late (
    environment smallint not null,
    task_id bigint not null,
    dataset_id bigint not null,
    partition text not null check (partition <> ''),
    said_at timestamptz not null,
    said_by bytea not null check (octet_length(said_by) = 16),
    rows bigint not null check (rows > 0),
    primary key (environment, task_id, dataset_id, partition, said_at, said_by),
    foreign key (environment, task_id) references task
);

create table stream (
    environment smallint not null,
    task_id bigint not null,
    made_for jsonb,
    primary key (environment, task_id),
    foreign key (environment, task_id) references task
);
