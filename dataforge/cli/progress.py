"""A progress bar for what takes over a second, on a terminal and nowhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE = 1.0  # seconds without a word


class Bar:
    """A bar on standard error; until a second has passed it shows nothing and costs nothing."""

    def __init__(self, label: str, total: int | None) -> None:
        """`total` is in the units of `move`; None where it is unknown."""
        self._label, self._total = label, total
        self._begun = time.monotonic()
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()

    def move(self, done: int, total: int | None = None) -> None:
        """Moves the bar to `done`, of `total` where that is known by now."""
        self._total = total or self._total
        if self._shown is None and sys.stderr.isatty() and time.monotonic() - self._begun > _PATIENCE:
            self._shown = self._start()
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, completed=done, total=self._total)

    def _start(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        progress = Progress(console=Console(stderr=True), transient=True)
        progress.start()
        return progress, progress.add_task(self._label, total=self._total)
