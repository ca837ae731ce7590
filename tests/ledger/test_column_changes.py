"""Columns that changed since the last good run: the ledger beside a plain rule, and what platforms show of columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.arrival import arrivals
from dataforge.ledger.verify import digest
from dataforge.model.arrival import ArrivalQuestion
from dataforge.model.column_change import MOST_RESULTS, ColumnChange
from dataforge.model.column_list import Difference, Retyped, difference, listed
from dataforge.storage.database import Database

BEGIN = datetime(2026, 11, 2, 5, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
ORDERS = {"namespace": "s3://lake", "name": "orders"}
FRESH = count()  # of environments: examples share a database
names = st.sampled_from(["id", "name", "amount"])
column_lists = st.dictionaries(names, st.sampled_from(["int", "string"]), max_size=3)


class Ran(NamedTuple):
    """A run of an hour's minutes: what it made, with which columns, and how it ended."""

    partition: str
    columns: dict[str, str]
    ends: str
    refused: bool


runs = st.builds(
    Ran,
    st.sampled_from(["2026-11-01", "2026-11-02"]),
    column_lists,
    st.sampled_from(["succeeded", "succeeded", "succeeded", "failed"]),
    st.sampled_from([False, False, False, True]),
)


def at(minute: int) -> str:
    return (BEGIN + timedelta(minutes=minute)).isoformat()


def events(number: int, ran: Ran) -> list[dict[str, Any]]:
    """The run begins, and ends five minutes later; what it made may be refused another five after that."""
    said = {"task": {"namespace": "ns", "name": "load"}, "partition": ran.partition, "run": f"load@{number}"}
    made = {**ORDERS, "partition": ran.partition}
    columns = [{"name": name, "type": of} for name, of in ran.columns.items()]
    found: list[dict[str, Any]] = [
        {**said, "time": at(20 * number), "state": "running"},
        {**said, "time": at(20 * number + 5), "state": ran.ends, "outputs": [{**made, "columns": columns}]},
    ]
    if ran.refused:
        check = {"name": "unique", "success": False, "severity": "error"}
        about = {"task": {"namespace": "ns", "name": "look"}, "partition": ran.partition, "run": f"look@{number}"}
        looked = {"time": at(20 * number + 10), "state": "failed", "inputs": [{**made, "checks": [check]}]}
        found.append(about | looked)
    return found


def changed(told: list[Ran]) -> list[tuple[str, str, set[str], set[str], set[str]]]:
    """By the rule as docs/checks.md has it: each success with the last good one before it, if the last one changed."""
    made = [(f"load@{number}", ran) for number, ran in enumerate(told) if ran.ends == "succeeded" and ran.columns]
    found = []
    for place in reversed(range(len(made))):
        run, ran = made[place]
        good = [each for each in made[:place] if not each[1].refused]
        if good:
            before, old = good[-1][0], good[-1][1].columns
            gone, new = old.keys() - ran.columns.keys(), ran.columns.keys() - old.keys()
            other = {name for name in old.keys() & ran.columns.keys() if old[name] != ran.columns[name]}
            if gone or new or other:
                found.append((run, before, set(new), set(gone), other))
    return found if made and found and found[0][0] == made[-1][0] else []


def fresh(database: Database) -> str:
    name = f"columns{next(FRESH)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    return name


def record(database: Database, name: str, told: list[dict[str, Any]]) -> None:
    result = record_any(database, name, [json.dumps(each).encode() for each in told], NOTHING)
    assert result.rejected == [], result.rejected


