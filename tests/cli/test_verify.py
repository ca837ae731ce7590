"""`verify` and `replay` as a person and a program use them."""

from __future__ import annotations

import json

import pytest

from dataforge.cli.example import load
from dataforge.ledger.verify import digest
from dataforge.storage.database import Database
from tests.cli.conftest import Run


@pytest.fixture
def shop(database: Database) -> Database:
    load(database.url, "dev")
    return database


def _damage(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            """
            update partition_state set status = 'failed' where partition = '2026-11-05'
                and node_id = (select id from task where name = 'model.shop.stg_orders')
            """
        )


@pytest.mark.usefixtures("shop")
def test_a_valid_state_is_called_so_and_a_replay_leaves_it_alone(run: Run) -> None:
    verified, replayed = run("verify"), run("replay")
    assert (verified.exit_code, replayed.exit_code) == (0, 0)
    assert verified.stdout.startswith("valid: ")
    assert replayed.stdout.startswith("nothing changed: ")


def test_what_differs_is_named_column_by_column_and_a_dry_run_changes_nothing(shop: Database, run: Run) -> None:
    right = digest(shop, "dev")
    _damage(shop)
    for command in (("verify",), ("replay", "--dry-run")):
        done = run(*command)
        assert done.exit_code == 1
        assert "model.shop.stg_orders 2026-11-05" in done.stdout
        assert digest(shop, "dev") != right
    done = run("replay")
    assert (done.exit_code, digest(shop, "dev")) == (0, right)
    assert "model.shop.stg_orders 2026-11-05" in done.stdout


def test_a_program_reads_the_counts_and_the_first_rows(shop: Database, run: Run) -> None:
    _damage(shop)
    told = json.loads(run("verify", "--json").stdout)
    assert not told["valid"]
    assert told["differences"].keys() == {"partition_state"}
    assert {each["live"]["status"] for each in told["first"]} == {"failed"}


def test_an_unknown_environment_is_refused(run: Run) -> None:
    done = run("--environment", "nowhere", "replay")
    assert done.exit_code == 2
    assert "there is no environment named 'nowhere'" in done.stderr


@pytest.mark.usefixtures("shop")
def test_a_part_says_exactly_what_was_compared(run: Run) -> None:
    done = run("verify", "--domain", "payments")
    assert done.exit_code == 0
    assert "(of 1 tasks with their edges, 1" in done.stdout
    done = run("verify", "--from", "2026-11-05", "--to", "2026-11-05", "--json")
    compared = json.loads(done.stdout)["compared"]
    assert compared["tasks"] is None
    assert compared["runs"] > 0
    assert "nothing changed" in run("replay", "--domain", "sales", "--from", "2026-11-05").stdout


def test_a_part_that_makes_no_sense_is_refused(run: Run) -> None:
    assert run("verify", "--domain", "nobody's").exit_code == 2
    done = run("verify", "--from", "2026-11-05", "--to", "2026-11-04")
    assert done.exit_code == 2
    assert "--to" in done.stderr
    assert run("verify", "--from", "yesterday").exit_code == 2
