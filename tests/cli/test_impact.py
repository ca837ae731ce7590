"""`dataforge impact`: what breaks, and whom to call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

DAILY = {"kind": "daily", "start": "2026-11-01"}
ORDERS = {"namespace": "lake", "name": "orders"}
MARTS = {"namespace": "lake", "name": "marts"}


def _task(name: str, reads: dict[str, str], owner: str | None, writes: dict[str, str] | None = None) -> dict[str, Any]:
    owned = {"owner": owner} if owner else {}
    named = {"namespace": "ns", "name": name, "platform": "dbt", "partitioning": DAILY, **owned}
    return {**named, "consumes": [{"dataset": reads}], "produces": [writes] if writes else []}


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Run:
    """Of what is made of orders some is the marts team's, some the board's, some nobody's."""
    tasks = [
        _task("revenue", ORDERS, "team-marts", MARTS),
        _task("board", MARTS, "team-board"),
        _task("old", MARTS, None),
    ]
    datasets = [{**ORDERS, "partitioning": DAILY}, {**MARTS, "partitioning": DAILY, "owner": "team-marts"}]
    manifest = {"source": "s", "tasks": tasks, "datasets": datasets}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert run("declare", str(tmp_path / "manifest.json")).exit_code == 0
    done = {"task": {"namespace": "ns", "name": "revenue"}, "partition": "2026-11-02", "state": "succeeded"}
    event = {"time": "2026-11-03T01:00:00Z", **done, "outputs": [MARTS]}
    assert run("ingest", "-", input=json.dumps(event).encode()).exit_code == 0
    return run


def test_what_breaks_is_told_by_owner_the_nearest_first_and_what_is_nobodys_last(filled: Run) -> None:
    shown = filled("impact", "orders")
    assert (shown.exit_code, shown.stdout.splitlines()) == (
        0,
        [
            "4 downstream of orders, 2 owners to call",
            "",
            "team-marts",
            "STEPS  KIND     NAME     PLATFORM",
            "1      task     revenue  dbt     ",
            "2      dataset  marts    -       ",
            "",
            "team-board",
            "STEPS  KIND  NAME   PLATFORM",
            "3      task  board  dbt     ",
            "",
            "no owner is known of",
            "STEPS  KIND  NAME  PLATFORM",
            "3      task  old   dbt     ",
        ],
    )


def test_of_a_partition_its_partitions_are_told_with_their_states(filled: Run) -> None:
    lines = [line.split() for line in filled("impact", "orders", "2026-11-02").stdout.splitlines()]
    assert ["1", "task", "revenue", "dbt", "2026-11-02", "ready"] in lines
    assert ["3", "task", "board", "dbt", "2026-11-02", "missing"] in lines


@pytest.mark.parametrize("partition", [[], ["2026-11-02"]])
def test_it_is_the_answer_of_the_graph_downstream(filled: Run, partition: list[str]) -> None:
    asked = [*partition, "--namespace", "lake", "--depth", "2", "--json"]
    found = json.loads(filled("impact", "orders", *asked).stdout)
    assert found == json.loads(filled("graph", "orders", *asked, "--downstream").stdout)
    assert len(found["nodes"]) == 3


def test_nothing_downstream_is_an_answer_and_an_unknown_name_is_none(filled: Run) -> None:
    last = filled("impact", "board")
    assert (last.exit_code, last.stdout) == (0, "nothing downstream of board\n")
    unknown = filled("impact", "bord")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "bord" in unknown.stderr
