-- Shards: the parts that one run is made of, such as the 100,000 files it reads, and how each of them ended.
--
-- A run over 100,000 files is one row of `run` and a manifest of some fifty rows here, not 100,000 tasks. Each row is a
-- chunk: the shards whose keys lie from `first` up to the next chunk's, compressed. A key begins a chunk where its own
-- hash says so, one in 2,048; so how a manifest is cut follows from its keys alone, whatever came first, an increment
-- rewrites only the chunks that it speaks of, and a page is read from the one where it begins.
--
-- `content` is a fact, merged of what events said of each shard. The other columns are told from it: counts, so that a
-- run is settled and a filtered page found without unpacking anything, and `hash`, by which two states are compared,
-- since the same content may be compressed otherwise by another version of the library.

create table shard_chunk (
    environment smallint not null,
    task_id bigint not null,
    run text not null check (run <> ''),
    first text collate "C" not null,
    succeeded integer not null check (succeeded >= 0),
    skipped integer not null check (skipped >= 0),
    failed integer not null check (failed >= 0),
    pending integer not null check (pending >= 0),
    first_failed text collate "C",
    first_pending text collate "C",
    hash bytea not null check (octet_length(hash) = 16),
    content bytea not null,
    primary key (environment, task_id, run, first),
    foreign key (environment, task_id) references task,
    constraint shard_chunk_is_not_empty check (succeeded + skipped + failed + pending > 0),
    constraint shard_chunk_names_its_first_failed check ((failed > 0) = (first_failed is not null)),
    constraint shard_chunk_names_its_first_pending check ((pending > 0) = (first_pending is not null)),
    constraint shard_chunk_begins_with_first
        check (least(coalesce(first_failed, first), coalesce(first_pending, first)) >= first)
);
alter table shard_chunk alter column content set storage external;

-- How many shards the run has and how they ended; null of a run without any.
alter table run add column shards jsonb check (jsonb_typeof(shards) = 'object');
