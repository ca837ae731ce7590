"""When an upstream has a new version: by what it reports, by what was declared of it, and after it was cleared."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.storage.database import Database
from tests.ledger.freshness_events import (
    DAY,
    NEWER,
    Event,
    at,
    clean,
    declared,
    extract,
    named,
    one,
    record,
    run,
    shown,
)


def test_each_success_is_a_new_version_whatever_it_reports_unless_declared_otherwise(database: Database) -> None:
    record(database, extract(0, 2, version="a"), clean(3, 4, version="a"), extract(10, 11, version="a"))
    assert shown(one(database)) == NEWER


@pytest.mark.parametrize("policy", ["reported", "content"])
def test_the_same_version_means_unchanged(database: Database, policy: str) -> None:
    declared(database, datasets=[{**named("raw"), "version": policy}])
    record(database, extract(0, 2, version="a"), clean(3, 4, version="a"), extract(10, 11, version="a"))
    assert shown(one(database)) == ("fresh", [])
    record(database, extract(12, 13, version="b"))
    assert shown(one(database)) == NEWER


def test_another_version_is_stale_whatever_the_times(database: Database) -> None:
    record(database, extract(0, 2, version="b"), clean(3, 4, version="a"))
    item = one(database)
    assert shown(item) == NEWER
    assert "is at version b now, and this was built from version a" in item.reasons[0].message


@pytest.mark.parametrize(("policy", "status"), [("run", "stale"), ("reported", "stale"), ("content", "fresh")])
def test_only_a_hash_that_comes_back_is_the_same_data(database: Database, policy: str, status: str) -> None:
    declared(database, datasets=[{**named("raw"), "version": policy}])
    record(database, extract(0, 2, version="a"), clean(3, 4), extract(10, 11, version="b"))
    assert one(database).status == "stale"
    record(database, extract(20, 21, version="a"))
    assert one(database).status == status


def test_it_has_changed_when_its_version_began_and_not_when_it_was_last_written(database: Database) -> None:
    declared(database, datasets=[{**named("raw"), "version": "reported"}])
    record(database, extract(0, 2, version="a"), clean(3, 4))
    record(database, extract(10, 11, version="b"), extract(20, 21, version="b"))
    (reason,) = one(database).reasons
    assert (reason.since, reason.run) == (at(11), f"{DAY}@10")
    record(database, clean(15, 16))
    assert one(database).status == "fresh"
    record(database, extract(30, 31))
    assert one(database).status == "stale"  # what reports nothing is a new version


@pytest.mark.parametrize(("again", "status"), [("a", "fresh"), ("b", "stale")])
def test_a_run_that_is_cleared_and_reports_the_same_version_changes_nothing(
    database: Database, again: str, status: str
) -> None:
    declared(database, datasets=[{**named("raw"), "version": "content"}])
    record(database, extract(0, 2, version="a"), clean(3, 4))
    record(database, [{**said, "run": f"{DAY}@0", "attempt": 2} for said in extract(10, 11, version=again)])
    assert one(database).status == status


def test_of_a_run_that_was_cleared_the_earlier_attempt_counts_where_nobody_told_of_its_start(
    database: Database,
) -> None:
    declared(database, datasets=[{**named("raw"), "version": "content"}])
    first = [said | {"run": "again"} for said in extract(1, 2, version="a")]
    second = [said | {"run": "again", "attempt": 2} for said in extract(10, 11, version="a")]
    record(database, extract(0, 1, version="b"), first[1:], clean(3, 4), second)
    assert one(database).status == "fresh"


def test_of_a_run_that_was_cleared_the_earlier_attempt_counts_where_its_mapping_leads(database: Database) -> None:
    before = {**named("raw"), "mapping": {"kind": "window", "from": -1, "to": -1}}
    daily = {"kind": "daily", "start": "2026-11-01"}
    raws = {**named("raw"), "version": "content", "partitioning": daily}
    declared(database, {"name": "extract", "produces": [before]}, datasets=[raws])
    for attempt, begun in ((1, 0), (2, 10)):
        wrote = {"namespace": "s3://lake", "name": "raw", "version": "a"}
        again = run("extract", begun, begun + 1, key="2026-11-06", outputs=[wrote])
        record(database, [said | {"run": "again", "attempt": attempt} for said in again])
        record(database, clean(3, 4) if attempt == 1 else [])
    assert one(database).status == "fresh"


def instance(
    index: int, begun: int, ended: int, state: str = "succeeded", attempt: int = 1, **version: Any
) -> list[Event]:
    """One instance of a mapped run that writes raw."""
    more = {"run": "nightly", "map_index": index, "attempt": attempt}
    start, end = extract(begun, ended, state, **version)
    return [{**start, **more}, {**end, **more}]


@pytest.mark.parametrize(
    ("policy", "again", "status"),
    [
        ("run", ["a"], "stale"),
        ("reported", ["a"], "fresh"),
        ("reported", ["b", "a"], "stale"),
        ("content", ["a"], "fresh"),
        ("content", ["b", "a"], "fresh"),
        ("content", ["b"], "stale"),
    ],
)
def test_an_instance_of_a_mapped_run_that_was_cleared_has_not_changed_what_it_reports_again(
    database: Database, policy: str, again: list[str], status: str
) -> None:
    declared(database, datasets=[{**named("raw"), "version": policy}])
    record(database, instance(0, 0, 1, version="a"), instance(1, 0, 2, version="a"), clean(3, 4))
    for place, version in enumerate(again):
        begun = 10 * (place + 1)
        record(database, instance(1, begun, begun + 5, attempt=place + 2, version=version))
    assert one(database).status == status


def test_a_mapped_run_is_there_once_all_its_instances_are_and_not_forgotten_while_one_runs_again(
    database: Database,
) -> None:
    declared(database, datasets=[{**named("raw"), "version": "content"}])
    record(database, instance(0, 0, 1, version="a"), clean(3, 4), instance(1, 0, 5, version="a"))
    assert shown(one(database)) == NEWER  # it was made of one instance alone
    record(database, clean(6, 7), instance(1, 10, 12, attempt=2, version="b"), instance(1, 20, 25, "failed", attempt=3))
    assert shown(one(database)) == NEWER
    record(database, instance(1, 30, 35, attempt=4, version="a"))
    assert shown(one(database)) == ("fresh", [])


def test_the_declared_policy_judges_what_was_recorded_before(database: Database) -> None:
    record(database, extract(0, 2, version="a"), clean(3, 4), extract(10, 11, version="a"))
    assert one(database).status == "stale"
    declared(database, datasets=[{**named("raw"), "version": "content"}])
    assert one(database).status == "fresh"
