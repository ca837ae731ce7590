"""GraphQL: the same answers as the other routes give, of one snapshot, by as many statements whatever is asked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ledger import detail
from dataforge.model.catalog import DatasetItem, PartitionItem, RunItem, TaskItem
from dataforge.storage.database import Database
from tests.api.graphql import Client, answered, ask, counted, declare_chain, load_shop

_MANY = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_RUN_FIELDS = """kind namespace name partition partitions run attempt state startedAt endedAt dataInterval { start end }
inputs { namespace name partition version rows evidence } outputs { namespace name partition version rows evidence }
error evidence partitionFrom version source marked { by at cleared reason }
shards { total succeeded skipped failed missing }"""
_PARTITION_FIELDS = """kind namespace name partition state since evidence run { namespace name run } version
lastReady { run { namespace name run } since version } reason"""
_TASK_FIELDS = """namespace name kind platform owner domain partitioning partitioningOrigin declaredBy version
triggerRule description tags links"""
_DATASET_FIELDS = (
    """namespace name aliases { namespace name } owner partitioning declaredBy fields description tags links"""
)
_VERDICT_FIELDS = """task { namespace name } partition runnable status fate basis
reasons { code message upstream { kind namespace name } partition state since owner expectedAt run mapping condition
    because { message upstream { kind namespace name } partition state since run owner } }
warnings { code message } observedThrough decidedAt graphVersion"""
_LISTS = {
    "tasks": (_TASK_FIELDS, TaskItem, {"owner": "team1@example.com"}),
    "datasets": (_DATASET_FIELDS, DatasetItem, {"namespace": "db"}),
    "runs": (_RUN_FIELDS, RunItem, {"state": "failed"}),
    "partitions": (_PARTITION_FIELDS, PartitionItem, {"kind": "task", "state": "failed"}),
}


_JSON = {"partitioning", "source", "fields", "observedThrough", "mapping"}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)


def _named_as_elsewhere(value: Any) -> Any:
    """The same with the names that the other routes use; values that are JSON have them."""
    if isinstance(value, dict):
        return {_snake(name): each if name in _JSON else _named_as_elsewhere(each) for name, each in value.items()}
    return [_named_as_elsewhere(each) for each in value] if isinstance(value, list) else value


def _written(filters: dict[str, Any]) -> str:
    enums = {"kind", "state"}
    shown = {
        name: value if name in enums or isinstance(value, int) else f'"{value}"' for name, value in filters.items()
    }
    return ", ".join(f"{name}: {value}" for name, value in shown.items())


def _listed(client: Client, environment: str, noun: str, **filters: Any) -> dict[str, Any]:
    page = f"{noun}({_written(filters)}) {{ items {{ {_LISTS[noun][0]} }} nextCursor }}"
    found = ask(client, f"query List($name: String) {{ environment(name: $name) {{ {page} }} }}", name=environment)
    page_found: dict[str, Any] = _named_as_elsewhere(found["environment"][noun])
    return page_found


@pytest.mark.parametrize("noun", _LISTS)
def test_a_list_asks_for_every_field_that_there_is(noun: str) -> None:
    fields, item, _ = _LISTS[noun]
    flat = re.sub(r"{[^{}]*}", "", re.sub(r"{[^{}]*}", "", fields))
    assert set(map(_snake, flat.split())) == set(item.__struct_fields__)


_ENVIRONMENTS = st.sampled_from(["dev", "prod"])


@_MANY
@given(
    noun=st.sampled_from(sorted(_LISTS)), limit=st.integers(5, 100), narrowed=st.booleans(), environment=_ENVIRONMENTS
)
def test_a_walk_through_a_list_sees_the_pages_of_the_other_routes(
    client: Client, noun: str, limit: int, narrowed: bool, environment: str
) -> None:
    _load_once(client)
    filters: dict[str, Any] = {"limit": limit, **(_LISTS[noun][2] if narrowed else {})}
    cursor: dict[str, Any] = {}
    while True:
        page = client.get(f"/api/v1/{environment}/{noun}", params={**filters, **cursor}).json()
        assert _listed(client, environment, noun, **filters, **cursor) == page
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


@_MANY
@given(
    limit=st.integers(1, 4),
    state=st.sampled_from([None, "succeeded", "failed"]),
    noun=st.sampled_from(["runs", "partitions"]),
    environment=_ENVIRONMENTS,
)
def test_what_belongs_to_many_tasks_is_what_a_list_of_each_shows(
    client: Client, limit: int, state: str | None, noun: str, environment: str
) -> None:
    _load_once(client)
    filters: dict[str, Any] = {"limit": limit}
    if state is not None:
        filters["state"] = "ready" if noun == "partitions" and state == "succeeded" else state
    page = f"{noun}({_written(filters)}) {{ items {{ {_LISTS[noun][0]} }} nextCursor }}"
    query = (
        f"query Each($name: String) {{ environment(name: $name) {{ tasks {{ items {{ namespace name {page} }} }} }} }}"
    )
    for task in ask(client, query, name=environment)["environment"]["tasks"]["items"]:
        own = {"namespace": task["namespace"], "name": task["name"]}
        alone = {**own, **filters, **({"kind": "task"} if noun == "partitions" else {})}
        assert _named_as_elsewhere(task[noun]) == client.get(f"/api/v1/{environment}/{noun}", params=alone).json()


@pytest.mark.parametrize(("environment", "day"), [("dev", "2026-11-02"), ("prod", "2026-11-12")])
def test_verdicts_are_those_of_readiness(client: Client, environment: str, day: str) -> None:
    _load_once(client)
    query = f"""query Verdicts($name: String, $day: String) {{ environment(name: $name) {{
        tasks {{ items {{ namespace name verdict(partition: $day) {{ {_VERDICT_FIELDS} }} }} }} }} }}"""
    found = ask(client, query, name=environment, day=day)["environment"]["tasks"]["items"]
    asked = [{"task": {"namespace": task["namespace"], "name": task["name"]}, "partition": day} for task in found]
    verdicts = client.post(f"/api/v1/{environment}/readiness", json=asked).json()["items"]
    assert len(verdicts) >= 12
    for task, verdict in zip(found, verdicts, strict=True):
        assert _alike(_named_as_elsewhere(task["verdict"]), verdict)
    assert {verdict["status"] for verdict in verdicts} >= {"succeeded", "failed"}


def test_a_cursor_of_one_tasks_runs_goes_on_with_them(client: Client) -> None:
    _chain_once(client)
    query = """query Page($cursor: String) { environment { tasks(name: "task000") { items {
        runs(limit: 1, cursor: $cursor) { items { run } nextCursor } } } } }"""
    seen, cursor = [], None
    while True:
        [task] = ask(client, query, cursor=cursor)["environment"]["tasks"]["items"]
        seen += [run["run"] for run in task["runs"]["items"]]
        cursor = task["runs"]["nextCursor"]
        if cursor is None:
            break
    assert seen == ["task000-2026-11-01", "task000-2026-11-02"]


def _alike(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two verdicts say the same. Of reasons the other routes leave out what does not apply; each was decided
    at a moment of its own."""
    reasons = [{name: value for name, value in each.items() if value not in (None, [])} for each in ours["reasons"]]
    warnings = [{"code": each["code"], "message": each["message"]} for each in theirs["warnings"]]
    told = {**ours, "reasons": reasons, "decided_at": None}
    return told == {**theirs, "warnings": warnings, "decided_at": None}


