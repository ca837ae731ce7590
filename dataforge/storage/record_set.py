"""Rows as one parameter: a batch travels as JSON and is spread into rows by the server.

One statement with a thousand rows costs a fifth of a thousand statements with one. Guarantees that names, times
and bytes arrive as they left: JSON has none of its own for the last two, so they go as ISO 8601 and as hex.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

Row = Mapping[str, Any]
_encoder = msgspec.json.Encoder()


def spread(rows: Iterable[Row]) -> str:
    """The parameter for `json_to_recordset(%s::json)`, which reads it in a third of the time of `jsonb_to_recordset`.
    A column of bytes has them in every row."""
    given = list(rows)
    binary = [name for name, value in given[0].items() if type(value) is bytes] if given else []
    if binary:
        given = [{**row, **{name: "\\x" + row[name].hex() for name in binary}} for row in given]
    return _encoder.encode(given).decode()


def keys(runs: Sequence[tuple[int, str]]) -> dict[str, list[Any]]:
    """Runs as the two arrays that `unnest` joins on."""
    return {"tasks": [run[0] for run in runs], "runs": [run[1] for run in runs]}
