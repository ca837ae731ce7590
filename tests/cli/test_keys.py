"""`dataforge keys`: the keys of a set, read aloud."""

from __future__ import annotations

import json

from tests.cli.conftest import Run


def test_keys_are_registered_listed_and_taken_off(run: Run) -> None:
    assert run("keys", "clients").exit_code == 1
    registered = run("keys", "clients", "--register", "acme", "--register", "globex")
    assert (registered.exit_code, registered.output) == (0, "clients: 2 registered, 0 taken off\n")
    assert run("keys", "clients", "--delist", "globex").exit_code == 2
    assert run("keys", "clients", "--delist", "globex", "--reason", "left in October").exit_code == 0
    shown = run("keys", "clients")
    assert shown.exit_code == 0
    assert "left in October" in shown.output
    items = json.loads(run("keys", "clients", "--json").output)["items"]
    assert [(each["key"], each["listed"]) for each in items] == [("acme", True), ("globex", False)]
