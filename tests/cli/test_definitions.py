"""`dataforge declare` and `dataforge graph`."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Run = Callable[..., Result]
CAPTURE = Path(__file__).parents[2] / "examples" / "captures" / "dbt" / "manifest.json"
MANIFEST = """
tasks:
  - {namespace: airflow, name: load, owner: team-orders, produces: [{namespace: "s3://lake", name: orders}]}
  - {namespace: airflow, name: report, consumes: [{dataset: {namespace: "s3://lake", name: orders}}]}
"""


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_a_file_is_declared_under_its_stem(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path, "orders.yaml", MANIFEST)
    foreseen = run("declare", file, "--dry-run")
    assert foreseen.output == "orders: would be created 2, changed 0, retired 0, unchanged 0; graph version 1\n"
    assert run("declare", file).output == "orders: created 2, changed 0, retired 0, unchanged 0; graph version 1\n"
    again = json.loads(run("declare", file, "--json").output)
    assert again == {"source": "orders", "created": 0, "changed": 0, "retired": 0, "unchanged": 2, "graph_version": 1}


def test_a_dbt_project_is_declared_from_its_manifest(run: Run) -> None:
    names = ("--namespace", "prod-dbt", "--dataset-namespace", "duckdb://shop.duckdb")
    assert run("declare", "--dbt", str(CAPTURE), *names).output.startswith("dbt:prod-dbt/shop: created 6,")
    other = run("declare", "--dbt", str(CAPTURE), "--dry-run", "--source", "shop", "--namespace", "b", *names[2:])
    assert other.output.startswith("shop: would be created 6, changed 0, retired 0,")
    assert run("declare", "--source", "shop").exit_code == 2
    assert run("declare", "--dbt", str(CAPTURE)).exit_code == 2
    assert run("declare").exit_code == 2


def test_what_is_refused_is_said_and_ends_with_2(run: Run, tmp_path: Path) -> None:
    result = run("declare", written(tmp_path, "bad.json", '{"tasks": [{"name": "x"}]}'))
    assert result.exit_code == 2
    assert "tasks[0].namespace" in result.stderr
    assert run("declare", written(tmp_path, "bad.yaml", "a: [")).exit_code == 2


def test_a_graph_shows_both_ways_with_owner_and_platform(run: Run, tmp_path: Path) -> None:
    run("declare", written(tmp_path, "orders.yaml", MANIFEST))
    lines = run("graph", "orders").output.splitlines()
    assert [line.strip("└─ ") for line in lines] == [
        "upstream of orders  dataset · s3",
        "load  task · team-orders",
        "downstream of orders  dataset · s3",
        "report  task",
    ]
    assert run("graph", "orders", "--upstream").output.splitlines() == lines[:2]
    assert run("graph", "orders", "--direction", "downstream").output.splitlines() == lines[2:]
    assert run("graph", "orders", "--upstream", "--downstream").output.splitlines() == lines
    assert run("graph", "orders", "--upstream", "--direction", "downstream").exit_code == 2
    assert run("graph", "load", "--upstream").output == "nothing upstream of load  task · team-orders\n"


def test_a_graph_as_json_is_what_the_api_answers(run: Run, tmp_path: Path) -> None:
    run("declare", written(tmp_path, "orders.yaml", MANIFEST))
    found = json.loads(run("graph", "load", "--downstream", "--kind", "task", "--json").output)
    assert [node["name"] for node in found["nodes"]] == ["load", "report"]
    assert [edge["origin"] for edge in found["edges"]] == ["declared"]


def test_an_unknown_name_ends_with_2_and_candidates(run: Run, tmp_path: Path) -> None:
    run("declare", written(tmp_path, "orders.yaml", MANIFEST))
    result = run("graph", "order")
    assert result.exit_code == 2
    assert "did you mean s3://lake/orders?" in result.stderr


def test_a_graph_as_of_a_time_says_which(run: Run, tmp_path: Path) -> None:
    run("declare", written(tmp_path, "orders.yaml", MANIFEST), "--valid-from", "2026-11-02")
    assert run("graph", "load", "--at", "2026-11-02").output.splitlines() == [
        "as of 2026-11-02 00:00:00 UTC",
        "downstream of load  task · team-orders",
        "└── orders  dataset · s3",
        "    └── report  task",
    ]
    lines = run("graph", "load", "--at", "2026-11-01T23:59:59Z").output.splitlines()
    assert lines == ["as of 2026-11-01 23:59:59 UTC", "nothing up- or downstream of load  task"]
    assert run("graph", "load", "--at", "soon").exit_code == 2
