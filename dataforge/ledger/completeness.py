"""Whether partitions of datasets with several producers are complete, and what they still lack.

Guarantees at most three queries, however many partitions are asked for, and the same answer where a state is made and
where a verdict is explained.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from dataforge.ledger.need import cut_of, mapping_of
from dataforge.model import completeness as rule
from dataforge.model.attempt import EARLIEST
from dataforge.model.completeness import Claimed, CompleteWhen, Due, Judged, Standing, Writer, Writers, all_dues, dues
from dataforge.model.edge import in_place
from dataforge.model.errors import InvalidInput
from dataforge.model.mapping import produced_keys
from dataforge.storage import completeness as storage
from dataforge.storage.completeness import DatasetPartition, Product
from dataforge.storage.database import Connection


class Production(msgspec.Struct, frozen=True):
    """How a dataset comes to be complete, and by whom."""

    writers: Writers
    products: Mapping[int, Product]  # by task


def productions(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[int, Production]:
    """Of those of these datasets (by canonical id) that somebody is declared to produce, or that have a manifest."""
    asked = set(datasets)
    if not asked:
        return {}
    by_dataset: dict[int, list[Product]] = {}
    for product in storage.products(connection, environment, asked):
        by_dataset.setdefault(product.dataset_id, []).append(product)
    found = {dataset: _production(each) for dataset, each in by_dataset.items()}
    for dataset, cut, when in storage.listed(connection, environment, asked - found.keys()):
        found[dataset] = Production(Writers(_when(when), cut_of(cut, declared=True), ()), {})
    return found


def _production(products: list[Product]) -> Production:
    first = products[0]
    tasks = {product.task_id: product for product in reversed(products)}  # of several names the first
    writers = tuple(
        Writer(
            task_id=each.task_id,
            mapping=mapping_of(each.mapping),
            cut=cut_of(each.task_cut, declared=each.task_cut_declared),
            stage=each.reads is not None and in_place(mapping_of(each.reads), mapping_of(each.mapping)),
            waits_for=frozenset(each.waits_for),
        )
        for each in products
        if tasks[each.task_id] is each
    )
    return Production(Writers(_when(first.when), cut_of(first.dataset_cut, declared=True), writers), tasks)


def _when(said: object) -> CompleteWhen:
    when: CompleteWhen = "all_producers" if said is None else msgspec.convert(said, CompleteWhen)
    return when


def products_of(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[tuple[int, int], Product]:
    """The declared producers of these datasets, by task and by each of the dataset's names; of several edges of one
    task the one that gives it that very name, else the first."""
    found: dict[tuple[int, int], Product] = {}
    for product in storage.products(connection, environment, datasets):
        for name in product.names:
            if name == product.name_id or (product.task_id, name) not in found:
                found[product.task_id, name] = product
    return found


def written_keys(product: Product, own: Iterable[str], at: datetime | None) -> tuple[str, ...]:
    """The dataset's partitions that a run for these partitions of its task wrote, by the declared mapping; none where
    they cannot be told. `at` is when it ended, which is as far as "all by now" reaches."""
    task = cut_of(product.task_cut, declared=product.task_cut_declared)
    dataset = cut_of(product.dataset_cut, declared=True)
    mapping = mapping_of(product.mapping)
    found: dict[str, None] = {}
    for key in tuple(own) or ("",):
        try:
            found.update(dict.fromkeys(produced_keys(mapping, key, task, dataset, at or EARLIEST)))
        except InvalidInput:
            return ()
    return tuple(found)


class _Together(msgspec.Struct, frozen=True):
    """A partition that several runs make: how and by whom, its shares, and the claims on it."""

    production: Production
    dues: tuple[Due, ...]
    claims: Sequence[Claimed]


def _together(
    connection: Connection, environment: int, places: Iterable[DatasetPartition]
) -> dict[DatasetPartition, _Together]:
    wanted = set(places)
    known = productions(connection, environment, {dataset for dataset, _ in wanted})
    asked = {place: dues(known[place[0]].writers, place[1]) for place in wanted if place[0] in known}
    claims = storage.claimed(connection, environment, [place for place, found in asked.items() if found])
    return {place: _Together(known[place[0]], found, claims.get(place, ())) for place, found in asked.items() if found}


def judge(
    connection: Connection, environment: int, places: Iterable[DatasetPartition]
) -> dict[DatasetPartition, Judged]:
    """What the claims on these partitions come to; without those that a single run makes."""
    found = _together(connection, environment, places)
    return {place: rule.judge(each.production.writers, each.dues, each.claims) for place, each in found.items()}


def whole_since(
    connection: Connection, environment: int, places: Iterable[DatasetPartition]
) -> dict[DatasetPartition, datetime | None]:
    """Since when each of these partitions was first complete (None: never); without those that a single run makes."""
    found = _together(connection, environment, places)
    return {place: rule.whole_since(each.production.writers, each.dues, each.claims) for place, each in found.items()}


class Lack(msgspec.Struct, frozen=True):
    """A share that is not there, and who is to bring it; without a producer it is a key of a manifest."""

    product: Product | None
    standing: Standing


class Shortfall(msgspec.Struct, frozen=True):
    """Of a partition that several runs make: how many of its shares are there, and what it lacks."""

    there: int
    shares: int
    needed: int
    lacks: tuple[Lack, ...]


def shortfalls(
    connection: Connection, environment: int, places: Iterable[DatasetPartition]
) -> dict[DatasetPartition, Shortfall]:
    """What each of these partitions lacks; without those that lack nothing, or that a single run makes."""
    found: dict[DatasetPartition, Shortfall] = {}
    for place, each in _together(connection, environment, places).items():
        judged = rule.judge(each.production.writers, each.dues, each.claims)
        if judged.lacking:
            lacks = _lacks(each.production, judged.lacking)
            found[place] = Shortfall(judged.there, len(judged.standings), judged.needed, lacks)
    return found


def _lacks(production: Production, lacking: Iterable[Standing]) -> tuple[Lack, ...]:
    return tuple(Lack(production.products.get(each.due.task_id or 0), each) for each in lacking)


Reading = tuple[int, str, bool]  # a dataset's partition, and whether whoever reads it updates it in place


def lacking(connection: Connection, environment: int, readings: Iterable[Reading]) -> dict[Reading, tuple[Lack, ...]]:
    """What these partitions lack for those who read them; nothing is said of partitions that lack nothing."""
    wanted = set(readings)
    known = productions(connection, environment, {dataset for dataset, _, _ in wanted})
    asked: dict[Reading, tuple[Due, ...]] = {}
    for dataset, key, updates in wanted:
        if dataset in known:
            writers = known[dataset].writers
            asked[dataset, key, updates] = all_dues(writers.unstaged, key) if updates else dues(writers, key)
    claims = storage.claimed(connection, environment, list({reading[:2] for reading, found in asked.items() if found}))
    found: dict[Reading, tuple[Lack, ...]] = {}
    for reading, shares in asked.items():
        production = known[reading[0]]
        writers = production.writers.unstaged if reading[2] else production.writers
        judged = rule.judge(writers, shares, claims.get(reading[:2], ()))
        if lacks := judged.withheld if reading[2] else judged.lacking:
            found[reading] = _lacks(production, lacks)
    return found
