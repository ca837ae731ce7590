"""Which part of the graph a window shows: what its file says, read as strictly as a declaration.

Guarantees that a selection which passes names something, and no more than one code location of Dagster's can hold.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from dataforge.model.decoding import convert
from dataforge.model.errors import FieldError, InvalidInput

MOST_ASSETS = 5_000  # of one code location: what its definitions take to load, to send and to draw grows with them
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?")


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task or dataset by its name; the namespace may be left out where the name is unique."""

    name: str
    namespace: str | None = None


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a window shows: the datasets, and the tasks that write none, which fit each of the first five lists that is
    given, and whatever the named products are made from. Of a list any one is enough."""

    domains: tuple[str, ...] = ()  # of the tasks that make it
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # declared of it, or of a task that makes it
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # a * stands for any characters
    upstream_of: tuple[str | Product, ...] = ()
    keys: dict[
        str, str
    ] = {}  # what a key begins with, by what NAMESPACE/NAME begins with; the longest that fits counts
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ASSETS)] = MOST_ASSETS

    @property
    def narrows(self) -> bool:
        """Whether it asks for anything beside products."""
        return any((self.domains, self.owners, self.tags, self.namespaces, self.names))

    @property
    def products(self) -> tuple[Product, ...]:
        """The products that are shown with all that lies upstream of them."""
        return tuple(Product(each) if isinstance(each, str) else each for each in self.upstream_of)


def parse(document: object) -> Selection:
    """The selection that YAML or JSON decodes to. Raises InvalidInput that names the field which is wrong."""
    found = convert(document, Selection, "")
    errors = [_explained(found)] if isinstance(found, FieldError) else _problems(found)
    if errors or isinstance(found, FieldError):
        field, value, expected = errors[0]
        raise InvalidInput(f"{field} is {value!r}: expected {expected}", errors)
    return found


def _explained(error: FieldError) -> FieldError:
    if error.field == "limit":
        return error._replace(expected=f"a whole number from 1 to {MOST_ASSETS:,}, the most of one code location")
    return error


def _problems(selection: Selection) -> list[FieldError]:
    if not selection.narrows and not selection.upstream_of:
        expected = "at least one of domains, owners, tags, namespaces, names, upstream_of"
        return [FieldError("$", "a selection of nothing", expected)]
    return [
        FieldError(f"keys.{name}", prefix, "letters, digits, - _ and ., its parts joined by /, such as lake/raw/")
        for name, prefix in selection.keys.items()
        if not _PREFIX.fullmatch(prefix)
    ]
