"""Whether what is built is still what its upstreams would make today: one check an asset, answered by the ledger.

Guarantees one question to the ledger for all the checks of a run, and that a result is a function of the answers
alone: the sensor that keeps the checks current makes the same results (`results`) and knows by their digest which of
them have changed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DagsterEventType,
    DagsterInstance,
    MetadataValue,
    PartitionsDefinition,
    RepositoryDefinition,
    TableColumn,
    TableRecord,
    TableSchema,
    multi_asset_check,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from resources import LedgerResource
from resources.identity import dataset_of
from resources.model import Code, DatasetRef, Freshness, FreshnessQuestion, FreshnessStatus, Reason

CHECK = "upstreams_are_current"
DIGEST = "dataforge/digest"
KEPT = "Just built, to be decided within a minute. Before: "
LAST_PARTITIONS = 30  # of each asset; what is older was told while it was new
MOST_ROWS = 200  # of the table; it is stored with each result
_COLUMNS = ("partition", "cause", "upstream", "upstream_partition", "since", "run", "owner", "because")
_SCHEMA = TableSchema([TableColumn(name) for name in _COLUMNS])
_Row = dict[str, str]


class Checked(NamedTuple):
    """An asset that is checked: a dataset of the ledger, and how it is cut."""

    key: AssetKey
    dataset: DatasetRef
    partitions: PartitionsDefinition[Any] | None


def checked(assets: Iterable[AssetsDefinition | AssetSpec]) -> list[Checked]:
    """Those of these assets that are checked. Nothing that the ledger holds is built without upstreams, or under no
    name."""
    specs = [spec for each in assets for spec in ([each] if isinstance(each, AssetSpec) else each.specs)]
    found = [(spec, dataset_of(spec.metadata)) for spec in specs if spec.deps]
    return [Checked(spec.key, dataset, spec.partitions_def) for spec, dataset in found if dataset is not None]


def checked_in(repository: RepositoryDefinition) -> list[Checked]:
    """All that are checked in a code location, in the order of their keys."""
    nodes = [node for node in repository.asset_graph.asset_nodes if AssetCheckKey(node.key, CHECK) in node.check_keys]
    found = [(node, dataset_of(node.metadata)) for node in sorted(nodes, key=lambda node: node.key)]
    return [Checked(node.key, dataset, node.partitions_def) for node, dataset in found if dataset is not None]


def upstream_checks(assets: Iterable[AssetsDefinition | AssetSpec]) -> AssetChecksDefinition:
    """The check of each of these assets, as one that asks for all that are selected at once."""
    every = checked(assets)

    @multi_asset_check(
        name=CHECK,
        specs=[
            AssetCheckSpec(
                CHECK, asset=each.key, description="No built partition is older than what it was built from."
            )
            for each in every
        ],
        can_subset=True,
    )
    def upstreams_are_current(
        context: AssetCheckExecutionContext, ledger: LedgerResource
    ) -> Iterator[AssetCheckResult]:
        yield from evaluated(context, ledger, every)

    return upstreams_are_current


def evaluated(
    context: AssetCheckExecutionContext, ledger: LedgerResource, every: Sequence[Checked]
) -> Iterator[AssetCheckResult]:
    """Asks the ledger about the selected assets; not about those that this very run has built, of which the ledger
    will know only when the run has ended. Until the sensor's next result they keep the one from before the run."""
    entries = context.instance.all_logs(context.run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
    built = {entry.dagster_event.asset_key for entry in entries if entry.dagster_event}
    wanted = {key.asset_key for key in context.selected_asset_check_keys} - built
    asked = [each for each in every if each.key in wanted]
    if asked:
        yield from results(ledger, asked, datetime.now(UTC))
    for key in sorted(context.selected_asset_check_keys):
        if key.asset_key in built and (before := last_evaluation(context.instance, key)):
            yield kept(before)


def last_evaluation(instance: DagsterInstance, key: AssetCheckKey) -> AssetCheckEvaluation | None:
    """The latest result that Dagster holds of a check; that one is being evaluated just now is none."""
    ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=ended)
    told = found[0].event.dagster_event if found and found[0].event else None
    data = told.event_specific_data if told else None
    return data if isinstance(data, AssetCheckEvaluation) else None


