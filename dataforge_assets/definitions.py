"""The shop's code location, and the one place where assets, checks, sensors and resources meet.

Guarantees that loading it reads files of the checkout and nothing else: it connects to nothing, whatever the
environment says or leaves out.
"""

from dagster import AssetSelection, Definitions, define_asset_job

from dataforge_assets.automation import ready_sensors
from dataforge_assets.backfill_job import backfill_job
from dataforge_assets.checks import ledger_checks
from dataforge_assets.dbt import DBT_ASSETS, dbt_daily, dbt_weekly
from dataforge_assets.hands.airflow import airflow_task
from dataforge_assets.ledger_state import ledger_state_of
from dataforge_assets.window import window
from dataforge_sensors.definitions import SENSORS
from resources import airflow_resource, ledger_resource
from resources.dbt import dbt_resource
from resources.identity import runs_in
from resources.terms import shop_terms
from resources.window import SHOP

WINDOW = window(SHOP, DBT_ASSETS)
TERMS = shop_terms()
# What Airflow runs, by itself or because somebody launched it here; that it runs Spark is Airflow's own matter.
LAUNCHED = [airflow_task(spec, terms=TERMS) if runs_in(spec, "shop-airflow") else spec for spec in WINDOW]
CHECKS = ledger_checks([*WINDOW, *DBT_ASSETS])
MODELS = [spec for models in DBT_ASSETS for spec in models.specs]
# The weeks are built as soon as their days are there; the days, which the walk through the example builds by hand, once
# somebody turns their sensor on.
AUTOMATION = [
    *ready_sensors(dbt_daily.keys),
    *ready_sensors(dbt_weekly.keys, name="ledger_ready_weekly", running=True),
]
JOBS = [
    define_asset_job(
        "build_days",
        AssetSelection.assets(dbt_daily) - AssetSelection.checks(CHECKS),
        description="dbt's daily models with their tests, for one day or, in one invocation, for a range of days.",
    ),
    define_asset_job(
        "build_weeks",
        AssetSelection.assets(dbt_weekly) - AssetSelection.checks(CHECKS),
        description="dbt's weekly models with their tests, for one week or a range of weeks.",
    ),
]

defs = Definitions(
    assets=[*LAUNCHED, *DBT_ASSETS],
    asset_checks=[CHECKS, ledger_state_of(WINDOW)],
    jobs=[*JOBS, backfill_job([*WINDOW, *MODELS])],
    sensors=[*SENSORS, *AUTOMATION],
    resources={"ledger": ledger_resource(), "dbt": dbt_resource(), "airflow": airflow_resource()},
)
