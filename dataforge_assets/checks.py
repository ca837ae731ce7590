"""What the ledger says of each asset, as checks: is it stale, was it built without an upstream, and how does it come
(`arrivals`)?

Guarantees as many questions to the ledger for all the assets of a run as they have partitions by the thousand, and that
a result is a function of the answers alone: the sensor that keeps the checks current makes the same results (`results`)
and knows by their digest which of them have changed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

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
    In,
    MetadataValue,
    Nothing,
    Out,
    PartitionsDefinition,
    RepositoryDefinition,
    op,
    partition_loading_context,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from msgspec.structs import replace

from dataforge_assets.arrivals import COLUMNS, IN_ORDER, IN_TIME, SEEN, of_arrival
from dataforge_assets.check_result import DIGEST, digest_of, row, table
from dataforge_assets.partitions import last_keys
from resources import LedgerResource
from resources.identity import identities, identity_of
from resources.model import (
    MOST_ASKED,
    MOST_QUESTIONS,
    ArrivalQuestion,
    Code,
    DatasetRef,
    Freshness,
    FreshnessQuestion,
    FreshnessStatus,
    NodeKind,
    Reason,
    TaskRef,
    moment,
)

CURRENT, THERE = "upstreams_are_current", "upstreams_are_there"
CHECKS = {
    CURRENT: "No built partition is older than what it was built from.",
    THERE: "No partition was built without an upstream that it needs.",
    IN_TIME: "Its last window has come, or is not later than usual.",
    IN_ORDER: "Its events are recorded in the order in which they occur.",
    COLUMNS: "Its columns are those of the last good run.",
    SEEN: "What is declared has been seen to be written or read.",
}
BLOCKING = frozenset({THERE})  # within a run of Dagster's own, what lies below is not built on it
_OF_UPSTREAMS = (CURRENT, THERE)  # nothing without upstreams has them
KEPT = "Just built, to be decided within a minute. Before: "
LAST_PARTITIONS = 30  # of each asset at most; what is older was told while it was new
MOST_ROWS = 200  # of the table; it is stored with each result
_COLUMNS = ("partition", "cause", "upstream", "upstream_partition", "since", "run", "owner", "because")
_Row = dict[str, str]
_Question = TypeVar("_Question")


class Checked(NamedTuple):
    """An asset that is checked: a dataset of the ledger, or a task that writes none; how it is cut, and whether it is
    made from others."""

    key: AssetKey
    node: DatasetRef | TaskRef
    partitions: PartitionsDefinition[Any] | None
    made: bool

    @property
    def checks(self) -> list[str]:
        """The names of its checks."""
        comes = isinstance(self.node, DatasetRef)
        return [name for name in CHECKS if (self.made if name in _OF_UPSTREAMS else comes)]


def checked(assets: Iterable[AssetsDefinition | AssetSpec]) -> list[Checked]:
    """Those of these assets that are checked: all that the ledger knows, but for tasks without upstreams."""
    found = [(spec, identity.node) for spec, identity in identities(assets)]
    every = [
        Checked(spec.key, node, spec.partitions_def, made=bool(spec.deps)) for spec, node in found if node is not None
    ]
    return [each for each in every if each.checks]


def checked_in(repository: RepositoryDefinition) -> list[Checked]:
    """All that are checked in a code location, in the order of their keys."""
    nodes = sorted(repository.asset_graph.asset_nodes, key=lambda node: node.key)
    found = [(node, {check.name for check in node.check_keys}, identity_of(node).node) for node in nodes]
    return [
        Checked(node.key, of, node.partitions_def, made=CURRENT in names)
        for node, names, of in found
        if of is not None and not names.isdisjoint((CURRENT, SEEN))
    ]


def ledger_checks(assets: Iterable[AssetsDefinition | AssetSpec]) -> AssetChecksDefinition:
    """The checks of each of these assets, as one that asks for all that are selected at once: what `multi_asset_check`
    makes, which takes twice as long for thousands of assets, since it makes each output's type anew."""
    every = checked(assets)
    specs = [
        AssetCheckSpec(name, asset=each.key, description=CHECKS[name], blocking=name in BLOCKING)
        for each in every
        for name in each.checks
    ]
    outputs = {spec.get_python_identifier(): spec for spec in specs}
    inputs = {each.key.to_python_identifier(): each.key for each in every}

    @op(
        name="ledger_checks",
        ins=dict.fromkeys(inputs, In(Nothing)),
        out=dict.fromkeys(outputs, Out(None, is_required=False)),
    )
    def asked(context: AssetCheckExecutionContext, ledger: LedgerResource) -> Iterator[AssetCheckResult]:
        yield from evaluated(context, ledger, every)

    made: AssetChecksDefinition = AssetChecksDefinition.create(
        node_def=asked, keys_by_input_name=inputs, check_specs_by_output_name=outputs, can_subset=True
    )
    return made


