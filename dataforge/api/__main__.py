"""The API's process: `python -m dataforge.api`, in the foreground, logging to stderr."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import uvicorn
from litestar.concurrency import set_asyncio_executor

from dataforge import settings as installation
from dataforge.ingest.batch import collect_less

# Questions, declarations and claims are served by threads. Writers of one environment take turns, each waiting in a
# thread of its own, so there are more of them than cores by far. Events wait in no thread: they are written in groups.
_THREADS = 32
# What was accepted is finished and answered, if that takes no longer than this; whoever stops the process waits 15 s.
_SHUTDOWN_SECONDS = 12


def main() -> None:
    """Serves until it is told to stop."""
    collect_less()
    settings = installation.current()
    set_asyncio_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="request"))
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
