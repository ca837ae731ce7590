"""Expressions: what is refused, in which words, that unknown never satisfies, and which mean the same."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model import decoding, definition
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.expression import Expression, canonical, judge, problems, shown, stored, unmet, words
from dataforge.model.manifest import stored_manifest, to_json, version

ROWS = {"field": "rows", "op": ">", "value": 0}
GOLD = {"field": "tag.tier", "op": "=", "value": "gold"}
DATASET = {"namespace": "s3://lake", "name": "orders"}


def read(shape: object) -> Expression:
    return msgspec.convert(shape, Expression)


def compared(field: str, op: str, value: object) -> dict[str, object]:
    return {"field": field, "op": op, "value": value}


def task(where: object, **more: Any) -> dict[str, Any]:
    edge = {"dataset": DATASET, "condition": {"where": where}, **more}
    return {"namespace": "ns", "name": "report", "consumes": [edge]}


def refused(where: object, **more: Any) -> FieldError:
    with pytest.raises(InvalidInput) as caught:
        definition.parse_task(task(where, **more))
    return caught.value.errors[0]


def within(levels: int) -> dict[str, Any]:
    shape: dict[str, Any] = ROWS
    for _ in range(levels):
        shape = {"not": shape}
    return shape


AT = "consumes[0].condition.where"
WRONG: list[tuple[object, str, object, str]] = [
    (compared("rows", ">", "x"), ".value", "x", 'a whole number, 0 or more, as in {"field": "rows"'),
    (compared("rows", ">", True), ".value", True, "a whole number"),
    (compared("rows", ">", 0.5), ".value", 0.5, "a whole number"),
    (compared("rows", ">", -1), ".value", -1, "0 or more"),
    (compared("rows", ">", 2**53), ".value", 2**53, "a whole number"),
    (compared("rows", ">", None), ".value", None, "a whole number"),
    (compared("version", "=", 3), ".value", 3, "a text"),
    (compared("tag.tier", "<", "gold"), ".op", "<", "one of =, !="),
    (compared("tag.tier", "=", "x" * 121), ".value", "x" * 120, "at most 120 bytes"),
    (compared("check.unique.success", "=", "yes"), ".value", "yes", "true or false"),
    (compared("check.unique.success", ">", True), ".op", ">", "one of =, !="),
    (compared("check.unique.severity", "<", "fatal"), ".value", "fatal", "one of none, warn, error"),
    (compared("facet.spark.ok", "<", "abc"), ".op", "<", "one of =, !="),
    (compared("facet.share", "<", float("inf")), ".value", float("inf"), "a number"),
    (compared("row", ">", 0), ".field", "row", "rows, bytes, files, version, tag.NAME"),
    (compared("check.success", "=", True), ".field", "check.success", "check.NAME.success"),
    (compared("tag.", "=", "a"), ".field", "tag.", "tag.NAME"),
    (compared("tag." + "x" * 117, "=", "a"), ".field", "tag." + "x" * 116, "at most 120 bytes"),
    ({"field": "rows", "value": 0}, ".op", None, "one of =, !=, <"),
    (compared("rows", "~", 0), ".op", "~", "one of =, !="),
    (compared("rows", ">", [0]), ".value", "an array of 1", "bool | int | float | str"),
    ({}, "", "nothing", "one of: a comparison"),
    ({"all": [ROWS], "any": [ROWS]}, "", "all and any", "one of: a comparison"),
    ({**ROWS, "not": ROWS}, "", "not and a comparison", "one of: a comparison"),
    ({"all": []}, ".all", [], "at least one expression"),
    ({"any": [ROWS, {"not": compared("rows", ">", "x")}]}, ".any[1].not.value", "x", "a whole number"),
    ({"all": [{**ROWS, "than": 1}]}, ".all[0].than", 1, "no field of this name"),
    ("rows > 0", "", "rows > 0", "object"),
    (within(8), "", "nested deeper", "at most 8"),
    (within(300), "", "nested deeper", "at most 8"),
    ({"all": [ROWS] * 65}, "", "65 comparisons", "at most 64"),
]


@pytest.mark.parametrize(("where", "field", "value", "expected"), WRONG)
def test_a_wrong_expression_is_refused_with_the_field_and_what_would_be_right(
    where: object, field: str, value: object, expected: str
) -> None:
    error = refused(where)
    assert (error.field, error.value) == (AT + field, value)
    assert expected in error.expected


def test_an_expression_asks_of_a_dataset_that_succeeded() -> None:
    edge = {"task": {"namespace": "ns", "name": "load"}, "dataset": None}
    assert (refused(ROWS, **edge).field, "a dataset" in refused(ROWS, **edge).expected) == (AT, True)
    condition = {"kind": "failed", "where": ROWS}
    assert refused(ROWS, condition=condition).field == "consumes[0].condition.kind"


@pytest.mark.parametrize(
    ("shape", "reported", "verdict"),
    [
        (ROWS, {"rows": 1}, True),
        (ROWS, {"rows": 0}, False),
        (ROWS, {}, None),
        ({"not": ROWS}, {}, None),
        ({"any": [ROWS, GOLD]}, {"tag.tier": "gold"}, True),
        ({"any": [ROWS, GOLD]}, {"tag.tier": "tin"}, None),
        ({"all": [ROWS, GOLD]}, {"tag.tier": "tin"}, False),
        ({"all": [ROWS, GOLD]}, {"tag.tier": "gold"}, None),
        (compared("check.a.severity", "<", "error"), {"check.a.severity": "warn"}, True),
        (compared("check.a.severity", "<", "warn"), {"check.a.severity": "none"}, True),
        (compared("check.a.severity", ">=", "warn"), {"check.a.severity": "error"}, True),
        (compared("check.a.success", "=", True), {"check.a.success": False}, False),
        (compared("facet.x", "=", 1), {"facet.x": True}, None),
        (compared("facet.x", "!=", 1), {"facet.x": "1"}, None),
        (compared("facet.x", "<=", 1), {"facet.x": 0.5}, True),
        (compared("facet.x", "==", 1), {"facet.x": 1.0}, True),
    ],
)
def test_what_was_not_reported_is_unknown(shape: object, reported: dict[str, Any], verdict: bool | None) -> None:
    assert judge(read(shape), reported) is verdict
    assert judge(canonical(read(shape)), reported) is verdict
    assert bool(unmet(canonical(read(shape)), reported)) is (verdict is not True)


LITERALS: dict[str, st.SearchStrategy[object]] = {
    "rows": st.integers(0, 2),
    "tag.a": st.sampled_from(["x", "y"]),
    "check.c.severity": st.sampled_from(["none", "warn", "error"]),
    "facet.f": st.sampled_from([0, 1, 1.0, 0.5, True, False, "x"]),
}


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, object]:
    field = draw(st.sampled_from(sorted(LITERALS)))
    value = draw(LITERALS[field])
    ordered = field in ("rows", "check.c.severity") or (isinstance(value, int | float) and not isinstance(value, bool))
    op = draw(st.sampled_from(["=", "==", "!=", *(["<", "<=", ">", ">="] if ordered else [])]))
    return compared(field, op, value)


shapes = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        *(st.fixed_dictionaries({word: st.lists(inner, min_size=1, max_size=3)}) for word in ("all", "any")),
    ),
    max_leaves=6,
)
reports = st.fixed_dictionaries({}, optional=LITERALS)


@given(shapes, reports)
def test_the_canonical_spelling_means_the_same(shape: dict[str, Any], reported: dict[str, Any]) -> None:
    expression = read(shape)
    spelled = canonical(expression)
    assert judge(spelled, reported) is judge(expression, reported)
    assert canonical(spelled) == spelled
    assert canonical(read({"not": {"not": shape}})) == spelled
    assert canonical(read({"all": [{"any": [shape, shape]}]})) == spelled
    assert "not" not in words(spelled)
    if problems(expression, "") == []:
        assert problems(spelled, "") == []


def turned(shape: dict[str, Any]) -> dict[str, Any]:
    """The same expression with its lists turned round and its negations said another way."""
    for word, other in (("all", "any"), ("any", "all")):
        if word in shape:
            parts = [turned(part) for part in reversed(shape[word])]
            return {"not": {other: [{"not": part} for part in parts]}}
    return shape


@given(shapes)
def test_two_spellings_are_one_definition(shape: dict[str, Any]) -> None:
    if problems(read(shape), "") or problems(read(turned(shape)), ""):
        return
    first, second = definition.parse_task(task(shape)), definition.parse_task(task(turned(shape)))
    assert first == second
    assert version(first) == version(second)
    manifest = definition.parse({"tasks": [task(shape)]}, "s")
    assert stored_manifest(to_json(manifest)) == manifest
    where = first.consumes[0].condition.where
    assert isinstance(where, Expression)
    assert stored(where.written.decode()) == where


def test_true_and_one_are_different_definitions() -> None:
    one, true = (definition.parse_task(task(compared("facet.x", "=", value))) for value in (1, True))
    assert one != true


DOCUMENTED = re.findall(r"```yaml\n(.*?)```", Path("docs/conditions.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", DOCUMENTED)
def test_what_the_documentation_shows_can_be_declared(text: str) -> None:
    shown = decoding.of_yaml(text.encode())
    assert isinstance(shown, dict)
    if "tasks" in shown:
        assert definition.parse(shown, "s").tasks
        return
    edges = shown.get("consumes") or [{"dataset": DATASET, **shown}]
    [edge] = definition.parse_task({"namespace": "ns", "name": "report", "consumes": edges}).consumes
    assert isinstance(edge.condition.where, Expression)


def test_an_expression_reads_as_a_sentence() -> None:
    shape = {"all": [ROWS, {"any": [GOLD, compared("check.unique.success", "=", True)]}]}
    assert words(canonical(read(shape))) == '(check.unique.success = true or tag.tier = "gold") and rows > 0'
    assert shown(False) == "false"
