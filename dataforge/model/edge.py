"""What an edge carries: which partitions it reaches, which outcome satisfies it, and Airflow's trigger rules.

Guarantees that two spellings of one thing become one value, so that an edge said twice is the same edge. Edges come by
the hundred thousand and hold nothing that leads back to them, so the garbage collector need not look at them (`gc`).
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from dataforge.model import expression
from dataforge.model.errors import FieldError
from dataforge.model.expression import Expression
from dataforge.model.reference import DatasetRef, TaskRef

Staleness = Literal["ignore", "warn", "block"]
# What an upstream task is to this one. Its trigger rule counts the first two. `mapped_over`: what it
# returns decides how many instances this task has, none perhaps. `setup`: this task works between it and its teardown
# without coming directly after it, and needs its success whatever the trigger rule. `short_circuit`: it may skip this
# task without coming directly before it.
Role = Literal["upstream", "mapped_over", "setup", "short_circuit"]
_Offset = Annotated[int, msgspec.Meta(ge=-100_000, le=100_000)]


class Same(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="same", gc=False):
    """The partition of the same key."""


SAME = Same()


class Window(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="window",
):
    """The time windows from `from` to `to`, both inclusive, counted from the window of the same key."""

    from_: _Offset = msgspec.field(name="from", default=0)
    to: _Offset = 0


_NO_WINDOW = Window()


class All(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="all"):
    """Every partition there is."""


class ToDate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="to_date"):
    """From the first window that begins in the same period, by the calendar of this side's time zone, to this one."""

    period: Literal["day", "month", "quarter", "year"]


class Last(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="last"):
    """The last partition there is; with `not_older_than` the newest that is ready among those that ended at most so
    long before this side's window ends."""

    not_older_than: timedelta | None = None


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="fixed"):
    """One partition, whatever the key."""

    key: str


class Dimension(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dimension"):
    """Of the other side's dimensions, each by its own mapping: from the dimension of the same name where this
    side has two, else from its only key."""

    dimensions: dict[str, "Mapping"]

    def __hash__(self) -> int:  # a dict has none of its own; equality stays by value
        return hash(tuple(sorted(self.dimensions)))


class Along(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="along"):
    """By one of this side's two dimensions alone; the other is dropped."""

    dimension: str
    mapping: "Mapping" = SAME


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="table"):
    """The other side's keys, written down for each key of this side."""

    keys: dict[str, tuple[str, ...]]

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.keys)))


Mapping = Same | Window | ToDate | All | Last | Fixed | Dimension | Along | Table


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which outcome of the upstream partition satisfies the edge; `finished` is any that is final, `not_failed` a
    success or a skip, as Airflow's depends_on_past wants of the run before. `where` asks more of a success: that what
    was reported of the dataset makes the expression true."""

    kind: Literal["succeeded", "failed", "skipped", "not_failed", "finished"] = "succeeded"
    where: Expression | msgspec.UnsetType = msgspec.UNSET  # unset, it is no part of what is stored


SUCCEEDED = Condition()


class Consumes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """That a task reads a dataset, or waits for another task: exactly one of the two is named."""

    task: TaskRef | None = None
    dataset: DatasetRef | None = None
    mapping: Mapping = SAME
    condition: Condition = SUCCEEDED
    required: bool = True
    staleness: Staleness = "warn"
    role: Role = "upstream"

    @property
    def node(self) -> TaskRef | DatasetRef:
        if self.dataset is not None:
            return self.dataset
        if self.task is not None:
            return self.task
        raise ValueError("the edge names neither a task nor a dataset")


class Produces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """That a task writes a dataset; the mapping says which of its partitions a run for one key writes."""

    namespace: str
    name: str
    mapping: Mapping = SAME

    @property
    def node(self) -> DatasetRef:
        return DatasetRef(self.namespace, self.name)


def canonical_mapping(mapping: Mapping) -> Mapping:
    """The one spelling of a mapping: a window of the same key alone is `same`, a table's row is a set.

    The default is given back as the very object, since msgspec leaves out a default only where it is that.
    """
    if isinstance(mapping, Same):
        return SAME
    if isinstance(mapping, Window):
        return SAME if mapping == _NO_WINDOW else mapping
    if isinstance(mapping, Dimension):
        return Dimension({name: canonical_mapping(part) for name, part in mapping.dimensions.items()})
    if isinstance(mapping, Along):
        return Along(mapping.dimension, canonical_mapping(mapping.mapping))
    if isinstance(mapping, Table):
        return Table({key: tuple(sorted(set(others))) for key, others in mapping.keys.items()})
    return mapping


def in_place(read: Mapping, written: Mapping | None) -> bool:
    """Whether a task may read what it writes in the same run; None: it writes nothing of that dataset."""
    if not isinstance(read, Same | Window) or not isinstance(written, Same | Window):
        return written is not None
    (first, last), (begin, end) = _offsets(read), _offsets(written)
    return first <= end and begin <= last


def _offsets(mapping: Same | Window) -> tuple[int, int]:
    return (mapping.from_, mapping.to) if isinstance(mapping, Window) else (0, 0)


def chooses(mapping: Mapping) -> bool:
    """Whether one of several partitions is enough, so that what is taken is known only by their states."""
    if isinstance(mapping, Dimension):
        return any(map(chooses, mapping.dimensions.values()))
    if isinstance(mapping, Along):
        return chooses(mapping.mapping)
    return isinstance(mapping, Last) and mapping.not_older_than is not None


def canonical_condition(condition: Condition) -> Condition:
    """The one spelling of a condition; the default is given back as the very object, as a mapping's is."""
    if condition == SUCCEEDED:
        return SUCCEEDED
    if isinstance(condition.where, Expression):
        return Condition(condition.kind, expression.canonical(condition.where))
    return condition


