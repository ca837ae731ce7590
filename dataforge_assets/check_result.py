"""What results of the ledger's checks have in common: the digest that names an answer, and a table of what is amiss.

Guarantees that two results with the same digest say the same, so that whoever writes results can leave out what is no
news.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

DIGEST = "dataforge/digest"  # metadata of every result


def digest_of(content: str) -> MetadataValue:
    """The name of an answer, given all that counts of it."""
    return MetadataValue.text(blake2b(content.encode(), digest_size=16).hexdigest())


def row(columns: Sequence[str], values: Iterable[str | None]) -> dict[str, str]:
    """A row of the table; of what is not known nothing."""
    return {column: value or "" for column, value in zip(columns, values, strict=True)}


def table(columns: Sequence[str], rows: Sequence[dict[str, str]], most: int) -> MetadataValue:
    """The first `most` rows: a table is stored with each result."""
    schema = TableSchema([TableColumn(name) for name in columns])
    return MetadataValue.table([TableRecord(dict(each)) for each in rows[:most]], schema)