def evaluated(
    context: AssetCheckExecutionContext, ledger: LedgerResource, every: Sequence[Checked]
) -> Iterator[AssetCheckResult]:
    """Asks the ledger about the selected assets; not about those that this very run has built, of which the ledger may
    know only when the run has ended. Until the sensor's next result they keep the one from before the run."""
    entries = context.instance.all_logs(context.run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
    built = {entry.dagster_event.asset_key for entry in entries if entry.dagster_event}
    wanted = {key.asset_key for key in context.selected_asset_check_keys} - built
    asked = [each for each in every if each.key in wanted]
    for result in results(ledger, asked, datetime.now(UTC), last_of(every)) if asked else ():
        if key_of(result) in context.selected_asset_check_keys:
            yield result
    for key in sorted(context.selected_asset_check_keys):
        if key.asset_key in built and (before := last_evaluation(context.instance, key)):
            yield kept(before)


def key_of(result: AssetCheckResult) -> AssetCheckKey:
    """Whose result it is."""
    assert result.asset_key is not None, "the result of a check of an asset names it"
    assert result.check_name is not None, "and the check"
    return AssetCheckKey(result.asset_key, result.check_name)


def last_evaluation(instance: DagsterInstance, key: AssetCheckKey) -> AssetCheckEvaluation | None:
    """The latest result that Dagster holds of a check; that one is being evaluated just now is none."""
    ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=ended)
    told = found[0].event.dagster_event if found and found[0].event else None
    data = told.event_specific_data if told else None
    return data if isinstance(data, AssetCheckEvaluation) else None


def kept(before: AssetCheckEvaluation) -> AssetCheckResult:
    """The result from before a run, for the moment until the ledger knows what the run has built: it holds up nothing.
    Its digest is no answer's, so that any is news."""
    told = (before.description or "").removeprefix(KEPT)
    return AssetCheckResult(
        asset_key=before.asset_key,
        check_name=before.check_name,
        passed=before.passed,
        severity=AssetCheckSeverity.WARN,
        description=f"{KEPT}{told}",
        metadata={DIGEST: MetadataValue.text("kept")},
    )


def results(ledger: LedgerResource, assets: Sequence[Checked], now: datetime, last: int) -> list[AssetCheckResult]:
    """The results of all checks of these assets, of the `last` partitions of each."""
    made = [each for each in assets if each.made]
    questions = {each.key: asked for each, asked in zip(made, questions_of(made, now, last), strict=True)}
    every = [question for asked in questions.values() for question in asked]
    built = iter([item for some in _batches(every, MOST_ASKED) for item in ledger.freshness(some).items])
    found = [result for key, asked in questions.items() for result in of_upstreams(key, [next(built) for _ in asked])]
    comes = [each for each in assets if isinstance(each.node, DatasetRef)]
    named = [ArrivalQuestion(name=each.node.name, namespace=each.node.namespace) for each in comes]
    came = [item for some in _batches(named, MOST_QUESTIONS) for item in ledger.arrivals(some).items]
    return found + [each for of, item in zip(comes, came, strict=True) for each in of_arrival(of.key, item, now)]


def _kind(node: DatasetRef | TaskRef) -> NodeKind:
    return "dataset" if isinstance(node, DatasetRef) else "task"