def answer(database: Database, name: str = "dev") -> tuple[ColumnChange, ...]:
    return arrivals(database, name, [ArrivalQuestion(name="orders")], NOW).items[0].column_changes


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(runs, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_columns_are_compared_with_those_of_the_last_good_run_whatever_the_order_of_events(
    module_database: Database, told: list[Ran], by: Random
) -> None:
    said = [event for number, ran in enumerate(told) for event in events(number, ran)]
    digests = set()
    for _ in range(2):
        name = fresh(module_database)
        for each in said:
            record(module_database, name, [each])
        found = answer(module_database, name)
        assert [
            (c.run, c.before, set(c.added), set(c.removed), {each.name for each in c.retyped}) for c in found
        ] == changed(told)
        digests.add(digest(module_database, name))
        by.shuffle(said)
    assert len(digests) == 1


def test_columns_stay_changed_while_a_check_refuses_them_again_and_again(database: Database) -> None:
    good = Ran("2026-11-01", {"id": "int"}, "succeeded", refused=False)
    told = [good, *[good._replace(columns={"id": "bigint"}, refused=True)] * 3]
    for number, ran in enumerate(told):
        record(database, "dev", events(number, ran))
    assert {(each.run, each.before) for each in answer(database)} == {(f"load@{n}", "load@0") for n in (1, 2, 3)}
    for number, ran in enumerate([told[1]._replace(refused=False)] * 2, len(told)):
        record(database, "dev", events(number, ran))
    assert answer(database) == ()


def test_columns_are_rebuilt_from_the_recorded_events(database: Database) -> None:
    one, other = ({"id": each} for each in ("int", "bigint"))
    told = [Ran("2026-11-01", columns, "succeeded", refused=False) for columns in (one, other, one)]
    record(database, "dev", [event for number, ran in enumerate(told) for event in events(number, ran)])
    assert len(answer(database)) == 2
    assert verify(database, "dev").found.agrees


@given(column_lists, column_lists)
def test_what_became_of_columns_leads_from_the_one_list_to_the_other(
    before: dict[str, str], after: dict[str, str]
) -> None:
    found = difference(tuple(before.items()), tuple(after.items()))
    made = {name: of for name, of in before.items() if name not in found.removed}
    made |= {each.name: each.after for each in found.retyped} | {name: after[name] for name in found.added}
    assert made == after
    assert all(each.before == before[each.name] for each in found.retyped)


def test_the_same_columns_in_another_order_are_no_change_nor_is_a_type_that_was_never_said() -> None:
    one, other = listed([("id", "int"), ("name", "string")]), listed([("name", "string"), ("id", "int")])
    assert one == other
    assert listed([]) is None
    assert difference((("id", ""),), (("id", "int"),)) == Difference()


def schema(*fields: dict[str, Any]) -> dict[str, Any]:
    named = {"_producer": "https://example.com", "_schemaURL": "https://example.com/schema"}
    return {"schema": {**named, "fields": list(fields)}}


def lineage(number: int, kind: str, facets: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": at(10 * number + (5 if kind == "COMPLETE" else 0)),
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": f"00000000-0000-4000-8000-{number:012}"},
        "job": {"namespace": "ns", "name": "load"},
        "inputs": [{"namespace": "s3://lake", "name": "raw", "facets": schema({"name": "raw", "type": "string"})}],
        "outputs": [{**ORDERS, "facets": facets}],
    }


def test_schema_facets_of_outputs_are_told_apart_down_to_the_parts_of_a_column(database: Database) -> None:
    whole = {"name": "address", "type": "struct", "fields": [{"name": "city", "type": "string"}]}
    wider = {**whole, "fields": [*whole["fields"], {"name": "zip", "type": "string"}]}
    record(database, "dev", [lineage(1, "START", {}), lineage(1, "COMPLETE", schema(whole))])
    assert answer(database) == ()
    record(database, "dev", [lineage(2, "COMPLETE", schema(wider)), lineage(2, "START", schema(whole))])
    [found] = answer(database)
    assert (found.added, found.removed, found.retyped) == (("address.zip",), (), ())
    record(database, "dev", [lineage(3, "COMPLETE", schema(wider))])
    assert answer(database) == ()


def test_a_run_that_made_many_partitions_hides_none_before_it(database: Database) -> None:
    old = [events(0, Ran("2026-11-01", {"id": "int"}, "succeeded", refused=False))[1]]
    days = [f"2026-10-{day:02}" for day in range(1, 32)]
    written = [{**ORDERS, "partition": day, "columns": [{"name": "id", "type": "bigint"}]} for day in days]
    ended = {"time": at(60), "task": {"namespace": "ns", "name": "load"}, "run": "wave", "state": "succeeded"}
    assert len(days) > MOST_RESULTS
    record(database, "dev", [*old, {**ended, "outputs": written}])
    [found] = answer(database)
    assert (found.run, found.before, found.retyped) == ("wave", "load@0", (Retyped("id", "int", "bigint"),))


def test_a_list_of_columns_that_cannot_be_kept_is_refused_by_its_field(database: Database) -> None:
    said = events(0, Ran("2026-11-01", {"": "int"}, "succeeded", refused=False))[1:]
    [rejected] = record_any(database, "dev", said, NOTHING).rejected
    assert [error.field for error in rejected.errors] == ["outputs[0].columns[0].name"]
