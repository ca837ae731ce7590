-- Of some runs nobody tells when they began: their end stands for it, so that a task that updates trigger is not due again
-- after a run that only reported its success. They are few, and found by their end; one that has none counts as the latest.
create index run_without_begin on run (environment, task_id, (coalesce(ended_at, 'infinity')) desc, run)
    where started_at is null;
