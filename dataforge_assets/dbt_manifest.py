"""The shop's manifest.json, from which Dagster and the ledger read the project without running dbt.

`make manifest` makes it anew (`python -m dataforge_assets.dbt_manifest`); a test holds it to what `dbt parse` says
today. Guarantees that it is the same on every machine: no paths, times and ids of one parse, and nothing that neither
dagster-dbt nor dbt's selection nor the ledger reads, which is nine tenths of it (macros, docs, configuration as it was
written).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from resources.dbt import MANIFEST, PROJECT

_METADATA = ("adapter_type", "dbt_schema_version", "dbt_version", "project_id", "project_name")
_SECTIONS = ("nodes", "sources", "exposures", "groups")
_WHOLE = ("metrics", "parent_map", "child_map")
_NODE_WITHOUT = frozenset(
    {
        "build_path",
        "checksum",
        "compiled",
        "compiled_code",
        "compiled_path",
        "created_at",
        "doc_blocks",
        "docs",
        "extra_ctes",
        "extra_ctes_injected",
        "patch_path",
        "unrendered_config",
        "unrendered_database",
        "unrendered_schema",
    }
)


def parsed(project: Path = PROJECT) -> dict[str, Any]:
    """What `dbt parse` makes of the project now. Paths of the lake begin with a literal $SHOP_LAKE."""
    with TemporaryDirectory() as target:
        places = {"SHOP_LAKE": "$SHOP_LAKE", "SHOP_WAREHOUSE": f"{target}/shop.duckdb"}
        options = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", target]
        subprocess.run(
            [Path(sys.executable).with_name("dbt"), "--quiet", "--log-path", target, "parse", *options],
            env={**os.environ, **places},
            check=True,
        )
        manifest: dict[str, Any] = json.loads(Path(target, "manifest.json").read_bytes())
    return manifest


def trimmed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what differs by machine or moment, and without what nobody reads."""
    return {
        "metadata": {name: manifest["metadata"][name] for name in _METADATA},
        **{name: {key: _node(node) for key, node in manifest[name].items()} for name in _SECTIONS},
        **{name: manifest[name] for name in _WHOLE},
    }


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in node.items() if name not in _NODE_WITHOUT}
    kept["config"] = {name: value for name, value in node.get("config", {}).items() if value is not None}
    if "columns" in node:
        kept["columns"] = {name: _column(column) for name, column in node["columns"].items()}
    if "depends_on" in node:
        kept["depends_on"] = {"macros": [], "nodes": node["depends_on"]["nodes"]}
    return kept


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    return {name: column[name] for name in ("name", "description", "data_type", "tags")}


if __name__ == "__main__":
    MANIFEST.write_text(json.dumps(trimmed(parsed()), indent=1, sort_keys=True) + "\n", encoding="utf-8")
