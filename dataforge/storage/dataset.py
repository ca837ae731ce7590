"""Datasets as they were observed, the names that mean one dataset, and the name that stands for them all."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from psycopg import Connection, Cursor

from dataforge.model.reference import DatasetRef
from dataforge.storage.record_set import spread
from dataforge.storage.task import Registers

ENSURE = """
insert into dataset (environment, id, namespace, name, canonical_id)
select %(environment)s, id, namespace, name, id
from unnest(%(ids)s::bigint[], %(namespaces)s::text[], %(names)s::text[]) as named (id, namespace, name)
on conflict (environment, id) do nothing
"""


def ensure(connection: Connection, environment: int, datasets: Iterable[DatasetRef]) -> Cursor[Any]:
    """Makes sure that each named dataset has a row to point at. Gives those that had none, by id."""
    return connection.execute(ENSURE + "returning id", _parameters(environment, datasets))


def _parameters(environment: int, datasets: Iterable[DatasetRef]) -> dict[str, Any]:
    ordered = sorted(set(datasets), key=lambda dataset: dataset.id)
    return {
        "environment": environment,
        "ids": [dataset.id for dataset in ordered],
        "namespaces": [dataset.namespace for dataset in ordered],
        "names": [dataset.name for dataset in ordered],
    }


# A statement does not see what it inserts itself: of what is new nothing is known.
KNOWN = (
    "with ensured as ("  # both are literals
    + ENSURE
    + """)
select id, observed from dataset where environment = %(environment)s and id = any(%(asked)s)
"""
)


def known(
    connection: Connection, environment: int, named: Iterable[DatasetRef], asked: Iterable[int]
) -> dict[int, Registers]:
    """Makes sure that each named dataset has a row to point at, and returns the registers of those asked for, by id."""
    parameters, ids = _parameters(environment, named), list(asked)
    some = parameters["ids"] or ids
    rows = connection.execute(KNOWN, {**parameters, "asked": ids}).fetchall() if some else ()
    found: dict[int, Registers] = {dataset_id: {} for dataset_id in ids}
    return found | dict(rows)


SAVE = """
update dataset set observed = said.observed
from json_to_recordset(%s::json) as said (id bigint, observed jsonb)
where dataset.environment = %s and dataset.id = said.id
"""


def save(connection: Connection, environment: int, registers: Mapping[int, Registers]) -> None:
    """Replaces what was observed of the datasets."""
    if rows := [{"id": dataset_id, "observed": values} for dataset_id, values in sorted(registers.items())]:
        connection.execute(SAVE, [spread(rows), environment])


ALIAS = """
insert into alias (environment, dataset_id, alias_id, origin, source)
select %s, dataset_id, alias_id, 'observed', '' from unnest(%s::bigint[], %s::bigint[]) as pair (dataset_id, alias_id)
on conflict do nothing
returning dataset_id, alias_id
"""


def add_aliases(connection: Connection, environment: int, pairs: Iterable[tuple[int, int]]) -> set[int]:
    """Records observed aliases, and returns the datasets whose set of names grew."""
    ordered = sorted(set(pairs))
    if not ordered:
        return set()
    columns = [[pair[0] for pair in ordered], [pair[1] for pair in ordered]]
    rows = connection.execute(ALIAS, [environment, *columns]).fetchall()
    return {dataset_id for row in rows for dataset_id in row}


class Member(msgspec.Struct, frozen=True):
    """A dataset among those that may mean the same."""

    id: int
    dataset: DatasetRef
    canonical_id: int
    said: int  # 0 where a declaration gives it other names, 1 where one is there, 2 where nobody has declared it


# All that is, or was until now, tied to the given datasets by aliases.
RELATED = """
with recursive reached (id) as (
    select id from dataset where environment = (select %(environment)s::smallint) and canonical_id in (
        select canonical_id from dataset where environment = (select %(environment)s::smallint) and id = any(%(ids)s))
    union
    select other from reached cross join lateral (
        select alias_id from alias where environment = (select %(environment)s::smallint) and dataset_id = reached.id
        union all
        select dataset_id from alias where environment = (select %(environment)s::smallint) and alias_id = reached.id
        offset 0
    ) tied (other)
)
select dataset.id, namespace, name, canonical_id,
    case when definition ? 'aliases' then 0 when definition is not null then 1 else 2 end
from reached cross join lateral (
    select * from dataset where environment = (select %(environment)s::smallint) and id = reached.id offset 0
) dataset
order by dataset.id
"""


def related(connection: Connection, environment: int, ids: Iterable[int]) -> list[Member]:
    """The datasets that share a name with one of these, now or before the last change of aliases."""
    rows = connection.execute(RELATED, {"environment": environment, "ids": list(ids)})
    return [Member(i, DatasetRef(namespace, name), canonical, said) for i, namespace, name, canonical, said in rows]


LINKS = "select dataset_id, alias_id from alias where environment = %s and dataset_id = any(%s)"


def links(connection: Connection, environment: int, ids: Iterable[int]) -> list[tuple[int, int]]:
    """The pairs of names that mean the same dataset."""
    return [(row[0], row[1]) for row in connection.execute(LINKS, [environment, list(ids)]).fetchall()]


SET_CANONICAL = "update dataset set canonical_id = %s where environment = %s and id = %s"


def set_canonical(connection: Connection, environment: int, canonical: Mapping[int, int]) -> None:
    """Stores which dataset stands for each."""
    rows = [(stands, environment, dataset_id) for dataset_id, stands in sorted(canonical.items())]
    connection.cursor().executemany(SET_CANONICAL, rows)


class DatasetBasis(msgspec.Struct, frozen=True):
    """What the effective columns of a dataset follow from, and the partitioning that it has now."""

    id: int
    registers: Registers = {}
    definition: dict[str, Any] | None = None
    partitioning: dict[str, Any] | None = None
    declared_by: str | None = None


BASIS = """
select id, observed, definition, partitioning, declared_by from dataset
where environment = (select %s::smallint) and id = any(%s) order by id
"""


def basis(connection: Connection, environment: int, ids: Iterable[int]) -> list[DatasetBasis]:
    """What the effective columns of these datasets follow from; of one that has no row nothing is known."""
    asked = list(ids)
    rows = connection.execute(BASIS, [environment, asked]).fetchall() if asked else ()
    return [DatasetBasis(*row) for row in rows]


SET_EFFECTIVE = """
update dataset set owner = said.owner, partitioning = said.partitioning
from json_to_recordset(%s::json) as said (id bigint, owner text, partitioning jsonb)
where dataset.environment = %s and dataset.id = said.id
    and (dataset.owner, dataset.partitioning) is distinct from (said.owner, said.partitioning)
"""


def set_effective(
    connection: Connection, environment: int, rows: Iterable[tuple[int, str | None, dict[str, Any] | None]]
) -> None:
    """Stores the owner and the declared partitioning of datasets."""
    said = [{"id": dataset_id, "owner": owner, "partitioning": cut} for dataset_id, owner, cut in rows]
    if said:
        connection.execute(SET_EFFECTIVE, [spread(said), environment])