def kept(before: AssetCheckEvaluation) -> AssetCheckResult:
    """The result from before a run, for the moment until the ledger knows what the run has built. Its digest is no
    answer's, so that any is news."""
    told = (before.description or "").removeprefix(KEPT)
    return AssetCheckResult(
        asset_key=before.asset_key,
        check_name=before.check_name,
        passed=before.passed,
        severity=before.severity,
        description=f"{KEPT}{told}",
        metadata={DIGEST: MetadataValue.text("kept")},
    )


def results(ledger: LedgerResource, assets: Sequence[Checked], now: datetime) -> list[AssetCheckResult]:
    """The result of each of these assets, all of one moment: by one question, or one for each thousand partitions."""
    questions = {each.key: questions_of(each, now) for each in assets}
    every = [question for asked in questions.values() for question in asked]
    answers = iter(
        [item for begin in range(0, len(every), 1_000) for item in ledger.freshness(every[begin : begin + 1_000]).items]
    )
    return [result_of(key, [next(answers) for _ in asked]) for key, asked in questions.items()]


def questions_of(asset: Checked, now: datetime) -> list[FreshnessQuestion]:
    """What is to be asked about an asset: its last partitions that had ended by then, or the asset as a whole."""
    cut, dataset = asset.partitions, asset.dataset
    keys: list[str | None] = [*cut.get_partition_keys(current_time=now)[-LAST_PARTITIONS:]] if cut else [None]
    return [FreshnessQuestion(name=dataset.name, namespace=dataset.namespace, partition=key) for key in keys]


def result_of(key: AssetKey, answers: Iterable[Freshness]) -> AssetCheckResult:
    """What the check of one asset says, given the ledger's answers about its partitions. What was never built is not
    stale; where the ledger cannot tell, the check does not pass."""
    built = [answer for answer in answers if answer.status is not FreshnessStatus.NOT_BUILT]
    amiss = [answer for answer in built if answer.status is not FreshnessStatus.FRESH]
    causes = [(answer, reason) for answer in amiss for reason in answer.reasons]
    table = [_row(answer, reason) for answer, reason in causes]
    return AssetCheckResult(
        asset_key=key,
        check_name=CHECK,
        passed=not amiss,
        severity=AssetCheckSeverity.WARN,  # the data is there, and was right when it was built
        description=_description(causes) if amiss else f"{len(built)} built partitions are current.",
        metadata={
            DIGEST: MetadataValue.text(_digest(amiss, table)),
            "dataforge/built_partitions": MetadataValue.int(len(built)),
            "dataforge/stale_partitions": MetadataValue.int(len(amiss)),
            **({"dataforge/causes": _table(table)} if table else {}),
        },
    )


def _description(causes: Sequence[tuple[Freshness, Reason]]) -> str:
    """The cause that is longest known, in full, and how many more there are."""
    if not causes:
        return "The ledger cannot tell what it was built from."
    answer, reason = min(causes, key=lambda cause: cause[1].since or datetime.max.replace(tzinfo=UTC))
    about = f"{answer.partition}: " if answer.partition else ""
    more = f", and {len(causes) - 1} more" if len(causes) > 1 else ""
    return f"{about}{reason.message}{_details(reason)}{more}."


def _details(reason: Reason) -> str:
    """What the ledger's message leaves out: the run; of what is missing since when, and whose it is."""
    missing = reason.code is Code.UPSTREAM_MISSING
    since = f", since {_moment(reason.since)}" if missing and reason.since else ""
    by = f", by run {reason.run}" if reason.run else ""
    whose = f", owned by {reason.owner}" if missing and reason.owner else ""
    return f"{since}{by}{whose}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _row(answer: Freshness, reason: Reason) -> _Row:
    upstream = reason.upstream
    values = (
        answer.partition,
        reason.code.value,
        f"{upstream.namespace}/{upstream.name}" if upstream else None,
        reason.partition,
        _moment(reason.since) if reason.since else None,
        reason.run,
        reason.owner,
        "; ".join(step.message for step in reason.because),
    )
    return {column: value or "" for column, value in zip(_COLUMNS, values, strict=True)}


def _table(rows: Sequence[_Row]) -> MetadataValue:
    return MetadataValue.table([TableRecord(dict(row)) for row in rows[:MOST_ROWS]], _SCHEMA)


def _digest(amiss: Sequence[Freshness], rows: Sequence[_Row]) -> str:
    """Names what is amiss and why; the moment it was asked, and how much is well, are no part of it."""
    content = json.dumps([[[answer.partition, answer.status.value] for answer in amiss], rows])
    return blake2b(content.encode(), digest_size=16).hexdigest()
