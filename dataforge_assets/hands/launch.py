"""The executable asset of work that runs elsewhere, made from the spec of the external one.

Guarantees that the asset keeps all that its spec says; that a run of it carries all its partitions in one step; that a
partition is materialized when it was made, not when it was started; and that a run of which something was refused or
failed fails with one line for each.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Failure,
    MaterializeResult,
    multi_asset,
)

from dataforge_assets.claims import partitions_of
from dataforge_assets.hands.wave import End, Hand, Pace, carry
from resources.identity import TOLD_BY, task_of
from resources.model import DataForgeError, InvalidInput, TaskRef
from resources.terms import FREE, NOTHING_SAID, Declared

BY_CLAIM = "claim"  # who tells the ledger: the claim that the hand takes and ends
MOST_SAID = 20  # partitions named in the message of a failure; its metadata have all
Launched = MaterializeResult[Any] | AssetMaterialization


def launched(
    spec: AssetSpec,
    grasp: Callable[[AssetExecutionContext], Hand],
    *,
    told_by: str,
    resource: str | None = None,
    terms: Declared = NOTHING_SAID,
) -> AssetsDefinition:
    """The asset of `spec`, which a run makes by what `grasp` gives. `told_by` is who tells the ledger of its runs, so
    that the mirror of Dagster does not tell of them a second time."""
    its = terms.get(task_named(spec), FREE)
    known = spec.replace_attributes(
        metadata={**spec.metadata, TOLD_BY: told_by}, tags={**spec.tags, **its.tags}, skippable=True
    )

    @multi_asset(
        name="__".join(spec.key.path).replace("-", "_").replace(".", "_"),
        specs=[known],
        required_resource_keys={"ledger", *([resource] if resource else [])},
        backfill_policy=BackfillPolicy.single_run(),
        pool=its.pool,
        op_tags=its.tags,
    )
    def launch(context: AssetExecutionContext, config: Pace) -> Iterator[Launched]:
        try:
            yield from _carried(context, grasp(context), config)
        except DataForgeError as error:
            raise Failure(str(error)) from error

    return launch


def task_named(spec: AssetSpec) -> TaskRef:
    """The task that makes the asset. Raises InvalidInput for a spec that names none."""
    task = task_of(spec.metadata)
    if task is None:
        raise InvalidInput(
            f"the asset {spec.key.to_user_string()} names no task of the ledger: give it ledger_metadata(task=...)"
        )
    return task


def _carried(context: AssetExecutionContext, hand: Hand, pace: Pace) -> Iterator[Launched]:
    keys = [*partitions_of(context)] or [""]
    ends: dict[str, End] = {}
    for key, end in carry(hand, keys, pace, context.log.warning):
        ends[key] = end
        say = context.log.info if end.good else context.log.error
        say(f"{key}: {end.said}" if key else end.said)
    made = {key: end for key, end in ends.items() if end.good and end.made}
    if len(made) == len(ends):
        yield _whole(context, made)
        return
    for key, end in made.items():
        metadata = _metadata(end)
        yield AssetMaterialization(context.asset_key, partition=key or None, metadata=metadata)
    bad = {key: end.said for key, end in ends.items() if not end.good}
    if bad:
        raise Failure(
            _told(bad, len(ends)), metadata={"dataforge/failed": {key or "all": why for key, why in bad.items()}}
        )


def _whole(context: AssetExecutionContext, made: Mapping[str, End]) -> MaterializeResult[Any]:
    for key, end in made.items():
        if key:
            context.add_asset_metadata(_metadata(end), asset_key=context.asset_key, partition_key=key)
    return MaterializeResult(metadata=_metadata(made[""]) if "" in made else None)


def _metadata(end: End) -> dict[str, Any]:
    return {"dataforge/said": end.said, **end.metadata}


def _told(bad: Mapping[str, str], all_of_them: int) -> str:
    """What went wrong, a line for each partition as far as they are few."""
    lines = [f"{key}: {why}" if key else why for key, why in [*bad.items()][:MOST_SAID]]
    if all_of_them == 1:
        return lines[0]
    more = [f"and {len(bad) - MOST_SAID} more"] if len(bad) > MOST_SAID else []
    return "\n".join([f"{len(bad)} of {all_of_them} partitions were not made:", *lines, *more])
