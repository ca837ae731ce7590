"""What an edge may ask of what its upstream reported: comparisons with literals, joined by all, any and not.

An expression is data and is never evaluated as code. Guarantees that one without `problems` compares each field with
what has its type, that it is bounded in depth and size, that what was not reported is unknown and never satisfies, and
that `canonical` gives one spelling to expressions that differ only in order, repetition, nesting or negation.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from dataforge.model.errors import FieldError

Operator = Literal["=", "==", "!=", "<", "<=", ">", ">="]
Scalar = bool | int | float | str
Kind = Literal["number", "text", "truth", "severity", "scalar"]
SEVERITIES = ("none", "warn", "error")  # in their order
DEEPEST = 8  # expressions within each other
MOST = 64  # comparisons in one expression
LONGEST = 120  # bytes of a field's name and of a text: what is longer is not kept of a report either
_EXACT = 2**53  # whole numbers below it are the same as integer, as float and in PostgreSQL
COUNTS = ("rows", "bytes", "files")
_FIELDS = (
    "rows, bytes, files, version, tag.NAME, check.NAME.success, check.NAME.severity or facet.PATH,"
    f" of at most {LONGEST} bytes"
)
_SHAPE = "one of: a comparison (field, op and value), all, any, not"
_VALUES: dict[Kind, str] = {
    "number": 'a whole number, 0 or more, as in {"field": "rows", "op": ">", "value": 0}',
    "text": f"a text of at most {LONGEST} bytes",
    "truth": "true or false",
    "severity": f"one of {', '.join(SEVERITIES)}",
    "scalar": f"a number, true, false, or a text of at most {LONGEST} bytes",
}


class Expression(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, eq=False):
    """A comparison (`field`, `op`, `value`), or exactly one of `all`, `any` and `not` over expressions.

    Two are equal when they are written alike: to Python 1 equals true, to an expression it does not.
    """

    field: str | None = None
    op: Operator | None = None
    value: Scalar | None = None
    all: "tuple[Expression, ...] | None" = None
    any: "tuple[Expression, ...] | None" = None
    not_: "Expression | None" = msgspec.field(name="not", default=None)

    @property
    def written(self) -> bytes:
        """Its JSON."""
        return msgspec.json.encode(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    @property
    def parts(self) -> "tuple[Expression, ...]":
        """The expressions that it joins."""
        return (self.all or ()) + (self.any or ()) + ((self.not_,) if self.not_ else ())


def kind_of(field: str) -> Kind | None:
    """What a field holds; None where there is no such field."""
    if field in COUNTS:
        return "number"
    if field == "version":
        return "text"
    prefix, _, name = field.partition(".")
    if not name or len(field.encode()) > LONGEST:
        return None
    if prefix == "check":
        check, _, aspect = name.rpartition(".")
        kinds: dict[str, Kind] = {"success": "truth", "severity": "severity"}
        return kinds.get(aspect) if check else None
    named: dict[str, Kind] = {"tag": "text", "facet": "scalar"}
    return named.get(prefix)


def problems(expression: Expression, at: str) -> list[FieldError]:
    """What is wrong with an expression that stands at a path, field by field; empty when nothing is."""
    if _deeper_than(expression, DEEPEST):
        return [FieldError(at, "nested deeper", f"at most {DEEPEST} expressions within each other")]
    comparisons = sum(1 for _ in _comparisons(expression))
    if comparisons > MOST:
        return [FieldError(at, f"{comparisons} comparisons", f"at most {MOST} comparisons")]
    return list(_problems(expression, at))


def _deeper_than(expression: Expression, levels: int) -> bool:
    return not levels or any(_deeper_than(part, levels - 1) for part in expression.parts)


def _comparisons(expression: Expression) -> Iterator[Expression]:
    if not expression.parts:
        yield expression
    for part in expression.parts:
        yield from _comparisons(part)


def _problems(expression: Expression, at: str) -> Iterator[FieldError]:
    said = [name for name in ("all", "any") if getattr(expression, name) is not None]
    said += ["not"] if expression.not_ is not None else []
    compares = (expression.field, expression.op, expression.value) != (None, None, None)
    said += ["a comparison"] if compares else []
    if len(said) != 1:
        yield FieldError(at, " and ".join(said) or "nothing", _SHAPE)
    elif compares:
        yield from _comparison_problems(expression, at)
    elif not expression.parts:
        yield FieldError(f"{at}.{said[0]}", [], "at least one expression")
    elif expression.not_ is not None:
        yield from _problems(expression.not_, f"{at}.not")
    else:
        for index, part in enumerate(expression.parts):
            yield from _problems(part, f"{at}.{said[0]}[{index}]")


def _comparison_problems(expression: Expression, at: str) -> Iterator[FieldError]:
    field, op, value = expression.field, expression.op, expression.value
    kind = kind_of(field) if field is not None else None
    if kind is None:
        yield FieldError(f"{at}.field", field and field[:LONGEST], _FIELDS)
        return
    if not _fits(kind, value):
        yield FieldError(f"{at}.value", value[:LONGEST] if isinstance(value, str) else value, _VALUES[kind])
    elif op is None or (op not in ("=", "==", "!=") and not _ordered(kind, value)):
        yield FieldError(f"{at}.op", op, "one of =, !=" + (", <, <=, >, >=" if _ordered(kind, value) else ""))


def _fits(kind: Kind, value: Scalar | None) -> bool:
    if isinstance(value, str):
        fitting: tuple[Kind, ...] = ("text", "scalar", "severity") if value in SEVERITIES else ("text", "scalar")
        return kind in fitting and len(value.encode()) <= LONGEST
    if isinstance(value, bool):
        return kind in ("truth", "scalar")
    if value is None or not abs(value) < _EXACT:  # neither too large nor NaN
        return False
    whole = isinstance(value, int) or value.is_integer()
    return kind == "scalar" or (kind == "number" and whole and value >= 0)


def _ordered(kind: Kind, value: Scalar | None) -> bool:
    """Whether what is compared has an order: numbers and severities do."""
    return kind in ("number", "severity") or (kind == "scalar" and is_number(value))


def is_number(value: object) -> bool:
    """Whether a value is a number, which true and false are not here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain_number(value: float) -> float | None:
    """A number in its one spelling, whole ones without a fraction; None for one too large to be kept exactly."""
    if not abs(value) < _EXACT:
        return None
    return int(value) if float(value).is_integer() else value


