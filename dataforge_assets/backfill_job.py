"""A job that brings a backfill of Dagster's assets to the ledger's planner, external ones among them.

Guarantees that nothing is released by it unless its configuration says `begin`: else the backfill stands in the planner
as a proposal, paused, until somebody resumes it. The same run repeated proposes nothing twice.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Config,
    Failure,
    JobDefinition,
    MetadataValue,
    OpExecutionContext,
    job,
    op,
)
from dagster._core.storage.tags import USER_TAG
from pydantic import Field

from resources import LedgerResource
from resources.identity import Identity, identities
from resources.model import Backfilling, DataForgeError, Plan, PlanItem, Target

_SHOWN = 50  # partitions in the plan that the run shows


class TargetConfig(Config):
    """Partitions of an asset."""

    asset: str = Field(description="Its key, such as lake/orders.")
    partitions: list[str] = Field(default=[], description="The keys; none of what has no partitions.")
    first: str = Field(default="", description="In place of keys: the first of a range of time windows.")
    last: str = Field(default="", description="The last of the range; left out: the last that has ended.")


class BackfillConfig(Config):
    """What is to be rebuilt, as `POST /backfills` has it."""

    targets: list[TargetConfig] = Field(description="What is to be there in the end.")
    direction: Literal["none", "upstream", "downstream", "both"] = Field(
        default="none", description="What else: what the targets need and is not good, what depends on them, or both."
    )
    overwrite: Literal["never", "stale", "always"] = Field(
        default="never", description="never: what is missing or failed; stale: also what is stale; always: all."
    )
    reason: str = Field(description="Why; kept with the backfill.")
    begin: bool = Field(default=False, description="Begin at once, in place of proposing it.")


def backfill_job(assets: Iterable[AssetsDefinition | AssetSpec], *, name: str = "backfill") -> JobDefinition:
    """The job, for these assets; each is rebuilt by what the ledger knows as the maker of its dataset."""
    known = {spec.key: identity for spec, identity in identities(assets)}

    @op(name=f"plan_{name}", description="Plans the backfill in the ledger, and shows the plan.")
    def plan(context: OpExecutionContext, config: BackfillConfig, ledger: LedgerResource) -> None:
        wanted = _wanted(context, config, known)
        try:
            made = ledger.backfill(wanted)
        except DataForgeError as error:
            raise Failure(str(error)) from None
        context.add_output_metadata(_shown(made, begun=config.begin))

    @job(name=name, description="Proposes a backfill to the ledger's planner, or begins it there.")
    def backfill() -> None:
        plan()

    return backfill


def _wanted(context: OpExecutionContext, config: BackfillConfig, known: Mapping[AssetKey, Identity]) -> Backfilling:
    return Backfilling(
        targets=tuple(_target(each, known) for each in config.targets),
        direction=config.direction,
        overwrite=config.overwrite,
        reason=config.reason,
        by=context.run.tags.get(USER_TAG, "somebody in Dagster"),
        proposed=not config.begin,
        id=str(uuid5(NAMESPACE_URL, f"dagster-run:{context.run.root_run_id or context.run_id}")),
    )


def _target(config: TargetConfig, known: Mapping[AssetKey, Identity]) -> Target:
    identity = known.get(AssetKey.from_user_string(config.asset))
    named = identity.node if identity else None
    if named is None:
        what = "no asset of this code location" if identity is None else "an asset that names nothing of the ledger"
        raise Failure(f"targets: {config.asset} is {what}: name one that is, by its key.")
    return Target(
        name=named.name,
        namespace=named.namespace,
        partitions=tuple(config.partitions),
        first=config.first or None,
        last=config.last or None,
    )


def _shown(made: Plan, *, begun: bool) -> dict[str, MetadataValue[Any]]:
    """The plan for a person, and what to do with it."""
    verb = "show" if begun else "resume"
    lines = ["| wave | task | partition | state | why |", "|---|---|---|---|---|", *map(_line, made.items[:_SHOWN])]
    found: dict[str, MetadataValue[Any]] = {
        "backfill": MetadataValue.text(str(made.id)),
        "next": MetadataValue.text(f"dataforge backfill {verb} {made.id}"),
        "to build": MetadataValue.int(made.planned),
        "left as it is": MetadataValue.int(made.skipped),
        "partitions by wave": MetadataValue.text(", ".join(map(str, made.waves))),
        "plan": MetadataValue.md("\n".join(lines)),
    }
    return found


def _line(item: PlanItem) -> str:
    wave = "" if item.wave is None else str(item.wave)
    return f"| {wave} | {item.task.name} | {item.partition or ''} | {item.state} | {item.reason.replace('|', '/')} |"
