"""Lineage of a partition: what mappings imply, and what runs showed beyond that, whichever was known first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.ledger.partition_graph import lineage_of
from dataforge.model import definition
from dataforge.model.errors import NotFound
from dataforge.model.lineage import Direction, PartitionGraph
from dataforge.storage.database import Database

DAILY = {"kind": "daily", "start": "2026-10-01"}
LAKE = "s3://lake"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
_environments = count()


def _dataset(name: str, partition: str | None = None) -> dict[str, Any]:
    named = {"namespace": LAKE, "name": name}
    return named if partition is None else {**named, "partition": partition}


def _run(
    name: str, day: str, reads: list[dict[str, Any]], writes: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "time": "2026-11-06T05:00:00Z",
        "task": {"namespace": "ns", "name": name},
        "partition": day,
        "state": "succeeded",
        "inputs": reads,
        "outputs": writes or [],
        **more,
    }


def _manifest(mapping: dict[str, Any]) -> Any:
    consumes = [{"dataset": _dataset("orders"), "mapping": mapping}]
    tasks = [
        {"namespace": "ns", "name": "load", "partitioning": DAILY, "produces": [_dataset("orders")]},
        {
            "namespace": "ns",
            "name": "report",
            "partitioning": DAILY,
            "consumes": consumes,
            "produces": [_dataset("revenue")],
        },
    ]
    datasets = [{**_dataset(name), "partitioning": DAILY} for name in ("orders", "revenue")]
    return definition.parse({"source": "s", "tasks": tasks, "datasets": datasets})


def _recorded(database: Database, *events: dict[str, Any], environment: str = "dev") -> None:
    assert record_native(database, environment, [json.dumps(e).encode() for e in events], NOTHING).rejected == []


def _asked(
    database: Database, name: str, day: str, direction: Direction, depth: int | None = None, environment: str = "dev"
) -> PartitionGraph:
    return lineage_of(database, environment, (None, name), day, NOW, direction, depth)


def _edges(found: PartitionGraph) -> set[tuple[str, str, str, bool]]:
    return {
        (f"{e.from_.name} {e.from_.partition}", f"{e.to.name} {e.to.partition}", e.origin, e.run is not None)
        for e in found.edges
    }


def test_what_mappings_join_is_shown_up_and_down(database: Database) -> None:
    declare(database, "dev", _manifest({"kind": "window", "from": -1, "to": 0}))
    up = _asked(database, "revenue", "2026-11-05", "upstream")
    assert _edges(up) == {
        ("report 2026-11-05", "revenue 2026-11-05", "declared", False),
        ("orders 2026-11-04", "report 2026-11-05", "declared", False),
        ("orders 2026-11-05", "report 2026-11-05", "declared", False),
        ("load 2026-11-04", "orders 2026-11-04", "declared", False),
        ("load 2026-11-05", "orders 2026-11-05", "declared", False),
    }
    down = _asked(database, "load", "2026-11-05", "downstream")
    assert [(node.name, node.partition, node.depth) for node in down.nodes] == [
        ("load", "2026-11-05", 0),
        ("orders", "2026-11-05", 1),
        ("report", "2026-11-05", 2),
        ("report", "2026-11-06", 2),
        ("revenue", "2026-11-05", 3),
        ("revenue", "2026-11-06", 3),
    ]


def test_a_run_that_named_a_partition_beyond_the_mapping_is_an_edge_both_ways(database: Database) -> None:
    declare(database, "dev", _manifest({"kind": "same"}))
    named = [_dataset("orders", "2026-11-05"), _dataset("orders", "2026-10-31")]
    _recorded(database, _run("report", "2026-11-05", named, [_dataset("revenue", "2026-11-05")]))
    late = ("orders 2026-10-31", "report 2026-11-05", "observed", True)
    same = ("orders 2026-11-05", "report 2026-11-05", "declared", False)
    assert {late, same} <= _edges(_asked(database, "report", "2026-11-05", "upstream", 1))
    assert late in _edges(_asked(database, "orders", "2026-10-31", "downstream", 1))
    (state,) = [n.state for n in _asked(database, "revenue", "2026-11-05", "upstream", 1).nodes if n.depth == 0]
    assert state.value == "ready"


def test_what_a_run_named_takes_the_place_of_what_an_observed_edge_guesses(database: Database) -> None:
    _recorded(database, _run("adhoc", "2026-11-05", [_dataset("orders", "2026-11-01")]))
    found = _asked(database, "adhoc", "2026-11-05", "upstream")
    assert _edges(found) == {("orders 2026-11-01", "adhoc 2026-11-05", "observed", True)}


def test_a_run_that_wrote_another_day_than_its_own_is_found_from_that_day(database: Database) -> None:
    declare(database, "dev", _manifest({"kind": "same"}))
    _recorded(database, _run("load", "2026-11-05", [], [_dataset("orders", "2026-11-03")]))
    found = _edges(_asked(database, "orders", "2026-11-03", "upstream", 1))
    assert ("load 2026-11-05", "orders 2026-11-03", "observed", True) in found
    assert ("load 2026-11-03", "orders 2026-11-03", "declared", False) in found


def test_an_answer_that_leaves_something_out_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(database, "dev", _manifest({"kind": "window", "from": -6, "to": 0}))
    assert not _asked(database, "report", "2026-11-05", "upstream").truncated
    monkeypatch.setattr("dataforge.ledger.partition_graph.MOST_NODES", 5)
    found = _asked(database, "report", "2026-11-05", "upstream")
    assert (found.truncated, len(found.nodes)) == (True, 5)
    with pytest.raises(NotFound):
        _asked(database, "nobody", "2026-11-05", "both")


_DAYS = ["2026-11-03", "2026-11-04", "2026-11-05"]
_MAPPINGS: dict[str, dict[str, Any]] = {
    "same": {"kind": "same"},
    "before": {"kind": "window", "from": -1, "to": -1},
    "both": {"kind": "window", "from": -1, "to": 0},
}


def _implied(mapping: str, day: str) -> set[str]:
    place = _DAYS.index(day)
    steps = {"same": (0,), "before": (-1,), "both": (-1, 0)}[mapping]
    return {["2026-11-02", *_DAYS][place + 1 + step] for step in steps}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mapping=st.sampled_from(sorted(_MAPPINGS)),
    reads=st.lists(st.tuples(st.sampled_from(_DAYS), st.sampled_from(_DAYS)), max_size=5, unique=True),
    random=st.randoms(use_true_random=False),
)
def test_edges_are_those_of_mappings_and_of_runs_whichever_came_first(
    database: Database, mapping: str, reads: list[tuple[str, str]], random: Any
) -> None:
    events = [_run("report", day, [_dataset("orders", key)], run=f"{day}/{key}") for day, key in reads]
    for _ in range(2):
        environment = f"edges-{next(_environments)}"
        with database.transaction() as connection:
            connection.execute("insert into environment (name) values (%s)", [environment])
        declared_after = random.randint(0, len(events))
        for place, event in enumerate([*random.sample(events, len(events)), None]):
            if place == declared_after:
                declare(database, environment, _manifest(_MAPPINGS[mapping]))
            if event is not None:
                _recorded(database, event, environment=environment)
        for day in _DAYS:
            found = _edges(_asked(database, "report", day, "upstream", 1, environment))
            shown = {key for own, key in reads if own == day} - _implied(mapping, day)
            expected = {(f"orders {key}", f"report {day}", "declared", False) for key in _implied(mapping, day)}
            expected |= {(f"orders {key}", f"report {day}", "observed", True) for key in shown}
            assert found == expected