def canonical(expression: Expression) -> Expression:
    """The one spelling of an expression without problems: negation moved into the comparisons, nested alls and anys
    opened, repetitions dropped, parts in order. It is true, false and unknown where the given one is."""
    return _canonical(expression, negated=False)


_NEGATED: dict[Operator, Operator] = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def _canonical(expression: Expression, *, negated: bool) -> Expression:
    if expression.not_ is not None:
        return _canonical(expression.not_, negated=not negated)
    if expression.all is None and expression.any is None:
        return _compared(expression, negated=negated)
    conjunction = (expression.all is not None) != negated
    parts: set[Expression] = set()
    for part in expression.parts:
        spelled = _canonical(part, negated=negated)
        parts |= set((spelled.all if conjunction else spelled.any) or (spelled,))
    ordered = tuple(sorted(parts, key=lambda part: part.written))
    if len(ordered) == 1:
        return ordered[0]
    return Expression(all=ordered) if conjunction else Expression(any=ordered)


def _compared(expression: Expression, *, negated: bool) -> Expression:
    op: Operator = "=" if expression.op is None or expression.op == "==" else expression.op
    value = plain_number(expression.value) if isinstance(expression.value, float) else expression.value
    return Expression(expression.field, _NEGATED[op] if negated else op, value)


def judge(expression: Expression, reported: Mapping[str, Scalar]) -> bool | None:
    """Whether the expression is true of what was reported; None where that hangs on what was not."""
    if expression.not_ is not None:
        inner = judge(expression.not_, reported)
        return None if inner is None else not inner
    if not expression.parts:
        return _holds(expression, reported)
    verdicts = {judge(part, reported) for part in expression.parts}
    decisive = expression.any is not None
    return decisive if decisive in verdicts else None if None in verdicts else not decisive


def _holds(expression: Expression, reported: Mapping[str, Scalar]) -> bool | None:
    field, wanted = expression.field or "", expression.value
    seen = reported.get(field)
    if seen is None or wanted is None or _sort(seen) != _sort(wanted):
        return None
    if kind_of(field) == "severity":
        seen, wanted = SEVERITIES.index(str(seen)), SEVERITIES.index(str(wanted))
    return _compare(expression.op, seen, wanted)


def _sort(value: Scalar) -> str:
    return "number" if is_number(value) else "truth" if isinstance(value, bool) else "text"


def _compare(op: Operator | None, seen: Scalar, wanted: Scalar) -> bool:
    if op in ("=", "==", "!="):
        return (seen == wanted) == (op != "!=")
    assert isinstance(seen, int | float), "only numbers and severities have an order: `problems` has made sure"
    assert isinstance(wanted, int | float), "the same"
    return {"<": seen < wanted, "<=": seen <= wanted, ">": seen > wanted, ">=": seen >= wanted}[op or ""]


def unmet(expression: Expression, reported: Mapping[str, Scalar]) -> list[Expression]:
    """The comparisons of a canonical expression that keep it from being true, in order; none where it is true."""
    if judge(expression, reported) is True:
        return []
    found = {each for part in expression.parts for each in unmet(part, reported)}
    return sorted(found, key=lambda each: each.written) if expression.parts else [expression]


def words(expression: Expression) -> str:
    """The expression as a person reads it: `rows > 0 and tag.tier = "gold"`."""
    if expression.not_ is not None:
        return f"not ({words(expression.not_)})"
    if not expression.parts:
        return f"{expression.field} {expression.op} {shown(expression.value)}"
    joint = " and " if expression.all is not None else " or "
    return joint.join(f"({words(part)})" if len(part.parts) > 1 else words(part) for part in expression.parts)


def shown(value: Scalar | None) -> str:
    """A value as an expression writes it."""
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=4_096)
def stored(shape: str) -> Expression:
    """The expression that was stored as this JSON."""
    return msgspec.json.decode(shape, type=Expression)
