-- The ledger: what the platforms said, and what follows from it.
--
-- Facts. `event` holds every accepted event once, compressed and append-only. What an event says is folded into
-- four tables that only ever grow towards the truth, whatever the order of arrival: `attempt` (one try of one
-- run) with `touch` (the datasets it read and wrote), `outcome` (what a platform said of a task after the fact,
-- such as Airflow's list of task states at the end of a DAG run), `task` and `dataset` (their `observed` column
-- is a set of registers, each the value with the latest event time). Folding is a join of a semilattice, done by
-- dataforge.model; the tables only keep its result. Beside them stand what people declare: `definition_source`
-- (the manifest of one source, as it last was), `task_version` (every definition a task ever had), `pool`.
--
-- Derived state. `run` (an execution as it stands after its last attempt), `write` (a run's claim on one
-- partition) and `partition_state` (what the ledger believes of one partition) are functions of the facts above
-- and of nothing else; they can be dropped and made anew, and `dataforge verify` does just that beside them.
--
-- The graph. `edge` holds what depends on what, each row with its origin: declared by a source, or observed at
-- runtime. `alias` says which names mean one dataset; `dataset.canonical_id` is the name that stands for all.
--
-- Names. Every key begins with the environment, and no foreign key crosses it. A task or dataset is stood for by a
-- 64-bit hash of its namespace and name (dataforge.model.reference.node_id): it needs no look-up, is the same in
-- every database, and is the shard key. Partitions are strings equal to Dagster's keys; '' is the partition of
-- what has none. An event's identity is the hash of its canonical content; its own time leads the primary key, so
-- that inserts land together and the table can be cut by time.
--
-- Types. run_state is declared in the order of precedence, so that `greatest` and `order by` mean what
-- dataforge.model.state means. Evidence is ordered the same way.

create type run_state as enum ('unknown', 'queued', 'running', 'up_for_retry', 'succeeded', 'skipped', 'canceled',
                               'upstream_failed', 'failed');
create type evidence as enum ('inferred', 'reported', 'confirmed', 'operator');
create type run_kind as enum ('dag', 'step', 'task');
create type node_kind as enum ('task', 'dataset');
create type partition_status as enum ('missing', 'running', 'ready', 'failed', 'skipped', 'stale', 'quarantined');
create type edge_relation as enum ('consumes', 'produces', 'runs');
create type origin as enum ('declared', 'observed');

create table environment (
    id smallint primary key generated always as identity,
    name text not null unique check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    graph_version bigint not null default 0  -- moves with every change of an edge, an alias or a definition
);
insert into environment (name) values ('dev'), ('staging'), ('prod');

create table body_dictionary (
    id integer primary key check (id > 0),  -- zstandard's own id of the dictionary
    content bytea not null
);

create table event (
    environment smallint not null references environment,
    occurred_at timestamptz not null check (occurred_at >= '2000-01-01 00:00+00' and occurred_at < '2101-01-01 00:00+00'),
    id bytea not null check (octet_length(id) = 16),
    kind text not null check (kind in ('run', 'job', 'dataset', 'native')),
    body bytea not null check (octet_length(body) > 0),  -- zstandard, with the dictionary that its frame names
    recorded_at timestamptz not null default now(),
    primary key (environment, occurred_at, id)
);

create table reject (
    environment smallint not null references environment,
    id bytea not null check (octet_length(id) = 16),
    body bytea not null,  -- the bytes as they came, compressed
    size integer not null check (size >= 0),
    errors jsonb not null check (jsonb_typeof(errors) = 'array' and jsonb_array_length(errors) > 0),
    received_at timestamptz not null default now(),
    primary key (environment, id)
);
create index reject_by_time on reject (environment, received_at desc, id);

create table progress (
    environment smallint not null references environment,
    source text not null,  -- the namespace whose events are counted
    observed_through timestamptz not null,
    primary key (environment, source)
);

create table definition_source (
    environment smallint not null references environment,
    source text not null check (source <> ''),
    manifest jsonb not null,
    declared_at timestamptz not null default now(),
    primary key (environment, source)
);

