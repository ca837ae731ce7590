-- What a watermark has passed triggers nothing: an update is the success of a run. Without its rows in the index, the
-- latest update of a dataset that a stream writes as well is found at once.
drop index write_by_update;
create index write_by_update on write (environment, node_id, since desc)
    where node_kind = 'dataset' and status = 'ready' and evidence <> 'inferred' and attempt_id <> '~watermark';
