"""Manifests: what is refused, with which words, and that what means the same is the same."""

from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model import decoding, definition
from dataforge.model.edge import TriggerRule, trigger_rule
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import stored_manifest, to_json, version

TASK = {"namespace": "airflow-prod", "name": "orders.load"}
UPSTREAM = {"task": {"namespace": "airflow-prod", "name": "orders.extract"}}
DATASET = {"namespace": "s3://lake", "name": "orders/clean"}


def refused(document: object) -> list[FieldError]:
    with pytest.raises(InvalidInput) as caught:
        definition.parse(document, "source")
    return caught.value.errors


def in_task(**fields: Any) -> dict[str, Any]:
    return {"tasks": [{**TASK, **fields}]}


WRONG: list[tuple[object, str, object, str]] = [
    ([], "$", "an array of 0", "object"),
    ({"taskz": []}, "taskz", "an array of 0", "no field"),
    ({"tasks": {}}, "tasks", "an object of 0", "array"),
    ({"tasks": [7]}, "tasks[0]", 7, "object"),
    ({"tasks": [TASK, {"namespace": "a"}]}, "tasks[1].name", None, "required"),
    (in_task(ownr="x"), "tasks[0].ownr", "x", "no field"),
    (in_task(name=3), "tasks[0].name", 3, "str"),
    (in_task(name=""), "tasks[0].name", "", "non-empty"),
    (in_task(tags="pii"), "tasks[0].tags", "pii", "array"),
    (in_task(tags=["pii", ""]), "tasks[0].tags[1]", "", "non-empty"),
    (in_task(links={"code": "ftp://x"}), "tasks[0].links.code", "ftp://x", "a URL such as https://"),
    ({"datasets": [{**DATASET, "links": {"": "https://x"}}]}, "datasets[0].links", "", "non-empty"),
    (in_task(owner="a\0b"), "tasks[0].owner", "a\\0b", "NUL"),
    (in_task(name="x" * 1_201), "tasks[0].name", "x" * 120 + "...", "1200 bytes"),
    (in_task(trigger_rule="all_good"), "tasks[0].trigger_rule", "all_good", "all_success"),
    (in_task(run_after="30m"), "tasks[0].run_after", "30m", "PT30M"),
    (in_task(run_after="-PT1H"), "tasks[0].run_after", "-1 day, 23:00:00", "zero or more"),
    (in_task(due={}), "tasks[0].due", "neither", "either after, such as PT6H, or at, such as 06:00"),
    (in_task(due={"after": "6h"}), "tasks[0].due.after", "6h", "PT6H"),
    (in_task(due={"after": "-PT6H"}), "tasks[0].due.after", "-1 day, 18:00:00", "zero to 400 days"),
    (in_task(due={"after": "PT6H", "days": 1}), "tasks[0].due.days", 1, "nothing beside after"),
    (in_task(due={"at": "6:00"}), "tasks[0].due.at", "6:00", "06:00"),
    (in_task(due={"at": "06:00", "time_zone": "X"}), "tasks[0].due.time_zone", "X", "zone"),
    (in_task(due={"at": "06:00", "days": -1}), "tasks[0].due.days", -1, "0 to 400"),
    (in_task(due={"at": "06:00"}, partitioning={"kind": "none"}), "tasks[0].due", "none", "time windows"),
    ({"datasets": [{**DATASET, "due": {"at": "06:00", "after": "PT1H"}}]}, "datasets[0].due", "both", "either after"),
    (in_task(pools={"warehouse": 0}), "tasks[0].pools[...]", None, ">= 1"),
    (in_task(partitioning={"kind": "dayly"}), "tasks[0].partitioning.kind", "dayly", "daily"),
    (in_task(partitioning={"kind": "daily", "time_zone": "X"}), "tasks[0].partitioning.time_zone", "X", "zone"),
    (in_task(consumes=[{}]), "tasks[0].consumes[0]", "neither", "a task or a dataset"),
    (in_task(consumes=[{**UPSTREAM, "dataset": DATASET}]), "tasks[0].consumes[0]", "both", "a task or a dataset"),
    (in_task(consumes=[UPSTREAM, UPSTREAM]), "tasks[0].consumes[1]", "airflow-prod/orders.extract", "each once"),
    (in_task(consumes=[{**UPSTREAM, "mapping": {"kind": "x"}}]), "tasks[0].consumes[0].mapping.kind", "x", "window"),
    (
        in_task(produces=[{**DATASET, "mapping": {"kind": "same", "to": 1}}]),
        "tasks[0].produces[0].mapping.to",
        1,
        "no field",
    ),
    (in_task(instances=-1), "tasks[0].instances", -1, ">= 0"),
    (in_task(consumes=[{**UPSTREAM, "role": "mapped"}]), "tasks[0].consumes[0].role", "mapped", "mapped_over"),
    (in_task(consumes=[{"dataset": DATASET, "role": "setup"}]), "tasks[0].consumes[0].role", "setup", "for a dataset"),
    ({"tasks": [TASK, TASK]}, "tasks[1]", "airflow-prod/orders.load", "each once: tasks[0]"),
    ({"datasets": [{**DATASET, "version": "latest"}]}, "datasets[0].version", "latest", "reported"),
    ({"datasets": [{**DATASET, "aliases": [DATASET]}]}, "datasets[0].aliases[0]", "orders/clean", "another name"),
    ({"pools": [{"name": "w", "slots": -1}]}, "pools[0].slots", -1, ">= 0"),
    ({"source": ""}, "source", "", "non-empty"),
    (b"{", "$", "not JSON", "truncated"),
    (b'{"source": "\xff"}', "$", "not JSON", "UTF-8"),
]


