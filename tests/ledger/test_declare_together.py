"""What several sources declare, together and at the same moment: mappings that fit, and no cycle of two halves."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.declaration import CycleError, Declared
from dataforge.model.errors import InvalidInput
from dataforge.model.manifest import Manifest
from dataforge.model.reference import DatasetRef
from dataforge.storage.database import Database

ROUNDS = 25
DAILY = {"kind": "daily", "start": "2026-01-01"}
MONTHLY = {"kind": "monthly", "start": "2026-01-01"}
CLIENTS = {"kind": "static", "keys": ["acme", "globex"]}


def task(name: str, *upstream: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"namespace": "ns", "name": name, "consumes": list(upstream), **more}


def after(name: str, **more: Any) -> dict[str, Any]:
    return {"task": {"namespace": "ns", "name": name}, **more}


def reads(name: str, **more: Any) -> dict[str, Any]:
    return {"dataset": {"namespace": "lake", "name": name}, **more}


def dataset(name: str, **more: Any) -> dict[str, Any]:
    return {"namespace": "lake", "name": name, **more}


def manifest(source: str, *tasks: dict[str, Any], **more: Any) -> Manifest:
    return definition.parse({"tasks": list(tasks), **more}, source)


def test_of_two_halves_of_a_cycle_sent_at_the_same_moment_exactly_one_wins(database: Database) -> None:
    start = Barrier(2)

    def send(said: Manifest) -> object:
        start.wait(timeout=30)
        try:
            return declare(database, "dev", said)
        except CycleError as error:
            return error

    with ThreadPoolExecutor(2) as senders:
        for number in range(ROUNDS):
            x, y = f"x{number}", f"y{number}"
            halves = [manifest(x, task(x, after(y))), manifest(y, task(y, after(x)))]
            answers = list(senders.map(send, halves))
            assert sorted(type(answer).__name__ for answer in answers) == ["CycleError", "Declared"]
    with database.transaction() as connection:
        declared = connection.execute("select count(*) from edge where origin = 'declared'").fetchone()
    assert declared == (ROUNDS,)


UNFIT: list[tuple[list[Manifest], Manifest, str]] = [
    (  # the edge comes last
        [manifest("a", datasets=[dataset("d", partitioning=CLIENTS)])],
        manifest("b", task("x", reads("d"), partitioning=DAILY)),
        "tasks[ns/x].consumes[lake/d].mapping",
    ),
    (  # the dataset's partitioning comes last
        [manifest("b", task("x", reads("d"), partitioning=DAILY))],
        manifest("a", datasets=[dataset("d", partitioning=CLIENTS)]),
        "datasets[lake/d].partitioning",
    ),
    (  # it is another name of the dataset that is cut
        [manifest("b", task("x", reads("t"), partitioning=DAILY))],
        manifest("a", datasets=[dataset("d", partitioning=CLIENTS, aliases=[dataset("t")])]),
        "datasets[lake/d].partitioning",
    ),
    (  # a producing edge
        [manifest("a", datasets=[dataset("d", partitioning=CLIENTS)])],
        manifest("b", task("x", partitioning=DAILY, produces=[dataset("d")])),
        "tasks[ns/x].produces[lake/d].mapping",
    ),
    (  # a task's partitioning changes
        [manifest("a", task("y", partitioning=DAILY)), manifest("b", task("x", after("y"), partitioning=DAILY))],
        manifest("a", task("y", partitioning=CLIENTS)),
        "tasks[ns/y].partitioning",
    ),
]


@pytest.mark.parametrize(("before", "unfit", "field"), UNFIT)
def test_a_mapping_that_does_not_fit_what_another_source_declares_is_refused_whichever_came_first(
    database: Database, before: list[Manifest], unfit: Manifest, field: str
) -> None:
    for each in before:
        declare(database, "dev", each)
    state = digest(database, "dev")
    for dry_run in (True, False):
        with pytest.raises(InvalidInput) as caught:
            declare(database, "dev", unfit, dry_run=dry_run)
        assert [error.field for error in caught.value.errors] == [field]
        assert "all, fixed or last" in caught.value.errors[0].expected or "a table" in caught.value.errors[0].expected
    assert digest(database, "dev") == state


def test_a_partitioning_that_nobody_declares_fits_every_mapping(database: Database) -> None:
    assert isinstance(declare(database, "dev", manifest("a", task("x", reads("d"), partitioning=DAILY))), Declared)
    assert isinstance(declare(database, "dev", manifest("b", task("y", reads("d"), partitioning=CLIENTS))), Declared)


YESTERDAY = {"kind": "window", "from": -1, "to": -1}


def test_whether_a_loop_leads_back_is_decided_by_how_both_are_cut(database: Database) -> None:
    monthly = manifest("m", task("month", after("day"), partitioning=MONTHLY))
    declare(database, "dev", monthly)
    with pytest.raises(CycleError) as caught:
        declare(database, "dev", manifest("d", task("day", after("month", mapping=YESTERDAY), partitioning=DAILY)))
    assert set(caught.value.cycle) == {"day", "month"}
    before = {"kind": "window", "from": -31, "to": -31}
    declare(database, "dev", manifest("d", task("day", after("month", mapping=before), partitioning=DAILY)))


def test_a_partitioning_that_makes_a_loop_lead_back_to_itself_is_refused(database: Database) -> None:
    declare(database, "dev", manifest("m", task("x", reads("d", mapping=YESTERDAY), produces=[dataset("d")])))
    declare(database, "dev", manifest("d", datasets=[dataset("d", partitioning=DAILY)]))
    hourly = task("x", reads("d", mapping=YESTERDAY), produces=[dataset("d")], partitioning={"kind": "hourly"})
    with pytest.raises(CycleError):
        declare(database, "dev", manifest("m", hourly))


def test_a_task_of_the_same_name_does_not_say_how_a_dataset_is_cut(database: Database) -> None:
    declare(database, "dev", manifest("a", datasets=[dataset("d", partitioning=CLIENTS)]))
    same = {"namespace": "lake", "name": "d", "partitioning": DAILY}
    with pytest.raises(InvalidInput) as caught:
        declare(database, "dev", manifest("b", same, task("x", reads("d"), partitioning=DAILY)))
    assert [error.field for error in caught.value.errors] == ["tasks[ns/x].consumes[lake/d].mapping"]


def test_a_name_that_others_give_a_dataset_of_the_manifest_counts_for_how_it_is_cut(database: Database) -> None:
    names = sorted((DatasetRef("lake", name) for name in ("d", "e")), key=lambda ref: ref.id)
    first, second = (ref.name for ref in names)
    declare(database, "dev", manifest("a", datasets=[dataset("f", aliases=[dataset("d"), dataset("e")])]))
    cut = [dataset(first, partitioning=CLIENTS), dataset(second, partitioning=DAILY)]
    with pytest.raises(InvalidInput):
        declare(database, "dev", manifest("b", task("x", reads(second), partitioning=DAILY), datasets=cut))