def condition_problems(edge: Consumes, field: str) -> list[FieldError]:
    """What is wrong with the condition of an edge that names its node."""
    condition = edge.condition
    if not isinstance(condition.where, Expression):
        return []
    if edge.dataset is None:
        return [FieldError(f"{field}.where", "an expression on a task", "a dataset that the task writes, in its place")]
    if condition.kind != "succeeded":
        return [FieldError(f"{field}.kind", condition.kind, "succeeded: only a success reports what `where` asks for")]
    return expression.problems(condition.where, f"{field}.where")


def mapping_problems(mapping: Mapping, field: str) -> list[FieldError]:
    """What is wrong with a mapping, field by field; empty when nothing is."""
    if isinstance(mapping, Window) and mapping.from_ > mapping.to:
        return [FieldError(f"{field}.from", mapping.from_, f"a number not after to ({mapping.to})")]
    if isinstance(mapping, Last) and mapping.not_older_than is not None and mapping.not_older_than <= timedelta(0):
        return [FieldError(f"{field}.not_older_than", str(mapping.not_older_than), "a duration above zero such as P2D")]
    if isinstance(mapping, Along):
        return mapping_problems(mapping.mapping, f"{field}.mapping")
    if isinstance(mapping, Dimension):
        if not mapping.dimensions:
            return [FieldError(f"{field}.dimensions", {}, "a mapping for each dimension, by its name")]
        return [
            error
            for name, part in sorted(mapping.dimensions.items())
            for error in mapping_problems(part, f"{field}.dimensions.{name}")
        ]
    return []


def produced_problems(mapping: Mapping, field: str) -> list[FieldError]:
    """What is wrong with the mapping of a producing edge: what a run writes may not depend on what is ready."""
    if chooses(mapping):
        return [FieldError(field, "not_older_than", "a mapping that says which partitions a run writes")]
    return mapping_problems(mapping, field)


class TriggerRule(StrEnum):
    """Airflow's rules for when a task may run, by what became of its direct upstream tasks."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ALL_SKIPPED = "all_skipped"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"


_LEGACY = {  # spellings that Airflow has given up; its older versions still send them
    "dummy": TriggerRule.ALWAYS,
    "none_failed_or_skipped": TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
}


def trigger_rule(spelling: str) -> TriggerRule | None:
    """The rule that any of Airflow's spellings means, `TriggerRule.ALL_DONE` too; None for an unknown one."""
    plain = spelling.strip().lower().removeprefix("triggerrule.")
    try:
        return _LEGACY.get(plain) or TriggerRule(plain)
    except ValueError:
        return None
