"""`dataforge window`: what a selection shows, what a refresh would change, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataforge.cli.example import SHOP, load
from dataforge.ledger.asset import snapshot
from dataforge.model import asset
from dataforge.model.selection import parse
from dataforge.storage.database import Database
from tests.cli.conftest import Run

DAILY = {"kind": "daily", "start": "2026-11-01"}
LAKE = "s3://lake"
MANIFEST: dict[str, Any] = {
    "tasks": [
        {
            "namespace": "airflow",
            "name": "load",
            "platform": "airflow",
            "owner": "team-orders",
            "domain": "sales",
            "partitioning": DAILY,
            "produces": [{"namespace": LAKE, "name": "orders"}],
        },
        {
            "namespace": "airflow",
            "name": "clean",
            "domain": "sales",
            "tags": ["tier:gold", "pii"],
            "links": {"run book": "https://wiki.example.com/clean"},
            "partitioning": DAILY,
            "consumes": [{"dataset": {"namespace": LAKE, "name": "orders"}, "mapping": {"kind": "window", "from": -6}}],
            "produces": [{"namespace": LAKE, "name": "clean"}],
        },
        {
            "namespace": "airflow",
            "name": "alarm",
            "domain": "support",
            "description": "Tells of days without orders.",
            "partitioning": DAILY,
            "consumes": [{"task": {"namespace": "airflow", "name": "clean"}}],
        },
    ],
    "datasets": [{"namespace": LAKE, "name": "orders", "owner": "team-lake", "tags": ["raw"]}],
}
ALL = "namespaces: [airflow, 's3://lake']\n"


@pytest.fixture
def declared(run: Run, tmp_path: Path) -> Run:
    """The command line on a ledger that knows three tasks."""
    return declare(run, tmp_path, MANIFEST)


def declare(run: Run, folder: Path, manifest: dict[str, Any]) -> Run:
    file = folder / "orders.yaml"
    file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    assert run("declare", str(file)).exit_code == 0
    return run


def written(folder: Path, text: str) -> str:
    (folder / "window.yaml").write_text(text, encoding="utf-8")
    return str(folder / "window.yaml")


def built(run: Run, folder: Path, text: str) -> dict[str, dict[str, Any]]:
    """The assets of a window by their keys."""
    result = run("window", "build", written(folder, text))
    assert result.exit_code == 0, result.output
    document = json.loads((folder / "window.json").read_text(encoding="utf-8"))
    return {"/".join(each["key"]): each for each in document["assets"]}


def test_an_asset_is_a_dataset_or_a_task_that_writes_none_with_all_that_is_known_of_it(
    declared: Run, tmp_path: Path
) -> None:
    found = built(declared, tmp_path, ALL)
    assert list(found) == ["airflow/alarm", "s3/lake/clean", "s3/lake/orders"]
    orders, clean, alarm = found["s3/lake/orders"], found["s3/lake/clean"], found["airflow/alarm"]
    assert (orders["owner"], orders["domain"], orders["tags"]) == ("team-lake", "sales", ["raw"])
    assert (orders["task"]["name"], orders["platforms"], orders["partitioning"]) == ("load", ["airflow"], DAILY)
    assert (clean["tags"], clean["links"]) == (["pii", "tier:gold"], {"run book": "https://wiki.example.com/clean"})
    assert clean["upstream"] == [{"asset": ["dataset", LAKE, "orders"], "mapping": {"kind": "window", "from": -6}}]
    assert (alarm["description"], alarm["asset"]) == ("Tells of days without orders.", ["task", "airflow", "alarm"])
    assert alarm["upstream"] == [{"asset": ["dataset", LAKE, "clean"]}]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("domains: [support]", {"alarm"}),
        ("owners: [team-lake]", {"orders"}),
        ("tags: ['tier:gold']", {"clean"}),
        ("tags: [raw, pii]", {"orders", "clean"}),
        ("names: ['c*', 'orders']", {"orders", "clean"}),
        ("names: ['_lean']", set()),
        ("domains: [sales]\ntags: [raw]", {"orders"}),
        ("upstream_of: [{namespace: 's3://lake', name: clean}]", {"orders", "clean"}),
        ("upstream_of: [{namespace: airflow, name: alarm}]", {"orders", "clean", "alarm"}),
        ("domains: [support]\nupstream_of: [orders]", {"orders", "alarm"}),
    ],
)
def test_a_selection_fits_what_it_says(declared: Run, tmp_path: Path, selection: str, expected: set[str]) -> None:
    if not expected:
        result = declared("window", "build", written(tmp_path, selection))
        assert (result.exit_code, (tmp_path / "window.json").exists()) == (2, False)
        assert result.stderr.startswith("error: nothing matches the window: expected a selection that fits a dataset")
    else:
        assert {key.rpartition("/")[2] for key in built(declared, tmp_path, selection)} == expected


def test_a_task_that_is_only_spoken_of_is_no_asset_and_stands_among_the_upstreams(run: Run, tmp_path: Path) -> None:
    waiting = {"namespace": "shell", "name": "waiting", "consumes": [{"task": {"namespace": "shell", "name": "ghost"}}]}
    found = built(declare(run, tmp_path, {"tasks": [waiting]}), tmp_path, "upstream_of: [waiting]")
    assert list(found) == ["shell/waiting"]
    assert found["shell/waiting"]["upstream"] == [{"asset": ["task", "shell", "ghost"]}]


def test_a_key_begins_as_the_longest_name_that_fits_says(declared: Run, tmp_path: Path) -> None:
    keys = "keys: {'s3://lake/': raw/, 's3://lake/c': marts/c, airflow: jobs}\n"
    assert set(built(declared, tmp_path, ALL + keys)) == {"jobs/alarm", "marts/clean", "raw/orders"}
    result = declared("window", "build", written(tmp_path, ALL + "keys: {'s3://lake/orders': a, 's3://lake/clean': a}"))
    assert result.exit_code == 2
    assert "would both be the asset a: expected another prefix for one of them" in result.stderr


def test_the_same_ledger_makes_the_same_bytes_and_no_difference(declared: Run, tmp_path: Path) -> None:
    built(declared, tmp_path, ALL)
    before = (tmp_path / "window.json").read_bytes()
    again = declared("window", "build", str(tmp_path / "window.yaml"))
    assert again.output == f"{tmp_path}/window.json: 3 assets, 0 differences to before\n"
    assert (tmp_path / "window.json").read_bytes() == before
    diff = declared("window", "diff", str(tmp_path / "window.yaml"))
    assert (diff.exit_code, diff.output) == (0, f"{tmp_path}/window.json is as the ledger has it\n")


def test_a_difference_names_what_a_refresh_would_change_and_ends_with_1(declared: Run, tmp_path: Path) -> None:
    built(declared, tmp_path, ALL)
    load, clean, _ = (dict(task) for task in MANIFEST["tasks"])
    load["partitioning"] = {"kind": "hourly", "start": "2026-11-01"}
    clean["consumes"] = [{"dataset": {"namespace": LAKE, "name": "orders"}, "mapping": {"kind": "last"}}]
    refunds = {"namespace": "airflow", "name": "refunds", "produces": [{"namespace": LAKE, "name": "refunds"}]}
    renamed = [
        {**MANIFEST["datasets"][0], "owner": "team-new"},
        {"namespace": LAKE, "name": "clean_orders", "aliases": [{"namespace": LAKE, "name": "clean"}]},
    ]
    declare(declared, tmp_path, {"tasks": [load, clean, refunds], "datasets": renamed})
    result = declared("window", "diff", str(tmp_path / "window.yaml"), "--json")
    assert result.exit_code == 1
    assert [
        (each["asset"], each["what"], each["before"], each["now"]) for each in json.loads(result.output)["items"]
    ] == [
        (
            "s3/lake/clean_orders",
            "renamed",
            "s3/lake/clean (s3://lake/clean)",
            "s3/lake/clean_orders (s3://lake/clean_orders)",
        ),
        (
            "s3/lake/clean_orders",
            "mapping of s3://lake/orders",
            {"kind": "window", "from": -6},
            {"kind": "last"},
        ),
        ("s3/lake/orders", "owner", "team-lake", "team-new"),
        ("s3/lake/orders", "partitioning", DAILY, {"kind": "hourly", "start": "2026-11-01"}),
        ("s3/lake/refunds", "added", None, "s3/lake/refunds"),
        ("airflow/alarm", "gone", "airflow/alarm", None),
    ]
    lines = declared("window", "diff", str(tmp_path / "window.yaml")).stdout.splitlines()
    assert lines[0].split() == ["ASSET", "WHAT", "IN", "THE", "SNAPSHOT", "IN", "THE", "LEDGER"]
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("domainz: [a]", "domainz is 'an array of 1': expected no field of this name"),
        ("domains: sales", "domains is 'sales': expected array"),
        ("limit: 50000\nnames: ['*']", "limit is 50000: expected a whole number from 1 to 5,000"),
        ("keys: {a: b}", "$ is 'a selection of nothing': expected at least one of domains, owners, tags"),
        ("names: ['*']\nkeys: {a: 'b c'}", "keys.a is 'b c': expected letters, digits"),
        ("names: ['*']\nlimit: 2", "3 assets match the window: expected at most 2: narrow the selection, or split it"),
        ("upstream_of: [nobody]", "'nobody'"),
        ("names: [", "this is no YAML"),
    ],
)
def test_what_cannot_be_a_window_is_refused_and_nothing_is_written(
    declared: Run, tmp_path: Path, text: str, said: str
) -> None:
    result = declared("window", "build", written(tmp_path, text))
    assert (result.exit_code, (tmp_path / "window.json").exists()) == (2, False)
    assert said in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no snapshot"),
        (b"{", "is no snapshot of a window: $ is 'no JSON'"),
        (b'{"format": 1, "keys": {}, "assets": [{"key": ["a"]}]}', "assets[0].asset is None: expected a value"),
        (b'{"format": 0, "keys": {}, "assets": []}', "format is 0: expected 1, the format of this release"),
    ],
)
def test_a_snapshot_that_cannot_be_read_names_the_command_that_makes_it(
    declared: Run, tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "window.json").write_bytes(content)
    result = declared("window", "diff", written(tmp_path, ALL))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "`dataforge window build` writes it anew" in result.stderr


def test_a_cycle_loses_what_counts_least_and_says_so(run: Run, tmp_path: Path) -> None:
    """The stock of a day follows from that of the day before through the corrections: no cycle, but one of assets."""
    yesterday = {"kind": "window", "from": -1, "to": -1}
    stock = {"namespace": LAKE, "name": "stock"}
    corrections = {"namespace": LAKE, "name": "corrections"}
    before = [{"dataset": each, "mapping": yesterday} for each in (stock, corrections)]
    tasks = [
        {"namespace": "shell", "name": "stock", "partitioning": DAILY, "consumes": before, "produces": [stock]},
        {
            "namespace": "shell",
            "name": "corrections",
            "partitioning": DAILY,
            "consumes": [{"dataset": stock}],
            "produces": [corrections],
        },
    ]
    found = built(declare(run, tmp_path, {"tasks": tasks}), tmp_path, "names: ['*']")
    assert [each["asset"][2] for each in found["s3/lake/corrections"]["upstream"]] == ["stock"]
    assert [each["asset"][2] for each in found["s3/lake/stock"]["upstream"]] == ["stock"]
    assert found["s3/lake/stock"]["left_out"] == [["dataset", LAKE, "corrections"]]


def test_what_leads_through_other_partitions_has_no_mapping_but_a_reason(run: Run, tmp_path: Path) -> None:
    weekly = {
        "namespace": "shell",
        "name": "weekly",
        "partitioning": {"kind": "weekly", "start": "2026-11-01"},
        "consumes": [{"dataset": {"namespace": LAKE, "name": "orders"}}],
        "produces": [{"namespace": LAKE, "name": "sums"}],
    }
    sums = {"namespace": LAKE, "name": "sums", "partitioning": DAILY}
    found = built(declare(run, tmp_path, {"tasks": [weekly], "datasets": [sums]}), tmp_path, "names: [sums]")
    [upstream] = found["s3/lake/sums"]["upstream"]
    assert (upstream["mapping"], upstream["reason"]) == (None, "it is cut otherwise than the task that writes it")


def test_windows_without_a_start_begin_with_the_first_partition_that_was_seen(run: Run, tmp_path: Path) -> None:
    cut = {"kind": "daily", "time_zone": "Europe/Berlin", "hour_offset": 6}
    task = {"namespace": "shell", "name": "load", "partitioning": cut}
    declare(run, tmp_path, {"tasks": [{**task, "produces": [{"namespace": LAKE, "name": "orders"}]}]})
    events = [
        {
            "time": "2026-11-09T00:00:00Z",
            "task": {"namespace": "shell", "name": "load"},
            "partition": day,
            "state": "succeeded",
        }
        for day in ("2026-11-07", "2026-11-05", "2026-11-06")
    ]
    assert run("ingest", "-", input=json.dumps(events).encode()).exit_code == 0
    assert built(run, tmp_path, "names: [orders]")["s3/lake/orders"]["first"] == "2026-11-05T06:00:00"


def test_the_window_of_the_example_is_what_its_ledger_says(database: Database) -> None:
    """`RENEW=1 make test ARGS="-n0 tests/cli/test_window.py -k example"` writes it anew; its diff is for the review."""
    load(database.url, "dev")
    wanted = parse(yaml.safe_load((SHOP / "window.yaml").read_text(encoding="utf-8")))
    found = asset.write(snapshot(database, "dev", wanted))
    if os.environ.get("RENEW"):
        (SHOP / "window.json").write_bytes(found)
    assert (SHOP / "window.json").read_bytes() == found
