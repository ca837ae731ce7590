-- The feed of changes: which partitions have changed since a reader last looked, and none ever missed.
--
-- A counter or a time would miss some: who draws a number first may commit last, and a reader that has gone past the
-- number by then never comes back to it. So each state carries the transaction that last changed it, and a reader is
-- shown only those below the oldest transaction that still runs (dataforge.storage.change): below it nothing can be
-- added any more. The server draws the number, so recording reads nothing for it and waits for nobody.
--
-- The index holds the whole place, so that a page may end and go on within one transaction, of which a recut of a
-- partitioning may make a very large one.
--
-- `partition_cleared` remembers the partitions that had a state and have none: the feed shows them as missing, and
-- everything else sees a partition nobody ever spoke of. A row stays behind where a state has come back; the state is
-- what counts then. Neither the transactions nor these rows are state: the digest holds neither.

alter table partition_state add column changed_by xid8 not null default pg_current_xact_id();
create index partition_state_by_change on partition_state (environment, changed_by, node_kind, node_id, partition);

create table partition_cleared (
    environment smallint not null,
    node_kind node_kind not null,
    node_id bigint not null,
    partition text not null,
    changed_by xid8 not null default pg_current_xact_id(),
    primary key (environment, node_kind, node_id, partition)
);
create index partition_cleared_by_change
    on partition_cleared (environment, changed_by, node_kind, node_id, partition);