@pytest.mark.parametrize(("document", "field", "value", "expected"), WRONG)
def test_an_error_names_the_field_the_value_and_what_was_expected(
    document: object, field: str, value: object, expected: str
) -> None:
    errors = refused(document)
    assert (errors[0].field, errors[0].value) == (field, value)
    assert expected in errors[0].expected


@pytest.mark.parametrize("document", [document for document, *_ in WRONG if not isinstance(document, bytes)])
def test_json_text_is_refused_as_the_values_in_it_are(document: object) -> None:
    assert refused(msgspec.json.encode(document)) == refused(document)


def test_all_items_that_are_wrong_are_named_at_once() -> None:
    errors = refused({"tasks": [{**TASK, "x": 1}, {**TASK, "y": 1}], "pools": [{"name": "p"}]})
    assert [error.field for error in errors] == ["tasks[0].x", "tasks[1].y", "pools[0].slots"]


def test_a_window_ends_after_it_begins() -> None:
    consumed = {**UPSTREAM, "mapping": {"kind": "window", "from": 0, "to": -1}}
    assert refused(in_task(consumes=[consumed]))[0].field == "tasks[0].consumes[0].mapping.from"


def test_a_single_task_is_named_without_its_place_in_a_list() -> None:
    with pytest.raises(InvalidInput) as caught:
        definition.parse_task({**TASK, "consumes": [{"task": {"name": "x"}}]})
    assert caught.value.errors[0].field == "consumes[0].task.namespace"


def test_yaml_reads_as_json_does_and_its_dates_are_text() -> None:
    yaml = b"tasks: [{namespace: n, name: t, partitioning: {kind: daily, start: 2026-01-01}}]"
    json = {"tasks": [{"namespace": "n", "name": "t", "partitioning": {"kind": "daily", "start": "2026-01-01"}}]}
    assert definition.parse(decoding.of_yaml(yaml), "s") == definition.parse(json, "s")
    json["tasks"][0]["partitioning"] = {"kind": "daily", "start": date(2026, 1, 1)}
    assert definition.parse(decoding.of_yaml(yaml), "s") == definition.parse(json, "s")


