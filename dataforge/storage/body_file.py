"""Bodies of events in a file: what each said, as text, in the order of recording."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pyarrow as pa

from dataforge.storage.parquet_file import Form


class KeptBody(msgspec.Struct, frozen=True, array_like=True):
    """An event's body, and what is known of it."""

    number: int
    recorded_at: datetime
    occurred_at: datetime
    id: bytes
    kind: str
    body: str


TIME = pa.timestamp("us", tz="UTC")
FORM = Form(
    row=KeptBody,
    schema=pa.schema(
        [
            pa.field("number", pa.int64(), nullable=False),
            pa.field("recorded_at", TIME, nullable=False),
            pa.field("occurred_at", TIME, nullable=False),
            pa.field("id", pa.binary(16), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("body", pa.string(), nullable=False),
        ]
    ),
    dictionaries=["kind"],
    encodings=dict.fromkeys(("number", "recorded_at", "occurred_at"), "DELTA_BINARY_PACKED"),
)
