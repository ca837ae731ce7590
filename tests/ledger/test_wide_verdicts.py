"""Verdicts on what is made from very many partitions: what has changed of these is told within bounds, and counted."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.ledger.readiness import verdict
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
    assert others.message == "3 more upstream partitions have changed since: ask for its freshness, which names them"
    assert len(one(database, "sum", kind="task").reasons) == 5


def test_upstreams_are_looked_at_for_a_warning_while_that_is_affordable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written_again(database)
    all_of_them = _warnings(database, "top")
    assert [each.upstream and each.upstream.name for each in all_of_them] == [f"clean_{name}" for name in _SOURCES]
    monkeypatch.setattr("dataforge.ledger.aging._AT_FIRST", 1)
    assert _warnings(database, "top") == all_of_them
    monkeypatch.setattr("dataforge.ledger.aging.MOST_COMPARED", 2)
    some = _warnings(database, "top")
    assert len(some) == 3  # one is compared, then two together
    assert {each.message for each in some} < {each.message for each in all_of_them}
