"""The history of declarations: what held when follows from what was declared, whatever came first."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest.replay import verify
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.declaration import Declared
from dataforge.model.errors import Conflict, InvalidInput
from dataforge.model.manifest import Manifest
from dataforge.storage.database import Database

_numbers = count()
START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 1, tzinfo=UTC)
on_one_database = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def said(source: str, owners: dict[str, str], since: int | None = None, **more: Any) -> Manifest:
    """A manifest with one task for each name, by its owner; `since` is the day from which it holds."""
    tasks = [{"namespace": "ns", "name": name, "owner": owner} for name, owner in owners.items()]
    stated = {} if since is None else {"valid_from": day(since).isoformat()}
    return definition.parse({"tasks": tasks, **stated, **more}, source)


class Held(NamedTuple):
    """A span in words; days for times."""

    name: str
    source: str
    owner: str
    begin: int
    end: int | None


HELD = """
select t.name, s.source, v.definition ->> 'owner', s.valid_from, s.valid_to
from definition_span s
join environment e on e.id = s.environment and e.name = %s
join task t on t.environment = s.environment and t.id = s.node_id
join task_version v on v.environment = s.environment and v.task_id = s.node_id and v.version = s.version
where s.node_kind = 'task' order by t.name, s.valid_from, s.source
"""


def held(database: Database, environment: str = "dev") -> list[Held]:
    with database.transaction() as connection:
        rows = connection.execute(HELD, [environment]).fetchall()
    return [Held(name, source, owner, _day(begin), _day(end)) for name, source, owner, begin, end in rows]


def _day(at: datetime | None) -> Any:
    return None if at is None else (at - START).days


def new_environment(database: Database) -> str:
    name = f"history-{next(_numbers)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    return name


def test_a_version_holds_from_its_declaration_until_the_next(database: Database) -> None:
    declare(database, "dev", said("a", {"x": "ann", "y": "ann"}), now=day(1))
    declare(database, "dev", said("a", {"x": "bob", "y": "ann"}), now=day(3))
    declare(database, "dev", said("a", {"x": "ann", "y": "ann"}), now=day(5))
    assert held(database) == [
        Held("x", "a", "ann", 1, 3),
        Held("x", "a", "bob", 3, 5),
        Held("x", "a", "ann", 5, None),
        Held("y", "a", "ann", 1, None),
    ]


def test_what_is_declared_again_keeps_its_span_and_what_is_retired_between_has_two(database: Database) -> None:
    for number, owners in enumerate(({"x": "ann"}, {"x": "ann"}, {}, {"x": "ann"})):
        declare(database, "dev", said("a", owners), now=day(number))
    assert held(database) == [Held("x", "a", "ann", 0, 2), Held("x", "a", "ann", 3, None)]


def test_a_late_declaration_takes_its_place_and_leaves_the_present_as_it_is(database: Database) -> None:
    declare(database, "dev", said("a", {"x": "ann"}), now=day(10))
    state = digest(database, "dev")
    late = said("a", {"x": "bob", "y": "bob"}, since=2)
    foreseen = declare(database, "dev", late, now=day(20), dry_run=True)
    assert declare(database, "dev", late, now=day(20)) == foreseen == Declared(2, 0, 0, 0, 1, valid_to=day(10))
    assert held(database) == [
        Held("x", "a", "bob", 2, 10),
        Held("x", "a", "ann", 10, None),
        Held("y", "a", "bob", 2, 10),
    ]
    with database.transaction() as connection:
        present = connection.execute("select name, owner from task where definition is not null").fetchall()
    assert present == [("x", "ann")]
    assert digest(database, "dev") != state  # a declaration that states its time is a fact of its own


def test_what_was_confirmed_in_the_meantime_ends_what_is_declared_late(database: Database) -> None:
    for number in (1, 5):
        declare(database, "dev", said("a", {"x": "ann"}), now=day(number))
    declare(database, "dev", said("a", {"x": "bob"}, since=3), now=day(9))
    assert held(database) == [Held("x", "a", "ann", 1, 3), Held("x", "a", "bob", 3, 5), Held("x", "a", "ann", 5, None)]


def test_of_two_declarations_for_one_moment_the_later_received_one_holds(database: Database) -> None:
    for environment, order in (("dev", (0, 1)), ("staging", (1, 0))):
        both = (said("a", {"x": "ann"}, since=1), day(2)), (said("a", {"x": "bob"}, since=1), day(3))
        for place in order:
            manifest, now = both[place]
            declare(database, environment, manifest, now=now)
        assert held(database, environment) == [Held("x", "a", "bob", 1, None)]


def test_a_declaration_without_a_time_is_the_last_word_of_its_source(database: Database) -> None:
    for owner in ("ann", "bob", "ann", "cid"):
        declare(database, "dev", said("a", {"x": owner}))
    spans = held(database)
    assert [span.owner for span in spans] == ["ann", "bob", "ann", "cid"]
    declare(database, "dev", said("b", {"y": "ann"}), now=datetime.now(UTC) + timedelta(hours=1))
    declare(database, "dev", said("b", {"y": "bob"}))  # by a clock that is behind the one before
    assert [span.owner for span in held(database) if span.name == "y"] == ["ann", "bob"]


@pytest.mark.parametrize(
    "valid_from", ["2026-11-02T00:00:00Z", "2026-11-01T06:00:00", "yesterday", "1999-12-31T00:00:00Z", 7]
)
def test_a_time_that_cannot_be_is_refused_by_its_name(database: Database, valid_from: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        declare(database, "dev", definition.parse({"valid_from": valid_from}, "a"), now=LATER)
    assert [error.field for error in caught.value.errors] == ["valid_from"]
    assert "time" in caught.value.errors[0].expected


def test_the_past_is_recorded_though_it_would_be_refused_today(database: Database) -> None:
    declare(database, "dev", said("a", {"x": "ann"}), now=day(5))
    declare(database, "dev", said("b", {}), now=day(6))
    with pytest.raises(Conflict, match=r"'a'.*'b'"):
        declare(database, "dev", said("b", {"x": "bob"}, since=7), now=day(8))
    declare(database, "dev", said("b", {"x": "bob"}, since=1), now=day(8))
    assert held(database) == [Held("x", "b", "bob", 1, 6), Held("x", "a", "ann", 5, None)]


class Said(NamedTuple):
    """A declaration of the history: by whom, from which day on, received on which, and whose each task is."""

    source: str
    since: int | None
    received: int
    owners: tuple[tuple[str, str], ...]

    @property
    def manifest(self) -> Manifest:
        return said(self.source, dict(self.owners), self.since)

    @property
    def order(self) -> tuple[int, int]:
        return (self.received if self.since is None else self.since, self.received)


names = {"a": ("p", "q"), "b": ("r", "s")}  # two sources never speak of one task here: who is refused depends on order
histories = st.lists(
    st.builds(
        lambda source, since, received, owners: Said(
            source,
            min(since, received) if since is not None else None,
            received,
            tuple(zip(names[source], owners, strict=False)),
        ),
        st.sampled_from(["a", "b"]),
        st.none() | st.integers(0, 9),
        st.integers(0, 9),
        st.lists(st.sampled_from(["ann", "bob"]), max_size=2),
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda each: (each.source, each.received),
)


def expected(history: Iterable[Said]) -> list[Held]:
    """The spans by the rule alone: day by day what each source declared last."""
    spans: list[Held] = []
    for source, tasks in names.items():
        ordered = sorted((each for each in history if each.source == source), key=lambda each: each.order)
        for task in tasks:
            now: Held | None = None
            for number in range(11):
                standing = [each for each in ordered if each.order[0] <= number]
                owner = dict(standing[-1].owners).get(task) if standing else None
                if now is not None and owner != now.owner:
                    spans.append(now._replace(end=number))
                    now = None
                if owner is not None and now is None:
                    now = Held(task, source, owner, number, None)
            if now is not None:
                spans.append(now)
    return sorted(spans, key=lambda span: (span.name, span.begin))


@on_one_database
@given(histories, st.integers(0, 2**20))
def test_declarations_in_any_order_give_the_spans_of_the_rule(
    database: Database, history: Sequence[Said], seed: int
) -> None:
    forward, shuffled = new_environment(database), new_environment(database)
    for each in history:
        declare(database, forward, each.manifest, now=day(each.received))
    turned = list(history)
    Random(seed).shuffle(turned)
    for each in turned + turned[:1]:
        declare(database, shuffled, each.manifest, now=day(each.received))
    assert held(database, forward) == held(database, shuffled) == expected(history)
    assert digest(database, forward) == digest(database, shuffled)
    assert verify(database, shuffled).difference is None
