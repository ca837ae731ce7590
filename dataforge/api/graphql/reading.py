"""What one request reads: everything on one snapshot, in one transaction of one thread.

Guarantees that nothing is read before the first question, that what many fields ask for is asked at once, however many
they are, and that a database which fails fails the whole request: of a transaction that is broken nothing can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import TypeVar

from strawberry.dataloader import DataLoader

from dataforge.graph.follower import Follower
from dataforge.graph.sparse import Node
from dataforge.ledger import arrival, backfill_list, belonging, lineage, readiness
from dataforge.ledger.need import Asked
from dataforge.model.arrival import Arrival
from dataforge.model.backfill import ItemFilter, PlanItem
from dataforge.model.catalog import DatasetItem, PartitionItem, RunItem, TaskItem
from dataforge.model.edge_item import EdgeFilter, EdgeItem
from dataforge.model.errors import DataForgeError, InvalidInput, Unreachable
from dataforge.model.filter import PartitionFilter, RunFilter
from dataforge.model.lineage import Graph, Window
from dataforge.model.listing import Page
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef
from dataforge.model.verdict import Verdict
from dataforge.storage import environment as environments
from dataforge.storage import readiness as storage
from dataforge.storage.database import Connection, Database
from dataforge.storage.environment import Environment

MOST_AT_ONCE = 1_000  # verdicts, or tasks whose lists are read, by one statement

_Key = TypeVar("_Key", bound=Hashable)
_Shape = TypeVar("_Shape", bound=Hashable)
_Answer = TypeVar("_Answer")


class Reading:
    """The transaction of one request, opened at its first question, and the environments that it asks about."""

    def __init__(self, database: Database, follower: Follower, environment: str, now: datetime) -> None:
        """`environment` is the one meant where none is named; `now` is the moment that verdicts hold for."""
        self._database = database
        self._opened = ExitStack()
        self._connection: Connection | None = None
        self._failure: Exception | None = None
        self._within: dict[str, Within] = {}
        self.environment, self.follower, self.now = environment, follower, now

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.__exit__(kind, error, at)

    def read(self, question: Callable[[Connection], _Answer]) -> _Answer:
        """The answer to a question. Raises what the ledger refuses; what else goes wrong is raised again by `check`."""
        if self._failure is not None:
            raise self._failure
        try:
            if self._connection is None:
                self._connection = self._opened.enter_context(self._database.transaction())
                storage.begin_snapshot(self._connection)
            return question(self._connection)
        except Exception as error:
            if isinstance(error, Unreachable) or not isinstance(error, DataForgeError):
                self._failure = error
            raise

    def check(self) -> None:
        """Raises what went wrong, where it was no refusal of the ledger's."""
        if self._failure is not None:
            raise self._failure

    def within(self, name: str | None) -> Within:
        """The environment of this name. Raises NotFound."""
        name = self.environment if name is None else name
        if name not in self._within:
            here = self.read(lambda connection: environments.find(connection, name))
            self._within[name] = Within(self, here)
        return self._within[name]


class Within:
    """What is asked about one environment. Its loaders gather what the fields of one level ask for, and remember it."""

    def __init__(self, reading: Reading, here: Environment) -> None:
        self.reading, self.here = reading, here

    def read(self, question: Callable[[Connection, int], _Answer]) -> _Answer:
        """The answer to a question about this environment."""
        return self.reading.read(lambda connection: question(connection, self.here.id))

    @cached_property
    def tasks(self) -> DataLoader[TaskRef, TaskItem | None]:
        return self._loader(lambda connection, names: belonging.tasks_named(connection, self.here.id, names))

    @cached_property
    def datasets(self) -> DataLoader[DatasetRef, DatasetItem | None]:
        return self._loader(lambda connection, names: belonging.datasets_named(connection, self.here.id, names))

    @cached_property
    def arrivals(self) -> DataLoader[DatasetRef, Arrival]:
        return self._loader(
            lambda connection, names: arrival.arrivals_of(connection, self.here.id, names, self.reading.now)
        )

    @cached_property
    def verdicts(self) -> DataLoader[Asked, Verdict]:
        def load(connection: Connection, asked: Sequence[Asked]) -> list[Verdict]:
            found = readiness.verdicts(connection, self.here, asked, self.reading.now)
            return [found[each] for each in asked]

        return self._loader(load)

    @cached_property
    def runs(self) -> DataLoader[tuple[RunFilter, int], Page[RunItem]]:
        return self._pages(belonging.runs_of)

    @cached_property
    def partitions(self) -> DataLoader[tuple[PartitionFilter, tuple[NodeKind, int]], Page[PartitionItem]]:
        return self._pages(belonging.partitions_of)

    @cached_property
    def edges(self) -> DataLoader[tuple[EdgeFilter, int], Page[EdgeItem]]:
        return self._pages(belonging.edges_of)

    @cached_property
    def backfills(self) -> DataLoader[tuple[ItemFilter, str], Page[PlanItem]]:
        return self._pages(backfill_list.items_of)

    @cached_property
    def graphs(self) -> DataLoader[tuple[Window, tuple[NodeKind, int]], Graph]:
        def load(connection: Connection, asked: Sequence[tuple[Window, tuple[NodeKind, int]]]) -> list[Graph]:
            starts = [(Node(*node), window) for window, node in asked]
            return lineage.lineages(connection, self.here, self.reading.follower, starts)

        return self._loader(load)

    def _pages(
        self, load: Callable[[Connection, int, _Shape, Sequence[_Key]], Sequence[_Answer]]
    ) -> DataLoader[tuple[_Shape, _Key], _Answer]:
        """Of lists that are filtered alike all are loaded at once."""

        def loaded(connection: Connection, asked: Sequence[tuple[_Shape, _Key]]) -> list[_Answer | BaseException]:
            found: dict[tuple[_Shape, _Key], _Answer | BaseException] = {}
            for shape in dict.fromkeys(shape for shape, _ in asked):
                keys = [key for other, key in asked if other == shape]
                pages: Sequence[_Answer | BaseException]
                try:
                    pages = load(connection, self.here.id, shape, keys)
                except InvalidInput as error:  # such as a cursor of another list: of this filter alone
                    pages = [error] * len(keys)
                found |= {(shape, key): page for key, page in zip(keys, pages, strict=True)}
            return [found[each] for each in asked]

        return self._loader(loaded)

    def _loader(
        self, load: Callable[[Connection, Sequence[_Key]], Iterable[_Answer | BaseException]]
    ) -> DataLoader[_Key, _Answer]:
        async def fetch(keys: list[_Key]) -> list[_Answer | BaseException]:
            return list(self.reading.read(lambda connection: load(connection, keys)))

        return DataLoader(load_fn=fetch, max_batch_size=MOST_AT_ONCE)
