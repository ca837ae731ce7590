"""The partition that a SQL statement inserts into: INSERT ... PARTITION (ds = '2026-11-01').

Spark's events name the table alone, so the text of the statement is the only place where its partition stands.
Guarantees that a key is given only where every partition column has a literal: a dynamic one has rows of many.
"""

import re

from dataforge.ingest import paths

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_COMMENT = re.compile(rf"({_QUOTED})|--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = r"(?:`[^`]+`|\w+)"
_VALUE = rf"(?:(?:DATE|TIMESTAMP)\s*)?(?:{_QUOTED})|-?\d+|CAST\s*\(\s*(?:{_QUOTED})\s+AS\s+\w+\s*\)"
_PAIR = rf"\s*{_NAME}\s*=\s*(?:{_VALUE})\s*"
# A statement may begin with what it reads: WITH ... INSERT, or Hive's FROM ... INSERT, which may hold several.
_STARTS = re.compile(r"\s*(?:INSERT|WITH|FROM)\b", re.IGNORECASE)
_INSERT = re.compile(r"\bINSERT\s+(?:INTO|OVERWRITE)\b", re.IGNORECASE)
_STATIC = re.compile(
    rf"\s+(?:TABLE\s+)?{_NAME}(?:\s*\.\s*{_NAME})*\s*PARTITION\s*\(({_PAIR}(?:,{_PAIR})*)\)", re.IGNORECASE | re.DOTALL
)
_COLUMN = re.compile(rf"({_NAME})\s*=\s*({_VALUE})", re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(rf"{_QUOTED}|-?\d+", re.DOTALL)
_LONGEST = 100_000  # characters that are looked at: what comes later is no clause of the INSERT


def partition(statement: str) -> str | None:
    """The key of the partition that the statement inserts into; None where it names none, or not all of it."""
    text = _COMMENT.sub(lambda found: found[1] or " ", statement[:_LONGEST])
    inserts = list(_INSERT.finditer(text)) if _STARTS.match(text) else []
    if len(inserts) != 1:
        return None
    clause = _STATIC.match(text, inserts[0].end())
    return paths.key_of_values(_values(clause[1])) if clause else None


def _values(clause: str) -> dict[str, str]:
    return {name.strip("`"): _plain(value) for name, value in _COLUMN.findall(clause)}


def _plain(value: str) -> str:
    """The literal itself, of DATE '2026-11-01' and of CAST('2026-11-01' AS DATE) as well."""
    literal = _LITERAL.search(value)
    return literal[0].strip("'\"") if literal else value
