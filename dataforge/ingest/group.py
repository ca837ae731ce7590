"""Group commit: what arrives while a transaction of its environment runs goes together into the next one.

One transaction costs about the same for one event as for fifty, and those of one environment take turns anyway. So
nobody is made to wait for others, and the more arrive, the more share a commit.

Guarantees that whoever calls `record` is answered after the commit of what they sent, with the counts of that alone;
that what fails for one is not answered as a failure of another; that environments never share a transaction; and that
no more is held than it may hold. Nothing is shared with other processes but the database, where writers of one
environment take turns.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from dataforge.ingest.batch import BatchResult, Parse, read, record_batches
from dataforge.ingest.redaction import Redaction
from dataforge.model.errors import DatabaseUnavailable, DataForgeError, Overloaded
from dataforge.storage import reject
from dataforge.storage.database import Database

MOST_EVENTS = 1_000  # of a group, unless one call alone has more
MOST_BYTES = 8 * 2**20  # of a group, likewise
MOST_HELD = 256 * 2**20  # bytes of bodies; what is made of them takes several times as much
_THREADS = 8  # environments that are written to at once
_log = logging.getLogger(__name__)


class _Call(NamedTuple):
    """One caller's events, and where the answer is awaited."""

    bodies: Sequence[bytes]
    parse: Parse
    size: int  # bytes
    answer: asyncio.Future[BatchResult]


class GroupCommit:
    """The writer of one process: calls queue up by environment, and a thread writes one group of each at a time.

    All of its state belongs to the event loop that calls it; threads see only the group they are given.
    """

    def __init__(self, database: Database, redaction: Redaction, most_held: int = MOST_HELD) -> None:
        """`most_held` is how many bytes of bodies wait or are written at once, unless one call alone has more."""
        self._database = database
        self._redaction = redaction
        self._most_held = most_held
        self._queues: dict[str, deque[_Call]] = {}  # of environments that are being written to
        self._writers: set[asyncio.Task[None]] = set()
        self._held = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="group-commit")

    async def record(self, environment: str, bodies: Sequence[bytes], parse: Parse) -> BatchResult:
        """What became of these events, once it is durable. They are recorded also where the caller gives up waiting.

        Raises Overloaded where too much is held already, and what `record_batches` raises; then nothing is recorded.
        """
        size = sum(map(len, bodies))
        if self._held and self._held + size > self._most_held:
            raise Overloaded(
                f"{self._held / 2**20:.0f} MB of events wait to be recorded, and no more are taken: send them again in"
                " some seconds; where that does not help, find out what keeps the database busy"
            )
        call = _Call(bodies, parse, size, asyncio.get_running_loop().create_future())
        self._held += size
        if environment in self._queues:
            self._queues[environment].append(call)
        else:
            self._queues[environment] = deque([call])
            writer = asyncio.create_task(self._write_all(environment))
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await call.answer

    async def close(self) -> None:
        """Returns when everything that was taken is written. No call may follow."""
        while self._writers:
            await asyncio.wait(self._writers)
        self._threads.shutdown()

    async def _write_all(self, environment: str) -> None:
        """Writes group after group, until nobody waits."""
        queue = self._queues[environment]
        while queue:
            group = _next_group(queue)
            try:
                answers = await self._written(environment, group)
            finally:
                self._held -= sum(call.size for call in group)
            for call, answer in zip(group, answers, strict=True):
                _tell(call.answer, answer)
        del self._queues[environment]

    async def _written(self, environment: str, group: Sequence[_Call]) -> Sequence[BatchResult | Exception]:
        """The answers to a group, also where no thread can be had, or one ends by more than an Exception: else whoever
        waits would wait for ever, and who comes next behind them."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._write, environment, group)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - those who wait are answered with it
            _log.exception("a group could not be written")
            return [error if isinstance(error, Exception) else RuntimeError(repr(error))] * len(group)

    def _write(self, environment: str, group: Sequence[_Call]) -> list[BatchResult | Exception]:
        """The answer to each call of a group. An outage, or an unknown environment, is everybody's; any other failure
        may be the fault of one call, so each is then written by itself."""
        try:
            batches = [read(call.bodies, self._redaction, call.parse) for call in group]
            return [*record_batches(self._database, environment, batches)]
        except DataForgeError as error:
            return [error] * len(group)
        except Exception as error:  # noqa: BLE001 - whoever is answered with it raises it
            if reject.outage(error):
                _log.warning("the database could not record a group", exc_info=True)
                return [DatabaseUnavailable("the database could not record this now: send it again")] * len(group)
            if len(group) == 1:
                return [error]
            _log.warning("a group could not be recorded together: each call is by itself", exc_info=True)
            return [answer for call in group for answer in self._write(environment, [call])]


def _next_group(queue: deque[_Call]) -> list[_Call]:
    """Takes the calls that go together: from the first on, as many as fit."""
    group = [queue.popleft()]
    events, size = len(group[0].bodies), group[0].size
    while queue and events + len(queue[0].bodies) <= MOST_EVENTS and size + queue[0].size <= MOST_BYTES:
        call = queue.popleft()
        group.append(call)
        events, size = events + len(call.bodies), size + call.size
    return group


def _tell(waiting: asyncio.Future[BatchResult], answer: BatchResult | Exception) -> None:
    if waiting.done():  # whoever asked has given up
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
