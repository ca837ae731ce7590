"""Dynamic sets over HTTP, on the whole application around the real database."""

from __future__ import annotations

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
CLIENTS = "/api/v1/dev/partition-sets/clients"


def test_keys_are_registered_listed_and_taken_off(client: Client) -> None:
    said = client.post(CLIENTS, json={"register": ["globex", "acme"], "by": "anna@example.com"})
    assert (said.status_code, said.json()) == (200, {"set": "clients", "registered": 2, "delisted": 0})
    gone = client.post(CLIENTS, json={"delist": ["globex"], "by": "bob@example.com", "reason": "left"})
    assert gone.status_code == 200
    items = client.get(CLIENTS).json()["items"]
    shown = [(each["key"], each["listed"], each["observed"], each["by"], each.get("reason")) for each in items]
    assert shown == [
        ("acme", True, False, "anna@example.com", None),
        ("globex", False, False, "bob@example.com", "left"),
    ]
    assert client.get(CLIENTS, params={"limit": 1}).json()["next_cursor"] is not None


def test_what_is_no_key_is_a_422_with_its_field(client: Client) -> None:
    wrong = client.post(CLIENTS, json={"register": ["a|b"]})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "keys[0]")
    untold = client.post(CLIENTS, json={"delist": ["acme"]})
    assert (untold.status_code, untold.json()["errors"][0]["field"]) == (422, "reason")
    assert client.post(CLIENTS, json={"keys": ["acme"]}).status_code == 422
    assert client.get(CLIENTS, params={"cursor": "x"}).status_code == 422
    assert client.get("/api/v1/dev/partition-sets/nobody").json() == {"items": [], "next_cursor": None}
