"""What the machine draws of triggers, expressions over datasets with the runs of what they trigger, and of checks."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.twin.claim import Place
from tests.twin.question import Definition

MILD: st.SearchStrategy[list[Definition]] = st.tuples(
    *(
        st.fixed_dictionaries({"name": st.just(name), "success": st.booleans(), "severity": st.just("warn")})
        for name in ("keys", "rows")
    )
).map(list)
COLUMNS = st.sampled_from([[], [{"name": "id", "type": "int"}], [{"name": "id", "type": "bigint"}]])
CHECKS: st.SearchStrategy[list[Definition]] = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["keys", "rows"]), "success": st.sampled_from([True, False, False])},
        optional={"severity": st.sampled_from(["none", "warn", "error", "error"])},
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda check: check["name"],
)
WHERE: list[Definition] = [
    {"field": "check.keys.severity", "op": "<", "value": "error"},
    {"not": {"field": "check.rows.success", "op": "=", "value": False}},
    {"all": [{"field": "rows", "op": ">", "value": 1}, {"field": "check.keys.success", "op": "=", "value": True}]},
    {
        "any": [
            {"field": "check.keys.severity", "op": "=", "value": "none"},
            {"field": "check.rows.severity", "op": "<", "value": "error"},
        ]
    },
]
RUNS = ("r1", "r2", "r3", "r4", "r5", "manual__r6")


def triggers(datasets: Sequence[str]) -> st.SearchStrategy[Definition]:
    """One of these datasets, or all or any of some, within each other."""
    leaf = st.sampled_from(datasets).map(lambda name: {"dataset": {"namespace": "lake", "name": name}})
    parts = st.lists(st.recursive(leaf, _joined, max_leaves=3), min_size=1, max_size=2)
    return st.one_of(leaf, parts.map(lambda each: {"any": each}), parts.map(lambda each: {"all": each}))


def _joined(each: st.SearchStrategy[Definition]) -> st.SearchStrategy[Definition]:
    listed = st.lists(each, min_size=1, max_size=2)
    return st.one_of(listed.map(lambda parts: {"all": parts}), listed.map(lambda parts: {"any": parts}))


@st.composite
def looks(draw: st.DrawFn, place: Place, version: str | None, held: bool) -> Definition:
    """A check of a dataset's partition that was made, mostly a failed one; or that it is released, where it is held."""
    _, name, key = place
    about: Definition = {"namespace": "lake", "name": name}
    named = {"partition": key} if key else {}
    if held and draw(st.booleans()):
        return {"control": "release", "by": "anna", "reason": "looked at", "dataset": about, **named}
    seen = draw(st.sampled_from([None, version, version, "v1"]))
    read = {**about, **named, **({"version": seen} if seen else {}), "checks": draw(CHECKS)}
    run = draw(st.sampled_from(["r1", "r2", "r3"]))
    state = draw(st.sampled_from(["running", "succeeded", "failed"]))
    return {"task": {"namespace": "ns", "name": "x"}, "run": run, "state": state, "inputs": [read]}


def named(run: str) -> Definition:
    """The run of an event; by Airflow's id where somebody started it by hand."""
    return {"run": run, **({"source": {"run_id": run}} if run.startswith("manual__") else {})}
