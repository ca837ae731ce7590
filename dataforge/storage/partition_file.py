"""Partition states in a file: how each stood when its window ended, in the order of its node and key."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pyarrow as pa

from dataforge.storage.parquet_file import Form


class KeptPartition(msgspec.Struct, frozen=True, array_like=True):
    """A partition as it stood: what decided it, and its last success."""

    kind: str
    node_id: int
    namespace: str | None
    name: str | None
    partition: str
    status: str
    run_state: str
    evidence: str
    since: datetime | None
    began: datetime | None
    task_namespace: str | None
    task: str | None
    run: str
    group_run: str | None
    version: str | None
    ready_task_namespace: str | None
    ready_task: str | None
    ready_run: str | None
    ready_since: datetime | None
    ready_began: datetime | None
    ready_version: str | None
    ready_made_for: list[str] | None
    held: str | None  # JSON: what holds it back


_TIME = pa.timestamp("us", tz="UTC")
_TIMES = ("since", "began", "ready_since", "ready_began")
_NEEDED = ("kind", "node_id", "partition", "status", "run_state", "evidence", "run")
_TYPES = {"node_id": pa.int64(), "ready_made_for": pa.list_(pa.string())} | dict.fromkeys(_TIMES, _TIME)
_NAMES = KeptPartition.__struct_fields__
FORM = Form(
    row=KeptPartition,
    schema=pa.schema([pa.field(name, _TYPES.get(name, pa.string()), nullable=name not in _NEEDED) for name in _NAMES]),
    dictionaries=[name for name in _NAMES if name not in (*_TIMES, "run", "ready_run", "ready_made_for")],
    encodings=dict.fromkeys(_TIMES, "DELTA_BINARY_PACKED") | dict.fromkeys(("run", "ready_run"), "DELTA_BYTE_ARRAY"),
)
