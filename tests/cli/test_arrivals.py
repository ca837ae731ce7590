"""`dataforge arrivals`: which datasets do not come as they should; 0 for none, 1 for some, 2 for bad use."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

Run = Callable[..., Result]


def event(day: int, columns: list[str], name: str = "orders") -> dict[str, object]:
    key = f"2026-11-{day:02}"
    return {
        "time": f"2026-11-{day + 1:02}T06:00:00Z",
        "task": {"namespace": "shell", "name": f"load {name}"},
        "run": key,
        "state": "succeeded",
        "outputs": [
            {
                "namespace": "s3://lake",
                "name": name,
                "partition": key,
                "columns": [{"name": each, "type": "string"} for each in columns],
            }
        ],
    }


@pytest.fixture
def told(run: Run) -> Run:
    """The command line on a ledger in which orders got a column, and nothing else is wrong."""
    events = [event(1, ["id"]), event(2, ["id", "amount"]), event(1, ["id"], "payments")]
    assert run("ingest", "-", input=json.dumps(events).encode()).exit_code == 0
    return run


def test_what_is_amiss_is_a_table_and_a_sentence_each(told: Run) -> None:
    done = told("arrivals")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].split() == ["s3://lake/orders", "other", "columns", "-"]
    assert done.stdout.splitlines()[-1] == (
        "orders: Run 2026-11-02 for 2026-11-02 changed the columns that run 2026-11-01 had: added amount."
    )


def test_what_comes_as_it_should_is_said_in_one_line(told: Run) -> None:
    done = told("arrivals", "payments")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 dataset comes as it should.\n")


def test_where_there_is_nothing_to_come_that_is_said(told: Run) -> None:
    done = told("arrivals", "--namespace", "s3://elsewhere")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "there is no dataset\n")


def test_json_has_what_is_well_too(told: Run) -> None:
    done = told("arrivals", "--json", "--namespace", "s3://lake")
    items = json.loads(done.stdout)["items"]
    assert [(each["node"]["name"], len(each["column_changes"])) for each in items] == [("orders", 1), ("payments", 0)]


def test_a_name_that_nobody_knows_is_an_error(told: Run) -> None:
    done = told("arrivals", "nothing")
    assert done.exit_code == 2
    assert "there is no dataset named 'nothing'" in done.stderr
