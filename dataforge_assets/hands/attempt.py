"""One attempt of a partition, as whoever writes a command for it is told, and as its platform is told its name.

Guarantees that the name is a function of task, partition and attempt, and short enough for every platform.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from dagster import AssetSpec, TimeWindow, TimeWindowPartitionsDefinition

from resources.model import TaskRef

LONGEST = 200  # characters of a name; EMR takes 256


@dataclass(frozen=True)
class Attempt:
    """What is to be run: `start` and `end` are those of a partition that is a window of time."""

    task: TaskRef
    partition: str
    number: int
    start: datetime | None = None
    end: datetime | None = None

    @property
    def name(self) -> str:
        """What its platform is to call it."""
        return f"{stem(self.task, self.partition)}#{self.number}"


def stem(task: TaskRef, partition: str) -> str:
    """With what the names of all attempts of a partition begin, up to their number."""
    whole = f"{task.namespace}/{task.name}[{partition}]" if partition else f"{task.namespace}/{task.name}"
    if len(whole) <= LONGEST:
        return whole
    return f"{whole[: LONGEST - 33]}-{blake2b(whole.encode(), digest_size=16).hexdigest()}"


def attempts_of(spec: AssetSpec, task: TaskRef) -> Callable[[str, int], Attempt]:
    """What makes the attempts of an asset, by key and number."""
    cut = spec.partitions_def

    def made(partition: str, number: int) -> Attempt:
        window = _window(cut, partition) if isinstance(cut, TimeWindowPartitionsDefinition) else None
        return Attempt(task, partition, number, window and window.start, window and window.end)

    return made


def _window(cut: TimeWindowPartitionsDefinition, partition: str) -> TimeWindow:
    return cut.time_window_for_partition_key(partition)
