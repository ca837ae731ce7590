"""Streams: a watermark makes the windows ready that it has passed, late data makes them stale, whatever came first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.dispatch.announce import announce
from dataforge.dispatch.waiting import waiting
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, verify
from dataforge.ledger import catalog
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.declare import declare
from dataforge.ledger.findings import findings
from dataforge.ledger.freshness import freshness
from dataforge.ledger.partition_graph import lineage_of
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import InvalidInput
from dataforge.model.filter import FindingFilter, PartitionFilter, UpdateFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.question import Named
from dataforge.model.state import PartitionStatus
from dataforge.model.verdict import Verdict
from dataforge.storage.database import Database
from dataforge.storage.signing_key import signing_key

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
HOURLY = {"kind": "hourly", "start": "2026-11-05T08:00"}
CLICKS = {"namespace": "s3://lake", "name": "clicks"}
_environments = count()


def _at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def _said(minutes: float, **more: Any) -> dict[str, Any]:
    task = {"namespace": "ns", "name": "stream"}
    return {"time": _at(minutes).isoformat(), "task": task, "run": "s1", "state": "running", **more}


def _passed(minutes: float, watermark: float, **more: Any) -> dict[str, Any]:
    return _said(minutes, watermark=_at(watermark).isoformat(), **more)


def _late(minutes: float, key: str, rows: int, **more: Any) -> dict[str, Any]:
    return _said(minutes, late=[{"partition": key, "rows": rows, **more}])


def _built(begun: float, ended: float, key: str, run: str = "b1") -> list[dict[str, Any]]:
    """A run of the report."""
    told = {"task": {"namespace": "ns", "name": "report"}, "run": run, "partition": key}
    return [_said(begun, **told), _said(ended, **{**told, "state": "succeeded"})]


def _manifest(
    lateness: str | None = "PT15M",
    staleness: str = "warn",
    cut: dict[str, Any] = HOURLY,
    condition: dict[str, Any] | None = None,
    **of_clicks: Any,
) -> Any:
    stream = {"namespace": "ns", "name": "stream", "partitioning": cut, "produces": [CLICKS]}
    report = {
        "namespace": "ns",
        "name": "report",
        "partitioning": cut,
        "consumes": [{"dataset": CLICKS, "staleness": staleness, **({"condition": condition} if condition else {})}],
    }
    late = {} if lateness is None else {"lateness": lateness}
    datasets = [{**CLICKS, "partitioning": cut, **of_clicks}]
    return definition.parse({"source": "s", "tasks": [{**stream, **late}, report], "datasets": datasets})


def _recorded(database: Database, *events: dict[str, Any], environment: str = "dev") -> None:
    bodies = [json.dumps(event).encode() for event in events]
    assert record_native(database, environment, bodies, NOTHING).rejected == []


def _listed(database: Database, name: str = "clicks", environment: str = "dev") -> dict[str, str]:
    items = catalog.partitions(database, environment, PartitionFilter(name=name, limit=1_000), NOON).items
    return {each.partition: each.state.value for each in items if each.partition}


def _asked(database: Database, key: str, minutes: float = 120, name: str = "report") -> Verdict:
    return verdict(database, "dev", Named(name, None, key), _at(minutes))


def test_a_window_is_ready_when_the_watermark_has_passed_its_end_and_the_lateness(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _passed(20, 14))  # 12:14, and the hour to 12:00 stays open until 12:15
    assert _listed(database) == {f"2026-11-05-{hour:02}:00": "ready" for hour in (8, 9, 10)}
    _recorded(database, _passed(25, 15))
    items = catalog.partitions(
        database, "dev", PartitionFilter(name="clicks", partition="2026-11-05-11:00"), NOON
    ).items
    (shown,) = items
    assert (shown.state, shown.since, shown.evidence, shown.run.run) == ("ready", _at(25), "reported", "s1")
    assert _listed(database, "stream")["2026-11-05-11:00"] == "ready"
    assert _asked(database, "2026-11-05-11:00").runnable
    assert [each.code for each in _asked(database, "2026-11-05-12:00", 600).reasons] == ["upstream_missing"]


@pytest.mark.parametrize(
    ("kind", "key"), [("daily", "2026-11-04"), ("weekly", "2026-10-25"), ("monthly", "2026-10-01")]
)
def test_windows_of_every_length_are_passed(database: Database, kind: str, key: str) -> None:
    declare(database, "dev", _manifest(cut={"kind": kind, "start": "2026-09-01"}))
    _recorded(database, _passed(20, 15))
    assert max(_listed(database)) == key


def test_a_watermark_wakes_who_waits_and_the_graph_shows_what_is_ready(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _passed(20, 15))
    while announce(database, "dev", _at(120)):
        pass
    woken = [each.partition for each in waiting(database, "dev", 100, _at(120)).items if each.task.name == "report"]
    assert sorted(filter(None, woken)) == [f"2026-11-05-{hour:02}:00" for hour in (8, 9, 10, 11)]
    found = lineage_of(database, "dev", (None, "report"), "2026-11-05-11:00", _at(120), "upstream", 1)
    assert [(each.name, each.state) for each in found.nodes] == [("report", "missing"), ("clicks", "ready")]


def test_a_watermark_is_no_update_that_triggers_a_task(database: Database) -> None:
    declare(database, "dev", _manifest())
    triggered = {"namespace": "ns", "name": "publish", "trigger": {"dataset": CLICKS}}
    declare(database, "dev", definition.parse({"source": "t", "tasks": [triggered]}))
    _recorded(database, _passed(20, 15))
    asked = verdict(database, "dev", Named("publish"), _at(120))
    assert [each.code for each in asked.reasons] == ["upstream_missing"]
    assert catalog.updates(database, "dev", UpdateFilter(name="publish")).items == []
    batch = {"task": {"namespace": "ns", "name": "batch"}, "time": _at(21).isoformat(), "state": "succeeded"}
    _recorded(database, {**batch, "partition": "2026-11-05-11:00", "outputs": [CLICKS]})
    assert verdict(database, "dev", Named("publish"), _at(120)).runnable


def test_a_run_that_goes_on_holds_nothing_back_that_its_watermark_has_passed(database: Database) -> None:
    declare(database, "dev", _manifest())
    named = [{**CLICKS, "partition": "2026-11-05-11:00"}, {**CLICKS, "partition": "2026-11-05-12:00"}]
    _recorded(database, _said(0, outputs=named))
    assert _listed(database) == {"2026-11-05-11:00": "running", "2026-11-05-12:00": "running"}
    _recorded(database, _passed(16, 15), _said(30, outputs=named))
    assert _listed(database)["2026-11-05-11:00"] == "ready"
    assert _listed(database)["2026-11-05-12:00"] == "running"


def test_a_watermark_that_goes_back_takes_nothing_away(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _passed(20, 15))
    before = _listed(database)
    _recorded(database, _passed(30, -90))
    assert _listed(database) == before


def test_late_data_makes_the_partition_stale_with_its_count(database: Database) -> None:
    declare(database, "dev", _manifest(staleness="block"))
    _recorded(database, _late(18, "2026-11-05-11:00", 5), _passed(20, 15))  # in time: before the watermark passed
    assert _listed(database)["2026-11-05-11:00"] == "ready"
    late = [_late(40, "2026-11-05-11:00", 1_200), _late(50, "2026-11-05-11:00", 34, dataset=CLICKS)]
    _recorded(database, *late, *late)
    assert _listed(database)["2026-11-05-11:00"] == "stale"
    (reason,) = _asked(database, "2026-11-05-11:00").reasons
    assert (reason.code.value, reason.since) == ("upstream_stale", _at(40))
    assert reason.message == "clicks for 2026-11-05-11:00 got 1,234 rows after its watermark had passed it"
    (own,) = _asked(database, "2026-11-05-11:00", name="stream").warnings
    assert own.message == "it got 1,200 rows after its watermark had passed it"
    question = FreshnessQuestion(name="clicks", partition="2026-11-05-11:00", kind="dataset")
    (answer,) = freshness(database, "dev", [question], _at(120)).items
    assert (answer.status, answer.reasons[0].message) == (
        "stale",
        "it got 1,234 rows after its watermark had passed it",
    )


@pytest.mark.parametrize("state", [None, PartitionStatus.STALE])
def test_a_list_says_what_came_late_whichever_way_it_is_asked(
    database: Database, state: PartitionStatus | None
) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _passed(20, 15), _late(40, "2026-11-05-11:00", 7))
    asked = PartitionFilter(name="clicks", kind="dataset", state=state)
    said = {item.partition: item.reason for item in catalog.partitions(database, "dev", asked, _at(120)).items}
    assert said.pop("2026-11-05-11:00") == "it got 7 rows after its watermark had passed it"
    assert set(said.values()) <= {None}


def test_what_was_built_before_the_late_data_is_stale_by_it(database: Database) -> None:
    declare(database, "dev", _manifest())
    key = "2026-11-05-11:00"
    _recorded(database, _passed(20, 15))
    _recorded(database, *_built(30, 35, key))
    question = FreshnessQuestion(name="report", partition=key, kind="task")
    assert freshness(database, "dev", [question], _at(120)).items[0].status == "fresh"
    _recorded(database, _late(40, key, 7))
    (answer,) = freshness(database, "dev", [question], _at(120)).items
    (reason,) = answer.reasons
    got = f"s3://lake/clicks for {key} got 7 rows after its watermark had passed it at 2026-11-05 12:40 UTC"
    assert (answer.status, reason.because) == ("stale", ())
    assert reason.message == f"{got}, after this was built (2026-11-05 12:35 UTC)"
    _recorded(database, *_built(50, 55, key, run="b2"))
    assert freshness(database, "dev", [question], _at(120)).items[0].status == "fresh"


def test_a_run_that_makes_it_anew_after_the_late_data_makes_it_ready(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _passed(20, 15), _late(40, "2026-11-05-11:00", 7))
    made = [{**CLICKS, "partition": "2026-11-05-11:00"}]
    again = {"task": {"namespace": "ns", "name": "repair"}, "run": "r1", "outputs": made}
    _recorded(database, _said(50, **again), _said(55, **{**again, "state": "succeeded"}))
    assert _listed(database)["2026-11-05-11:00"] == "ready"
    question = FreshnessQuestion(name="clicks", partition="2026-11-05-11:00")
    assert freshness(database, "dev", [question], _at(120)).items[0].status == "fresh"


def _also(minutes: float, watermark: float, **more: Any) -> dict[str, Any]:
    """Another stream, that writes the same dataset."""
    return {**_passed(minutes, watermark, outputs=[CLICKS], **more), "task": {"namespace": "ns", "name": "also"}}


def _fresh(database: Database, name: str, key: str) -> str:
    question = FreshnessQuestion(name=name, partition=key, kind="dataset" if name == "clicks" else "task")
    return freshness(database, "dev", [question], _at(120)).items[0].status


@pytest.mark.parametrize(("declared", "status"), [(True, "stale"), (False, "fresh")])
def test_what_came_late_counts_as_long_as_the_stream_does_whose_it_is(
    database: Database, *, declared: bool, status: str
) -> None:
    """Two that are declared to write it make it together; of others the one that passed it last does."""
    declare(database, "dev", _manifest())
    if declared:
        other = {"namespace": "ns", "name": "also", "produces": [CLICKS]}
        declare(database, "dev", definition.parse({"source": "t", "tasks": [other]}))
    key = "2026-11-05-11:00"
    _recorded(database, _passed(20, 15), _late(40, key, 7), _also(50, 15))
    assert _listed(database)[key] == ("stale" if declared else "ready")
    assert _fresh(database, "clicks", key) == status


def test_late_data_for_one_of_two_streams_makes_stale_what_was_built_from_both(database: Database) -> None:
    declare(database, "dev", _manifest())
    other = {"namespace": "ns", "name": "also", "produces": [CLICKS]}
    declare(database, "dev", definition.parse({"source": "t", "tasks": [other]}))
    key = "2026-11-05-11:00"
    _recorded(database, _passed(20, 15), _also(25, 15), *_built(30, 35, key))
    assert _fresh(database, "report", key) == "fresh"
    _recorded(database, _late(40, key, 7))
    assert _fresh(database, "report", key) == "stale"


def test_late_data_is_a_version_of_its_own_between_two_of_the_same_word(database: Database) -> None:
    declare(database, "dev", _manifest(version="reported"))
    key = "2026-11-05-11:00"
    made = {"task": {"namespace": "ns", "name": "repair"}, "outputs": [{**CLICKS, "partition": key, "version": "v1"}]}
    for run, at in (("r1", 10), ("r2", 60)):
        _recorded(
            database, _said(at, **{**made, "run": run}), _said(at + 1, **{**made, "run": run, "state": "succeeded"})
        )
    _recorded(database, _passed(20, 15), _late(40, key, 7), *_built(50, 55, key))
    assert _fresh(database, "report", key) == "stale"


@pytest.mark.parametrize(
    ("begun", "late", "found"),
    [(30, None, []), (30, 70, []), (30, 40, ["input_changed"]), (10, 70, ["started_too_early"])],
)
def test_a_run_is_found_by_when_the_watermark_passed_what_it_read_and_by_what_came_late_while_it_ran(
    database: Database, begun: int, late: int | None, found: list[str]
) -> None:
    declare(database, "dev", _manifest())
    key = "2026-11-05-11:00"
    _recorded(database, _passed(20, 15), *_built(begun, 60, key), *([] if late is None else [_late(late, key, 7)]))
    asked = FindingFilter(since=_at(0))
    items = [each for each in findings(database, "dev", asked, _at(120)).items if each.inputs]
    assert [each.code.value for each in items] == found
    assert {given.run for each in items for given in each.inputs} <= {"s1"}


def test_a_watermark_of_one_output_moves_that_one_alone(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _said(20, outputs=[{**CLICKS, "watermark": _at(15).isoformat()}]))
    assert "2026-11-05-11:00" in _listed(database)
    assert _listed(database, "stream") == {}


def test_a_check_vouches_for_what_came_late_only_when_it_has_seen_it(database: Database) -> None:
    where = {"field": "check.keys.success", "op": "=", "value": True}
    declare(database, "dev", _manifest(condition={"where": where}))
    check = {**CLICKS, "partition": "2026-11-05-11:00", "checks": [{"name": "keys", "success": True}]}
    looked = {"task": {"namespace": "ns", "name": "look"}, "state": "succeeded", "inputs": [check]}
    _recorded(database, _passed(20, 15), {**looked, "run": "l1", "time": _at(25).isoformat()})
    assert _asked(database, "2026-11-05-11:00").runnable
    _recorded(database, _late(40, "2026-11-05-11:00", 7))
    assert [each.code.value for each in _asked(database, "2026-11-05-11:00").reasons] == ["condition_unmet"]
    _recorded(database, {**looked, "run": "l2", "time": _at(50).isoformat()})
    assert _asked(database, "2026-11-05-11:00").runnable


@pytest.mark.parametrize("declared_last", [True, False])
def test_what_is_told_of_a_dataset_is_of_it_under_all_its_names(database: Database, *, declared_last: bool) -> None:
    table = {"namespace": "glue", "name": "lake.clicks"}
    named = _manifest(aliases=[table])
    declare(database, "dev", _manifest() if declared_last else named)
    _recorded(database, _said(20, outputs=[{**table, "watermark": _at(15).isoformat()}]))
    _recorded(database, _late(40, "2026-11-05-11:00", 7, dataset=table))
    declare(database, "dev", named)
    assert _listed(database)["2026-11-05-11:00"] == "stale"
    assert "got 7 rows" in _asked(database, "2026-11-05-11:00").warnings[0].message


def test_the_lateness_of_a_dataset_stands_in_the_place_of_its_tasks(database: Database) -> None:
    manifest = definition.parse(
        {
            "source": "s",
            "tasks": [{"namespace": "ns", "name": "stream", "partitioning": HOURLY, "produces": [CLICKS]}],
            "datasets": [{**CLICKS, "partitioning": HOURLY, "lateness": "PT1H"}],
        }
    )
    _recorded(database, _passed(20, 15))
    declare(database, "dev", manifest)
    assert "2026-11-05-11:00" in _listed(database, "stream")
    assert "2026-11-05-11:00" not in _listed(database)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"watermark": "noon"}, "watermark"),
        ({"watermark": _at(2_000).isoformat()}, "watermark"),
        ({"outputs": [CLICKS, {**CLICKS, "watermark": _at(2_000).isoformat()}]}, "outputs[1].watermark"),
        ({"outputs": [{**CLICKS, "watermark": "noon"}]}, "outputs[0].watermark"),
        ({"late": [{"partition": "p", "rows": 0}]}, "late[0].rows"),
        ({"late": [{"partition": "", "rows": 1}]}, "late[0].partition"),
        ({"late": [{"partition": "p", "rows": 1}, {"partition": "p", "rows": 2}]}, "late[1]"),
    ],
)
def test_what_cannot_be_of_a_stream_is_refused_by_its_field(
    database: Database, more: dict[str, Any], field: str
) -> None:
    (rejected,) = record_native(database, "dev", [json.dumps(_said(0, **more)).encode()], NOTHING).rejected
    assert [error.field for error in rejected.errors] == [field]


@pytest.mark.parametrize("lateness", ["-PT1M", "P31D", "soon"])
def test_a_lateness_that_cannot_be_is_refused(lateness: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        _manifest(lateness)
    assert [error.field for error in refused.value.errors] == ["tasks[0].lateness"]


class _Fact(NamedTuple):
    """Something that is told or declared: minutes after noon, and for a watermark how far behind it is."""

    kind: str
    minute: int
    behind: int


_HOURS = [f"2026-11-05-{hour:02}:00" for hour in (8, 9, 10, 11, 12, 13)]
_FACTS = st.lists(
    st.builds(
        _Fact,
        st.sampled_from(["watermark", "watermark", "watermark", "late", "run"]),
        st.integers(0, 130),
        st.integers(0, 150),
    ),
    max_size=10,
    unique_by=lambda fact: fact.minute,
)


def _event(fact: _Fact) -> dict[str, Any]:
    hour = _HOURS[fact.behind % len(_HOURS)]
    if fact.kind == "watermark":
        return _passed(fact.minute, fact.minute - fact.behind)
    if fact.kind == "late":
        return _late(fact.minute, hour, fact.behind + 1)
    task = {"namespace": "ns", "name": "repair"}
    made = [{**CLICKS, "partition": hour}]
    return _said(fact.minute, task=task, run=f"r{fact.minute}", state="succeeded", outputs=made)


def _twin(facts: list[_Fact], lateness: int) -> dict[str, str]:
    """The rule, as one would write it without a database."""
    states = {}
    for place, hour in enumerate(_HOURS):
        end = (place - 3) * 60
        passed = [f.minute for f in facts if f.kind == "watermark" and f.minute - f.behind >= end + lateness]
        runs = [f.minute for f in facts if f.kind == "run" and _HOURS[f.behind % len(_HOURS)] == hour]
        late = [f.minute for f in facts if f.kind == "late" and _HOURS[f.behind % len(_HOURS)] == hour]
        if passed and (not runs or min(passed) > max(runs)):
            states[hour] = "stale" if any(minute > min(passed) for minute in late) else "ready"
        elif runs:
            states[hour] = "ready"
    return states


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=_FACTS, lateness=st.sampled_from([0, 15, 60]), random=st.randoms(use_true_random=False))
def test_states_are_those_of_the_set_of_facts_whatever_came_first(
    database: Database, facts: list[_Fact], lateness: int, random: Any
) -> None:
    digests = []
    manifests = [_manifest("PT5M"), _manifest(f"PT{lateness}M")]
    for _ in range(2):
        name = f"stream-{next(_environments)}"
        with database.transaction() as connection:
            connection.execute("insert into environment (name) values (%s)", [name])
        shuffled = [*random.sample(facts, len(facts)), *random.sample(facts, len(facts) // 3)]
        places = sorted(random.randint(0, len(shuffled)) for _ in manifests)
        for place in range(len(shuffled) + 1):
            for manifest, declared_at in zip(manifests, places, strict=True):
                if declared_at == place:
                    declare(database, name, manifest)
            if place < len(shuffled):
                _recorded(database, _event(shuffled[place]), environment=name)
        found = _listed(database, environment=name)
        assert {hour: state for hour, state in found.items() if hour in _HOURS} == _twin(facts, lateness)
        digests.append(digest(database, name))
    assert digests[0] == digests[1]


def test_streams_are_rebuilt_from_their_events(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(database, _passed(20, 15), _late(40, "2026-11-05-11:00", 7), _passed(90, 80))
    assert verify(database, "dev").difference is None


def test_streams_and_sets_are_rebuilt_from_a_checkpoint(database: Database, tmp_path: Path) -> None:
    declare(database, "dev", _manifest())
    key = signing_key(tmp_path / "keys")
    shelf = Shelf(tmp_path / "checkpoints", "dev", key.public)
    keys = {"control": "register", "by": "anna", "set": "clients", "keys": ["acme"], "time": _at(0).isoformat()}
    _recorded(database, _passed(20, 15), _late(40, "2026-11-05-11:00", 7), keys)
    assert checkpoint(database, "dev", shelf, key, _at(60)).checkpoint is not None
    _recorded(database, _passed(90, 80), _late(95, "2026-11-05-12:00", 2))
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.events) == ((), 2)
