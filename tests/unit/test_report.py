"""Reports: they merge in any order, within their bound, and later checks count for what they were made on."""

from datetime import UTC, datetime, timedelta
from functools import reduce

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.report import (
    MOST_BYTES,
    NOTHING,
    Check,
    Report,
    Value,
    Written,
    merged,
    reported,
    stored,
    what_counts,
)

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
READY = BEGIN + timedelta(hours=1)


def said(minute: int = 0, event: int = 1, **values: Value) -> Report:
    at = BEGIN + timedelta(minutes=minute)
    return reported({name.replace("__", "."): value for name, value in values.items()}, at, bytes([event]))


names = st.one_of(
    st.sampled_from(["bytes", "files", "tag.a", "check.a", "facet.a", "facet.b"]),
    st.integers(0, 99).map(lambda number: f"facet.{number:02}" + "x" * number),
)
values: st.SearchStrategy[Value] = st.sampled_from([1, 2.5, True, "x", "y" * 121, 2**60, 10**400])
outcomes = st.builds(Check, st.booleans(), st.sampled_from(["none", "warn", "error"]))


def fitting(name: str) -> st.SearchStrategy[Value]:
    return outcomes if name.startswith("check.") else values


@st.composite
def reports(draw: st.DrawFn) -> Report:
    named = draw(st.lists(names, max_size=70, unique=True))
    kept = {name: draw(fitting(name)) for name in named}
    # One event says one thing: its id stands for all that it says.
    event = msgspec.json.encode({name: repr(value) for name, value in kept.items()})[:16]
    return reported(kept, BEGIN + timedelta(minutes=draw(st.integers(0, 3))), event)


@given(reports(), reports(), reports())
def test_reports_merge_in_any_order_and_grouping(a: Report, b: Report, c: Report) -> None:
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, a) == a
    assert merged(merged(a, b), a) == merged(a, b)


@given(st.lists(reports(), max_size=4))
def test_a_report_stays_within_its_bound_and_reads_back(all_of_them: list[Report]) -> None:
    whole = reduce(merged, all_of_them, NOTHING)
    written = msgspec.json.encode(whole)
    assert len(written) <= MOST_BYTES + 500
    assert stored(msgspec.json.decode(written)) == whole


def test_what_does_not_fit_is_left_out_by_name_and_said_so() -> None:
    many = reported({f"facet.{number:03}": number for number in range(200)} | {"tag.z": "kept"}, BEGIN, b"1")
    assert "tag.z" in many.said
    assert many.more is not None
    assert all(field < many.more for field in many.said if field.startswith("facet"))
    assert what_counts([Written(1, None, many)], READY, []).left_out


def test_a_value_that_is_too_long_or_too_large_is_as_good_as_unknown() -> None:
    report = said(tag__a="x" * 121, facet__b=2**60, facet__c=float("nan"))
    assert dict(what_counts([Written(None, None, report)], None, []).values) == {}


def test_the_latest_event_counts_and_of_one_event_the_worse_check() -> None:
    assert merged(said(1, tag__a="old"), said(2, tag__a="new")) == said(2, tag__a="new")
    passed, failed = Check.of(success=True, severity="error"), Check.of(success=False, severity="warn")
    assert merged(said(check__a=passed), said(check__a=failed)) == said(check__a=failed)


def test_the_severity_of_a_check_is_how_bad_its_outcome_is() -> None:
    assert Check.of(success=True, severity="error") == Check(True, "none")
    assert Check.of(success=False, severity="warn") == Check(False, "warn")
    assert Check.of(success=False, severity=None) == Check(False, "error")
    assert Check.of(success=False, severity="fatal") == Check(False, "error")


def test_a_check_that_was_made_since_counts_and_one_from_before_does_not() -> None:
    bad, good = Check(False, "error"), Check(True, "none")
    own = Written(5, "v1", said(59, check__a=bad, tag__t="x"))
    before, after, last = said(30, check__b=bad), said(61, check__a=good), said(62, check__b=good)
    found = what_counts([own], READY, [last, before, after])
    assert dict(found.values) == {
        "rows": 5,
        "version": "v1",
        "tag.t": "x",
        "check.a.success": True,
        "check.a.severity": "none",
        "check.b.success": True,
        "check.b.severity": "none",
    }
    assert dict(what_counts([own], READY, [before]).values)["check.a.success"] is False
    newest = Written(5, "v1", said(70, check__a=bad))
    assert dict(what_counts([newest], READY, [after]).values)["check.a.success"] is False


def test_mapped_instances_count_as_one_run() -> None:
    one = Written(2, "v", said(bytes=10, tag__t="x", tag__u="x", check__a=Check(True, "none")))
    other = Written(3, "w", said(bytes=20, tag__t="x", tag__u="y", check__a=Check(False, "warn")))
    found = dict(what_counts([one, other], READY, []).values)
    assert found == {
        "rows": 5,
        "bytes": 30,
        "tag.t": "x",
        "check.a.success": False,
        "check.a.severity": "warn",
    }
    assert "rows" not in what_counts([one, Written(None, None, NOTHING)], READY, []).values
