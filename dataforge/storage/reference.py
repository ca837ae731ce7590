"""From a name that a person or a client gives to the one task or dataset it means.

Guarantees that a name which is unknown, or means several things, is a `NotFound` with names that would work.
"""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from psycopg import Connection

from dataforge.model.errors import NotFound
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef, node_id
from dataforge.storage import freshness, readiness
from dataforge.storage.readiness import Name

_CANDIDATES = 5


def resolve_task(connection: Connection, environment: int, namespace: str | None, name: str) -> TaskRef:
    """The task of that name; without a namespace the name must be unique in the environment."""
    found = _tasks(connection, environment, namespace, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous("task", name, found)
    raise _unknown("task", name, namespace, _near_tasks(connection, environment, name))


def resolve_dataset(connection: Connection, environment: int, namespace: str | None, name: str) -> DatasetRef:
    """The dataset of that name or alias, under its canonical name."""
    found = _datasets(connection, environment, namespace, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous("dataset", name, found)
    raise _unknown("dataset", name, namespace, _near_datasets(connection, environment, name))


def resolve_node(connection: Connection, environment: int, namespace: str | None, name: str) -> TaskRef | DatasetRef:
    """The task or dataset of that name. Where one name in one namespace means both, it is the task."""
    named_tasks = _tasks(connection, environment, namespace, name)
    if namespace is not None and named_tasks:
        return named_tasks[0]
    found: list[TaskRef | DatasetRef] = [*named_tasks, *_datasets(connection, environment, namespace, name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous("task or dataset", name, found)
    near: list[TaskRef | DatasetRef] = [*_near_tasks(connection, environment, name)]
    near += [*_near_datasets(connection, environment, name)]
    raise _unknown("task or dataset", name, namespace, near)


def resolve_nodes(connection: Connection, environment: int, names: Sequence[Name]) -> list[TaskRef | DatasetRef]:
    """The same of each of many names: two queries, and two more for each that needs to be looked at by itself."""
    tasks = readiness.resolve(connection, environment, names)
    datasets = freshness.resolve(connection, environment, names)
    found: list[TaskRef | DatasetRef] = []
    for (namespace, name), as_task, as_dataset in zip(names, tasks, datasets, strict=True):
        fitting: list[TaskRef | DatasetRef] = [*as_task]
        if namespace is None or not as_task:
            fitting += as_dataset
        plain = len(fitting) == 1 and (namespace is not None or "/" not in name)
        found.append(fitting[0] if plain else resolve_node(connection, environment, namespace, name))
    return found


TASKS = """
select namespace, name from task
where environment = %(environment)s and kind <> 'step' and (id = any(%(ids)s)
    or name = %(name)s and (%(namespace)s::text is null or namespace = %(namespace)s))
order by namespace limit 10
"""


def _tasks(connection: Connection, environment: int, namespace: str | None, name: str) -> list[TaskRef]:
    parameters = _parameters(environment, namespace, name)
    return [TaskRef(*row) for row in connection.execute(TASKS, parameters)]


DATASETS = """
select distinct canonical.namespace, canonical.name
from dataset join dataset canonical
    on canonical.environment = dataset.environment and canonical.id = dataset.canonical_id
where dataset.environment = %(environment)s and (dataset.id = any(%(ids)s)
    or dataset.name = %(name)s and (%(namespace)s::text is null or dataset.namespace = %(namespace)s))
order by canonical.namespace, canonical.name limit 10
"""


def _datasets(connection: Connection, environment: int, namespace: str | None, name: str) -> list[DatasetRef]:
    parameters = _parameters(environment, namespace, name)
    return [DatasetRef(*row) for row in connection.execute(DATASETS, parameters)]


def _parameters(environment: int, namespace: str | None, name: str) -> dict[str, object]:
    return {
        "environment": environment,
        "namespace": _storable(namespace),
        "name": _storable(name),
        "ids": _written_together(name) if namespace is None else [],
    }


def _written_together(name: str) -> list[int]:
    """The ids that a name has when its begin is a namespace, as in `s3://lake/orders`: however it is cut."""
    cuts = [place for place, letter in enumerate(name) if letter == "/"][:100]
    return [node_id(name[:cut], name[cut + 1 :]) for cut in cuts]


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


KNOWN_FROM = "select runs_known_from from environment where id = %s"


def no_such_run(connection: Connection, environment: int, task: TaskRef, run: str) -> NotFound:
    """That nobody knows this run of a task; and where it may be, since some have ended."""
    row = connection.execute(KNOWN_FROM, [environment]).fetchone()
    unknown = f"there is no run {run!r} of {task.namespace}/{task.name}"
    if row is None or row[0] is None:
        return NotFound(unknown)
    since = f"{row[0]:%Y-%m-%d}"
    return NotFound(
        f"{unknown}: those of which nothing was told since {since} have ended, and are in the files of the archive"
        " (dataforge runs --since)"
    )


def _ambiguous(what: str, name: str, found: Sequence[TaskRef | DatasetRef]) -> NotFound:
    """A dataset that was found by an alias is listed under its canonical name."""
    return NotFound(f"{name!r} names more than one {what}: add its namespace", _nearest(name, found))


def _unknown(what: str, name: str, namespace: str | None, near: Sequence[TaskRef | DatasetRef]) -> NotFound:
    where = f" in the namespace {namespace!r}" if namespace is not None else ""
    return NotFound(f"there is no {what} named {name!r}{where}", _nearest(name, near))


def _nearest(name: str, candidates: Sequence[TaskRef | DatasetRef]) -> list[str]:
    """The names most alike first; those of equal likeness in their own order."""
    ranked = sorted(
        {(ref.namespace, ref.name) for ref in candidates},
        key=lambda found: (-_likeness(name.lower(), found[1].lower()), found),
    )
    return ["/".join(found) for found in ranked[:_CANDIDATES]]


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
