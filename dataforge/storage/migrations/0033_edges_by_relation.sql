-- Who writes a dataset is asked far more often than who reads it, and most are read by many: with the relation in the index
-- the readers of a popular one are not read to find its one writer.
drop index edge_by_node;
create index edge_by_node on edge (environment, node_kind, node_id, relation);