def test_many_questions_are_answered_in_their_order_unknown_ones_too(client: Client) -> None:
    _chain_once(client)
    questions = [{"name": "task003", "partition": "2026-11-02"}, {"name": "nobody"}, {"name": "task000"}]
    query = """query Many($questions: [Question!]!) { environment { verdicts(questions: $questions) {
        task { name } status code candidates reasons { code } } } }"""
    known, unknown, uncut = ask(client, query, questions=questions)["environment"]["verdicts"]
    assert (known["task"]["name"], known["status"], known["code"]) == ("task003", "failed", None)
    assert (unknown["code"], unknown["reasons"], unknown["candidates"]) == (
        "no_such_task",
        [{"code": "no_such_task"}],
        [],
    )
    assert uncut["reasons"] == [{"code": "partition_unknown"}]


def test_the_graph_is_that_of_the_other_routes(client: Client) -> None:
    _chain_once(client)
    fields = """nodes { kind namespace name depth owner platform }
        edges { from { kind namespace name } to { kind namespace name } origin } truncated graphVersion"""
    query = f"""{{ environment {{ graph(name: "task005", direction: upstream, depth: 3, limit: 50) {{ {fields} }}
        partitionGraph(name: "task002", partition: "2026-11-02", depth: 1) {{ nodes {{ name partition state depth }} }}
        tasks(limit: 20) {{ items {{ name graph(direction: upstream, kind: task) {{ {fields} }}
            all: graph(depth: null, limit: 50) {{ nodes {{ name }} }} }} }} }} }}"""
    found = ask(client, query)["environment"]
    params: dict[str, Any] = {"name": "task005", "direction": "upstream", "depth": 3}
    assert _named_as_elsewhere(found["graph"]) == client.get("/api/v1/dev/graph", params=params).json()
    lineage = client.get("/api/v1/dev/graph", params={"name": "task002", "partition": "2026-11-02", "depth": 1}).json()
    shown = [{name: node[name] for name in ("name", "partition", "state", "depth")} for node in lineage["nodes"]]
    assert found["partitionGraph"]["nodes"] == shown
    for task in found["tasks"]["items"]:
        assert len(task["all"]["nodes"]) == 2 * 12
        params = {"name": task["name"], "direction": "upstream", "depth": 1, "kind": "task"}
        assert _named_as_elsewhere(task["graph"]) == client.get("/api/v1/dev/graph", params=params).json()


