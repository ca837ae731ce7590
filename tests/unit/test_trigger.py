"""Triggers: what is refused, that they hold as Airflow's do, and what is still waited for."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model import definition
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import version
from dataforge.model.reference import DatasetRef
from dataforge.model.trigger import Trigger, canonical, holds, waited_for

TASK = {"namespace": "ns", "name": "report"}
DAILY = {"kind": "daily", "start": "2026-01-01"}


def leaf(name: str) -> dict[str, Any]:
    return {"dataset": {"namespace": "s3://lake", "name": name}}


def read(shape: object) -> Trigger:
    return msgspec.convert(shape, Trigger)


def refused(trigger: object, **more: Any) -> FieldError:
    with pytest.raises(InvalidInput) as caught:
        definition.parse_task({**TASK, "trigger": trigger, **more})
    return caught.value.errors[0]


def within(levels: int) -> dict[str, Any]:
    shape = leaf("a")
    for _ in range(levels):
        shape = {"all": [shape]}
    return shape


@pytest.mark.parametrize(
    ("trigger", "field", "expected"),
    [
        ({}, "trigger", "one of: dataset, all, any"),
        ({"all": [leaf("a")], "any": [leaf("b")]}, "trigger", "one of: dataset, all, any"),
        ({"all": []}, "trigger.all", "at least one dataset"),
        ({"all": [leaf("a"), {"any": []}]}, "trigger.all[1].any", "at least one dataset"),
        ({"all": [{"namespace": "s3://lake", "name": "a"}]}, "trigger.all[0].namespace", "no field of this name"),
        (leaf(""), "trigger.dataset.name", "non-empty"),
        ({"all": "a"}, "trigger.all", "array"),
        (within(8), "trigger", "at most 8"),
        (within(300), "trigger", "at most 8"),
        ({"any": [leaf(str(number)) for number in range(101)]}, "trigger", "at most 100"),
    ],
)
def test_a_wrong_trigger_is_refused_with_the_field(trigger: object, field: str, expected: str) -> None:
    error = refused(trigger)
    assert error.field == field
    assert expected in error.expected


def test_a_triggered_task_has_no_partitions_and_no_data_interval() -> None:
    assert refused(leaf("a"), partitioning=DAILY).field == "partitioning.kind"
    assert refused(leaf("a"), run_after="PT1H").field == "run_after"


NAMES = ["a", "b", "c"]
shapes = st.recursive(
    st.sampled_from(NAMES).map(leaf),
    lambda inner: st.one_of(
        *(st.fixed_dictionaries({word: st.lists(inner, min_size=1, max_size=3)}) for word in ("all", "any"))
    ),
    max_leaves=6,
)


def airflow(shape: dict[str, Any], updated: set[str]) -> bool:
    """DatasetAll and DatasetAny of airflow/datasets/__init__.py, evaluated on which datasets have a queue record."""
    if "dataset" in shape:
        return shape["dataset"]["name"] in updated
    word = next(iter(shape))
    return {"all": all, "any": any}[word](airflow(part, updated) for part in shape[word])


@given(shapes, st.sets(st.sampled_from(NAMES)))
def test_a_trigger_holds_where_airflows_does(shape: dict[str, Any], updated: set[str]) -> None:
    refs = {DatasetRef("s3://lake", name) for name in updated}
    for trigger in (read(shape), canonical(read(shape))):
        assert holds(trigger, refs) is airflow(shape, updated)
    awaited = waited_for(read(shape), refs)
    assert not awaited & refs
    assert holds(read(shape), refs | awaited)


@given(shapes)
def test_two_spellings_of_a_trigger_are_one_definition(shape: dict[str, Any]) -> None:
    task = definition.parse_task({**TASK, "trigger": shape})
    again = {word: [{word: parts[::-1]}, *parts] for word, parts in shape.items() if word != "dataset"}
    other = definition.parse_task({**TASK, "trigger": again or {"any": [{"all": [shape, shape]}]}})
    assert task == other
    assert version(task) == version(other)
