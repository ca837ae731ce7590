"""What is too much is refused by name and number, with memory bounded and everybody else served on."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psutil
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from benchmarks.served import Served, served
from dataforge.api.app import create_app
from dataforge.model.manifest_text import MOST_ITEMS
from dataforge.settings import Settings
from dataforge.storage.database import Database

Client = TestClient[Litestar]
MB = 2**20


def _manifest(tasks: int, before: int) -> dict[str, Any]:
    """Tasks that each wait for so many before them."""
    names = [{"namespace": "ns", "name": f"t{number}"} for number in range(tasks)]
    return {
        "tasks": [
            {**name, "consumes": [{"task": each} for each in names[max(0, place - before) : place]]}
            for place, name in enumerate(names)
        ]
    }


def test_a_manifest_of_too_many_edges_says_how_many_it_may_have(client: Client) -> None:
    answer = client.put("/api/v1/dev/definitions/big", json=_manifest(10_015, 30))
    assert answer.status_code == 422
    assert f"{MOST_ITEMS:,} tasks, datasets, pools and edges" in answer.json()["detail"]
    assert "several sources" in answer.json()["detail"]
    assert client.get("/api/v1/dev/tasks").json()["items"] == []


def test_a_manifest_of_too_many_bytes_says_how_many_it_may_have(client: Client) -> None:
    answer = client.put("/api/v1/dev/definitions/big", content=b'{"tasks": []' + b" " * 33 * MB + b"}")
    assert answer.status_code == 413
    assert "at most 32 MB: declare it as several sources" in answer.json()["detail"]


def test_yaml_that_takes_too_long_to_read_is_refused_by_its_bytes(client: Client) -> None:
    text, kind = b"tasks: []" + b" " * 5 * MB, {"Content-Type": "application/yaml"}
    answer = client.put("/api/v1/dev/definitions/big", content=text, headers=kind)
    assert answer.status_code == 413
    assert "at most 4 MB of YAML: send it as JSON" in answer.json()["detail"]


def test_yaml_of_many_small_values_is_refused_while_it_is_read(client: Client) -> None:
    text, kind = b"[" + b"a," * 1_100_000 + b"a]", {"Content-Type": "application/yaml"}
    before = psutil.Process().memory_info().rss
    answer = client.put("/api/v1/dev/definitions/many", content=text, headers=kind)
    assert answer.status_code == 422
    assert "at most 1,000,000 values in a YAML document: write it as JSON" in answer.json()["detail"]
    assert psutil.Process().memory_info().rss - before < 1_000 * MB


def test_aliases_of_aliases_in_yaml_are_counted_and_not_written_out(client: Client) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = "\n".join(["a0: &a0 {namespace: ns, name: load}", *levels])
    before = psutil.Process().memory_info().rss
    answer = client.put("/api/v1/dev/definitions/bomb", content=text, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 422
    assert "with its aliases written out" in answer.json()["detail"]
    assert psutil.Process().memory_info().rss - before < 50 * MB


def test_an_alias_of_itself_is_no_manifest(client: Client) -> None:
    answer = client.put(
        "/api/v1/dev/definitions/ring", content="tasks: &a [*a]", headers={"Content-Type": "application/yaml"}
    )
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("path", "parameter"), [("tasks?limit=1000000", "limit"), ("graph?name=t0&depth=1000000", "depth")]
)
def test_a_page_of_a_million_names_the_parameter_and_the_most_it_may_be(
    client: Client, path: str, parameter: str
) -> None:
    answer = client.get(f"/api/v1/dev/{path}")
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["errors"]] == [parameter]
    assert "000" in answer.json()["errors"][0]["expected"]


def test_a_graph_of_everything_is_cut_and_says_so(client: Client) -> None:
    assert client.put("/api/v1/dev/definitions/all", json=_manifest(1_200, 1)).status_code == 200
    found = client.get("/api/v1/dev/graph?name=t0&namespace=ns&direction=downstream&depth=10000").json()
    assert (len(found["nodes"]), found["truncated"]) == (1_000, True)


class _Sender:
    """A request whose body is sent piece by piece, to an application called as its server would."""

    def __init__(self, app: Litestar) -> None:
        self.status = 0
        self.begun = asyncio.Event()  # the first piece was taken
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answered = asyncio.create_task(self._call(app))

    async def _call(self, app: Litestar) -> None:
        scope: Any = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/api/v1/dev/events",
            "raw_path": b"/api/v1/dev/events",
            "query_string": b"",
            "headers": [],
            "client": None,
            "server": None,
        }
        await app(scope, self._receive, self._send)  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        piece = await self._pieces.get()
        self.begun.set()
        return piece

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)

    def piece(self, body: bytes, *, more: bool) -> None:
        self._pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})


def test_bodies_that_are_too_much_together_are_refused_and_taken_when_there_is_room(settings: Settings) -> None:
    event = json.dumps(
        {"time": "2026-11-01T06:00:00Z", "task": {"namespace": "ns", "name": "load"}, "state": "succeeded"}
    ).encode()

    async def three() -> list[int]:
        app = create_app(settings, most_held=10_000)
        async with asyncio.timeout(30), app.lifespan():
            first = _Sender(app)
            first.piece(b" " * 9_000, more=True)
            await first.begun.wait()
            await asyncio.sleep(0)
            second = _Sender(app)
            second.piece(b" " * 9_000, more=True)
            await second.answered
            first.piece(event, more=False)
            await first.answered
            third = _Sender(app)
            third.piece(b" " * 20_000 + event, more=False)  # one alone may have more
            await third.answered
        return [first.status, second.status, third.status]

    assert asyncio.run(three()) == [200, 503, 200]


@contextmanager
def _few_files() -> Iterator[None]:
    """What a shell gives a process: 1,024 files unless it asks for more; and here more than it gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 6_000:
        pytest.skip(f"this machine lets a process open {hard} files, and the test needs 6,000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(database: Database) -> Iterator[Served]:
    with _few_files(), served(database.url) as one:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        yield one


def test_two_thousand_connections_that_say_nothing_keep_nobody_from_being_served(server: Served) -> None:
    with ExitStack() as open_ones:
        for number in range(2_000):
            one = open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            if number % 2:
                one.sendall(b"POST /api/v1/dev/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert httpx.get(f"{server.url}/dev/tasks", timeout=10).status_code == 200
