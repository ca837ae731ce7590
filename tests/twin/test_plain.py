"""What is met by plain edges is left out of questions: the answers are those to questions that leave out nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import product
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from msgspec.structs import replace

from dataforge.ledger.aging import questions
from dataforge.ledger.memory import Nodes
from dataforge.ledger.need import Asked
from dataforge.ledger.outline import Outline
from dataforge.model.readiness import decide, obstacle
from dataforge.model.reference import TaskRef
from dataforge.storage import environment as environments
from dataforge.storage.database import Database
from tests.twin.telling import Telling

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

_SETTINGS = settings(
    deadline=None,
    phases=[Phase.generate],
    max_examples=8,
    stateful_step_count=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


class _Whole(Nodes):
    """No edge is plain."""

    def derived(
        self, kind: type[Any], tasks: Collection[int], derive: Callable[[Nodes, Collection[int]], dict[int, Any]]
    ) -> dict[int, Any]:
        found = super().derived(kind, tasks, derive)
        return {task: _whole(each) for task, each in found.items()} if kind is Outline else found


def _whole(outline: Outline) -> Outline:
    rest = [*outline.plain.values(), *outline.rest]
    return replace(outline, plain={}, ways=(), staleness=frozenset(), rest=rest)


class Beside(Telling):
    """Every partition is asked about in both ways after each step."""

    left_out: ClassVar[int]

    @invariant()
    def the_answers_are_the_same(self) -> None:
        asked = [Asked(TaskRef("ns", task).id, key) for task, key in self.partitions()]
        now = self.moment()
        for explain, warn in product((True, False), repeat=2):
            with self.database.snapshot() as connection:
                here = environments.find(connection, self.name)
                found, whole = (
                    questions(connection, here, asked, now, explain=explain, warn=warn, nodes=nodes)
                    for nodes in (Nodes(connection, here.id, here), _Whole(connection, here.id, here))
                )
            for each, question in found.items():
                type(self).left_out += len(whole[each].upstreams) - len(question.upstreams)
                assert decide(question) == decide(whole[each])
                assert obstacle(question) == obstacle(whole[each])


def test_what_is_plainly_there_changes_no_answer(module_database: Database) -> None:
    class On(Beside):
        database = module_database
        left_out = 0

    run_state_machine_as_test(On, settings=_SETTINGS)
    assert On.left_out > 100
