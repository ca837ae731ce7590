"""The state of an environment as one number, and whether it is the state that its recorded events give."""

from hashlib import sha256
from itertools import zip_longest

import msgspec

from dataforge.storage import digest as canonical
from dataforge.storage import environment as environments
from dataforge.storage.database import Connection, Database


def digest(database: Database, environment: str) -> str:
    """SHA-256, in hex, over the canonical state of an environment."""
    with database.transaction() as connection:
        found = environments.find(connection, environment)
        return _digest(connection, found.id)


def _digest(connection: Connection, environment: int) -> str:
    total = sha256()
    for table, row in canonical.rows(connection, environment):
        total.update(f"{table}\t{row}\n".encode())
    return total.hexdigest()


class Difference(msgspec.Struct, frozen=True):
    """The first place where the live state and the rebuilt one part."""

    live: tuple[str, str] | None  # table and row; None where the live state has no more
    rebuilt: tuple[str, str] | None


def first_difference(connection: Connection, live: int, rebuilt: int) -> Difference | None:
    """Compares the states of two environments; None when they agree."""
    compared = canonical.QUERIES + canonical.BY_RECEIPT
    both = (canonical.rows(connection, environment, compared) for environment in (live, rebuilt))
    for one, other in zip_longest(*both):
        if one != other:
            return Difference(one, other)
    return None
