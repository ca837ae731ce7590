"""Rejects as lists show them: the latest first, each with its bytes."""

from base64 import b64encode
from datetime import datetime
from typing import Literal

import msgspec
from psycopg import Connection

from dataforge.model.catalog import Complaint, RejectItem
from dataforge.model.filter import RejectFilter
from dataforge.model.listing import Examined
from dataforge.model.message import MessagePlace
from dataforge.storage.body import decompress

MOST_BYTES = 20 * 2**20  # of the bodies on one page, the first one not counted


class RejectPlace(msgspec.Struct, frozen=True, array_like=True, tag="rejects"):
    """The place of a reject in the list."""

    received_at: datetime
    id: bytes


MATCHING = """
with looked_at as (
    select received_at, id, size
    from reject
    where environment = %(environment)s
        and received_at <= coalesce(%(after_time)s::timestamptz, 'infinity')
        and received_at >= coalesce(%(since)s::timestamptz, '-infinity')
        and received_at < coalesce(%(until)s::timestamptz, 'infinity')
        and (%(after_time)s::timestamptz is null or received_at < %(after_time)s or id > %(after_id)s)
    order by received_at desc, id limit %(limit)s + 1
)
select received_at, id, sum(size) over (order by received_at desc, id) - size
from looked_at order by received_at desc, id
"""


def find(
    connection: Connection, environment: int, wanted: RejectFilter, after: RejectPlace | None
) -> Examined[RejectPlace]:
    """The rejects of one page, and one more; fewer where their bodies together are large."""
    parameters = {
        **msgspec.structs.asdict(wanted),
        "environment": environment,
        "after_time": after.received_at if after else None,
        "after_id": after.id if after else None,
    }
    rows = connection.execute(MATCHING, parameters, prepare=False).fetchall()
    fitting = [RejectPlace(received_at, row_id) for received_at, row_id, before in rows if before < MOST_BYTES]
    return Examined(fitting, fitting[-1] if len(fitting) < len(rows) else None)


LOAD = """
select r.id, r.received_at, r.size, r.errors, r.body, r.topic, r.topic_partition, r.topic_offset
from unnest(%(ids)s::bytea[]) with ordinality as wanted (id, place)
join reject r on r.environment = %(environment)s and r.id = wanted.id
order by place
"""


def load(connection: Connection, environment: int, places: list[RejectPlace]) -> list[RejectItem]:
    """The rejects at these places, in their order."""
    rows = connection.execute(LOAD, {"environment": environment, "ids": [place.id for place in places]}).fetchall()
    return [
        RejectItem(
            id=row_id.hex(),
            received_at=received_at,
            size=size,
            errors=msgspec.convert(errors, list[Complaint]),
            encoding=encoding,
            body=text,
            message=MessagePlace(*place) if place[0] is not None else None,
        )
        for row_id, received_at, size, errors, body, *place in rows
        for encoding, text in [_text(decompress(connection, body))]
    ]


def _text(body: bytes) -> tuple[Literal["utf-8", "base64"], str]:
    try:
        return "utf-8", body.decode()
    except UnicodeDecodeError:
        return "base64", b64encode(body).decode()
