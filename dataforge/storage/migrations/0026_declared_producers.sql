-- Whose declared product a dataset is, which is asked of every dataset that a batch writes. `edge_by_node` finds it among
-- all edges of the dataset, of which a table that thousands read has thousands.
create index edge_declared_producer on edge (environment, node_id)
    where relation = 'produces' and origin = 'declared' and node_kind = 'dataset';