def _batches(questions: Sequence[_Question], most: int) -> Iterator[Sequence[_Question]]:
    return (questions[begin : begin + most] for begin in range(0, len(questions), most))


def last_of(assets: Sequence[Checked]) -> int:
    """How many partitions of each are asked about: all assets of a location are answered by one question, in which what
    lies above several of them is looked at once."""
    return max(1, min(LAST_PARTITIONS, MOST_ASKED // max(1, len(assets))))


def questions_of(assets: Sequence[Checked], now: datetime, last: int) -> list[list[FreshnessQuestion]]:
    """What is to be asked about each asset: its last partitions that had ended by then, or the asset as a whole."""
    keys: dict[PartitionsDefinition[Any] | None, list[str | None]] = {None: [None]}
    with partition_loading_context(now):
        for cut in (each.partitions for each in assets):
            if cut is not None and cut not in keys:
                keys[cut] = [*last_keys(cut, last)]
    return [
        [
            FreshnessQuestion(name=each.node.name, kind=_kind(each.node), partition=key, namespace=each.node.namespace)
            for key in keys[each.partitions]
        ]
        for each in assets
    ]


def of_upstreams(key: AssetKey, answers: Iterable[Freshness]) -> list[AssetCheckResult]:
    """What the checks of what an asset is made from say, given the ledger's answers about its partitions. What was
    never built is not stale; where the ledger cannot tell, the check does not pass."""
    built = [answer for answer in answers if answer.status is not FreshnessStatus.NOT_BUILT]
    lacking = [replace(answer, reasons=_missing(answer)) for answer in built if _missing(answer)]
    amiss = [
        replace(answer, reasons=tuple(reason for reason in answer.reasons if reason not in _missing(answer)))
        for answer in built
        if answer.status is not FreshnessStatus.FRESH
    ]
    stale = [answer for answer in amiss if answer.reasons or answer.status is FreshnessStatus.UNKNOWN]
    return [
        _of_partitions(key, CURRENT, AssetCheckSeverity.WARN, built, stale),  # it was right when it was built
        _of_partitions(key, THERE, AssetCheckSeverity.ERROR, built, lacking),
    ]


def _missing(answer: Freshness) -> tuple[Reason, ...]:
    return tuple(reason for reason in answer.reasons if reason.code is Code.UPSTREAM_MISSING)


def _of_partitions(
    key: AssetKey,
    name: str,
    severity: AssetCheckSeverity,
    built: Sequence[Freshness],
    amiss: Sequence[Freshness],
) -> AssetCheckResult:
    causes = [(answer, reason) for answer in amiss for reason in answer.reasons]
    rows = [_row(answer, reason) for answer, reason in causes]
    well = "are current" if name == CURRENT else "had all that they need"
    return AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not amiss,
        severity=severity,
        description=_description(causes) if amiss else f"{len(built)} built partitions {well}.",
        metadata={
            DIGEST: digest_of(_content(amiss, rows)),
            "dataforge/built_partitions": MetadataValue.int(len(built)),
            f"dataforge/{'stale' if name == CURRENT else 'lacking'}_partitions": MetadataValue.int(len(amiss)),
            **({"dataforge/causes": table(_COLUMNS, rows, MOST_ROWS)} if rows else {}),
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
    since = f", since {moment(reason.since)}" if missing and reason.since else ""
    by = f", by run {reason.run}" if reason.run else ""
    whose = f", owned by {reason.owner}" if missing and reason.owner else ""
    return f"{since}{by}{whose}"


def _row(answer: Freshness, reason: Reason) -> _Row:
    upstream = reason.upstream
    values = (
        answer.partition,
        reason.code.value,
        f"{upstream.namespace}/{upstream.name}" if upstream else None,
        reason.partition,
        moment(reason.since) if reason.since else None,
        reason.run,
        reason.owner,
        "; ".join(step.message for step in reason.because),
    )
    return row(_COLUMNS, values)


def _content(amiss: Sequence[Freshness], rows: Sequence[_Row]) -> str:
    """What is amiss and why; the moment it was asked, and how much is well, are no part of it."""
    return json.dumps([[[answer.partition, answer.status.value] for answer in amiss], rows])
