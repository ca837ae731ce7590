-- What people and systems order: holds, gates, named facts, quarantines, re-runs, times before which nothing runs.
--
-- Each order is an event of its own (kind 'control'), recorded for good like any other, and folded here into one
-- register a subject, partition, kind and name, of which the latest event time and then the greater event id stands. So
-- orders commute like every other fact, a correction is a new event, and `dataforge verify` reads them again.
--
-- The key begins with the subject, because a verdict asks for all that was ordered of a task, its domain and its
-- environment at once. A subject is stood for by the hash of its names, as everywhere; of the environment it is 0. An
-- order may speak of a task that nobody has declared or seen yet, so nothing refers to `task` here.

alter table event drop constraint event_kind_check;
alter table event add constraint event_kind_check check (kind in ('run', 'job', 'dataset', 'native', 'control'));

create table control (
    environment smallint not null references environment,
    scope text not null check (scope in ('environment', 'domain', 'task', 'dataset', 'fact')),
    subject_id bigint not null,
    partition text not null,  -- '' is the whole subject
    kind text not null check (kind in ('hold', 'gate', 'fact', 'quarantine', 'rerun', 'not_before')),
    name text not null,  -- the gate's; '' of all other kinds
    namespace text not null,  -- '' of all but tasks and datasets
    subject text not null,
    value jsonb not null,
    at timestamptz not null,
    said_by bytea not null check (octet_length(said_by) = 16),  -- the event
    ordered_by text not null check (ordered_by <> ''),
    reason text,
    primary key (environment, scope, subject_id, partition, kind, name),
    check ((kind = 'gate') = (name <> '')),
    check ((kind = 'fact') = (scope = 'fact')),
    check (kind <> 'hold' or scope in ('environment', 'domain', 'task')),
    check (kind not in ('quarantine', 'rerun') or scope in ('task', 'dataset')),
    check (kind not in ('gate', 'not_before') or scope = 'task'),
    check ((scope = 'environment') = (subject = ''))
);
create index control_by_time on control (environment, at desc);
