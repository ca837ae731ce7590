"""The API's process: `python -m dataforge.api`, in the foreground, logging to stderr."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import uvicorn
from litestar.concurrency import set_asyncio_executor

from dataforge import settings as installation
from dataforge.ingest.garbage import collect_less

# Questions, declarations and claims are served by threads. Writers of one environment take turns, each waiting in a
# thread of its own, so there are more of them than cores by far. Events wait in no thread: they are written in groups.
_THREADS = 32
# What was accepted is finished and answered, if that takes no longer than this; whoever stops the process waits 15 s.
_SHUTDOWN_SECONDS = 12


def main() -> None:
    """Serves until it is told to stop."""
    collect_less()
    _open_many()
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


def _open_many() -> None:
    """Lets the process hold as many connections as the system allows it: shells begin with 1,024 files, and who comes
    then, the database among them, waits until somebody leaves."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
