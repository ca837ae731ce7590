"""Clients that cost little: one process, plain sockets, requests made before the clock starts.

On a machine of two cores a comfortable client is what one measures. Run as a process of its own, by `measure`.
"""

import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Literal

import msgspec

from benchmarks import workload


class Load(msgspec.Struct, frozen=True):
    """What is sent: `requests` of `events` each, over `clients` keep-alive connections."""

    port: int
    path: str
    clients: int
    requests: int
    events: int
    seed: int
    kind: Literal["native", "airflow"] = "native"
    rate: float | None = None  # requests a second, whatever the answers take; None: each client waits for its answer


class Answered(msgspec.Struct, frozen=True):
    """How long all of it took, and each request, in seconds; of a paced one from when it was due."""

    seconds: float
    waits: list[float]


def measure(load: Load) -> Answered:
    """Sends it from another process. Raises where a request was not answered with success."""
    command = [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(load).decode()]
    return msgspec.json.decode(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, type=Answered)


class _Client:
    """One connection, and the request that it waits for."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._since = 0.0

    def send(self, request: bytes, since: float) -> None:
        self._received, self._since = b"", since
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """What the request took, once its answer is whole."""
        self._received += self.socket.recv(2**16)
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
            return None
        if not head.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(self._received.decode())
        return time.perf_counter() - self._since


def _requests(load: Load) -> Iterator[bytes]:
    make = workload.airflow if load.kind == "airflow" else workload.native
    bodies = make(load.requests * load.events, seed=load.seed)
    head = f"POST {load.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: "
    for begin in range(0, len(bodies), load.events):
        body = b"[" + b",".join(bodies[begin : begin + load.events]) + b"]" if load.events > 1 else bodies[begin]
        yield f"{head}{len(body)}\r\n\r\n".encode() + body


def _send(load: Load) -> Answered:
    requests = list(_requests(load))
    began = time.perf_counter()
    due = [began + number / load.rate if load.rate else None for number in range(len(requests))]
    waits, idle, selector = (
        list[float](),
        [_Client(load.port) for _ in range(load.clients)],
        selectors.DefaultSelector(),
    )
    for client in idle:
        selector.register(client.socket, selectors.EVENT_READ, client)
    following = iter(zip(requests, due, strict=True))
    upcoming = next(following, None)
    while len(waits) < len(requests):
        now = time.perf_counter()
        while upcoming and idle and (upcoming[1] or now) <= now:
            idle.pop().send(upcoming[0], upcoming[1] or now)
            upcoming = next(following, None)
        pause = max(0.0, upcoming[1] - now) if upcoming and idle and upcoming[1] else None
        for key, _ in selector.select(pause):
            if (waited := key.data.receive()) is not None:
                waits.append(waited)
                idle.append(key.data)
    return Answered(time.perf_counter() - began, waits)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_send(msgspec.json.decode(sys.argv[1], type=Load))))
