"""The contract with OpenLineage's own Python client, over HTTP to a real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread

import httpx
import pytest
import uvicorn
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import nominal_time_run
from openlineage.client.transport.http import HttpCompression, HttpConfig, HttpTransport
from requests import HTTPError

from dataforge.api.app import create_app
from dataforge.settings import Settings

_RUN_ID = "0190c3f5-0000-7000-8000-000000000001"


@pytest.fixture
def server_url(settings: Settings) -> Iterator[str]:
    """The address of a server on loopback, which lives as long as the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _event(state: RunState, minute: int) -> RunEvent:
    window = nominal_time_run.NominalTimeRunFacet("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
    return RunEvent(
        eventType=state,
        eventTime=datetime(2026, 11, 2, 6, minute, tzinfo=UTC).isoformat(),
        run=Run(runId=_RUN_ID, facets={"nominalTime": window}),
        job=Job(namespace="shell", name="orders.export"),
        producer="https://example.com/export",
        inputs=[InputDataset("postgres://db:5432", "shop.public.orders")],
        outputs=[OutputDataset("s3://lake", "orders/export")],
    )


def _client(url: str, compression: HttpCompression | None = None) -> OpenLineageClient:
    return OpenLineageClient(transport=HttpTransport(HttpConfig(url=url, compression=compression)))


@pytest.mark.parametrize("compression", [None, HttpCompression.GZIP])
def test_what_the_real_client_emits_is_in_the_ledger(server_url: str, compression: HttpCompression | None) -> None:
    client = _client(server_url, compression)
    client.emit(_event(RunState.START, 0))
    client.emit(_event(RunState.COMPLETE, 5))
    client.close()
    [run] = httpx.get(f"{server_url}/api/v1/dev/runs").json()["items"]
    assert (run["namespace"], run["name"], run["run"]) == ("shell", "orders.export", _RUN_ID)
    assert (run["state"], run["partition"]) == ("succeeded", "2026-11-01")
    assert [touch["name"] for touch in run["inputs"] + run["outputs"]] == ["shop.public.orders", "orders/export"]


def test_what_the_real_client_repeats_is_a_duplicate(server_url: str) -> None:
    client = _client(server_url)
    for _ in range(2):
        client.emit(_event(RunState.COMPLETE, 5))
    client.close()
    assert len(httpx.get(f"{server_url}/api/v1/dev/runs?attempts=true").json()["items"]) == 1


def test_the_real_client_is_told_of_a_bad_event(server_url: str) -> None:
    client = _client(server_url)
    bad = _event(RunState.COMPLETE, 5)
    bad.job = Job(namespace="shell", name="a\0b")
    with pytest.raises(HTTPError, match="422"):
        client.emit(bad)
    client.close()
    assert len(httpx.get(f"{server_url}/api/v1/dev/rejects").json()["items"]) == 1
