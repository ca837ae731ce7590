"""The ledger's words, for Dagster's code, which knows the core by this package alone."""

from dataforge.client import each
from dataforge.client.request import MOST_QUESTIONS
from dataforge.ingest.dbt import task_name as dbt_task_name
from dataforge.model import edge
from dataforge.model.arrival import Arrival, ArrivalQuestion, Arrivals
from dataforge.model.arrival_sentence import Aspect, amiss, moment, recent, retyped
from dataforge.model.asset import Asset, AssetName, Column, Snapshot, Upstream, key_of
from dataforge.model.backfill import Backfilling, Plan, PlanItem, Target
from dataforge.model.catalog import DatasetItem, NodeName, PartitionItem, PartitionPage, RunItem, RunName, TaskItem
from dataforge.model.change import Change, Changes, LastSuccess, Newest, Producer, mirror_id
from dataforge.model.claim import (
    Again,
    ClaimedEach,
    ClaimingEach,
    ClaimingTogether,
    ClaimRefused,
    EndOf,
    Fenced,
    Granted,
    Member,
    Outcome,
    Refused,
    Said,
)
from dataforge.model.column_change import ColumnChange
from dataforge.model.declaration import Declared
from dataforge.model.errors import Conflict, DataForgeError, FieldError, InvalidInput, NotFound, Unreachable
from dataforge.model.filter import DatasetFilter, PartitionFilter, RejectFilter, RunFilter, TaskFilter
from dataforge.model.fit import misfit
from dataforge.model.freshness import (
    MOST_ASKED,
    BuiltBy,
    Freshness,
    FreshnessAnswers,
    FreshnessQuestion,
    FreshnessStatus,
)
from dataforge.model.lineage import Graph, GraphEdge, GraphEnd, GraphNode
from dataforge.model.listing import Page
from dataforge.model.partition import NONE, Partitioning, bound, endless
from dataforge.model.partition_check import key_problem
from dataforge.model.partition_set import KeyFilter, SetKey
from dataforge.model.question import Answers, Named
from dataforge.model.recorded import BatchAnswer, Recorded, RejectedEvent, joined
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef
from dataforge.model.state import PartitionStatus, RunKind, RunState
from dataforge.model.verdict import Code, NodeRef, Reason, Status, Unanswered, Verdict

__all__ = [
    "MOST_ASKED",
    "MOST_QUESTIONS",
    "NONE",
    "Again",
    "Answers",
    "Arrival",
    "ArrivalQuestion",
    "Arrivals",
    "Aspect",
    "Asset",
    "AssetName",
    "Backfilling",
    "BatchAnswer",
    "BuiltBy",
    "Change",
    "Changes",
    "ClaimRefused",
    "ClaimedEach",
    "ClaimingEach",
    "ClaimingTogether",
    "Code",
    "Column",
    "ColumnChange",
    "Conflict",
    "DataForgeError",
    "DatasetFilter",
    "DatasetItem",
    "DatasetRef",
    "Declared",
    "EndOf",
    "Fenced",
    "FieldError",
    "Freshness",
    "FreshnessAnswers",
    "FreshnessQuestion",
    "FreshnessStatus",
    "Granted",
    "Graph",
    "GraphEdge",
    "GraphEnd",
    "GraphNode",
    "InvalidInput",
    "KeyFilter",
    "LastSuccess",
    "Member",
    "Named",
    "Newest",
    "NodeKind",
    "NodeName",
    "NodeRef",
    "NotFound",
    "Outcome",
    "Page",
    "PartitionFilter",
    "PartitionItem",
    "PartitionPage",
    "PartitionStatus",
    "Partitioning",
    "Plan",
    "PlanItem",
    "Producer",
    "Reason",
    "Recorded",
    "Refused",
    "RejectFilter",
    "RejectedEvent",
    "RunFilter",
    "RunItem",
    "RunKind",
    "RunName",
    "RunState",
    "Said",
    "SetKey",
    "Snapshot",
    "Status",
    "Target",
    "TaskFilter",
    "TaskItem",
    "TaskRef",
    "Unanswered",
    "Unreachable",
    "Upstream",
    "Verdict",
    "amiss",
    "bound",
    "dbt_task_name",
    "each",
    "edge",
    "endless",
    "joined",
    "key_of",
    "key_problem",
    "mirror_id",
    "misfit",
    "moment",
    "recent",
    "retyped",
]
