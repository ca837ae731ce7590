"""Names that people give: one thing, or an error that says which names would work."""

import pytest

from dataforge.model.errors import NotFound
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage import dataset, task
from dataforge.storage.database import Database
from dataforge.storage.reference import resolve_dataset, resolve_node, resolve_task

TASKS = [TaskRef("prod", "orders.load"), TaskRef("test", "orders.load"), TaskRef("prod", "orders.extract")]
PATH, TABLE = DatasetRef("s3://lake", "orders/clean"), DatasetRef("glue://1", "lake.orders")


@pytest.fixture
def named(database: Database) -> Database:
    with database.transaction() as connection:
        task.ensure(connection, 1, [*TASKS, TaskRef("prod", "orders.load.step"), TaskRef("prod", "both")])
        connection.execute("update task set kind = 'step' where name = 'orders.load.step'")
        dataset.ensure(connection, 1, [PATH, TABLE, DatasetRef("prod", "both")])
        dataset.set_canonical(connection, 1, {TABLE.id: PATH.id})
    return database


def candidates(database: Database, name: str, namespace: str | None = None) -> list[str]:
    with database.transaction() as connection, pytest.raises(NotFound) as caught:
        resolve_node(connection, 1, namespace, name)
    return caught.value.candidates


def test_a_unique_name_needs_no_namespace(named: Database) -> None:
    with named.transaction() as connection:
        assert resolve_task(connection, 1, None, "orders.extract") == TASKS[2]
        assert resolve_node(connection, 1, None, "orders.extract") == TASKS[2]
        assert resolve_task(connection, 1, "test", "orders.load") == TASKS[1]


def test_an_ambiguous_name_lists_what_it_may_mean(named: Database) -> None:
    assert candidates(named, "orders.load") == ["prod/orders.load", "test/orders.load"]


def test_an_alias_of_two_datasets_is_ambiguous_too(named: Database) -> None:
    with named.transaction() as connection:
        dataset.ensure(connection, 1, [DatasetRef("glue://2", "lake.orders")])
        with pytest.raises(NotFound, match="more than one dataset") as caught:
            resolve_dataset(connection, 1, None, "lake.orders")
    assert caught.value.candidates == ["glue://2/lake.orders", "s3://lake/orders/clean"]


def test_an_alias_means_the_canonical_dataset(named: Database) -> None:
    with named.transaction() as connection:
        assert resolve_dataset(connection, 1, None, "lake.orders") == PATH
        assert resolve_node(connection, 1, "glue://1", "lake.orders") == PATH


def test_a_namespace_in_which_a_name_means_two_things_means_the_task(named: Database) -> None:
    with named.transaction() as connection:
        assert resolve_node(connection, 1, "prod", "both") == TaskRef("prod", "both")
        assert resolve_dataset(connection, 1, "prod", "both") == DatasetRef("prod", "both")


@pytest.mark.parametrize("wrong", ["Orders.Extract", "order.extract", "extract", "dag.orders.extract", "orders.extrac"])
def test_an_unknown_name_lists_the_nearest_first(named: Database, wrong: str) -> None:
    found = candidates(named, wrong)
    assert found[0] == "prod/orders.extract"
    assert len(found) <= 5


def test_a_name_in_the_wrong_namespace_is_found_in_its_own(named: Database) -> None:
    assert candidates(named, "orders.extract", "test")[0] == "prod/orders.extract"


def test_steps_and_other_environments_are_no_candidates(named: Database) -> None:
    assert "prod/orders.load.step" not in candidates(named, "orders.load.stepp")
    with named.transaction() as connection, pytest.raises(NotFound) as caught:
        resolve_node(connection, 2, None, "orders.extract")
    assert caught.value.candidates == []


@pytest.mark.parametrize("name", ["", "%", "a\0b", "x" * 5_000])
def test_any_text_may_be_asked_for(named: Database, name: str) -> None:
    with named.transaction() as connection, pytest.raises(NotFound):
        resolve_task(connection, 1, name, name)


def test_what_a_candidate_says_may_be_typed_as_it_stands(named: Database) -> None:
    with named.transaction() as connection:
        assert resolve_node(connection, 1, None, "s3://lake/orders/clean") == PATH
        assert resolve_task(connection, 1, None, "test/orders.load") == TASKS[1]
        assert resolve_dataset(connection, 1, None, "glue://1/lake.orders") == PATH
