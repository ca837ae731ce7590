"""The API's process: `python -m dataforge.api`, in the foreground, logging to stderr."""

from __future__ import annotations

import uvicorn

from dataforge import settings as installation

# Streams of changes never end by themselves; after this long a stop no longer waits for them.
_SHUTDOWN_SECONDS = 5


def main() -> None:
    """Serves until it is told to stop."""
    settings = installation.current()
    uvicorn.run(
        "dataforge.api.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
