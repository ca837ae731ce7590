"""What the machine draws: manifests, events and orders over a handful of names, most of which fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.twin import drawn, sharing
from tests.twin.cuts import CUTS, MAPPINGS
from tests.twin.mapping import fits
from tests.twin.question import Definition
from tests.twin.rules import RULES
from tests.twin.run import TOLD
from tests.twin.sharing import rarely
from tests.twin.watermarks import LATENESS
from tests.twin.windows import Cut, few_keys, windowed

TASKS = ("t0", "t1", "t2", "t3")
DATASETS = ("d0", "d1", "d2", "d3")
MAPPED = "t1"  # its runs have instances
ALIAS = "a0"  # of d0, where that is declared with it
DAILY = {"kind": "daily", "start": "2026-10-24"}
BERLIN = {"kind": "daily", "start": "2026-10-24", "time_zone": "Europe/Berlin"}
WEEKLY = {"kind": "weekly", "start": "2026-10-18"}
MONTHLY = {"kind": "monthly", "start": "2026-09-01"}
HOURLY = {"kind": "hourly", "start": "2026-10-25", "time_zone": "Europe/Berlin"}
STATIC = {"kind": "static", "keys": ["a", "b"]}
WHOLE = {"kind": "none"}
_CUTS: list[Cut] = [*[DAILY] * 16, *[BERLIN] * 2, WEEKLY, MONTHLY, HOURLY, *[STATIC] * 2, *[WHOLE] * 2, None]
_MAPPINGS: list[Definition] = [
    {"kind": "same"},
    {"kind": "window", "from": -1, "to": 0},
    {"kind": "window", "from": -2, "to": -1},
    {"kind": "to_date", "period": "month"},
    {"kind": "all"},
    {"kind": "last"},
    {"kind": "last", "not_older_than": "P2D"},
    {"kind": "fixed", "key": "2026-10-25"},
    {"kind": "fixed", "key": "a"},
    {"kind": "table", "keys": {"a": ["a", "b"], "b": []}},
    {"kind": "table", "keys": {"a": ["2026-10-25"], "b": ["2026-10-24", "2026-10-26"]}},
    {"kind": "table", "keys": {"a": ["2026-10-24", "2026-10-25"], "b": ["2026-10-25"]}},
    *MAPPINGS,
]
_WHERE: list[Definition] = [
    {"field": "rows", "op": ">", "value": 5},
    {"not": {"field": "rows", "op": "=", "value": 0}},
    {"any": [{"field": "rows", "op": "<", "value": 2}, {"field": "rows", "op": "=", "value": 9}]},
    {"all": [{"field": "rows", "op": ">", "value": 1}, {"field": "rows", "op": "<", "value": 9}]},
    *drawn.WHERE,
]


_SHARDS = st.fixed_dictionaries(
    {"key": st.sampled_from(["s1", "s2"])},
    optional={"state": st.sampled_from(["succeeded", "succeeded", "skipped", "failed"])},
)


@st.composite
def manifests(draw: st.DrawFn, source: str, cuts: dict[str, Cut], *, together: bool = False) -> Definition:
    """All that one of two sources declares. `cuts` is how everything was cut when it was last declared, by anybody;
    with `together` the tasks of the first make one dataset day by day, which the second reads."""
    north = source == "north"
    names = [name for name in (TASKS[:3] if north else TASKS[2:]) if not draw(rarely(8))]
    if not north and not draw(rarely(6)):  # of a task that both declare neither is taken
        names = [name for name in names if name != "t2"]
    triggered = [name for name in names if name > TASKS[0] and draw(rarely(3))]
    some = draw(st.sampled_from([*[_CUTS] * 3, *[CUTS] * 2]))
    by_day = together and not draw(rarely(8))
    triggered = [] if by_day else triggered
    own = {name: WHOLE if name in triggered else DAILY if by_day else draw(st.sampled_from(some)) for name in names}
    wanted = [name for name in (DATASETS[:1] if north else DATASETS[1:]) if not draw(rarely(3))]
    wanted += [sharing.SHARED] if by_day and not north and sharing.SHARED not in wanted else []
    datasets = [_dataset(draw, name, {**cuts, **own}) for name in wanted]
    known = {**cuts, **own, **{each["name"]: each.get("partitioning") for each in datasets}}
    several = draw(rarely(2))
    tasks = [_task(draw, name, known, several=several) for name in names]
    tasks = [_triggered(draw, task) if task["name"] in triggered else task for task in tasks]
    if by_day:
        tasks = [sharing.together(draw, task) for task in tasks]
        datasets = [sharing.by_day(draw, each, DAILY) for each in datasets]
    pools = [{"name": "p", "slots": draw(st.integers(1, 3))}] if north and not draw(rarely(4)) else []
    return {"source": source, "tasks": tasks, "datasets": datasets, "pools": pools}


def _dataset(draw: st.DrawFn, name: str, cuts: dict[str, Cut]) -> Definition:
    """Mostly cut as the task that writes it."""
    cut = draw(st.sampled_from(_CUTS)) if draw(rarely(3)) else cuts.get(name.replace("d", "t"))
    aliased = name == "d0" and draw(st.booleans())
    return {
        "namespace": "lake",
        "name": name,
        **({"partitioning": cut} if cut else {}),
        **({"aliases": [{"namespace": "lake", "name": ALIAS}]} if aliased else {}),
        **({"version": draw(st.sampled_from(["reported", "content"]))} if not draw(rarely(3)) else {}),
        **({"lateness": draw(st.sampled_from(LATENESS))} if draw(rarely(8)) else {}),
        **sharing.complete_when(draw, name),
    }


def _task(draw: st.DrawFn, name: str, cuts: dict[str, Cut], *, several: bool) -> Definition:
    found: Definition = {"namespace": "ns", "name": name, "consumes": [], "produces": []}
    if cuts[name] is not None:
        found["partitioning"] = cuts[name]
    for option, values in _OPTIONS.items():
        if draw(rarely(3 if option in ("trigger_rule", "pools") else 8)):
            found[option] = draw(st.sampled_from(values))
    found["consumes"] = [*_tasks_read(draw, name, cuts), *_datasets_read(draw, name, cuts)]
    if draw(st.booleans()) or several:
        found["produces"] = [_produced(draw, name, cuts, several=several)]
        found["consumes"] += sharing.updated(draw, found["produces"][0], found["consumes"])
    return found


def _triggered(draw: st.DrawFn, task: Definition) -> Definition:
    """The same task, run on updates: it has no partitions, and mostly nothing beside its trigger that it waits for."""
    without = [*(["partitioning"] if draw(st.booleans()) else []), "run_after"]
    below = DATASETS[: TASKS.index(task["name"])]
    consumes = task["consumes"] if draw(rarely(4)) else []
    said = draw(drawn.triggers([*below, *below, ALIAS]))
    return {**{key: task[key] for key in task if key not in without}, "consumes": consumes, "trigger": said}


def _tasks_read(draw: st.DrawFn, name: str, cuts: dict[str, Cut]) -> Iterator[Definition]:
    """Mostly those before it; now and then itself, or one behind it, which may close a cycle."""
    for other in TASKS:
        if draw(rarely(2)) if other < name else draw(rarely(25)):
            yield {"task": {"namespace": "ns", "name": other}, **_edge(draw, cuts, name, other)}


def _datasets_read(draw: st.DrawFn, name: str, cuts: dict[str, Cut]) -> Iterator[Definition]:
    for dataset in (*DATASETS, ALIAS):
        stands = "d0" if dataset == ALIAS else dataset
        if TASKS.index(name) > DATASETS.index(stands) and draw(rarely(3)):
            edge = _edge(draw, cuts, name, stands)
            if draw(rarely(3)):
                edge["condition"] = {"kind": "succeeded", "where": draw(st.sampled_from(_WHERE))}
            yield {"dataset": {"namespace": "lake", "name": dataset}, **edge}


def _produced(draw: st.DrawFn, name: str, cuts: dict[str, Cut], *, several: bool) -> Definition:
    dataset = sharing.written(draw, DATASETS[TASKS.index(name)], several=several)
    found: Definition = {"namespace": "lake", "name": ALIAS if dataset == "d0" and draw(rarely(3)) else dataset}
    if draw(rarely(5)):
        found["mapping"] = _mapping(draw, cuts[name], cuts.get(dataset), produced=True)
    return found


_OPTIONS: dict[str, list[Any]] = {
    "trigger_rule": [*RULES, "none_failed_min_one_success", "one_failed", "one_success", "dummy"],
    "platform": ["airflow"],
    "domain": ["sales"],
    "run_after": ["PT30M", "PT120M"],
    "branching": [True],
    "lateness": list(LATENESS),
    "shards": [{"allow_failed": 1}],
    "pools": [{"p": 1}, {"p": 2}],
    "gates": [["review"]],
    "requires": [[{"fact": "closed"}], [{"fact": "closed", "equals": 3, "each_partition": True}]],
}


def _edge(draw: st.DrawFn, cuts: dict[str, Cut], name: str, other: str) -> Definition:
    found: Definition = {}
    if (mapping := _mapping(draw, cuts[name], cuts.get(other))) != {"kind": "same"}:
        found["mapping"] = mapping
    if draw(rarely(6)):
        found["condition"] = {"kind": draw(st.sampled_from(["failed", "skipped", "not_failed", "finished"]))}
    if draw(rarely(6)):
        found["required"] = False
    if draw(rarely(3)):
        found["staleness"] = draw(st.sampled_from(["ignore", "block", "block"]))
    return found


def _mapping(draw: st.DrawFn, ours: Cut, theirs: Cut, *, produced: bool = False) -> Definition:
    """Mostly one that fits, and mostly the plain one."""
    fitting = [each for each in _MAPPINGS if _leads(each, ours, theirs)]
    drawn: Definition = draw(
        st.sampled_from(_MAPPINGS if draw(rarely(20)) else [*fitting[:1] * 4, *fitting] or _MAPPINGS)
    )
    return {"kind": "same"} if produced and "not_older_than" in str(drawn) else drawn


def _leads(mapping: Definition, ours: Cut, theirs: Cut) -> bool:
    """Whether it fits and will lead somewhere: by dimension only where both are known, and no client is a day."""
    if ours is None or theirs is None:
        return mapping not in MAPPINGS
    return fits(mapping, ours, theirs) and not (
        ours["kind"] == "dynamic" and mapping["kind"] == "same" and windowed(theirs)
    )


_INSTANCE = st.fixed_dictionaries({"map_index": st.integers(0, 1)}, optional={"instances": st.integers(2, 3)})


@st.composite
def events(draw: st.DrawFn, tasks: dict[str, Definition], cuts: dict[str, Cut]) -> dict[str, Any]:
    """One statement of a run, without its time."""
    together = sharing.writers(tasks)
    name = draw(st.sampled_from([*TASKS, "x", *together]))
    found: dict[str, Any] = {
        "task": {"namespace": "ns", "name": name},
        "state": draw(st.sampled_from([*TOLD, "running", "succeeded", "succeeded", "succeeded"])),
    }
    mapped = name == MAPPED  # a run of its instances is not also a run of the whole
    if not draw(rarely(12)):
        known = few_keys(cuts.get(name))
        found["partition"] = draw(st.sampled_from(known[:2] if name in together else known)) or "whole"
    if "trigger" in tasks.get(name, {}):
        found |= drawn.named(draw(st.sampled_from(drawn.RUNS)))
    elif mapped or draw(st.booleans()):
        found["run"] = draw(st.sampled_from(["r1", "r2", "r3"]))
    if mapped:
        found |= draw(_INSTANCE)
    if draw(rarely(3)):
        found["attempt"] = draw(st.integers(1, 3))
    if draw(rarely(6)):
        found["shards"] = draw(st.lists(_SHARDS, min_size=1, max_size=2, unique_by=lambda shard: shard["key"]))
    for listed in ("outputs", "inputs"):
        if draw(st.booleans()) or name in together if listed == "outputs" else draw(rarely(5)):
            found[listed] = [_touched(draw, listed, _named(draw, tasks.get(name, {}), name, listed), cuts)]
    if found.get("partition") == "whole":
        del found["partition"]
    return found


def _named(draw: st.DrawFn, task: Definition, name: str, listed: str) -> str:
    if listed == "outputs":
        declared = [each["name"] for each in task.get("produces", ())]
        own = DATASETS[TASKS.index(name) if name in TASKS else 3]
        return declared[0] if declared else sharing.written(draw, own, several=False)
    read = [each["dataset"]["name"] for each in task.get("consumes", ()) if "dataset" in each]
    return str(draw(st.sampled_from(read or DATASETS)))


def _touched(draw: st.DrawFn, listed: str, dataset: str, cuts: dict[str, Cut]) -> dict[str, Any]:
    found: dict[str, Any] = {"namespace": "lake", "name": dataset}
    if draw(rarely(3)):
        found["partition"] = draw(st.sampled_from(few_keys(cuts.get("d0" if dataset == ALIAS else dataset)))) or "a"
    if draw(st.booleans()):
        found["version"] = draw(st.sampled_from(["v1", "v2"]))
    if draw(rarely(3)):
        found["checks"] = draw(drawn.CHECKS)
    if listed == "outputs" and draw(st.booleans()):
        found["rows"] = draw(st.sampled_from([0, 1, 7, 9]))
    return found


@st.composite
def updates(draw: st.DrawFn, task: Definition, cuts: dict[str, Cut]) -> list[dict[str, Any]]:
    """Some of the datasets are written that trigger a task, and now and then a run of it begins, or ends at once."""
    found: list[dict[str, Any]] = []
    below = DATASETS[: TASKS.index(task["name"])]
    for dataset in draw(st.one_of(st.just(below), st.lists(st.sampled_from(below), min_size=1, max_size=2))):
        by = dataset.replace("d", "t")
        said: dict[str, Any] = {
            "task": {"namespace": "ns", "name": by},
            "state": "succeeded",
            "run": draw(st.sampled_from(["r1", "r4"])),
        }
        said |= {"map_index": 0} if by == MAPPED else {}
        key = draw(st.sampled_from(few_keys(cuts.get(dataset))))
        found.append(
            {**said, "outputs": [{"namespace": "lake", "name": dataset, **({"partition": key} if key else {})}]}
        )
    if draw(st.booleans()):
        said = {"task": {"namespace": "ns", "name": task["name"]}, **drawn.named(draw(st.sampled_from(drawn.RUNS)))}
        said |= {"map_index": draw(st.integers(0, 1))} if task["name"] == MAPPED else {}
        states = draw(st.sampled_from([["running"], ["running", "succeeded"], ["running", "failed"], ["succeeded"]]))
        found += [{**said, "state": state} for state in states]
    return found


@st.composite
def orders(draw: st.DrawFn, cuts: dict[str, Cut]) -> dict[str, Any]:
    """What a person or a system orders, without its time."""
    verb = draw(st.sampled_from(_VERBS))
    found: dict[str, Any] = {"control": verb, "by": "anna", "reason": "because"}
    about = draw(st.sampled_from(_ABOUT[verb]))
    if about in ("task", "dataset"):
        name = draw(st.sampled_from(TASKS if about == "task" else DATASETS))
        if verb in ("mark", "clear") and name == MAPPED:  # a mark of a mapped run is of its instances
            name = "t0"
        found[about] = {"namespace": "ns" if about == "task" else "lake", "name": name}
        key = draw(st.sampled_from(few_keys(cuts.get(name))))
        if key and not (verb in ("pause", "cancel", "resume", "not_before") and draw(st.booleans())):
            found["partition"] = key
    elif about == "domain":
        found["domain"] = "sales"
    elif about == "fact":
        found["fact"] = "closed"
        found["value"] = draw(st.sampled_from([True, 3, "x"]))
        if draw(st.booleans()):
            found["partition"] = draw(st.sampled_from(["2026-10-24", "2026-10-25"]))
    if verb in ("approve", "refuse"):
        found["gate"] = "review"
    if verb == "mark":
        found["state"] = draw(st.sampled_from(["succeeded", "failed", "skipped"]))
    if verb in ("mark", "clear") and draw(rarely(3)):
        found["run"] = draw(st.sampled_from(["r1", "r2"]))
    return found


_HELD = ["task", "task", "domain", "environment"]
_ABOUT = {
    "pause": _HELD,
    "cancel": _HELD,
    "resume": _HELD,
    "approve": ["task"],
    "refuse": ["task"],
    "set": ["fact"],
    "quarantine": ["task", "dataset"],
    "release": ["task", "dataset"],
    "rerun": ["task", "dataset"],
    "not_before": ["task"],
    "mark": ["task"],
    "clear": ["task"],
}
_VERBS = [*_ABOUT, "resume", "resume", "approve", "set", "rerun", "quarantine", "release", "mark", "clear"]
