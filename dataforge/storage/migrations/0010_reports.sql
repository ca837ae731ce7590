-- What runs reported of the datasets they touched, for conditions on it, and what has been updated, for triggers.
--
-- `touch.report` holds registers, {said: {field: [event time, event id, value]}, more}, merged by the latest event
-- (dataforge.model.report): sizes, tags, checks, scalars of facets; of an input the checks alone. Rows and version have
-- columns of their own. The bound is the model's, which knows what it leaves out; here it only stops a mistake.
--
-- `quality` is derived, as `write` is: what a run reported of a partition that it read and did not make, such as dbt's
-- tests. It is kept by partition because that is what a verdict asks for, and a touch may name none: then the partitions
-- of its run are meant. A verdict reads the latest of a partition, so their time leads the index.
--
-- `write_by_update` finds the latest successes of a dataset whatever their partition: what a trigger waits for.

alter table touch add column report jsonb not null default '{}'
    check (jsonb_typeof(report) = 'object' and octet_length(report::text) <= 65536);

create table quality (
    environment smallint not null,
    dataset_id bigint not null,
    partition text not null,
    task_id bigint not null,
    run text not null,
    attempt_id text not null,
    at timestamptz not null,  -- of the last event that showed the run to read the dataset
    report jsonb not null check (jsonb_typeof(report -> 'said') = 'object'),
    primary key (environment, dataset_id, partition, task_id, run, attempt_id),
    foreign key (environment, task_id) references task,
    foreign key (environment, dataset_id) references dataset
);
create index quality_by_run on quality (environment, task_id, run);
create index quality_by_time on quality (environment, dataset_id, partition, at desc);

create index write_by_update on write (environment, node_id, since desc)
    where node_kind = 'dataset' and status = 'ready' and evidence <> 'inferred';