def test_edges_lead_to_both_ends_and_turn_their_pages(client: Client) -> None:
    _chain_once(client)
    query = """query Edges($cursor: String) { environment { tasks(name: "task002") { items {
        edges(limit: 1, cursor: $cursor) {
            items { kind name origin source required mapping task { owner } dataset { name } } nextCursor }
        produced: edges(relation: produces) { items { origin dataset { name partitions { items { partition } } } } }
    } } } }"""
    [task] = ask(client, query)["environment"]["tasks"]["items"]
    pages = [task["edges"]]
    while (cursor := pages[-1]["nextCursor"]) is not None:
        [more] = ask(client, query, cursor=cursor)["environment"]["tasks"]["items"]
        pages.append(more["edges"])
    consumed = [edge for page in pages for edge in page["items"]]
    assert {(each["kind"], each["name"], each["origin"]) for each in consumed} == {
        ("task", "task001", "declared"),
        ("dataset", "table1", "observed"),
    }
    [upstream] = [each for each in consumed if each["kind"] == "task"]
    assert upstream["task"] == {"owner": "team1@example.com"}
    assert (upstream["dataset"], upstream["source"], upstream["mapping"]) == (None, "chain", {"kind": "same"})
    days = [{"partition": "2026-11-01"}, {"partition": "2026-11-02"}]
    table = {"name": "table2", "partitions": {"items": days}}
    assert [edge["dataset"] for edge in task["produced"]["items"]] == [table, table]


def test_runs_lead_to_their_tasks_and_datasets(client: Client) -> None:
    _chain_once(client)
    query = """{ environment { runs(name: "task003", limit: 1) { items { task { name owner }
        inputs { dataset { name } } outputs { rows dataset { name } } } }
        partitions(name: "table3") { items { dataset { name } task { name } } } } }"""
    found = ask(client, query)["environment"]
    [run] = found["runs"]["items"]
    assert run["task"] == {"name": "task003", "owner": "team0@example.com"}
    assert run["inputs"] == [{"dataset": {"name": "table2"}}]
    assert run["outputs"] == [{"rows": 2**40, "dataset": {"name": "table3"}}]
    assert found["partitions"]["items"] == [{"dataset": {"name": "table3"}, "task": None}] * 2


_WHOLE = """{ environment { tasks(limit: 100) { items { name
    verdict(partition: "2026-11-02") { status reasons { code message } warnings { message } }
    runs(limit: 2) { items { run inputs { name dataset { owner } } outputs { name } } }
    failed: runs(limit: 2, state: failed) { items { run } }
    partitions(limit: 2) { items { partition state reason } }
    edges(limit: 2) { items { name task { name }
        dataset { name arrival { late } partitions(limit: 2) { items { partition } } } } }
    graph(direction: upstream, kind: task) { nodes { name task { owner } } edges { origin } }
} } } }"""