@pytest.mark.parametrize("text", [b"a: [", b"a: 2026-13-45", b"\xff\xfe\xff", b"a: &x [*x"])
def test_broken_yaml_is_bad_input(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        definition.parse(decoding.of_yaml(text), "s")


@pytest.mark.parametrize(
    ("spelling", "rule"),
    [
        ("dummy", TriggerRule.ALWAYS),
        ("none_failed_or_skipped", TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS),
        ("ALL_DONE", TriggerRule.ALL_DONE),
        ("TriggerRule.ONE_FAILED", TriggerRule.ONE_FAILED),
        *((rule.value, rule) for rule in TriggerRule),
    ],
)
def test_airflows_trigger_rules_in_every_spelling(spelling: str, rule: TriggerRule) -> None:
    assert trigger_rule(spelling) is rule
    assert definition.parse_task({**TASK, "trigger_rule": spelling}).trigger_rule is rule


names = st.sampled_from(["a", "b", "c", "d/e"])
refs = st.fixed_dictionaries({"namespace": st.sampled_from(["m", "n"]), "name": names})
mappings = st.one_of(
    st.just({"kind": "same"}),
    st.just({"kind": "window", "from": -2}),
    st.just({"kind": "window"}),
    st.just({"kind": "table", "keys": {"x": ["b", "a"]}}),
    st.just({"kind": "dimension", "dimensions": {"date": {"kind": "window", "from": 0, "to": 0}}}),
)
consumed = st.one_of(
    st.fixed_dictionaries({"task": refs}, optional={"mapping": mappings, "condition": st.just({"kind": "succeeded"})}),
    st.fixed_dictionaries({"dataset": refs}, optional={"mapping": mappings, "staleness": st.just("warn")}),
)


def identity(edge: dict[str, Any]) -> tuple[object, ...]:
    kind = "task" if "task" in edge else "dataset"
    return kind, *sorted(edge[kind].items())


tasks = st.fixed_dictionaries(
    {"namespace": st.just("n"), "name": st.just("t")},
    optional={
        "consumes": st.lists(consumed, max_size=4, unique_by=identity),
        "produces": st.lists(refs, max_size=3, unique_by=lambda ref: (ref["namespace"], ref["name"])),
        "pools": st.just({"p": 1, "o": 2}),
        "run_after": st.sampled_from(["PT30M", "PT1800S"]),
    },
)


def respelled(task: dict[str, Any]) -> dict[str, Any]:
    """The same task with its lists turned round and some defaults written out."""
    consumes = [{"required": True, "mapping": {"kind": "same"}, **edge} for edge in task.get("consumes", [])]
    turned = {key: task[key] for key in reversed(task)}
    return {**turned, "consumes": consumes[::-1], "produces": task.get("produces", [])[::-1], "owner": None}


@given(tasks)
def test_the_version_depends_on_the_meaning_alone(task: dict[str, Any]) -> None:
    first, second = definition.parse_task(task), definition.parse_task(respelled(task))
    assert first == second
    assert version(first) == version(second)
    assert len(version(first)) == 16
    assert version(definition.parse_task({**task, "owner": "somebody"})) != version(first)


@given(tasks)
def test_what_is_stored_reads_back_as_it_was(task: dict[str, Any]) -> None:
    manifest = definition.parse({"tasks": [task], "pools": [{"name": "p", "slots": 3}]}, "s")
    assert stored_manifest(to_json(manifest)) == manifest
    assert definition.parse(to_json(manifest)) == manifest


@given(tasks, st.sampled_from([None, "ALL_DONE", "all_done"]))
def test_json_text_reads_as_the_values_in_it_do(task: dict[str, Any], rule: str | None) -> None:
    document = {"source": "s", "tasks": [{**task, "trigger_rule": rule}], "pools": [{"name": "p", "slots": 3}]}
    assert definition.parse(msgspec.json.encode(document)) == definition.parse(document)
