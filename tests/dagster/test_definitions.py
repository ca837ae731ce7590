"""The code location: it loads without reaching for anything, and the whole graph is what it is meant to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster import (
    AssetCheckKey,
    AssetKey,
    BackfillPolicy,
    JobDefinition,
    PartitionMapping,
    PartitionsDefinition,
    RepositoryDefinition,
    TimeWindowPartitionMapping,
    TimeWindowPartitionsDefinition,
)
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode
from dagster_shared.serdes import serialize_value

from dataforge_assets.checks import CHECKS
from dataforge_assets.definitions import defs

SNAPSHOT = Path(__file__).with_name("definitions.json")
_LOAD_OFFLINE = """
import socket
def refuse(*_args, **_more):
    raise AssertionError("loading the definitions reached for the network")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
from dataforge_assets.checks import CHECKS
from dataforge_assets.definitions import defs
print(len(defs.get_repository_def().asset_graph.get_all_asset_keys()))
"""


def test_the_definitions_load_without_settings_and_connect_to_nothing(tmp_path: Path) -> None:
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("DATAFORGE_", "SHOP_", "DBT_"))}
    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD_OFFLINE],
        env={**unset, "DATAFORGE_HOME": str(tmp_path / "home"), "PATH": "/nowhere"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (loaded.returncode, loaded.stdout) == (0, "10\n"), loaded.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_graph_is_that_of_the_snapshot() -> None:
    """`RENEW=1 make test ARGS="-n0 tests/dagster/test_definitions.py"` writes it anew; the diff is for the review."""
    found = json.dumps(described(defs.get_repository_def()), indent=1) + "\n"
    if os.environ.get("RENEW"):
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert json.loads(found) == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_the_snapshot_tells_mappings_apart_by_their_parameters() -> None:
    plain, moved = TimeWindowPartitionMapping(), TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
    weekly = AssetKey(["warehouse", "weekly_revenue"])
    [upstream] = graph().get(weekly).parent_keys
    assert _mapping(graph().get(weekly), upstream) == described_mapping(plain) != described_mapping(moved)


def test_every_asset_says_what_it_is_and_whose() -> None:
    for node in nodes():
        said = (node.description, node.owners, node.kinds, node.tags.get("domain"), node.metadata.get("dataforge/task"))
        assert all(said), node.key
        assert node.group_name != "default", node.key


def test_every_asset_that_is_data_names_its_dataset_and_every_test_its_task() -> None:
    without = [node.key.to_user_string() for node in nodes() if "dataforge/dataset" not in node.metadata]
    assert without == ["dashboards/revenue_dashboard"]
    checks = [graph().get(key) for key in graph().asset_check_keys]
    tests = {check.key.name for check in checks if "dagster_dbt/unique_id" in check.metadata}
    named = {check.key.name for check in checks if "dataforge/task" in check.metadata}
    assert tests == named == {check.key.name for check in checks} - {*CHECKS, "ledger_state"}


def test_whatever_writes_the_warehouse_waits_for_the_pool_of_its_file() -> None:
    written = [node for node in nodes() if node.key.path[0] == "warehouse"]
    assert len(written) == 5
    assert {pool for node in written for pool in node.assets_def.op.pools} == {"duckdb"}


def graph() -> AssetGraph:
    return defs.get_repository_def().asset_graph


def nodes() -> list[AssetNode]:
    return [graph().get(key) for key in sorted(graph().get_all_asset_keys())]


def described(repository: RepositoryDefinition) -> dict[str, Any]:
    """What the UI shows of the code location, and what an accidental change would alter."""
    return {
        "assets": {node.key.to_user_string(): dict(_asset(node)) for node in nodes()},
        "jobs": {job.name: _selected(job) for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "resources": sorted(repository.get_top_level_resources()),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "sensors": {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs},
    }


def _selected(job: JobDefinition) -> list[str]:
    return sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)


def _asset(node: AssetNode) -> Iterator[tuple[str, Any]]:
    yield "runs in Dagster", node.is_executable
    yield "description", node.description
    yield "group", node.group_name
    yield "owners", list(node.owners)
    yield "kinds", sorted(node.kinds)
    yield "tags", {name: value for name, value in sorted(node.tags.items()) if not name.startswith("dagster/kind/")}
    yield "partitions", _cut(node.partitions_def)
    yield "backfill", _backfill(node.backfill_policy)
    yield "upstream", {key.to_user_string(): _mapping(node, key) for key in sorted(node.parent_keys)}
    yield "checks", {key.name: _check(key) for key in sorted(node.check_keys)}
    yield "in the ledger", {key: node.metadata[key] for key in sorted(node.metadata) if key.startswith("dataforge/")}


def _cut(partitions: PartitionsDefinition[Any] | None) -> str | None:
    """With its bounds, which Dagster's own description leaves out."""
    if not isinstance(partitions, TimeWindowPartitionsDefinition):
        return None if partitions is None else str(partitions)
    return f"{partitions.cron_schedule} {partitions.timezone}, from {partitions.start:%F} to {partitions.end:%F}"


def _backfill(policy: BackfillPolicy | None) -> str | None:
    return policy.policy_type.value if policy else None


def _mapping(node: AssetNode, upstream: AssetKey) -> Any:
    """With its parameters, as Dagster itself stores them."""
    return described_mapping(graph().get_partition_mapping(node.key, upstream))


def described_mapping(mapping: PartitionMapping) -> dict[str, Any]:
    stored: Any = mapping
    return {name.strip("_"): value for name, value in sorted(json.loads(serialize_value(stored)).items())}


def _check(key: AssetCheckKey) -> dict[str, Any]:
    node = graph().get(key)
    return {
        "description": node.description,
        "blocking": node.blocking,
        "task": node.metadata.get("dataforge/task", {}).get("name"),
    }