create table task (
    environment smallint not null references environment,
    id bigint not null,
    namespace text not null check (namespace <> ''),
    name text not null check (name <> ''),
    kind run_kind not null default 'task',
    platform text not null default '',  -- declared, else observed
    observed_platform text not null default '',
    observed jsonb not null default '{}',  -- registers: {field: [event time, event id, value]}
    seen boolean not null default false,  -- an event of its own, or a platform's list, named it
    grains smallint not null default 31 check (grains between 0 and 31),  -- which windows fit all intervals seen: model.schedule
    declared_by text,  -- the source that declares it now
    definition jsonb,  -- its current definition
    version bytea,  -- the hash of that definition
    owner text,
    domain text,
    partitioning jsonb not null default '{"kind": "none"}',
    partitioning_origin origin not null default 'observed',
    primary key (environment, id),
    unique (environment, namespace, name),
    foreign key (environment, declared_by) references definition_source (environment, source),
    check ((declared_by is null) = (definition is null) and (definition is null) = (version is null))
);
create index task_by_name on task (environment, name);

create table task_version (
    environment smallint not null,
    task_id bigint not null,
    version bytea not null check (octet_length(version) = 16),
    definition jsonb not null,
    source text not null,
    declared_at timestamptz not null default now(),
    primary key (environment, task_id, version),
    foreign key (environment, task_id) references task
);

create table dataset (
    environment smallint not null references environment,
    id bigint not null,
    namespace text not null check (namespace <> ''),
    name text not null check (name <> ''),
    canonical_id bigint not null,
    observed jsonb not null default '{}',
    declared_by text,
    definition jsonb,
    owner text,
    partitioning jsonb,  -- declared; null where nobody has
    primary key (environment, id),
    unique (environment, namespace, name),
    foreign key (environment, canonical_id) references dataset,
    foreign key (environment, declared_by) references definition_source (environment, source),
    check ((declared_by is null) = (definition is null))
);
create index dataset_by_name on dataset (environment, name);
create index dataset_by_canonical on dataset (environment, canonical_id);

create table alias (
    environment smallint not null,
    dataset_id bigint not null,
    alias_id bigint not null,
    origin origin not null,
    source text not null,  -- the declaring source; '' for an observed one
    primary key (environment, dataset_id, alias_id, origin, source),
    foreign key (environment, dataset_id) references dataset,
    foreign key (environment, alias_id) references dataset,
    check (dataset_id <> alias_id),
    check ((origin = 'declared') = (source <> ''))
);
create index alias_by_alias on alias (environment, alias_id);

create table edge (
    environment smallint not null,
    task_id bigint not null,
    relation edge_relation not null,
    node_kind node_kind not null,
    node_id bigint not null,  -- consumed, produced, or run by the task
    origin origin not null,
    source text not null,  -- the declaring source; '' for an observed one
    mapping jsonb not null default '{"kind": "same"}',
    condition jsonb not null default '{"kind": "succeeded"}',
    required boolean not null default true,
    staleness text not null default 'warn' check (staleness in ('ignore', 'warn', 'block')),
    first_at timestamptz,  -- of the events that showed it
    last_at timestamptz,
    primary key (environment, task_id, relation, node_kind, node_id, origin, source),
    foreign key (environment, task_id) references task,
    check (relation <> 'produces' or node_kind = 'dataset'),
    check (relation <> 'runs' or node_kind = 'task'),
    check (node_kind <> 'task' or node_id <> task_id or (relation = 'consumes' and origin = 'declared')),  -- yesterday's own
    check ((origin = 'declared') = (source <> '')),
    check ((origin = 'observed') = (first_at is not null)),
    check (last_at >= first_at)
);
create index edge_by_node on edge (environment, node_kind, node_id);

create table pool (
    environment smallint not null,
    name text not null check (name <> ''),
    slots integer not null check (slots >= 0),
    source text not null,
    primary key (environment, name),
    foreign key (environment, source) references definition_source (environment, source)
);

create table attempt (
    environment smallint not null,
    task_id bigint not null,
    run text not null check (run <> ''),
    attempt_id text not null check (attempt_id <> ''),
    kind run_kind not null,
    platform text not null,
    -- what was said of its state, and by which event
    said_evidence evidence not null,
    said_state run_state not null,
    said_at timestamptz not null,
    said_by bytea not null,
    external_run text not null,
    group_run text not null,
    map_index integer not null check (map_index >= -1),
    number integer check (number >= 0),
    incarnation timestamptz,
    completed boolean not null,
    started_at timestamptz,
    ended_at timestamptz,
    interval_start timestamptz,
    interval_end timestamptz,
    partition text,
    parent_task_id bigint,
    parent_run text,
    root_task_id bigint,
    root_run text,
    error text,
    source jsonb not null,
    -- derived: as it stands with what its parent and its platform said of it
    state run_state not null default 'unknown',
    evidence evidence not null default 'inferred',
    ordinal integer not null default 0,
    span_start timestamptz,  -- its data interval, its own or its parent's
    span_end timestamptz,
    partitions text[] not null default '{}',
    primary key (environment, task_id, run, attempt_id),
    foreign key (environment, task_id) references task,
    check ((interval_start is null) = (interval_end is null)),
    check ((parent_task_id is null) = (parent_run is null)),
    check ((root_task_id is null) = (root_run is null))
) with (fillfactor = 80);
create index attempt_by_external_run on attempt (environment, external_run);
create index attempt_by_parent_run on attempt (environment, parent_run) where parent_run is not null;
create index attempt_by_root_run on attempt (environment, root_run) where root_run is not null;
create index attempt_by_group on attempt (environment, task_id, group_run);

