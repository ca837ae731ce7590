"""The shop's code location, and the one place where assets, checks, sensors and resources meet.

Guarantees that loading it reads files of the checkout and nothing else: it connects to nothing, whatever the
environment says or leaves out.
"""

from dagster import AssetSelection, Definitions, define_asset_job

from dataforge_assets.airflow import AIRFLOW_ASSETS
from dataforge_assets.automation import ready_sensors
from dataforge_assets.checks import upstreams_are_current
from dataforge_assets.dashboards import DASHBOARD_ASSETS
from dataforge_assets.dbt import DBT_ASSETS, dbt_daily, dbt_weekly
from dataforge_assets.hands.airflow import airflow_task
from dataforge_assets.ledger_state import ledger_state_of
from dataforge_assets.spark import SPARK_ASSETS
from dataforge_sensors.definitions import SENSORS
from resources import airflow_resource, ledger_resource
from resources.dbt import dbt_resource
from resources.terms import shop_terms

JOBS = [
    define_asset_job(
        "build_days",
        AssetSelection.assets(dbt_daily) - AssetSelection.checks(upstreams_are_current),
        description="dbt's daily models with their tests, for one day or, in one invocation, for a range of days.",
    ),
    define_asset_job(
        "build_weeks",
        AssetSelection.assets(dbt_weekly) - AssetSelection.checks(upstreams_are_current),
        description="dbt's weekly models with their tests, for one week or a range of weeks.",
    ),
]

TERMS = shop_terms()
# What Airflow runs, by itself or because somebody launched it here; that it runs Spark is Airflow's own matter.
LAUNCHED = [airflow_task(spec, terms=TERMS) for spec in (*AIRFLOW_ASSETS, *SPARK_ASSETS)]

defs = Definitions(
    assets=[*LAUNCHED, *DBT_ASSETS, *DASHBOARD_ASSETS],
    asset_checks=[upstreams_are_current, ledger_state_of([*AIRFLOW_ASSETS, *SPARK_ASSETS])],
    jobs=JOBS,
    sensors=[*SENSORS, *ready_sensors(spec.key for models in DBT_ASSETS for spec in models.specs)],
    resources={"ledger": ledger_resource(), "dbt": dbt_resource(), "airflow": airflow_resource()},
)
