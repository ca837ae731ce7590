"""Whether a dataset that counts its producers can ever be complete.

Guarantees that a declaration which asks for more producers than are declared by then, by whichever sources, is refused.
A dataset that nobody is declared to produce yet is taken at its word.
"""

from collections.abc import Iterable, Iterator

from msgspec import convert

from dataforge.ledger.cuts import Cuts
from dataforge.model.declaration import Plan
from dataforge.model.edge import Mapping, in_place
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import DatasetDefinition
from dataforge.model.share import most_shares
from dataforge.storage import edge as edges
from dataforge.storage.database import Connection
from dataforge.storage.edge import AlikeEdges, DeclaredEdge


def refuse_counts(
    connection: Connection, environment: int, decided: Plan, own: Iterable[AlikeEdges], cuts: Cuts
) -> None:
    """Raises InvalidInput for a count that no partition can reach, with `own` the edges of the whole manifest."""
    counting = [each for each in decided.datasets.written if isinstance(each.complete_when, int)]
    by_dataset = _by_dataset(own) if counting else {}
    errors = list(_problems(connection, environment, decided.manifest.source, counting, by_dataset, cuts))
    if errors:
        raise InvalidInput(f"{errors[0].field} is {errors[0].value}: expected {errors[0].expected}", errors)


def _by_dataset(own: Iterable[AlikeEdges]) -> dict[int, list[DeclaredEdge]]:
    found: dict[int, list[DeclaredEdge]] = {}
    for each in own:
        for task, node in zip(each.tasks, each.nodes, strict=True) if each.node_kind == "dataset" else ():
            found.setdefault(node, []).append(each.one(task, node))
    return found


def _problems(
    connection: Connection,
    environment: int,
    source: str,
    counting: Iterable[DatasetDefinition],
    own: dict[int, list[DeclaredEdge]],
    cuts: Cuts,
) -> Iterator[FieldError]:
    for dataset in counting:
        names = cuts.names({dataset.ref.id})
        users = edges.declared_users(connection, environment, "produces", "dataset", names, but_source=source)
        others = edges.declared_of_tasks(connection, environment, users, source)
        found = [edge for edge in others if edge.node_kind == "dataset" and edge.node_id in names]
        most = _most([*found, *(edge for name in names for edge in own.get(name, ()))], dataset, cuts)
        if most and isinstance(dataset.complete_when, int) and dataset.complete_when > most:
            expected = f"at most {most}, as many as are declared to produce it; declare the others first"
            field = f"datasets[{dataset.namespace}/{dataset.name}].complete_when"
            yield FieldError(field, dataset.complete_when, expected)


def _most(found: Iterable[DeclaredEdge], dataset: DatasetDefinition, cuts: Cuts) -> int | None:
    """How many shares these edges can bring to a partition; None where that is not known. Whoever updates the dataset
    in place is not counted; whom its updates only trigger is."""
    reads = [edge for edge in found if edge.relation == "consumes" and edge.waits]
    read = {edge.task_id: convert(edge.mapping, Mapping) for edge in reads}
    written = {edge.task_id: convert(edge.mapping, Mapping) for edge in found if edge.relation == "produces"}
    writers = {task: how for task, how in written.items() if task not in read or not in_place(read[task], how)}
    known = cuts.tasks(writers)
    theirs = cuts.datasets({dataset.ref.id}).get(dataset.ref.id)
    each = [most_shares(how, known.get(task), theirs) for task, how in writers.items()]
    counted = [most for most in each if most is not None]
    return sum(counted) if len(counted) == len(each) else None
