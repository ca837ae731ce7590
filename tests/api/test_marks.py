"""Marks over HTTP: an event like any other, shown with who said it where the run and its verdict are."""

from __future__ import annotations

from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

DAY = "2026-11-01"


def test_a_mark_is_an_event_and_is_shown_with_the_run_and_its_verdict(client: TestClient[Litestar]) -> None:
    about: dict[str, Any] = {"task": {"namespace": "ns", "name": "load"}, "partition": DAY}
    said = {"control": "mark", "state": "succeeded", "by": "anna", "reason": "checked by hand"}
    events = [
        about | {"time": "2026-11-02T00:12:00Z", "state": "failed"},
        about | {"time": "2026-11-02T01:00:00Z"} | said,
        about | {"time": "2026-11-02T02:00:00Z"} | said | {"state": "unheard of"},
    ]
    answer = client.post("/api/v1/dev/events", json=events).json()
    assert (answer["applied"], answer["rejected"][0]["errors"][0]["field"]) == (2, "state")
    [run] = client.get("/api/v1/dev/runs", params={"name": "load"}).json()["items"]
    assert (run["state"], run["evidence"]) == ("succeeded", "operator")
    marked = {"by": "anna", "at": "2026-11-02T01:00:00Z", "cleared": False, "reason": "checked by hand"}
    assert run["marked"] == marked
    verdict = client.get("/api/v1/dev/readiness", params={"name": "load", "partition": DAY}).json()
    assert [warning["code"] for warning in verdict["warnings"]] == ["marked"]
