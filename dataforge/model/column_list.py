"""Which columns a run showed of what it wrote: a list that goes by its hash, and what became of one until the next.

Guarantees that equal columns have one hash, whatever their order: what is stored of each run is the hash, and the list
once.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta

Columns = tuple[tuple[str, str], ...]  # name and type, '' where nobody said it; a part of a column as column.part


class ColumnList(msgspec.Struct, frozen=True):
    """Columns by name, each once, and the name of them all."""

    hash: str
    columns: Columns


def listed(columns: Iterable[tuple[str, str]]) -> ColumnList | None:
    """The list of these columns, in any order; None of none, which is what a producer sends that does not know."""
    told = tuple(columns)
    return _listed(told) if told else None


@lru_cache(maxsize=1_024)  # the runs of a task show the same ones again and again
def _listed(told: Columns) -> ColumnList:
    columns = tuple(sorted(dict(sorted(told)).items()))
    return ColumnList(blake2b(msgspec.json.encode(columns), digest_size=16).hexdigest(), columns)


class Retyped(msgspec.Struct, frozen=True):
    """A column whose type is another one."""

    name: Annotated[str, Meta(description="The column.")]
    before: Annotated[str, Meta(description="Its type until then.")]
    after: Annotated[str, Meta(description="Its type from then on.")]


class Difference(msgspec.Struct, frozen=True):
    """What became of columns: those that are new, those that are gone, and those of another type."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[Retyped, ...] = ()


def difference(before: Columns, after: Columns) -> Difference:
    """What became of the first columns in the second. A type that was not said on both sides tells of no change."""
    old, new = dict(before), dict(after)
    both = [(name, old[name], new[name]) for name in sorted(old.keys() & new.keys())]
    return Difference(
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(old.keys() - new.keys())),
        tuple(Retyped(name, was, now) for name, was, now in both if was and now and was != now),
    )
