-- Versions: which definition held when, and who said so.
--
-- Facts. `declaration` holds every declaration that was ever accepted: from when on which source declared which
-- manifest. `manifest` holds each manifest once, by a hash of its content; `task_version` and `dataset_version` each
-- definition once, by its own. None of them is ever changed. Of what a source declared the last one stands, last by the
-- time from which it holds, then by its receipt, then by its hash: an order of the facts, whatever came first.
--
-- Derived. `definition_span` says when a version began to hold and when it ended: what a source declares holds until
-- the next that it declares. It is a function of `declaration` alone (dataforge.model.version), kept because the past
-- is asked for by task and by time. `version_edge` spells out the edges that a version of a task declares, so an edge
-- holds exactly while a version does that has it, and the past can be walked from either end.
--
-- Observation. `upstream_list` holds what a platform has listed as the upstream tasks of a task, each list once, with
-- the first and the last time it was said: `edge` keeps the last list only, and forgets when an upstream was first seen.

-- A definition or a manifest by its content; jsonb has one spelling for what means the same.
create function content_hash(content jsonb) returns bytea language sql stable
    return substr(sha256(convert_to(content::text, 'UTF8')), 1, 16);

create table manifest (
    environment smallint not null references environment,
    hash bytea not null check (octet_length(hash) = 16),
    content jsonb not null,
    primary key (environment, hash)
);

create table declaration (
    environment smallint not null,
    source text not null check (source <> ''),
    valid_from timestamptz not null,
    received_at timestamptz not null,
    manifest bytea not null,
    stated boolean not null,  -- the manifest itself says from when on it holds; else it holds from its receipt on
    primary key (environment, source, valid_from, received_at, manifest),
    foreign key (environment, manifest) references manifest,
    check (valid_from <= received_at),
    check (stated or valid_from = received_at)
);

create table dataset_version (
    environment smallint not null,
    dataset_id bigint not null,
    version bytea not null check (octet_length(version) = 16),
    definition jsonb not null,
    primary key (environment, dataset_id, version),
    foreign key (environment, dataset_id) references dataset
);

create table definition_span (
    environment smallint not null references environment,
    node_kind node_kind not null,
    node_id bigint not null,
    source text not null check (source <> ''),
    valid_from timestamptz not null,
    valid_to timestamptz,  -- the first moment after it; null while it holds
    version bytea not null check (octet_length(version) = 16),
    primary key (environment, node_kind, node_id, valid_from, source),
    check (valid_to > valid_from)
);

create table version_edge (
    environment smallint not null,
    task_id bigint not null,
    version bytea not null,
    relation edge_relation not null check (relation <> 'runs'),
    node_kind node_kind not null,
    node_id bigint not null,
    primary key (environment, task_id, version, relation, node_kind, node_id),
    foreign key (environment, task_id, version) references task_version,
    check (relation <> 'produces' or node_kind = 'dataset')
);
create index version_edge_by_node on version_edge (environment, node_kind, node_id);

create table upstream_list (
    environment smallint not null,
    task_id bigint not null,
    list bytea not null check (octet_length(list) = 16),  -- the hash of what it lists
    upstreams bigint[] not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    primary key (environment, task_id, list),
    foreign key (environment, task_id) references task,
    check (last_at >= first_at)
) with (fillfactor = 80);
create index upstream_list_by_upstream on upstream_list using gin (upstreams);  -- ids are hashes: few rows of others

-- The version that an event says its task ran, in hexadecimal as lists show it.
alter table attempt add column task_version text check (task_version ~ '^[0-9a-f]{32}$');

-- A definition is found by its hash alone: it names what it defines, so no two things share one.
create index task_version_by_hash on task_version (environment, version);
create index dataset_version_by_hash on dataset_version (environment, version);

create trigger manifest_is_append_only before update or delete on manifest
    for each row execute function refuse_change();
create trigger declaration_is_append_only before update or delete on declaration
    for each row execute function refuse_change();
create trigger dataset_version_is_append_only before update or delete on dataset_version
    for each row execute function refuse_change();
create trigger version_edge_is_append_only before update or delete on version_edge
    for each row execute function refuse_change();

-- What was declared before holds since its source last declared anything: all that is known of it.
insert into manifest (environment, hash, content)
select distinct environment, content_hash(manifest), manifest from definition_source;
insert into declaration (environment, source, valid_from, received_at, manifest, stated)
select environment, source, declared_at, declared_at, content_hash(manifest), false from definition_source;
insert into definition_span (environment, node_kind, node_id, source, valid_from, version)
select environment, 'task', id, declared_by, declared_at, version
from task join definition_source using (environment) where declared_by = source;
insert into version_edge (environment, task_id, version, relation, node_kind, node_id)
select environment, task_id, version, relation, node_kind, node_id
from edge join task using (environment) where task.id = edge.task_id and edge.source = task.declared_by;
insert into dataset_version (environment, dataset_id, version, definition)
select distinct d.environment, d.id, content_hash(said), said
from definition_source s, jsonb_array_elements(manifest -> 'datasets') said
join dataset d on d.namespace = said ->> 'namespace' and d.name = said ->> 'name'
where d.environment = s.environment;
insert into definition_span (environment, node_kind, node_id, source, valid_from, version)
select d.environment, 'dataset', d.id, s.source, s.declared_at, content_hash(said)
from definition_source s, jsonb_array_elements(manifest -> 'datasets') said
join dataset d on d.namespace = said ->> 'namespace' and d.name = said ->> 'name'
where d.environment = s.environment;
insert into upstream_list (environment, task_id, list, upstreams, first_at, last_at)
select environment, task_id, content_hash(to_jsonb(array_agg(node_id order by node_id))),
    array_agg(node_id order by node_id), min(first_at), max(last_at)
from edge where origin = 'observed' and relation = 'consumes' and node_kind = 'task'
group by environment, task_id;  -- the last list of each; when it was first said is known once the events are read again
