"""The lists of upstream tasks that platforms have given, each with the first and the last time it was said."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from psycopg import Connection

from dataforge.storage.record_set import spread


class UpstreamList(msgspec.Struct, frozen=True):
    """That an event listed these as all the upstream tasks of a task."""

    task_id: int
    upstreams: list[int]  # sorted
    at: datetime


SAVE = """
insert into upstream_list as known (environment, task_id, list, upstreams, first_at, last_at)
select %s, task_id, content_hash(to_jsonb(upstreams)), upstreams, min(at), max(at)
from json_to_recordset(%s::json) as said (task_id bigint, upstreams bigint[], at timestamptz)
group by task_id, upstreams order by task_id, upstreams
on conflict (environment, task_id, list) do update
set first_at = least(known.first_at, excluded.first_at), last_at = greatest(known.last_at, excluded.last_at)
where known.first_at > excluded.first_at or known.last_at < excluded.last_at
"""


def save(connection: Connection, environment: int, said: Iterable[UpstreamList]) -> None:
    """Adds lists to those that are known. A repeat changes nothing, nor does their order."""
    rows = [msgspec.structs.asdict(each) for each in said]
    if rows:
        connection.execute(SAVE, [environment, spread(rows)])
