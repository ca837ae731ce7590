-- Where the consumer of Kafka's messages stands, in the same database as what it made of them: one transaction writes
-- both, so that no message is lost and none is there twice, whatever is killed in between.
--
-- `next_offset` moves on only from what the consumer has read from: one that was taken for dead and wakes up finds another
-- number there, and its transaction is undone. `topic_id` is Kafka's own: a topic that was deleted and made anew has
-- another, and offsets of the old one mean nothing in it.
create table kafka_offset (
    environment smallint not null references environment,
    topic text not null check (topic <> ''),
    partition integer not null check (partition >= 0),
    topic_id text not null check (topic_id <> ''),
    next_offset bigint not null check (next_offset >= 0),
    primary key (environment, topic, partition)
);

-- Where messages are gone, or the topic is another, a partition stands still until a person decides where it goes on. What
-- was decided, by whom and why, stays.
create table kafka_reset (
    environment smallint not null references environment,
    topic text not null,
    partition integer not null,
    decided_at timestamptz not null,
    decided_by text not null check (decided_by <> ''),
    reason text not null check (reason <> ''),
    old_topic_id text not null,
    old_offset bigint not null,
    new_topic_id text not null,
    new_offset bigint not null,
    primary key (environment, topic, partition, decided_at)
);

-- Which message a reject was: two empty ones are two rejects. All three or none.
alter table reject
    add column topic text check (topic <> ''),
    add column topic_partition integer check (topic_partition >= 0),
    add column topic_offset bigint check (topic_offset >= 0),
    add constraint reject_is_a_whole_message_or_none check (num_nulls(topic, topic_partition, topic_offset) in (0, 3));
