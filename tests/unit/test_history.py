"""What changed between versions, and from which to which an edge was declared."""

from datetime import UTC, datetime
from typing import Any

from dataforge.model.history import EdgeSpan, HeldVersion, VersionChange, changes, edge_spans, history
from dataforge.model.version import SourcedSpan, Span


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def task(*consumed: str, **more: Any) -> dict[str, Any]:
    consumes = [{"dataset": {"namespace": "lake", "name": name}} for name in consumed]
    return {"namespace": "ns", "name": "x", "consumes": consumes, **more}


def held(begin: int, end: int | None, version: str, definition: dict[str, Any], source: str = "a") -> HeldVersion:
    span = Span(day(begin), None if end is None else day(end), bytes.fromhex(version * 32))
    return HeldVersion(SourcedSpan(source, span), definition)


def test_a_change_names_the_field_or_the_edge_by_its_other_end() -> None:
    before = task("raw", owner="ann", produces=[{"namespace": "lake", "name": "out"}])
    after = task("raw", "more", owner="bob", run_after="PT1H")
    after["consumes"][0]["staleness"] = "block"
    assert changes(before, after) == [
        VersionChange("consumes dataset lake/more", None, {}),
        VersionChange("consumes dataset lake/raw", {}, {"staleness": "block"}),
        VersionChange("owner", "ann", "bob"),
        VersionChange("produces dataset lake/out", {}, None),
        VersionChange("run_after", None, "PT1H"),
    ]
    assert changes(after, after) == []


def test_an_edge_holds_through_every_version_that_has_it_and_through_no_gap() -> None:
    spans = [
        held(1, 3, "1", task("raw")),
        held(3, 5, "2", task("raw", owner="ann")),
        held(5, 7, "3", task(), "b"),
        held(7, None, "2", task("raw", owner="ann"), "b"),
    ]
    first = EdgeSpan("consumes", "dataset", "lake", "raw", day(1), day(5), "1" * 32, "2" * 32)
    assert edge_spans(spans) == [
        first,
        EdgeSpan("consumes", "dataset", "lake", "raw", day(7), None, "2" * 32, "2" * 32),
    ]
    moved = [held(1, 3, "1", task("raw")), held(3, None, "1", task("raw"), "b")]
    assert [(span.valid_from, span.valid_to) for span in edge_spans(moved)] == [(day(1), None)]


def test_a_page_tells_the_change_from_what_the_next_page_begins_with() -> None:
    latest, older = held(3, None, "2", task(owner="bob")), held(1, 3, "1", task(owner="ann"))
    assert history([latest], older, "next").items[0].changed == [VersionChange("owner", "ann", "bob")]
    assert history([latest, older], None, None).items[1].changed == []
