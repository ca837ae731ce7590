"""Which runs of its producers a partition of a dataset consists of: its shares.

The rule, for one producer:

* Keys that are no time windows are shares of their own: of twelve regional jobs each brings one.
* Windows under `same` are shares of their own, too: a month consists of its days.
* Under every other mapping, and where the dataset's partition has no time, a run writes anew what it names, so that of
  different windows the latest run stands for all of them: a run that rewrites three days needs none of the next two.
* Without windows of its own, a task that writes what has ended by then writes each window in its turn.
* What cannot be told (a dynamic set of keys, more than 1,000 of them) counts as one share. A task that nobody has cut
  is taken to write by the windows of its dataset where its mapping counts in windows.

Guarantees an answer that depends on the declaration alone, never on the present time.
"""

from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from dataforge.model.downstream import downstream_keys, producing_keys
from dataforge.model.edge import All, Along, Dimension, Fixed, Last, Mapping, Same, Table, ToDate, Window
from dataforge.model.errors import InvalidInput
from dataforge.model.partition import Partitioning, window_of
from dataforge.model.partition_set import sets_of, with_keys
from dataforge.model.windows import exists, time_dimension

_EVER = datetime(2101, 1, 1, tzinfo=UTC)  # every partition that a producer will have had
_SAME = Same()


class Share(msgspec.Struct, frozen=True, order=True):
    """What one partition of a producer brings, or with `dimension` all of those that have the key in that place."""

    key: str | None = None  # None: any run of it
    dimension: int | None = None

    @property
    def partition(self) -> str | None:
        """The one partition of the producer that brings it; None where several may."""
        return self.key if self.dimension is None else None

    def brought_by(self, key: str) -> bool:
        """Whether a run for this partition of the producer brings it."""
        if self.key is None:
            return True
        if self.dimension is None:
            return key == self.key
        parts = key.split("|")
        return self.dimension < len(parts) and parts[self.dimension] == self.key


ANY = Share()


def shares(mapping: Mapping, key: str, task: Partitioning | None, dataset: Partitioning | None) -> tuple[Share, ...]:
    """What a producer brings to the dataset's partition `key`; nothing where none of its partitions writes it."""
    if not exists(dataset, key):
        return ()
    if task is None and _counts_in_windows(mapping):
        return (ANY,) if _keys(mapping, key, task, dataset) != () else ()
    dataset = _holding(dataset, key)
    if task is None or time_dimension(task) is None:
        return _each(_keys(_newest(mapping, dataset), key, task, dataset, _ended(dataset, key)))
    if _tiles(mapping, task, dataset):
        return _each(_keys(mapping, key, task, dataset))
    if task.windowed:
        return (ANY,) if _writes(mapping, key, task, dataset) else ()
    return _standing_for_windows(mapping, key, task, dataset)


def _holding(dataset: Partitioning | None, key: str) -> Partitioning | None:
    """The cut with what the key is of in its sets: who writes all that they hold writes that."""
    if dataset is None or not sets_of(dataset):
        return dataset
    return with_keys(dataset, dict.fromkeys(sets_of(dataset), (key, *key.split("|"))))


def _each(keys: tuple[str, ...] | None) -> tuple[Share, ...]:
    return (ANY,) if keys is None else tuple(map(Share, keys))


def _counts_in_windows(mapping: Mapping) -> bool:
    rules = mapping.dimensions.values() if isinstance(mapping, Dimension) else (mapping,)
    return any(isinstance(rule, Window | ToDate) for rule in rules)


def _newest(mapping: Mapping, dataset: Partitioning | None) -> Mapping:
    """Of the windows that have ended by then the last alone: so a task without time writes each in its turn."""
    if dataset is None:
        return mapping
    if isinstance(mapping, All) and dataset.kind == "product":
        return _newest(Dimension(dict.fromkeys(dataset.dimensions, mapping)), dataset)
    if isinstance(mapping, Along):
        return replace(mapping, mapping=_newest(mapping.mapping, dataset))
    if isinstance(mapping, Dimension):
        rules = {name: _newest(rule, dataset.dimensions.get(name)) for name, rule in mapping.dimensions.items()}
        return Dimension(rules)
    return Last() if isinstance(mapping, All) and dataset.windowed else mapping


