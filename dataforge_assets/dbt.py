"""The shop's dbt models: Dagster runs dbt on DuckDB for the partitions of a run, however many, in one invocation.

Guarantees that a partition's materialization carries the rows that the partition has.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from dagster import AssetsDefinition, TimeWindow, TimeWindowPartitionsDefinition

from dataforge_assets.dbt_translator import ShopTranslator
from dataforge_assets.hands.dbt import Selection, dbt_selection, variables
from dataforge_assets.partitions import DAILY, WEEKLY
from resources.dbt import MANIFEST, places, rows
from resources.dbt import variables as variables_of
from resources.terms import Terms

_ONE_WRITER = Terms(slots={"duckdb": 1})  # DuckDB lets one process write a file; dagster.yaml allows one step of a pool
_TRANSLATOR = ShopTranslator()
_WEEKLY = "config.meta.dataforge.partitioning.kind:weekly"


def _surroundings() -> AbstractContextManager[None]:
    return variables_of(places())


def _target() -> Path:
    return places().target


def _counted(model: str, window: TimeWindow) -> Mapping[str, int]:
    return rows(places().warehouse, model, window.start.date(), window.end.date())


def _models(
    name: str, partitions: TimeWindowPartitionsDefinition, *, select: str = "fqn:*", exclude: str = ""
) -> AssetsDefinition:
    return dbt_selection(
        Selection(
            name=name,
            manifest=MANIFEST,
            translator=_TRANSLATOR,
            partitions=partitions,
            select=select,
            exclude=exclude,
            bounds=variables("from", "to"),
            target=_target,
            terms=_ONE_WRITER,
            surroundings=_surroundings,
            counted=_counted,
        )
    )


dbt_daily = _models("dbt_daily", DAILY, exclude=_WEEKLY)
dbt_weekly = _models("dbt_weekly", WEEKLY, select=_WEEKLY)
DBT_ASSETS = [dbt_daily, dbt_weekly]
