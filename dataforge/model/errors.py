"""The one tree of errors, so that each outcome is mapped to an exit code or an HTTP status in one place.

Guarantees that whatever DataForge refuses is raised as a `DataForgeError` whose message says what was
wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class DataForgeError(Exception):
    """Anything DataForge refuses or cannot do; never raised itself, only by its subclasses."""


class FieldError(NamedTuple):
    """One field of an input that is not what it should be."""

    field: str  # the path to it, as in "run.facets.nominalTime"
    value: object  # what was given
    expected: str  # what would have been right


class InvalidInput(DataForgeError):
    """What a caller sent has the wrong shape or breaks a rule; nothing of it was applied."""

    def __init__(self, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = list(errors)


class NotFound(DataForgeError):
    """A name matches nothing, or more than one thing; `candidates` are names that would work."""

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.candidates = list(candidates)


class Conflict(DataForgeError):
    """The request is well formed, but the present state forbids it."""


class Unreachable(DataForgeError):
    """The ledger cannot answer now: it is down, lost on the way, too slow, or at fault itself. Trying again later may
    help; nothing else that the caller could change in its question would."""


class DatabaseUnavailable(Unreachable):
    """The database cannot be reached, was lost on the way, or is too old to serve."""


class ArchiveUnavailable(Unreachable):
    """The archive cannot be written or read, or what was read back from it is not what was written."""


class Overloaded(Unreachable):
    """More waits to be done than is held at once; nothing of the call was."""


class SettingsError(DataForgeError):
    """A setting has a value that cannot be used, or has none (None) and needs one."""

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(f"{setting} is {'not set' if value is None else repr(value)}: expected {expected}")
        self.setting = setting


class DefinitionsError(DataForgeError):
    """What a code location defines for Dagster cannot be loaded: nothing is wrong with the installation."""


class StartupError(DataForgeError):
    """Something on this machine stands in the way of starting: a port, a folder, a process that died."""
