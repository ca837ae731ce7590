"""The committed manifest.json is what dbt makes of the project today, and the ledger and dagster-dbt can use it."""

from __future__ import annotations

import json
from typing import Any

from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.model.manifest import TaskDefinition
from dataforge_assets.dbt_manifest import parsed, trimmed
from resources.dbt import MANIFEST


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MANIFEST.read_bytes())
    return found


def tasks() -> dict[str, TaskDefinition]:
    return {task.name: task for task in from_dbt(manifest(), "shop-dbt", "duckdb://shop.duckdb").tasks}


def test_the_committed_manifest_is_what_dbt_parses_today() -> None:
    assert trimmed(parsed()) == manifest(), "the project has changed: run `make manifest`"


def test_it_names_no_path_of_a_machine() -> None:
    text = MANIFEST.read_text(encoding="utf-8")
    assert "$SHOP_LAKE/{name}/" in text
    assert str(MANIFEST.parents[3]) not in text
    assert "/tmp/" not in text


def test_every_model_and_test_is_declared_with_its_partitioning() -> None:
    cut = {name: task.partitioning.kind for name, task in tasks().items() if task.partitioning}
    weekly = {name for name, kind in cut.items() if kind == "weekly"}
    assert set(cut) == tasks().keys() - {"exposure.shop.revenue_dashboard"}
    assert weekly == {name for name in tasks() if "weekly" in name}
    assert set(cut.values()) == {"daily", "weekly"}


def test_every_task_of_the_project_has_an_owner() -> None:
    assert [name for name, task in tasks().items() if not task.owner] == []
