"""The canonical rows of an environment's state: what `digest` hashes and a checkpoint keeps.

Guarantees that the rows hold nothing of the environment's own name, of recording times or of surrogate ids, so
the same facts and definitions give the same rows in any database.

When a definition held is known from its declaration's own time, or from that of its receipt. The first is a fact like
any other, and hashed; what rests on the second is compared within one database alone (`verify`), where it is the same.
"""

from collections.abc import Iterator

from psycopg import Connection

_TASK = "(select jsonb_build_array(namespace, name) from task n where n.environment = x.environment and n.id = {})"
_DATASET = (
    "(select jsonb_build_array(namespace, name) from dataset n where n.environment = x.environment and n.id = {})"
)
_NODE = f"case x.node_kind when 'task' then {_TASK.format('x.node_id')} else {_DATASET.format('x.node_id')} end"

_STREAMED = f"case x.dataset_id when 0 then null else {_DATASET.format('x.dataset_id')} end"

# One query a table: each row one JSON array, its key first. A name that only a retired definition gave is no state.
QUERIES: tuple[tuple[str, str], ...] = (
    (
        "task",
        """
        select jsonb_build_array(namespace, name, kind, platform, observed, seen, grains, declared_by, definition,
            encode(version, 'hex'), owner, domain, partitioning, partitioning_origin)
        from task x where environment = %s and (seen or definition is not null)
        """,
    ),
    (
        "task_version",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, encode(version, 'hex'), definition)
        from task_version x
        where environment = %s and exists (select from task t where t.environment = x.environment
            and t.id = x.task_id and t.version = x.version)
        """,
    ),
    (
        "version_edge",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, encode(version, 'hex'), relation, node_kind, {_NODE})
        from (select *, unnest(nodes) as node_id from version_edge) x
        where environment = %s and exists (select from task t where t.environment = x.environment
            and t.id = x.task_id and t.version = x.version)
        """,
    ),
    (
        "dataset",
        f"""
        select jsonb_build_array(namespace, name, {_DATASET.format("x.canonical_id")}, observed, declared_by,
            definition, owner, partitioning)
        from dataset x where environment = %s and (observed <> '{{}}' or definition is not null)
        """,
    ),
    (
        "alias",
        f"""
        select jsonb_build_array({_DATASET.format("x.dataset_id")}, {_DATASET.format("x.alias_id")}, origin, source)
        from alias x where environment = %s
        """,
    ),
    (
        "edge",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, relation, node_kind, {_NODE}, origin, source, mapping,
            condition, required, staleness, role, triggers, first_at, last_at)
        from edge x where environment = %s
        """,
    ),
    ("pool", "select jsonb_build_array(name, slots, source) from pool x where environment = %s"),
    (
        "attempt",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, run, attempt_id, kind, state, evidence, ordinal,
            started_at, ended_at, span_start, span_end, partitions, error, source, task_version)
        from attempt x where environment = %s
        """,
    ),
    (
        "touch",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, run, attempt_id, direction,
            {_DATASET.format("x.dataset_id")}, partition, first_at, last_at, version, rows, measured, change,
            report, columns)
        from touch x where environment = %s
        """,
    ),
    (
        "column_list",
        f"select jsonb_build_array({_DATASET.format('x.dataset_id')}, hash) from column_list x where environment = %s",
    ),
    (
        "run",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, run, kind, map_index, state, evidence, attempt,
            attempt_id, partitions, partition_from, started_at, ended_at, interval_start, interval_end, error, source,
            shards)
        from run x where environment = %s
        """,
    ),
    (
        "shard_chunk",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, run, first, succeeded, skipped, failed, pending,
            encode(hash, 'hex'))
        from shard_chunk x where environment = %s
        """,
    ),
    (
        "partition_state",
        f"""
        select jsonb_build_array(node_kind, {_NODE}, partition, status, run_state, evidence, since,
            {_TASK.format("x.task_id")}, run, version, {_TASK.format("x.ready_task_id")}, ready_run, ready_since,
            ready_version, held - 'task_id', {_TASK.format("(x.held -> 'task_id')::bigint")}, began, group_run,
            ready_began, {_TASK.format("x.ready_parent_task_id")}, ready_made_for)
        from partition_state x where environment = %s
        """,
    ),
    (
        "control",
        """
        select jsonb_build_array(scope, namespace, subject, partition, kind, name, value, at, encode(said_by, 'hex'),
            ordered_by, reason)
        from control x where environment = %s
        """,
    ),
    (
        "quarantine_order",
        """
        select jsonb_build_array(scope, namespace, subject, partition, at, encode(said_by, 'hex'), holds, ordered_by,
            reason)
        from quarantine_order x where environment = %s
        """,
    ),
    (
        "mark",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, run, state, partition, at, encode(said_by, 'hex'),
            marked_by, reason)
        from mark x where environment = %s
        """,
    ),
    (
        "observed_key",
        f"select jsonb_build_array(set_name, key, node_kind, {_NODE}) from observed_key x where environment = %s",
    ),
    (
        "watermark",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, {_STREAMED}, at, said_at, encode(said_by, 'hex'), run)
        from watermark x where environment = %s
        """,
    ),
    (
        "late",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, {_STREAMED}, partition, said_at,
            encode(said_by, 'hex'), rows)
        from late x where environment = %s
        """,
    ),
    (
        "quality",
        f"""
        select jsonb_build_array({_DATASET.format("x.dataset_id")}, partition, {_TASK.format("x.task_id")}, run,
            attempt_id, at, report)
        from quality x where environment = %s
        """,
    ),
    (
        "failed_check",
        f"""
        select jsonb_build_array({_DATASET.format("x.dataset_id")}, partition, {_TASK.format("x.task_id")}, run,
            attempt_id, own, at, checks, number, version)
        from failed_check x where environment = %s
        """,
    ),
    (
        "upstream_list",
        f"""
        select jsonb_build_array({_TASK.format("x.task_id")}, encode(list, 'hex'), first_at, last_at)
        from upstream_list x where environment = %s
        """,
    ),
    (
        "declaration",
        """
        select distinct jsonb_build_array(source, valid_from, encode(manifest, 'hex'))
        from declaration x where environment = %s and stated
        """,
    ),
    ("progress", "select jsonb_build_array(source, observed_through) from progress x where environment = %s"),
)


def rows(connection: Connection, environment: int) -> Iterator[tuple[str, str]]:
    """Every canonical row with its table, table by table and sorted within each; streamed by the server."""
    for table, query in QUERIES:
        ordered = f'select line from (select x::text from ({query}) q (x)) lines (line) order by line collate "C"'
        with connection.cursor(name=f"digest_{table}_{abs(environment)}_{environment < 0}") as cursor:
            cursor.itersize = 5_000
            for (text,) in cursor.execute(ordered.encode(), [environment]):
                yield table, text
