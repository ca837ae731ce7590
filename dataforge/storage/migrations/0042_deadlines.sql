-- By when something is to be there stands in its definition. Of a hundred thousand tasks a few have one; they are found
-- without reading the others' definitions.
create index task_due on task (environment, id) where definition ? 'due';
create index dataset_due on dataset (environment, canonical_id) where definition ? 'due';