def test_a_hundred_tasks_take_as_many_statements_as_five(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {}
    for tasks in (5, 100):
        declare_chain(client, tasks)
        ask(client, _WHOLE)  # the graph is read once by a process, and followed from there
        with counted(monkeypatch) as statements:
            found = ask(client, _WHOLE)
        assert len(found["environment"]["tasks"]["items"]) == tasks
        numbers[tasks] = statements
    assert numbers[100] == numbers[5]
    assert sum("isolation level repeatable read" in each for each in numbers[100]) == 1


def test_how_datasets_come_is_what_the_route_of_arrivals_answers(client: Client) -> None:
    load_shop(client, "dev")
    fields = """node { kind namespace name } declared observed owner last usualSeconds awaited expectedAt dueAt lateFrom
        late outOfOrder { day events task { namespace name } run partition occurredAt behind recordedAt }
        columnChanges { partition run at before added removed retyped { name before after } }"""
    items = ask(client, f"{{ environment {{ datasets {{ items {{ arrival {{ {fields} }} }} }} }} }}")
    found = [_named_as_elsewhere(each["arrival"]) for each in items["environment"]["datasets"]["items"]]
    asked = [{"namespace": each["node"]["namespace"], "name": each["node"]["name"]} for each in found]
    assert found
    assert found == client.post("/api/v1/dev/arrivals", json=asked).json()["items"]


def test_environments_do_not_leak(client: Client) -> None:
    declare_chain(client, 3)
    declare_chain(client, 2, "prod")
    query = """{ environment { name tasks { items { name } } }
        prod: environment(name: "prod") { name
            tasks { items { name runs { items { run } } partitions { items { partition } }
                edges { items { name task { name } } } graph { nodes { name } } } }
            runs { items { run task { name } } } datasets { items { name partitions { items { partition } } } } }
        staging: environment(name: "staging") { tasks { items { name } } runs { items { run } } } }"""
    found = ask(client, query)
    assert found["environment"]["name"] == "dev"
    assert len(found["environment"]["tasks"]["items"]) == 3
    assert found["staging"] == {"tasks": {"items": []}, "runs": {"items": []}}
    prod = found["prod"]
    assert [task["name"] for task in prod["tasks"]["items"]] == ["task000", "task001"]
    nodes = [node["name"] for task in prod["tasks"]["items"] for node in task["graph"]["nodes"]]
    assert "task002" not in nodes
    assert len(prod["runs"]["items"]) == 4
    assert [dataset["name"] for dataset in prod["datasets"]["items"]] == ["table0", "table1"]


def test_all_of_an_answer_is_of_one_moment(client: Client) -> None:
    _chain_once(client)
    query = """{ environment { tasks { items { verdict(partition: "2026-11-02") { decidedAt graphVersion } } }
        verdict(name: "task001", partition: "2026-11-01") { decidedAt graphVersion } } }"""
    found = answered(client, query)["data"]["environment"]
    told = [task["verdict"] for task in found["tasks"]["items"]] + [found["verdict"]]
    assert len({(each["decidedAt"], each["graphVersion"]) for each in told}) == 1


def _load_once(client: Client) -> None:
    if not client.get("/api/v1/prod/tasks", params={"limit": 1}).json()["items"]:
        load_shop(client, "prod")
        declare_chain(client, 12)


def _chain_once(client: Client) -> None:
    if not client.get("/api/v1/dev/tasks", params={"limit": 1}).json()["items"]:
        declare_chain(client, 12)


def test_backfills_are_those_of_the_other_routes_by_as_many_statements_whatever_their_number(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_chain(client, 3)
    for day in range(3, 7):
        target = {"name": "task000", "partitions": [f"2026-11-0{day}"]}
        body = {"targets": [target], "direction": "downstream", "reason": "late", "dry_run": False}
        assert client.post("/api/v1/dev/backfills", json=body).status_code == 200
    query = """query Some($limit: Int!) { environment { backfills(limit: $limit) { items { id state counts by
        partitions(limit: 2) { items { task { name } partition state wave reason } nextCursor } } } } }"""
    statements, shown = [], list[Any]()
    for limit in (1, 4):
        with counted(monkeypatch) as executed:
            shown = ask(client, query, limit=limit)["environment"]["backfills"]["items"]
        assert len(shown) == limit
        statements.append(len(executed))
    assert statements[0] == statements[1]
    listed = client.get("/api/v1/dev/backfills").json()["items"]
    for found, other in zip(shown, listed, strict=True):
        page = client.get(f"/api/v1/dev/backfills/{other['id']}/partitions?limit=2").json()
        assert _named_as_elsewhere(found["partitions"]) == {
            "items": [
                {name: each[name] for name in ("partition", "state", "wave", "reason")}
                | {"task": {"name": each["task"]["name"]}}
                for each in page["items"]
            ],
            "next_cursor": page["next_cursor"],
        }
        assert {name: found[name] for name in ("id", "state", "counts", "by")} == {
            name: other[name] for name in ("id", "state", "counts", "by")
        }


def test_lists_of_partitions_say_where_the_detail_of_windows_has_ended(client: Client, database: Database) -> None:
    now = datetime.now(UTC)
    days = [(now - timedelta(days=ago)).date().isoformat() for ago in (240, 1)]
    daily = {"namespace": "ns", "name": "load", "partitioning": {"kind": "daily", "start": days[0]}}
    assert client.post("/api/v1/dev/tasks", json=daily).is_success
    events = [
        {
            "time": f"{day}T12:00:00Z",
            "task": {"namespace": "ns", "name": "load"},
            "partition": day,
            "state": "succeeded",
        }
        for day in days
    ]
    assert client.post("/api/v1/dev/events", json=events).json()["applied"] == 2
    query = """{ environment { partitions(name: "load") { knownFrom items { partition } }
        tasks(name: "load") { items { partitions { knownFrom } } } } }"""
    before = ask(client, query)["environment"]["partitions"]
    assert before == {"knownFrom": None, "items": [{"partition": day} for day in days]}
    detail.end_old(database, now, None)
    after, listed = ask(client, query)["environment"], client.get("/api/v1/dev/partitions", params={"name": "load"})
    known_from = listed.json()["known_from"]
    assert after["partitions"] == {"knownFrom": known_from, "items": [{"partition": days[1]}]}
    assert after["tasks"]["items"][0]["partitions"] == {"knownFrom": known_from}
    assert days[0] < known_from < days[1]
