"""What a run reported of a dataset beside rows and version: sizes, tags, checks and the scalars of other facets.

A report is a value that grows. `merged` is commutative, associative and idempotent, as an attempt's `merge` is: of each
field the latest event counts. It is kept within `MOST_BYTES`: a field costs its name and a fixed amount, whatever its
value, so what is left out depends on the names alone and on no order; the first name left out says that some are.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from itertools import pairwise

import msgspec

from dataforge.model import quality
from dataforge.model.expression import COUNTS, LONGEST, SEVERITIES, Scalar, is_number, plain_number
from dataforge.model.quality import Failure

MOST_BYTES = 16_384  # one dataset and partition in one attempt
_VALUE_BYTES = 256  # at most what a value takes beside its name: itself, and the time and id of its event
_RANK = ("bytes", "files", "tag", "check", "facet")  # what is kept first


class Check(msgspec.Struct, frozen=True, array_like=True, order=True):
    """How one quality check came out; `severity` is how bad that is, `none` where it succeeded."""

    success: bool
    severity: str

    @classmethod
    def of(cls, *, success: bool, severity: str | None) -> "Check":
        """The outcome of a check. One that failed and has no severity of its own is an error."""
        known = severity if severity in SEVERITIES else "error"
        return cls(success, "none" if success else known)

    @property
    def rank(self) -> tuple[int, bool]:
        """The worst is the greatest."""
        return (SEVERITIES.index(self.severity), not self.success)


Value = Check | Scalar | None  # None: it was said, and is too long to be kept


class Register(msgspec.Struct, frozen=True, array_like=True):
    """A value with the event that said it."""

    at: str  # ISO 8601 in UTC, so that text sorts by time
    event: str  # hex
    value: Value

    @property
    def precedence(self) -> tuple[str, str, int, bool, bytes]:
        """The latest is believed; of checks of one name in one event the worst."""
        bad, failed = self.value.rank if isinstance(self.value, Check) else (0, False)
        return (self.at, self.event, bad, failed, msgspec.json.encode(self.value))


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """Registers by field, and the first field that was left out; and beside them the last blocking failure."""

    said: dict[str, Register] = {}
    more: str | None = None
    failed: Failure | None = None


NOTHING = Report()


def reported(values: Mapping[str, Value], at: datetime, event: bytes, version: str | None = None) -> Report:
    """The report of one event on data of a version. Names that are too long are left out: no expression can ask for
    them."""
    time = at.astimezone(UTC).isoformat(timespec="microseconds")
    said = {
        field: Register(time, event.hex(), _kept(value))
        for field, value in values.items()
        if len(field.encode()) <= LONGEST
    }
    failed = Failure.of(_blocking(values), at, event, version)
    return _bounded(Report(said, failed=failed)) if said or failed else NOTHING


def _blocking(values: Mapping[str, Value]) -> list[str]:
    """The checks among these that failed with severity error."""
    outcomes = ((field, value) for field, value in values.items() if isinstance(value, Check))
    return [_short(field.removeprefix("check.")) for field, check in outcomes if check == _BLOCKS]


_BLOCKS = Check(success=False, severity="error")


def _short(name: str) -> str:
    return name.encode()[:LONGEST].decode(errors="ignore")


def _kept(value: Value) -> Value:
    if isinstance(value, str):
        return value if len(value.encode()) <= LONGEST else None
    return plain_number(value) if isinstance(value, int | float) and is_number(value) else value


def merged(first: Report, second: Report) -> Report:
    """What both say together."""
    if second in (NOTHING, first):
        return first
    if first == NOTHING:
        return second
    said = dict(first.said)
    for field, register in second.said.items():
        seen = said.get(field)
        said[field] = max(seen, register, key=lambda each: each.precedence) if seen else register
    cuts = [each for each in (first.more, second.more) if each is not None]
    failed = quality.later(first.failed, second.failed)
    return _bounded(Report(said, min(cuts, key=_place, default=None), failed))


def _bounded(report: Report) -> Report:
    """The fields before the first that does not fit or was left out, in their order."""
    room = MOST_BYTES
    kept: dict[str, Register] = {}
    for field in sorted(report.said, key=_place):
        room -= len(field.encode()) + _VALUE_BYTES
        if room < 0 or (report.more is not None and _place(field) >= _place(report.more)):
            more = field if report.more is None else min(field, report.more, key=_place)
            return Report(kept, more, report.failed)
        kept[field] = report.said[field]
    return Report(kept, report.more, report.failed)


def _place(field: str) -> tuple[int, str]:
    return (_RANK.index(field.partition(".")[0]), field)


def stored(shape: object) -> Report:
    """The report that was stored in this shape."""
    return msgspec.convert(shape, Report) if shape else NOTHING


class Seen(msgspec.Struct, frozen=True):
    """What counts of a partition when an expression is judged."""

    values: Mapping[str, Scalar] = {}
    left_out: bool = False  # more was reported than is kept


UNSEEN = Seen()


class Written(msgspec.Struct, frozen=True):
    """What one attempt reported of a partition that it made."""

    rows: int | None
    version: str | None
    report: Report


def what_counts(written: Sequence[Written], since: datetime | None, later: Iterable[Report]) -> Seen:
    """What is known of a partition that these attempts made together, and that was ready at `since`.

    Mapped instances count as one run: their counts are added up where all have one, their worst check counts, and any
    other value where all say the same. Checks that other runs made since then count for it, the latest of each name;
    one from before was made on other data.
    """
    own = [_values(each) for each in written]
    found = {field: _together(field, [each.get(field) for each in own]) for each in own for field in each}
    begun = since.astimezone(UTC).isoformat(timespec="microseconds") if since else ""
    told = {
        field: register.at
        for field, register in reduce(merged, (each.report for each in written), NOTHING).said.items()
    }
    since_then = reduce(merged, later, NOTHING)
    for field, register in since_then.said.items():
        if register.at >= max(begun, told.get(field, "")):
            found[field] = register.value
    cut = any(report.more is not None for report in (since_then, *(each.report for each in written)))
    return Seen(_flat(found), left_out=cut)


def _values(written: Written) -> dict[str, Value]:
    said: dict[str, Value] = {field: register.value for field, register in written.report.said.items()}
    return said | {"rows": written.rows, "version": written.version}


def _together(field: str, values: Sequence[Value]) -> Value:
    """What several instances say of one field. A check need not be made by all of them."""
    outcomes = [value for value in values if isinstance(value, Check)]
    if outcomes:
        return max(outcomes, key=lambda each: each.rank)
    if field in COUNTS:
        counts = [value for value in values if isinstance(value, int)]
        return sum(counts) if len(counts) == len(values) else None
    alike = all(type(one) is type(other) and one == other for one, other in pairwise(values))
    return values[0] if alike else None


def _flat(found: Mapping[str, Value]) -> dict[str, Scalar]:
    """The fields as expressions name them."""
    flat: dict[str, Scalar] = {}
    for field, value in sorted(found.items()):
        if isinstance(value, Check):
            flat[f"{field}.success"] = value.success
            flat[f"{field}.severity"] = value.severity
        elif value is not None:
            flat[field] = value
    return flat
