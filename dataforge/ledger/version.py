"""Questions about versions: what a task's definition was when, and which definition a hash stands for."""

import re

from dataforge.model import history
from dataforge.model.errors import FieldError, InvalidInput, NotFound
from dataforge.model.history import FoundDefinition, History
from dataforge.model.listing import read_cursor, write_cursor
from dataforge.storage import environment as environments
from dataforge.storage import reference as references
from dataforge.storage import version_list
from dataforge.storage.database import Database
from dataforge.storage.version_list import VersionPlace

_DIGITS = 32
_FEWEST = 8  # digits that are enough to find a definition by, and that tables show


def versions(
    database: Database,
    environment: str,
    reference: tuple[str | None, str],
    limit: int = 100,
    cursor: str | None = None,
) -> History:
    """The versions of the task that `reference` (namespace, name) means, the latest first.

    Raises NotFound for a name that is unknown or not unique; a task that nobody ever declared has no version.
    """
    after = read_cursor(cursor, VersionPlace)
    with database.transaction() as connection:
        here = environments.find(connection, environment).id
        task = references.resolve_task(connection, here, *reference)
        found = version_list.of_task(connection, here, task.id, after, limit + 1)
    shown, older = found[:limit], found[limit:]
    last = version_list.place_of(shown[-1]) if older else None
    return history.history(shown, older[0] if older else None, write_cursor(last))


def definition(database: Database, environment: str, version: str) -> FoundDefinition:
    """The definition whose hash begins with these digits.

    Raises InvalidInput for what is no hash, NotFound where no definition has it, or more than one.
    """
    digits = version.strip().lower()
    if re.fullmatch(rf"[0-9a-f]{{{_FEWEST},{_DIGITS}}}", digits) is None:
        expected = f"{_FEWEST} to {_DIGITS} hexadecimal digits"
        problem = FieldError("version", version, expected)
        raise InvalidInput(f"version is {version!r}: expected {expected}", [problem])
    first, last = (bytes.fromhex(digits.ljust(_DIGITS, digit)) for digit in "0f")
    with database.transaction() as connection:
        here = environments.find(connection, environment).id
        found = version_list.by_hash(connection, here, first, last)
    if not found:
        raise NotFound(f"no definition has a version that begins with {digits!r}")
    if len(found) > 1:
        candidates = sorted(each.version for each in found)[:5]
        raise NotFound(f"{digits!r} begins more than one version: give more digits", candidates)
    return found[0]
