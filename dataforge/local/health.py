"""Whether the API answers, asked over HTTP as its users ask.

Guarantees an answer within seconds, and never by way of a proxy that the environment names.
"""

from __future__ import annotations

import http.client

from dataforge.settings import Settings

_SECONDS = 5


def trouble(settings: Settings) -> str | None:
    """What keeps the API from being ready; None when it is."""
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=_SECONDS)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        body = answer.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return None if answer.status == http.client.OK else f"{answer.status} {body}"
