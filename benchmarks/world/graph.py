"""The graph of a world: tasks in layers and domains, how often each runs, what it reads and writes.

Consumers choose their upstreams by a power law, as on real platforms: a few tables are read by thousands, most by few.
Guarantees that no edge names more partitions than the ledger takes (1,000), and no cycle.
"""

from collections.abc import Iterator
from datetime import date
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Definition = dict[str, Any]

TASKS, EDGES = 120_000, 2_500_000  # at factor 1
LAYERS, DOMAINS, CLIENTS = 8, 60, 100
FIRST_DAY = date(2026, 6, 1)
NAMESPACE, LAKE = "airflow-prod", "s3://lake"


class Cadence(IntEnum):
    """How a task is cut, and so how often it runs."""

    DAILY = 0
    HOURLY = 1
    FIVE_MINUTES = 2
    BY_CLIENT = 3  # each client's day
    BY_CLIENT_HOURLY = 4
    STREAM = 5  # hourly, by watermark


# Of all tasks. Together 125 runs a task and day, as 15 million runs of 120,000 tasks are.
SHARES = {
    Cadence.DAILY: 0.27,
    Cadence.HOURLY: 0.41,
    Cadence.FIVE_MINUTES: 0.26,
    Cadence.BY_CLIENT: 0.041,
    Cadence.BY_CLIENT_HOURLY: 0.016,
    Cadence.STREAM: 0.003,
}
_START = FIRST_DAY.isoformat()
_CLIENT = {"kind": "static", "keys": [f"c{client:03}" for client in range(CLIENTS)]}
_HOURLY = {"kind": "hourly", "start": _START}
_DAILY = {"kind": "daily", "start": _START}
CUTS: dict[Cadence, Definition] = {
    Cadence.DAILY: _DAILY,
    Cadence.HOURLY: _HOURLY,
    Cadence.FIVE_MINUTES: {"kind": "cron", "cron": "*/5 * * * *", "start": _START},
    Cadence.BY_CLIENT: {"kind": "product", "dimensions": {"client": _CLIENT, "date": _DAILY}},
    Cadence.BY_CLIENT_HOURLY: {"kind": "product", "dimensions": {"client": _CLIENT, "date": _HOURLY}},
    Cadence.STREAM: _HOURLY,
}
_ALL_CLIENTS = {"kind": "dimension", "dimensions": {"client": {"kind": "all"}}}


class World:
    """The tasks of one environment and what they read, as arrays; index for index one task."""

    def __init__(self, factor: float, seed: int = 1) -> None:
        self.factor, self.seed = factor, seed
        self.size = max(round(TASKS * factor), LAYERS * len(Cadence))
        random = np.random.default_rng([seed, 0])
        self.cadence: Ints = random.choice(len(Cadence), self.size, p=list(SHARES.values())).astype(np.int64)
        self.layer: Ints = np.arange(self.size) * LAYERS // self.size
        self.domain: Ints = random.integers(0, DOMAINS, self.size)
        self.upstreams, self.first = self._edges(random)

    def _edges(self, random: np.random.Generator) -> tuple[Ints, Ints]:
        """The upstreams of all tasks, task by task, and where those of each begin."""
        begins = np.searchsorted(self.layer, self.layer)  # the first task of each one's layer: what is below it
        wanted = np.where(begins > 0, random.geometric(1 / self._fan_in(), self.size), 0)
        reader = np.repeat(np.arange(self.size), np.minimum(wanted, begins))
        chosen = (begins[reader] * random.random(len(reader)) ** 3).astype(np.int64)
        pairs = np.unique(np.stack([reader, chosen]), axis=1)
        reader, chosen = pairs[:, self._fits(self.cadence[pairs[0]], self.cadence[pairs[1]])]
        return chosen, np.searchsorted(reader, np.arange(self.size + 1))

    def _fan_in(self) -> float:
        """How many upstreams a task below the first layer has: each edge but those to what it writes. A choice in ten
        is made twice, or does not fit."""
        return 1.1 * (EDGES / TASKS - 1) * LAYERS / (LAYERS - 1)

    @staticmethod
    def _fits(reader: Ints, read: Ints) -> NDArray[np.bool_]:
        """What clients have by the hour is read by clients alone: a day of all of them is 2,400 partitions."""
        coarse: NDArray[np.bool_] = read != Cadence.BY_CLIENT_HOURLY
        return coarse | np.isin(reader, [Cadence.BY_CLIENT, Cadence.BY_CLIENT_HOURLY])

    def reads(self, task: int) -> Ints:
        """The tasks whose datasets a task reads."""
        return self.upstreams[self.first[task] : self.first[task + 1]]

    @property
    def edges(self) -> int:
        """How many edges are declared: what is read, and what each writes."""
        return len(self.upstreams) + self.size

    def name(self, task: int) -> str:
        return f"domain{self.domain[task]:02}.layer{self.layer[task]}.task{task:06}"

    def dataset(self, task: int) -> str:
        """What a task writes."""
        return f"domain{self.domain[task]:02}/layer{self.layer[task]}/table{task:06}"

    def manifests(self) -> Iterator[Definition]:
        """What each domain declares, the first first: each is a source of its own."""
        for domain in range(DOMAINS):
            members = np.flatnonzero(self.domain == domain).tolist()
            yield {
                "source": f"domain{domain:02}",
                "tasks": [self._task(task) for task in members],
                "datasets": [self._dataset(task) for task in members],
            }

    def _task(self, task: int) -> Definition:
        cadence = Cadence(self.cadence[task])
        return {
            "namespace": NAMESPACE,
            "name": self.name(task),
            "platform": "spark" if cadence is Cadence.STREAM else "airflow",
            "owner": f"team{self.domain[task]:02}@example.com",
            "domain": f"domain{self.domain[task]:02}",
            "partitioning": CUTS[cadence],
            "consumes": [self._consumed(cadence, upstream) for upstream in self.reads(task).tolist()],
            "produces": [{"namespace": LAKE, "name": self.dataset(task)}],
            **({"lateness": "PT10M"} if cadence is Cadence.STREAM else {}),
        }

    def _consumed(self, cadence: Cadence, upstream: int) -> Definition:
        by_client = (Cadence.BY_CLIENT, Cadence.BY_CLIENT_HOURLY)
        broadcast = self.cadence[upstream] in by_client and cadence not in by_client
        edge: Definition = {"dataset": {"namespace": LAKE, "name": self.dataset(upstream)}}
        return {**edge, "mapping": _ALL_CLIENTS} if broadcast else edge

    def _dataset(self, task: int) -> Definition:
        return {
            "namespace": LAKE,
            "name": self.dataset(task),
            "partitioning": CUTS[Cadence(self.cadence[task])],
            "owner": f"team{self.domain[task]:02}@example.com",
        }
