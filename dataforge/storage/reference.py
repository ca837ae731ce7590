"""From a name that a person or a client gives to the one task or dataset it means.

Guarantees that a name which is unknown, or means several things, is a `NotFound` with names that would work.
"""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from psycopg import Connection

from dataforge.model.errors import NotFound
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef

_CANDIDATES = 5


def resolve_task(connection: Connection, environment: int, namespace: str | None, name: str) -> TaskRef:
    """The task of that name; without a namespace the name must be unique in the environment."""
    found = _tasks(connection, environment, namespace, name)
    if len(found) == 1:
        return found[0]
    raise _not_found("task", name, namespace, found or _near_tasks(connection, environment, name))


def resolve_dataset(connection: Connection, environment: int, namespace: str | None, name: str) -> DatasetRef:
    """The dataset of that name or alias, under its canonical name."""
    found = _datasets(connection, environment, namespace, name)
    if len(found) == 1:
        return found[0]
    raise _not_found("dataset", name, namespace, found or _near_datasets(connection, environment, name))


def resolve_node(connection: Connection, environment: int, namespace: str | None, name: str) -> TaskRef | DatasetRef:
    """The task or dataset of that name. Where one name in one namespace means both, it is the task."""
    named_tasks = _tasks(connection, environment, namespace, name)
    if namespace is not None and named_tasks:
        return named_tasks[0]
    found: list[TaskRef | DatasetRef] = [*named_tasks, *_datasets(connection, environment, namespace, name)]
    if len(found) == 1:
        return found[0]
    if not found:
        found += [*_near_tasks(connection, environment, name), *_near_datasets(connection, environment, name)]
    raise _not_found("task or dataset", name, namespace, found)


TASKS = """
select namespace, name from task
where environment = %(environment)s and name = %(name)s and kind <> 'step'
    and (%(namespace)s::text is null or namespace = %(namespace)s)
order by namespace limit 10
"""


def _tasks(connection: Connection, environment: int, namespace: str | None, name: str) -> list[TaskRef]:
    parameters = {"environment": environment, "namespace": _storable(namespace), "name": _storable(name)}
    return [TaskRef(*row) for row in connection.execute(TASKS, parameters)]


DATASETS = """
select distinct canonical.namespace, canonical.name
from dataset join dataset canonical
    on canonical.environment = dataset.environment and canonical.id = dataset.canonical_id
where dataset.environment = %(environment)s and dataset.name = %(name)s
    and (%(namespace)s::text is null or dataset.namespace = %(namespace)s)
order by canonical.namespace, canonical.name limit 10
"""


def _datasets(connection: Connection, environment: int, namespace: str | None, name: str) -> list[DatasetRef]:
    parameters = {"environment": environment, "namespace": _storable(namespace), "name": _storable(name)}
    return [DatasetRef(*row) for row in connection.execute(DATASETS, parameters)]


def _storable(name: str | None) -> str | None:
    """PostgreSQL has no NUL in text, so no stored name has one either."""
    return name.replace("\0", "\ufffd") if name is not None else None


# Only for a name that was not found: names that hold it, or begin or end alike. A scan of the environment's
# names, which stops at enough of them.
NEAR_TASKS = """
select namespace, name from task
where environment = %(environment)s and kind <> 'step' and (
    position(lower(%(name)s) in lower(name)) > 0
    or starts_with(lower(name), left(lower(%(name)s), 4))
    or right(lower(name), 4) = right(lower(%(name)s), 4))
limit 500
"""


def _near_tasks(connection: Connection, environment: int, name: str) -> list[TaskRef]:
    parameters = {"environment": environment, "name": _storable(name)}
    return [TaskRef(*row) for row in connection.execute(NEAR_TASKS, parameters)]


NEAR_DATASETS = """
select namespace, name from dataset
where environment = %(environment)s and (
    position(lower(%(name)s) in lower(name)) > 0
    or starts_with(lower(name), left(lower(%(name)s), 4))
    or right(lower(name), 4) = right(lower(%(name)s), 4))
limit 500
"""


def _near_datasets(connection: Connection, environment: int, name: str) -> list[DatasetRef]:
    parameters = {"environment": environment, "name": _storable(name)}
    return [DatasetRef(*row) for row in connection.execute(NEAR_DATASETS, parameters)]


def _not_found(what: str, name: str, namespace: str | None, candidates: Sequence[TaskRef | DatasetRef]) -> NotFound:
    """The nearest names first; those of equal likeness in the order of their names."""
    ranked = sorted(
        {(ref.namespace, ref.name) for ref in candidates},
        key=lambda found: (-_likeness(name.lower(), found[1].lower()), found),
    )
    where = f" in the namespace {namespace!r}" if namespace is not None else ""
    several = sum(found[1] == name for found in ranked) > 1 and namespace is None
    message = (
        f"{name!r} names more than one {what}: add its namespace"
        if several
        else f"there is no {what} named {name!r}{where}"
    )
    return NotFound(message, [f"{found[0]}/{found[1]}" for found in ranked[:_CANDIDATES]])


def _likeness(given: str, found: str) -> float:
    return SequenceMatcher(None, given, found, autojunk=False).ratio()


NAMES = {
    "task": "select id, namespace, name from task where environment = %s and id = any(%s)",
    "dataset": "select id, namespace, name from dataset where environment = %s and id = any(%s)",
}


def names(connection: Connection, environment: int, kind: NodeKind, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Namespace and name by id."""
    rows = connection.execute(NAMES[kind], [environment, list(ids)])
    return {node_id: (namespace, name) for node_id, namespace, name in rows}