create table touch (
    environment smallint not null,
    task_id bigint not null,
    run text not null,
    attempt_id text not null,
    direction text not null check (direction in ('input', 'output')),
    dataset_id bigint not null,
    partition text not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    version text,
    version_at timestamptz,
    rows bigint,
    measured boolean not null,
    change text,
    primary key (environment, task_id, run, attempt_id, direction, dataset_id, partition),
    foreign key (environment, task_id, run, attempt_id) references attempt,
    foreign key (environment, dataset_id) references dataset
);

create table outcome (
    environment smallint not null,
    task_id bigint not null,
    group_run text not null,
    incarnation timestamptz not null,
    state run_state not null,
    at timestamptz not null,
    said_by bytea not null,
    parent_task_id bigint not null,  -- the DAG that said it
    parent_run text not null,
    interval_start timestamptz,
    interval_end timestamptz,
    source jsonb not null,
    primary key (environment, task_id, group_run),
    foreign key (environment, task_id) references task
);
create index outcome_by_parent on outcome (environment, parent_run);

create table run (
    environment smallint not null,
    task_id bigint not null,
    run text not null check (run <> ''),
    kind run_kind not null,
    group_run text not null,
    map_index integer not null,
    state run_state not null,
    evidence evidence not null,
    attempt integer not null check (attempt >= 0),
    attempt_id text,  -- the attempt that decided; none where only the platform's list names the run
    partitions text[] not null,
    partition_from text check (partition_from in ('event', 'declared', 'parent', 'root')),
    started_at timestamptz,
    ended_at timestamptz,
    interval_start timestamptz,
    interval_end timestamptz,
    error text,
    source jsonb not null,
    primary key (environment, task_id, run),
    foreign key (environment, task_id) references task,
    check ((interval_start is null) = (interval_end is null))
) with (fillfactor = 80);
create index run_by_start on run (environment, kind, started_at desc nulls last, task_id, run);
create index run_by_task on run (environment, task_id, started_at desc nulls last, run);

create table write (
    environment smallint not null,
    node_kind node_kind not null,
    node_id bigint not null,
    partition text not null,
    task_id bigint not null,
    run text not null,
    attempt_id text not null,  -- '' where only the platform's list names the run
    group_run text not null,
    producer_task_id bigint not null,  -- the run that answers for it: of a Spark job its application's
    producer_run text not null,
    status partition_status not null,
    run_state run_state not null,
    evidence evidence not null,
    started_at timestamptz,
    since timestamptz,
    version text,
    rows bigint,
    primary key (environment, node_kind, node_id, partition, task_id, run, attempt_id),
    foreign key (environment, task_id) references task
) with (fillfactor = 80);
create index write_by_run on write (environment, task_id, run);
create index write_by_start on write (environment, node_kind, node_id, partition, started_at desc nulls last);

create table partition_state (
    environment smallint not null,
    node_kind node_kind not null,
    node_id bigint not null,
    partition text not null,
    status partition_status not null,
    run_state run_state not null,
    evidence evidence not null,
    since timestamptz,
    task_id bigint not null,  -- the run that decided
    run text not null,
    version text,
    ready_task_id bigint,  -- the last success: a failed re-run keeps it
    ready_run text,
    ready_since timestamptz,
    ready_version text,
    primary key (environment, node_kind, node_id, partition),
    check ((ready_task_id is null) = (ready_run is null)),
    check (status not in ('ready', 'stale') or ready_run is not null)
) with (fillfactor = 80);

-- What is recorded is not edited: the database itself refuses.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, lower(tg_op) using errcode = 'restrict_violation';
end
$$;
create trigger event_is_append_only before update on event for each row execute function refuse_change();
create trigger task_version_is_append_only before update or delete on task_version
    for each row execute function refuse_change();
