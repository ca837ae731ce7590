"""Runs in a file: what was known of each when it ended, in the order of their starts.

Guarantees at most a few bytes for what repeats: times are kept by their differences, ends by how long a run took, and
the names of tasks once. What a run read and wrote is not in it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import pyarrow as pa

from dataforge.storage.parquet_file import Form


class KeptRun(msgspec.Struct, frozen=True, array_like=True):
    """A run as it stood."""

    started_at: datetime | None  # None of what never began
    took: int | None  # microseconds; None where no end is known
    task_id: int
    namespace: str
    name: str
    kind: str
    platform: str
    owner: str | None
    run: str
    attempt: int
    state: str
    evidence: str
    partitions: list[str]
    partition_from: str | None
    interval_start: datetime | None
    interval_took: int | None  # microseconds
    error: str | None
    version: str | None
    source: str  # JSON: what its platform calls it
    shards: str | None  # JSON


_TIME = pa.timestamp("us", tz="UTC")
FORM = Form(
    row=KeptRun,
    schema=pa.schema(
        [
            pa.field("started_at", _TIME),
            pa.field("took", pa.int64()),
            pa.field("task_id", pa.int64(), nullable=False),
            pa.field("namespace", pa.string(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("platform", pa.string(), nullable=False),
            pa.field("owner", pa.string()),
            pa.field("run", pa.string(), nullable=False),
            pa.field("attempt", pa.int32(), nullable=False),
            pa.field("state", pa.string(), nullable=False),
            pa.field("evidence", pa.string(), nullable=False),
            pa.field("partitions", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
            pa.field("partition_from", pa.string()),
            pa.field("interval_start", _TIME),
            pa.field("interval_took", pa.int64()),
            pa.field("error", pa.string()),
            pa.field("version", pa.string()),
            pa.field("source", pa.string(), nullable=False),
            pa.field("shards", pa.string()),
        ]
    ),
    dictionaries=[
        *("task_id", "namespace", "name", "kind", "platform", "owner", "attempt", "state", "evidence"),
        *("partitions.list.element", "partition_from", "interval_start", "interval_took", "error", "version"),
        *("source", "shards"),
    ],
    encodings={"started_at": "DELTA_BINARY_PACKED", "took": "DELTA_BINARY_PACKED", "run": "DELTA_BYTE_ARRAY"},
)
