"""On what terms a task runs, as its declaration has it: its cost, and the pool of which it takes slots.

Guarantees that Dagster shows and limits what the ledger was told, since both read one manifest; reading it is all that
is done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataforge.model import decoding, definition
from dataforge.model.reference import TaskRef
from dataforge.settings import project_folder

COST = "dataforge/cost"  # tag: what a run costs, in the units that budgets of backfills count
POOL = "dataforge/pool."  # tag, with the pool's name: how many of its slots a run takes


@dataclass(frozen=True)
class Terms:
    """What a run costs, and how many slots of which pools it takes."""

    cost: float = 1.0
    slots: Mapping[str, int] | None = None

    @property
    def pool(self) -> str | None:
        """The pool of Dagster's, which knows one for a step: the one of which most slots are taken."""
        slots = self.slots or {}
        return max(sorted(slots), key=lambda pool: slots[pool]) if slots else None

    @property
    def tags(self) -> dict[str, str]:
        """The same as tags of an asset and of its steps."""
        return {COST: f"{self.cost:g}", **{f"{POOL}{name}": str(count) for name, count in (self.slots or {}).items()}}


FREE = Terms()
Declared = Mapping[TaskRef, Terms]
NOTHING_SAID: Declared = {}


def declared_terms(manifest: Path) -> Declared:
    """The terms of each task that the manifest (YAML or JSON) declares."""
    declared = definition.parse(decoding.of_yaml(manifest.read_bytes()), manifest.stem)
    return {task.ref: Terms(task.cost, task.pools) for task in declared.tasks}


def shop_terms() -> Declared:
    """Those of the example's tasks."""
    return declared_terms(project_folder() / "examples" / "shop" / "definitions.yaml")
