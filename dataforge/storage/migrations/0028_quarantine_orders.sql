-- Every order to quarantine a partition or to release it. `control` keeps the one that stands, which is all that a verdict
-- asks for; but whether a run began on a partition while it was quarantined is told by the order that stood then, and a
-- release that came later says nothing of that. People order few of them, so all are kept.
--
-- The key is the order in which they are asked for: of one partition the last by a time. Of an environment that recorded
-- orders before this table only those that stand are known, until `dataforge replay` has read the events anew.

create table quarantine_order (
    environment smallint not null references environment,
    scope text not null check (scope in ('task', 'dataset')),
    subject_id bigint not null,
    partition text not null,  -- '' is the whole subject
    at timestamptz not null,
    said_by bytea not null check (octet_length(said_by) = 16),  -- the event
    namespace text not null,
    subject text not null,
    holds boolean not null,  -- else it lets go
    ordered_by text not null check (ordered_by <> ''),
    reason text,
    primary key (environment, scope, subject_id, partition, at, said_by)
);

insert into quarantine_order (environment, scope, subject_id, partition, at, said_by, namespace, subject, holds, ordered_by,
    reason)
select environment, scope, subject_id, partition, at, said_by, namespace, subject, value = 'true', ordered_by, reason
from control where kind = 'quarantine';
