"""A bucket of S3, by moto's server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3
from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextmanager
def s3() -> Iterator[tuple[Any, str]]:
    """A client, and the query of a URI that leads to the server; buckets are those of all servers of
    the process, so each test names its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        with mock.patch.dict(os.environ, CREDENTIALS):
            client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
            yield client, f"region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{port}"
    finally:
        server.stop()
