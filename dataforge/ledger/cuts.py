"""How tasks and datasets are cut as far as anybody declares it: what a declaration says, over what others say.

Guarantees an answer that does not depend on events, nor on what this source declared before.
"""

from collections.abc import Iterable, Mapping, Set

from dataforge.model.declaration import Plan
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import definition as definitions
from dataforge.storage.database import Connection


class Cuts:
    """Declared partitionings and names, of the manifest and of the tables."""

    def __init__(self, connection: Connection, environment: int, decided: Plan) -> None:
        manifest = decided.manifest
        self._connection, self._environment, self._source = connection, environment, manifest.source
        self.aliases = {(dataset.ref.id, alias.id) for dataset in manifest.datasets for alias in dataset.aliases}
        self._tasks = {task.ref.id: task.cut for task in manifest.tasks}
        self._datasets = {dataset.ref.id: dataset.partitioning for dataset in manifest.datasets if dataset.partitioning}

    def others(self, refs: Set[TaskRef | DatasetRef]) -> set[TaskRef | DatasetRef]:
        """Those of these of which not the manifest alone says how they are cut: as its tasks, and as its datasets that
        have no other names."""
        names = self.names({ref.id for ref in refs if isinstance(ref, DatasetRef) and ref.id in self._datasets})
        alone = names - {dataset for pair in self.aliases for dataset in pair}
        return {ref for ref in refs if ref.id not in (self._tasks if isinstance(ref, TaskRef) else alone)}

    def tasks(self, ids: Iterable[int]) -> dict[int, Partitioning]:
        """Of those tasks whose partitioning is declared, how they are cut."""
        asked = set(ids)
        stored = definitions.task_cuts(self._connection, self._environment, asked - self._tasks.keys(), self._source)
        return stored | {task: cut for task, cut in self._tasks.items() if cut is not None and task in asked}

    def datasets(self, ids: Iterable[int]) -> dict[int, Partitioning]:
        """Of those datasets whose partitioning is declared under any of their names, how they are cut."""
        asked = set(ids)
        groups = self.groups(asked)
        stored = definitions.dataset_cuts(self._connection, self._environment, groups.keys(), self._source)
        found = {name: _first(groups[name], self._datasets) or _first(groups[name], stored) for name in asked}
        return {name: cut for name, cut in found.items() if cut is not None}

    def groups(self, datasets: Iterable[int]) -> dict[int, set[int]]:
        """For each of these datasets, and each of their other names, all that mean the same, as far as declared."""
        return _groups(self.names(datasets), self.aliases)

    def names(self, datasets: Iterable[int]) -> set[int]:
        """The datasets with all names that mean the same, as far as they are declared."""
        names = set(datasets)
        new = set(names)
        while new:
            pairs = definitions.declared_aliases(self._connection, self._environment, new, self._source)
            pairs |= {pair for pair in self.aliases if not new.isdisjoint(pair)}
            self.aliases |= pairs
            new = {dataset for pair in pairs for dataset in pair} - names
            names |= new
        return names

    def all_aliases(self) -> set[tuple[int, int]]:
        """All pairs of names that anybody declares to mean the same."""
        return self.aliases | definitions.all_declared_aliases(self._connection, self._environment, self._source)


def _groups(names: Iterable[int], aliases: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """For each name all that mean the same."""
    groups = {name: {name} for name in names}
    for first, second in aliases:
        joined = groups.get(first, {first}) | groups.get(second, {second})
        for name in joined:
            groups[name] = joined
    return groups


def _first(names: Iterable[int], cuts: Mapping[int, Partitioning]) -> Partitioning | None:
    return next((cuts[name] for name in sorted(names) if name in cuts), None)