def _ended(dataset: Partitioning | None, key: str) -> datetime:
    """When the partition's window ended; what has none is as of ever."""
    window = window_of(dataset, key) if dataset is not None else None
    return _EVER if window is None else window.end


def most_shares(mapping: Mapping, task: Partitioning | None, dataset: Partitioning | None) -> int | None:
    """The most that a producer can bring to any one partition; None where no number is known."""
    if task is None:
        return len(mapping.keys) if isinstance(mapping, Table) else 1
    if task.kind == "none":
        return 1
    if task.windowed:
        return 1 if not _tiles(mapping, task, dataset) or time_dimension(dataset) in (None, task) else None
    if task.kind == "static":
        apart = isinstance(mapping, Same) and dataset is not None and dataset.kind == "static"
        return 1 if apart else len(task.keys)
    return None


def _keys(
    mapping: Mapping, key: str, task: Partitioning | None, dataset: Partitioning | None, now: datetime = _EVER
) -> tuple[str, ...] | None:
    """The producer's partitions that write this one; None where they cannot be told."""
    try:
        return producing_keys(mapping, key, task, dataset, now)
    except InvalidInput:
        return None


def _tiles(mapping: Mapping, task: Partitioning, dataset: Partitioning | None) -> bool:
    """Whether each time window of the producer brings a part of its own."""
    if dataset is None or time_dimension(dataset) is None:
        return dataset is None and isinstance(mapping, Same)
    if isinstance(mapping, Along):
        return _is_time(task, mapping.dimension) and isinstance(mapping.mapping, Same)
    if isinstance(mapping, Dimension):
        time = next((name for name, part in sorted(dataset.dimensions.items()) if part.windowed), "")
        rule = mapping.dimensions.get(time, _SAME)
        if isinstance(rule, Along):
            return _is_time(task, rule.dimension) and isinstance(rule.mapping, Same)
        return isinstance(rule, Same) and (task.windowed or _is_time(task, time))
    return isinstance(mapping, Same)


def _is_time(task: Partitioning, dimension: str) -> bool:
    return dimension in task.dimensions and task.dimensions[dimension].windowed


def _writes(mapping: Mapping, key: str, task: Partitioning, dataset: Partitioning | None) -> bool:
    """Whether any window of the producer writes the partition."""
    if isinstance(mapping, All) or (dataset is not None and dataset.kind == "none"):
        return exists(dataset, key) if dataset is not None else key == ""
    if isinstance(mapping, Fixed):
        return key == mapping.key
    return _keys(mapping, key, task, dataset) != ()


def _standing_for_windows(
    mapping: Mapping, key: str, task: Partitioning, dataset: Partitioning | None
) -> tuple[Share, ...]:
    """The keys of a producer's other dimension, each for all of its windows."""
    names = sorted(task.dimensions)
    place = next((at for at, name in enumerate(names) if not task.dimensions[name].windowed), None)
    if place is None or not exists(dataset, key):
        return (ANY,) if _keys(mapping, key, task, dataset) != () else ()
    other = task.dimensions[names[place]]
    try:
        if isinstance(mapping, Along) and mapping.dimension == names[place]:
            parts = downstream_keys(mapping.mapping, key, other, dataset, _EVER)
        else:
            found = _keys(mapping, key, task, dataset)
            parts = other.keys if found is None else tuple(dict.fromkeys(each.split("|")[place] for each in found))
            if found is None and other.kind != "static":
                return (ANY,)
    except InvalidInput:
        return (ANY,)
    return tuple(Share(part, place) for part in parts if "|" not in part)
