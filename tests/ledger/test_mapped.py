"""Mapped tasks in a verdict: each instance counts, also those of which nothing was seen yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.model.definition import parse
from dataforge.model.question import Named
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database

NOW = datetime(2026, 11, 3, tzinfo=UTC)


def _task(name: str, rule: str = "all_success", *consumes: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {"namespace": "ns", "name": name, "platform": "airflow", "partitioning": {"kind": "none"}}
    return {**named, "trigger_rule": rule, "consumes": list(consumes), **more}


def _after(name: str, role: str = "upstream") -> dict[str, Any]:
    return {"task": {"namespace": "ns", "name": name}, "role": role}


def _declare(database: Database, *tasks: dict[str, Any]) -> None:
    declare(database, "dev", parse({"source": "dags", "tasks": list(tasks)}))


def _say(database: Database, name: str, state: str, **more: Any) -> None:
    event = {"time": "2026-11-02T00:00:00Z", "task": {"namespace": "ns", "name": name}, "run": "r", "state": state}
    assert record_native(database, "dev", [{**event, **more}], NOTHING).rejected == []


def _ask(database: Database, name: str) -> Verdict:
    return verdict(database, "dev", Named(name, "ns"), NOW)


def test_an_instance_that_nobody_has_seen_is_waited_for(database: Database) -> None:
    _declare(
        database, _task("each"), _task("all", "all_done", _after("each")), _task("any", "one_success", _after("each"))
    )
    for index in (0, 2):
        _say(database, "each", "succeeded", map_index=index, instances=3)
    answer = _ask(database, "all")
    assert (answer.status, answer.reasons[0].code) == ("waiting", "upstream_running")
    assert "of its instances 1 not done yet, 2 succeeded" in answer.reasons[0].message
    assert _ask(database, "any").runnable
    _say(database, "each", "failed", map_index=1)
    assert _ask(database, "all").runnable


def test_who_is_mapped_over_a_list_of_unknown_length_has_one_more_instance_to_come(database: Database) -> None:
    _declare(
        database,
        _task("list"),
        _task("each", "all_success", _after("list", "mapped_over")),
        _task("all", "all_success", _after("each")),
    )
    assert _ask(database, "each").status == "waiting"
    _say(database, "list", "succeeded")
    assert [reason.code for reason in _ask(database, "each").reasons] == ["branch_undecided"]
    _say(database, "each", "succeeded", map_index=0)
    assert not _ask(database, "all").runnable
    _say(database, "each", "succeeded", map_index=1, instances=2)
    assert _ask(database, "all").runnable


@pytest.mark.parametrize(("rule", "fate"), [("all_success", "skipped"), ("one_failed", "skipped"), ("all_done", None)])
def test_a_task_mapped_over_nothing_counts_as_one_that_was_skipped(
    database: Database, rule: str, fate: str | None
) -> None:
    _declare(database, _task("each", instances=0), _task("all", rule, _after("each")))
    assert _ask(database, "each").fate == "skipped"
    assert not _ask(database, "each").runnable
    _say(database, "each", "skipped")
    answer = _ask(database, "all")
    assert (answer.fate, answer.runnable) == (fate, fate is None)


def test_a_setup_and_a_short_circuit_further_up_are_heeded(database: Database) -> None:
    last = _task("last", "one_success", _after("any"), _after("start", "setup"), _after("gate", "short_circuit"))
    _declare(database, _task("start", setup=True), _task("gate"), _task("any"), last)
    _say(database, "any", "succeeded")
    assert [reason.code for reason in _ask(database, "last").reasons] == ["upstream_missing", "branch_undecided"]
    _say(database, "start", "failed")
    assert _ask(database, "last").fate == "upstream_failed"
    _say(database, "gate", "skipped")
    assert [reason.code for reason in _ask(database, "last").reasons] == ["upstream_failed"]


def test_what_depends_on_its_past_waits_for_the_day_before(database: Database) -> None:
    daily = {"kind": "daily", "start": "2026-11-01"}
    past = {"mapping": {"kind": "window", "from": -1, "to": -1}, "condition": {"kind": "not_failed"}}
    _declare(database, _task("load", "one_success", {**_after("load"), **past}, partitioning=daily))
    asked = [verdict(database, "dev", Named("load", "ns", day), NOW) for day in ("2026-11-01", "2026-11-02")]
    assert [each.runnable for each in asked] == [True, False]
    for state, runnable in (("failed", False), ("skipped", True)):
        _say(database, "load", state, run=state, partition="2026-11-01", time=f"2026-11-02T0{len(state)}:00:00Z")
        assert verdict(database, "dev", Named("load", "ns", "2026-11-02"), NOW).runnable is runnable


def test_of_several_partitions_one_that_waits_for_an_instance_does_not_serve(database: Database) -> None:
    daily = {"kind": "daily", "start": "2026-10-01"}
    recent = {**_after("each"), "mapping": {"kind": "last", "not_older_than": "P3D"}}
    _declare(database, _task("each", partitioning=daily), _task("report", "all_success", recent))
    _say(database, "each", "succeeded", partition="2026-10-31", run="whole")
    _say(database, "each", "succeeded", partition="2026-11-01", run="mapped", map_index=0, instances=2)
    assert _ask(database, "report").runnable
