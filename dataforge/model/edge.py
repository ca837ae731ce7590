"""What an edge carries: which partitions it reaches, which outcome satisfies it, and Airflow's trigger rules.

Guarantees that two spellings of one thing become one value, so that an edge said twice is the same edge.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from dataforge.model.errors import FieldError
from dataforge.model.event import Relation
from dataforge.model.reference import DatasetRef, TaskRef

Staleness = Literal["ignore", "warn", "block"]
# What an upstream task is to this one. Its trigger rule counts the first two. `mapped_over`: what it
# returns decides how many instances this task has, none perhaps. `setup`: this task works between it and its teardown
# without coming directly after it, and needs its success whatever the trigger rule. `short_circuit`: it may skip this
# task without coming directly before it.
Role = Literal["upstream", "mapped_over", "setup", "short_circuit"]
_Offset = Annotated[int, msgspec.Meta(ge=-100_000, le=100_000)]


class Same(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="same"):
    """The partition of the same key."""


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


class All(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="all"):
    """Every partition there is."""


class Last(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="last"):
    """The last partition there is."""


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="fixed"):
    """One partition, whatever the key."""

    key: str


class Dimension(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dimension"):
    """Of the other side's dimensions, each by its own mapping: from the dimension of the same name where this
    side has two, else from its only key."""

    dimensions: dict[str, "Mapping"]

    def __hash__(self) -> int:  # a dict has none of its own; equality stays by value
        return hash(tuple(sorted(self.dimensions)))


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="table"):
    """The other side's keys, written down for each key of this side."""

    keys: dict[str, tuple[str, ...]]

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.keys)))


Mapping = Same | Window | All | Last | Fixed | Dimension | Table
SAME = Same()


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which outcome of the upstream partition satisfies the edge; `finished` is any that is final, `not_failed` a
    success or a skip, as Airflow's depends_on_past wants of the run before."""

    kind: Literal["succeeded", "failed", "skipped", "not_failed", "finished"] = "succeeded"


SUCCEEDED = Condition()


class Consumes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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


class Produces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """That a task writes a dataset; the mapping says which of its partitions a run for one key writes."""

    namespace: str
    name: str
    mapping: Mapping = SAME

    @property
    def node(self) -> DatasetRef:
        return DatasetRef(self.namespace, self.name)


def strictly_earlier(relation: Relation, mapping: object) -> bool:
    """Whether an edge with this mapping, in its stored shape, only ever leads from one partition to later ones:
    it reads strictly earlier windows, or writes strictly later ones. No cycle closes through it (invariant I4).
    """
    return _beyond(relation, msgspec.convert(mapping, Mapping))


def _beyond(relation: Relation, mapping: Mapping) -> bool:
    if isinstance(mapping, Dimension):
        return any(_beyond(relation, part) for part in mapping.dimensions.values())
    if not isinstance(mapping, Window):
        return False
    return mapping.to < 0 if relation == "consumes" else mapping.from_ > 0


def canonical_mapping(mapping: Mapping) -> Mapping:
    """The one spelling of a mapping: a window of the same key alone is `same`, a table's row is a set.

    The default is given back as the very object, since msgspec leaves out a default only where it is that.
    """
    if mapping in (SAME, Window()):
        return SAME
    if isinstance(mapping, Dimension):
        return Dimension({name: canonical_mapping(part) for name, part in mapping.dimensions.items()})
    if isinstance(mapping, Table):
        return Table({key: tuple(sorted(set(others))) for key, others in mapping.keys.items()})
    return mapping


def mapping_problems(mapping: Mapping, field: str) -> list[FieldError]:
    """What is wrong with a mapping, field by field; empty when nothing is."""
    if isinstance(mapping, Window) and mapping.from_ > mapping.to:
        return [FieldError(f"{field}.from", mapping.from_, f"a number not after to ({mapping.to})")]
    if isinstance(mapping, Dimension):
        if not mapping.dimensions:
            return [FieldError(f"{field}.dimensions", {}, "a mapping for each dimension, by its name")]
        return [
            error
            for name, part in sorted(mapping.dimensions.items())
            for error in mapping_problems(part, f"{field}.dimensions.{name}")
        ]
    return []


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
