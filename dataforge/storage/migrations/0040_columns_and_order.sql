-- Which columns a run showed of what it wrote, and which events came out of order.
--
-- `touch.columns` is the hash of the columns as the latest event of the attempt showed them, a register like the version;
-- the list itself stands in `column_list`, once for each dataset and hash, however many runs show it. What was recorded
-- before has none: `dataforge replay` reads it again.
--
-- `out_of_order` is no state: the same facts in another order give another one, so it is in no digest and is not rebuilt.
-- Facts merge to the same whole whatever their order; this tells that a source delivers them late. One row a dataset and
-- day, of the days that somebody asks about.

alter table touch add column columns text check (length(columns) = 32),
    add column columns_at timestamptz,
    add check ((columns is null) = (columns_at is null));

create table column_list (
    environment smallint not null,
    dataset_id bigint not null,
    hash text not null check (length(hash) = 32),
    columns jsonb not null check (jsonb_typeof(columns) = 'array' and jsonb_array_length(columns) > 0),
    primary key (environment, dataset_id, hash),
    foreign key (environment, dataset_id) references dataset
);

create table out_of_order (
    environment smallint not null references environment,
    dataset_id bigint not null,
    day date not null,  -- of recording, in UTC
    events bigint not null check (events > 0),
    -- the last of them: when it was recorded and occurred, and when what had been recorded before it occurred
    recorded_at timestamptz not null,
    occurred_at timestamptz not null,
    behind timestamptz not null check (behind > occurred_at),
    task_id bigint not null,
    run text not null,
    partition text not null,
    primary key (environment, dataset_id, day)
);
