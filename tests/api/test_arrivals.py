"""Arrivals over HTTP: what is asked, answered and refused."""

from __future__ import annotations

import json

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dataforge.api.questions import MOST_QUESTIONS

Client = TestClient[Litestar]


def test_a_name_that_nobody_knows_has_an_item_too(client: Client) -> None:
    response = client.post("/api/v1/dev/arrivals", json=[{"name": "nobody"}])
    assert response.status_code == 200
    [item] = response.json()["items"]
    assert (item["node"]["name"], item["declared"], item["observed"], item["late"]) == ("nobody", False, False, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "$"),
        (json.dumps([{"name": "a"}] * (MOST_QUESTIONS + 1)).encode(), "$"),
        (b'[{"name": "a"}, {"namespace": "b"}]', "[1].name"),
        (b'[{"name": "a", "partition": "2026-11-01"}]', "[0].partition"),
    ],
)
def test_a_batch_that_cannot_be_read_names_the_field(client: Client, body: bytes, field: str) -> None:
    response = client.post("/api/v1/dev/arrivals", content=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
