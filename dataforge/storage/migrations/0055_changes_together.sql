-- The outbox holds changes of one kind together, up to fifty a row: the server writes a row, an entry of an index and their
-- removal for fifty partitions in the place of one. What waits is moved on.

alter table outbox rename to outbox_before;
alter table outbox_before rename constraint outbox_pkey to outbox_before_pkey;

create table outbox (
    environment smallint not null,
    id bigint not null generated always as identity,
    node_kind node_kind,  -- none of an order: what is held is decided anew
    -- what only began to run serves nothing downstream; an order speaks of the partition itself
    change text not null check (change in ('began', 'ended', 'ordered', 'declared', 'listed')),
    nodes bigint[] not null check (cardinality(nodes) between 1 and 50),
    partitions text[] not null,  -- one of each node
    primary key (environment, id),
    check (node_kind is not null or change = 'ordered'),
    check (cardinality(partitions) = cardinality(nodes))
);

insert into outbox (environment, node_kind, change, nodes, partitions)
select environment, node_kind, change, array[node_id], array[partition] from outbox_before order by id;
drop table outbox_before;
