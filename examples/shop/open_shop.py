"""Makes the shop's working state under DATAFORGE_HOME, as the recording left it: the lake, and dbt's warehouse on it.

Run by `dataforge up` beside the loading of events. What dbt builds here is what the recorded runs of dbt built, from
the same files: the day that was corrected later from the file before the correction, the days without payments not
beyond their orders. Either both are there afterwards or neither, so that a second run has nothing to do or all of it.

    python examples/shop/open_shop.py .dataforge/shop
"""

import json
import os
import shutil
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner

SHOP = Path(__file__).parent
ALL = ["stg_orders", "stg_payments", "orders", "daily_revenue"]
WEEK = ["weekly_revenue"]
BUILT = [  # what was built, from this day up to and without that one
    (ALL, "2026-11-02", "2026-11-12"),
    (ALL, "2026-11-13", "2026-11-15"),
    (["stg_orders"], "2026-11-12", "2026-11-13"),
    (["stg_orders"], "2026-11-15", "2026-11-16"),
    (WEEK, "2026-11-02", "2026-11-09"),
]


def main(state: Path) -> None:
    """Fills the folder, unless it is filled."""
    lake, warehouse, draft = state / "lake", state / "shop.duckdb", state / "draft"
    if warehouse.exists():
        return
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(lake, ignore_errors=True)
    shutil.copytree(SHOP / "lake", draft / "lake")
    corrected = draft / "lake" / "orders_enriched" / "ds=2026-11-05"
    shutil.rmtree(corrected)
    shutil.copytree(SHOP / "record" / "before" / "orders_enriched" / corrected.name, corrected)
    _build(draft)
    shutil.rmtree(corrected)
    shutil.copytree(SHOP / "lake" / "orders_enriched" / corrected.name, corrected)
    (draft / "lake").rename(lake)
    (draft / "shop.duckdb").rename(warehouse)
    shutil.rmtree(draft)


def _build(draft: Path) -> None:
    os.environ |= {
        "SHOP_LAKE": str(draft / "lake"),
        "SHOP_WAREHOUSE": str(draft / "shop.duckdb"),
        "DBT_TARGET_PATH": str(draft / "target"),
        "DBT_LOG_PATH": str(draft),
    }
    dbt = dbtRunner()
    for models, first, past in BUILT:
        days = json.dumps({"from": first, "to": past})
        place = ["--project-dir", str(SHOP / "dbt"), "--profiles-dir", str(SHOP / "dbt"), "--quiet"]
        done = dbt.invoke(["run", *place, "--vars", days, "--select", *models])
        if not done.success:
            sys.exit(f"dbt could not build the shop's warehouse for {first} to {past}: {done.exception or done.result}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
