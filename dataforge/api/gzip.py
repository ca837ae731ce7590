"""Bodies that come compressed: every endpoint that takes a body takes it gzipped too.

Guarantees that no more is decompressed than the server reads at most, however small the compressed body is.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

from dataforge.api.problem import UnsupportedEncoding
from dataforge.model.errors import FieldError, InvalidInput

_GZIP = 16 + zlib.MAX_WBITS  # how zlib is told to expect gzip's frame
_PIECE = 2**20  # bytes decompressed at a time; the reader stops at its own limit between two pieces


class Gunzip(ASGIMiddleware):
    """Undoes `Content-Encoding: gzip`, piece by piece, and refuses any other encoding."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Hands on the request with a plain body."""
        encoding = Headers.from_scope(scope).get("content-encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            pieces = _plain(receive)

            async def receive_plain() -> HTTPReceiveMessage:
                return await anext(pieces)

            await next_app(scope, receive_plain, send)
        elif encoding in ("", "identity"):
            await next_app(scope, receive, send)
        else:
            raise UnsupportedEncoding(
                f"the body is encoded as {encoding!r}: send it as gzip or as it is",
                [FieldError("Content-Encoding", encoding, "gzip, or none")],
            )


async def _plain(receive: Receive) -> AsyncIterator[HTTPReceiveMessage]:
    """The decompressed body as messages, and behind it whatever else is received."""
    unzip = zlib.decompressobj(_GZIP)
    while True:
        message = await receive()
        if message["type"] != "http.request":
            yield message  # type: ignore[misc]  # the client is gone
            continue
        rest, piece = message.get("body", b""), b""
        while rest or len(piece) == _PIECE:  # a full piece: more may be pending inside zlib
            piece, rest = _inflate(unzip, rest)
            if unzip.eof and rest:  # members of gzip may follow each other
                unzip = zlib.decompressobj(_GZIP)
            yield {"type": "http.request", "body": piece, "more_body": True}
        if not message.get("more_body", False):
            _require_end(unzip)
            yield {"type": "http.request", "body": b"", "more_body": False}


def _inflate(unzip: zlib._Decompress, compressed: bytes) -> tuple[bytes, bytes]:
    """The next piece, and what of the compressed bytes is still to be read."""
    try:
        piece = unzip.decompress(compressed, _PIECE)
    except zlib.error as error:
        raise _broken(str(error)) from None
    return piece, unzip.unused_data if unzip.eof else unzip.unconsumed_tail


def _require_end(unzip: zlib._Decompress) -> None:
    if not unzip.eof:
        raise _broken("it ends too early")


def _broken(reason: str) -> InvalidInput:
    expected = "a whole gzip stream"
    problem = FieldError("Content-Encoding", "gzip", f"{expected}: {reason}")
    return InvalidInput(f"the body is no {expected[2:]} ({reason}): compress and send it again", [problem])
