-- Claims of partitions that one worker runs together, such as a step of Dagster: granted all or none.
--
-- Together they take the slots of pools that the largest of them takes, once, since one process runs them; the slots stay
-- with one of those that are still held, and go with the last. What the worker said of itself stands with the lease,
-- so that the event of the end says it too.

alter table lease
    add together uuid,
    add source jsonb,
    drop constraint lease_ending_check,
    add constraint lease_ending_check check (
        ending in ('completed', 'failed', 'released', 'skipped', 'canceled', 'upstream_failed', 'expired'));
create index lease_together on lease (environment, together) where together is not null and ended_at is null;
