"""When a process that makes very many values looks for cycles of garbage. Imports nothing of what records."""

import gc

_VALUES_BEFORE_COLLECTION = 20_000


def collect_less() -> None:
    """Lets a process that records or loads much look for cycles of garbage less often: a batch, like a window's assets,
    makes tens of thousands of values and no cycle, and to look for one after every 700 of them takes a tenth of a
    batch's time and a third of a window's."""
    gc.set_threshold(_VALUES_BEFORE_COLLECTION, *gc.get_threshold()[1:])
