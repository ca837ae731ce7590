"""How far mirrors have come, over HTTP and as metrics, on the whole application around the real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
MIRROR = "/api/v1/dev/mirrors/ledger_to_dagster"


def _tell(client: Client, behind: float, waiting: int, path: str = MIRROR) -> dict[str, Any]:
    through = datetime.now(UTC) - timedelta(seconds=behind)
    answer = client.put(path, json={"shown_through": through.isoformat(), "waiting": waiting})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_a_mirror_says_last_stands_and_its_lag_grows_by_itself(client: Client) -> None:
    _tell(client, 60, 7)
    said = _tell(client, 100, 3)
    assert (said["name"], said["waiting"]) == ("ledger_to_dagster", 3)
    [listed] = client.get("/api/v1/dev/mirrors").json()["items"]
    assert {**listed, "lag_seconds": 0} == {**said, "lag_seconds": 0}
    assert listed["lag_seconds"] >= said["lag_seconds"] >= 100


def test_a_mirror_whose_clock_is_ahead_is_not_behind(client: Client) -> None:
    assert _tell(client, -60, 0)["lag_seconds"] == 0


def test_metrics_show_each_mirror_of_each_environment(client: Client) -> None:
    assert client.get("/metrics").text.count("\n") == 4  # what there is, and no mirror yet
    _tell(client, 30, 12)
    _tell(client, 0, 0, '/api/v1/prod/mirrors/of "finance"')
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = answer.text.splitlines()
    assert 'dataforge_mirror_waiting{environment="dev",mirror="ledger_to_dagster"} 12' in lines
    assert r'dataforge_mirror_waiting{environment="prod",mirror="of \"finance\""} 0' in lines
    lag = next(line for line in lines if line.startswith('dataforge_mirror_lag_seconds{environment="dev"'))
    assert 30 <= float(lag.split()[-1]) < 90
    assert "# TYPE dataforge_mirror_lag_seconds gauge" in lines


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "shown_through"),
        ({"shown_through": "yesterday"}, "shown_through"),
        ({"shown_through": "2026-11-01T00:00:00"}, "shown_through"),
        ({"shown_through": "2026-11-01T00:00:00Z", "waiting": -1}, "waiting"),
        ({"shown_through": "2026-11-01T00:00:00Z", "lag": 1}, "lag"),
    ],
)
def test_what_is_no_report_is_refused_with_its_field(client: Client, body: dict[str, Any], field: str) -> None:
    answer = client.put(MIRROR, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert client.get("/api/v1/dev/mirrors").json() == {"items": []}


def test_a_name_that_is_too_long_is_refused(client: Client) -> None:
    answer = client.put("/api/v1/dev/mirrors/" + "m" * 201, json={"shown_through": "2026-11-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")
