-- Sets of keys that grow: those of `dynamic {set}`, by registration and by being observed.
--
-- That a key was registered, or taken off again, is an order like any other and stands in `control`: one register a set
-- and key, of which the latest event counts. The subject is the set, the partition the key, so that the keys of a set
-- are one range of the primary key, in their order.
--
-- `observed_key` is derived: a task or dataset that is declared to be cut by the set has a partition of that key. Of a
-- product there are as many partitions of a client as days, so the keys alone are kept, each once a node; a verdict over
-- "all clients" reads them and not the partitions. The second index serves a node that is cut otherwise than before.

alter table control drop constraint control_scope_check, drop constraint control_kind_check;
alter table control
    add constraint control_scope_check check (scope in ('environment', 'domain', 'task', 'dataset', 'fact', 'set')),
    add constraint control_kind_check
        check (kind in ('hold', 'gate', 'fact', 'quarantine', 'rerun', 'not_before', 'key')),
    add constraint control_key_is_of_a_set
        check ((kind = 'key') = (scope = 'set') and (kind <> 'key' or (partition <> '' and jsonb_typeof(value) = 'boolean')));

create table observed_key (
    environment smallint not null references environment,
    set_name text not null check (set_name <> ''),
    key text not null check (key <> ''),
    node_kind node_kind not null,
    node_id bigint not null,
    primary key (environment, set_name, key, node_kind, node_id)
);
create index observed_key_by_node on observed_key (environment, node_kind, node_id);

-- Who is cut by a set, and so has more partitions, or needs more, once it grows.
create index task_by_set on task using gin (jsonb_path_query_array(partitioning, '$.**.set'))
    where jsonb_path_exists(partitioning, '$.**.set');
create index dataset_by_set on dataset using gin (jsonb_path_query_array(partitioning, '$.**.set'))
    where jsonb_path_exists(partitioning, '$.**.set');

-- `listed`: a set that the node is cut by has come to hold the key that stands in the partition's place, or holds it no
-- more. Which partitions that makes is found when it is announced.
alter table outbox drop constraint outbox_change_check;
alter table outbox add constraint outbox_change_check check (change in ('began', 'ended', 'ordered', 'declared', 'listed'));
