"""The check `ledger_state` of the assets whose partitions a tick has seen to change.

Guarantees that an evaluation is written where the answer differs from the one that Dagster holds, and nowhere else.
"""

from collections.abc import Sequence

from dagster import AssetCheckEvaluation, DagsterInstance

from dataforge_assets.ledger_state import results
from dataforge_sensors.ledger_checks import differing, held_digests
from dataforge_sensors.window import Asset
from resources import LedgerResource


def news_of(instance: DagsterInstance, ledger: LedgerResource, assets: Sequence[Asset]) -> list[AssetCheckEvaluation]:
    """The evaluations of those of these assets of which the ledger says something new."""
    asked = {asset.key: asset.dataset for asset in assets if asset.shows_state and asset.dataset}
    answers = results(ledger, asked) if asked else []
    return differing(answers, held_digests(instance, answers)) if answers else []
