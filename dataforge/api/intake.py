"""How much of what is sent is held at once: many large bodies at the same moment must not fill the memory.

Guarantees that the bodies of all requests that are not answered yet have at most `most_held` bytes together, as they
are when unpacked, unless one alone has more; who comes too much is told at once, and the others are served on.
"""

from __future__ import annotations

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

from dataforge.model.errors import Overloaded


class Intake(ASGIMiddleware):
    """Counts the bytes of bodies from their receipt until their request is answered. Its state belongs to one loop."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, most_held: int) -> None:
        self._most_held = most_held
        self._held = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Hands on the request. Reading its body raises Overloaded where others hold too much already."""
        own = 0

        async def receive_counted() -> HTTPReceiveMessage:
            nonlocal own
            message = await receive()
            size = len(message.get("body", b""))  # type: ignore[arg-type]  # of a request; a client that is gone has none
            if self._held > own and self._held + size > self._most_held:
                raise Overloaded(
                    f"bodies of {self._held / 2**20:.0f} MB are being worked on, and no more are taken: send it again"
                    " in some seconds, in smaller batches or fewer at once"
                )
            own += size
            self._held += size
            return message  # type: ignore[return-value]  # or that the client is gone

        try:
            await next_app(scope, receive_counted, send)
        finally:
            self._held -= own
