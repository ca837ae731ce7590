"""How long a request may take, once it has been received: a database that hangs is an answer too.

Guarantees that whoever asks is answered with 503 in the end. What was begun may still be carried out behind the answer,
so the client may send the same again, as it may after any lost answer. A statement that takes too long ends much
earlier, by the database's own clock; this is for a database that does not run at all.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import msgspec
from litestar import Response
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from dataforge.api import problem

if TYPE_CHECKING:
    from litestar.types import HTTPScope

_PATHS = {"/ready": 5.0}  # seconds; whoever asks this wants to know now
_BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")


class Patience(ASGIMiddleware):
    """Answers for a request that has taken `seconds` since its body was there."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Hands on the request, and gives up on it in time. An answer that has begun is left to end."""
        seconds = min(self._seconds, _PATHS.get(scope["path"], self._seconds))
        bodiless = cast("HTTPScope", scope)["method"] in _BODILESS
        clock, begun = asyncio.get_running_loop().time, False
        try:
            async with asyncio.timeout(seconds if bodiless else None) as limit:

                async def receive_timed() -> HTTPReceiveMessage:
                    message = await receive()
                    if message["type"] == "http.request" and not message.get("more_body", False):
                        limit.reschedule(clock() + seconds)
                    return message  # type: ignore[return-value]  # or that the client is gone

                async def send_timed(message: Message) -> None:
                    nonlocal begun
                    begun = True
                    limit.reschedule(None)
                    await send(message)

                await next_app(scope, receive_timed, send_timed)
        except TimeoutError:
            if begun:
                raise
            await _gave_up(seconds)(scope, receive, send)


def _gave_up(seconds: float) -> ASGIApp:
    detail = (
        f"no answer within {seconds:g} s: the database may hang; what was sent may still be carried out, and sending it"
        " again does no harm"
    )
    body = msgspec.json.encode(problem.of(HTTPStatus.SERVICE_UNAVAILABLE, detail))
    return Response(
        body, status_code=HTTPStatus.SERVICE_UNAVAILABLE, media_type=problem.MEDIA_TYPE, headers={"Retry-After": "5"}
    ).to_asgi_response(app=None, request=None)  # type: ignore[arg-type]  # neither is looked at for bytes
