"""What is made from very many partitions: what has changed of these is told within bounds, and that there is more."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dataforge.ledger import freshness
from dataforge.ledger.readiness import verdict
from dataforge.ledger.staleness import FAR, NEAR
from dataforge.model.freshness import Freshness
from dataforge.model.question import Named
from dataforge.model.verdict import Reason
from dataforge.storage.database import Database
from tests.ledger.freshness_events import DAY, NOW, data, declared, named, one, record, run

_SOURCES = [f"source{number}" for number in range(5)]


def _written_again(database: Database) -> None:
    """`sum` is made from five datasets, `top` from five others that are made from these one by one; then all five are
    written again."""
    writing: list[dict[str, Any]] = [{"name": f"load_{name}", "produces": [named(name)]} for name in _SOURCES]
    between: list[dict[str, Any]] = [
        {"name": f"clean_{name}", "consumes": [{"dataset": named(name)}], "produces": [named(f"clean_{name}")]}
        for name in _SOURCES
    ]
    summed = {"name": "sum", "consumes": [{"dataset": named(name)} for name in _SOURCES], "produces": [named("sum")]}
    top = {"name": "top", "consumes": [{"dataset": named(f"clean_{name}")} for name in _SOURCES]}
    declared(database, *writing, *between, summed, top)
    record(database, *(run(f"load_{name}", 0, 1, outputs=[data(name)]) for name in _SOURCES))
    record(database, *(run(f"clean_{name}", 2, 3, outputs=[data(f"clean_{name}")]) for name in _SOURCES))
    record(database, run("sum", 2, 3, outputs=[data("sum")]))
    record(database, *(run(f"load_{name}", 10, 11, outputs=[data(name)]) for name in _SOURCES))


def _warnings(database: Database, name: str) -> list[Reason]:
    return list(verdict(database, "dev", Named(name, "ns", DAY), NOW).warnings)


def test_of_very_many_upstreams_that_have_changed_the_first_are_named_and_the_others_counted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written_again(database)
    assert [each.upstream and each.upstream.name for each in _warnings(database, "sum")] == _SOURCES
    monkeypatch.setattr("dataforge.ledger.aging.MOST_TOLD", 2)
    first, second, others = _warnings(database, "sum")
    assert [each.upstream and each.upstream.name for each in (first, second)] == _SOURCES[:2]
    assert (others.upstream, others.code) == (None, "upstream_stale")
    assert others.message == "3 more upstream partitions have changed since"
    assert len(one(database, "sum", kind="task").reasons) == 5


def test_upstreams_are_looked_at_for_a_warning_while_that_is_affordable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written_again(database)
    all_of_them = _warnings(database, "top")
    assert [each.upstream and each.upstream.name for each in all_of_them] == [f"clean_{name}" for name in _SOURCES]
    for module in ("comparison", "unchanged"):
        monkeypatch.setattr(f"dataforge.ledger.{module}.AT_FIRST", 1)
    assert _warnings(database, "top") == all_of_them
    monkeypatch.setattr("dataforge.ledger.aging.NEAR", replace(NEAR, inputs=2))
    some = _warnings(database, "top")
    assert len(some) == 2  # one is compared, then another
    assert {each.message for each in some} < {each.message for each in all_of_them}


def test_of_very_many_reasons_the_first_are_told_and_that_there_are_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written_again(database)
    whole = one(database, "sum", kind="task")
    assert (len(whole.reasons), whole.truncated) == (5, False)
    monkeypatch.setattr(freshness, "MOST_TOLD", 2)
    monkeypatch.setattr(freshness, "LEAST_TOLD", 1)
    cut = one(database, "sum", kind="task")
    assert (cut.status, cut.reasons, cut.truncated) == (whole.status, whole.reasons[:2], True)
    monkeypatch.setattr(freshness, "MOST_TOLD_AT_ONCE", 0)
    assert one(database, "sum", kind="task").reasons == whole.reasons[:1]


def test_what_lies_above_is_compared_while_that_is_affordable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written_again(database)
    record(database, run("top", 4, 5))

    def top() -> Freshness:
        return one(database, "top", kind="task")

    whole = top()
    assert (whole.status, len(whole.reasons), whole.truncated) == ("stale", 5, False)
    monkeypatch.setattr("dataforge.ledger.comparison.AT_FIRST", 1)
    monkeypatch.setattr(freshness, "FAR", replace(FAR, inputs=2))
    some = top()
    assert (some.status, len(some.reasons), some.truncated) == ("stale", 3, True)
    assert set(some.reasons) < set(whole.reasons)
