"""Redaction: what is dropped, masked or hashed before anything of an event is read or stored.

The event log is append-only and cannot be cleaned later, so this runs first. Rules come from the file that
DATAFORGE_REDACTION names (TOML):

    [[rule]]
    path = "job.facets.sql.query"          # `*` stands for any key or any element of an array
    action = "hash"                        # drop | mask | hash
"""

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec

from dataforge.model.errors import FieldError, InvalidInput

MASK = "[redacted]"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to the values at a path."""

    path: str
    action: Literal["drop", "mask", "hash"]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[Rule] = []


class Redaction(msgspec.Struct, frozen=True):
    """The rules in force, in order."""

    rules: tuple[Rule, ...] = ()

    def apply(self, document: Any) -> Any:
        """The document with every rule applied; the given one stays as it is."""
        for rule in self.rules:
            document = _redact(document, rule.path.split("."), rule.action)
        return document


NOTHING = Redaction()


def load(path: Path | None) -> Redaction:
    """The rules of a file; none without one. Raises InvalidInput that names what is wrong in it."""
    if path is None:
        return NOTHING
    try:
        rules = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).rule
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        problem = FieldError("DATAFORGE_REDACTION", str(path), f"a readable TOML file of [[rule]] tables: {error}")
        raise InvalidInput(f"the redaction rules cannot be used: {error}", [problem]) from None
    return Redaction(tuple(rules))


def _redact(value: Any, path: list[str], action: str) -> Any:
    if not path:
        return MASK if action == "mask" else _hashed(value)
    if isinstance(value, list):
        rest = path[1:] if path[0] == "*" else path
        return [_redact(part, rest, action) for part in value] if rest or action != "drop" else []
    if not isinstance(value, dict):
        return value
    matched = [key for key in value if path[0] in ("*", key)]
    if len(path) == 1 and action == "drop":
        return {key: part for key, part in value.items() if key not in matched}
    return {key: _redact(part, path[1:], action) if key in matched else part for key, part in value.items()}


def _hashed(value: Any) -> str:
    """Equal values keep equal hashes, so that joins on them still work."""
    return "sha256:" + sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
