"""By which partitions of tasks a dataset's partition was made, and when their runs began.

Guarantees one query, which reads a bounded number of claims of each partition by an index.
"""

from collections.abc import Iterable
from datetime import datetime

from psycopg import Connection

from dataforge.storage.partition import Place
from dataforge.storage.readiness import columns

# The latest claims alone: whose run an order asks for again is among those that made what is there.
MAKERS = """
select distinct w.node, w.partition, c.started_at, c.producer_task_id, made.key
from unnest(%(kinds)s::node_kind[], %(nodes)s::bigint[], %(partitions)s::text[]) as w (kind, node, partition)
cross join lateral (
    select id from dataset where environment = %(environment)s and canonical_id = w.node offset 0
) d
cross join lateral (
    select * from write
    where environment = %(environment)s and node_kind = w.kind and node_id = d.id and partition = w.partition
    order by started_at desc nulls last limit 100
) c
cross join lateral unnest(
    case when c.attempt_id = '~watermark' then '{""}' else coalesce(c.made_for, array[w.partition]) end
) as made (key)
where not c.past
"""


def makers(
    connection: Connection, environment: int, places: Iterable[Place]
) -> dict[Place, list[tuple[Place, datetime | None]]]:
    """The partitions of tasks whose runs made each of these partitions of datasets, with when each run began."""
    found: dict[Place, list[tuple[Place, datetime | None]]] = {}
    wanted = list(places)
    for node, key, at, task, own in connection.execute(MAKERS, columns(environment, wanted)) if wanted else ():
        found.setdefault(("dataset", node, key), []).append((("task", task, own), at))
    return found
