-- Partition edges: what runs were seen to read and write of partitions that they named.
--
-- Such an edge needs no row of its own: the touch of the run is the fact, and holds all of it. What a mapping implies is
-- left out when it is read, so it does not matter which of the two came first. Only the way from a partition to whoever
-- named it was missing: this index, which holds the named ones alone.

create index touch_by_place on touch (environment, dataset_id, partition) where partition <> '';
