"""What an event says of the datasets it lists: names, aliases, partitions, versions, rows, reports."""

from collections.abc import Iterable

from dataforge.ingest import facets, paths, report
from dataforge.ingest.envelope import Envelope, Mention
from dataforge.model.attempt import Direction, Touch, merge_touches
from dataforge.model.column_list import ColumnList
from dataforge.model.event import DatasetFact
from dataforge.model.reference import DatasetRef

_LONGEST_DESCRIPTION = 1_000  # characters; every list shows it, and the event keeps the whole


def touches(envelope: Envelope, *, streaming: bool = False) -> tuple[Touch, ...]:
    """What the run read and wrote. One dataset listed several times (Spark reads directories one by one) is
    the union of its mentions; a dataset whose partition no mention names has the partition ''."""
    merged: tuple[Touch, ...] = ()
    for mention in envelope.inputs:
        merged = merge_touches(merged, _of(mention, "input", envelope, streaming=streaming))
    for mention in envelope.outputs:
        merged = merge_touches(merged, _of(mention, "output", envelope, streaming=streaming))
    return merged


def _of(mention: Mention, direction: Direction, envelope: Envelope, *, streaming: bool) -> tuple[Touch, ...]:
    dataset, own_key = paths.split(mention.namespace, mention.name, streaming=streaming)
    own = mention.input_facets if direction == "input" else mention.output_facets
    keys = paths.keys_of(dataset, _locations(own, direction)) or ((own_key,) if own_key else ("",))
    version = facets.text(mention.facets, "version", "datasetVersion")
    statistics = facets.section(own, "outputStatistics")
    at, whole = envelope.at, len(keys) == 1
    said = report.of(mention, direction, at, envelope.id, whole=whole)
    shown = mention.columns if direction == "output" else None
    return tuple(
        Touch(
            direction=direction,
            dataset=dataset,
            partition=key,
            first_at=at,
            last_at=at,
            version=version,
            version_at=at if version else None,
            rows=facets.size(statistics, "rowCount") if whole else None,
            measured=bool(statistics),
            change=facets.text(mention.facets, "lifecycleStateChange", "lifecycleStateChange"),
            report=said,
            columns=shown.hash if shown else None,
            columns_at=at if shown else None,
        )
        for key in keys
    )


def _locations(own: object, direction: Direction) -> list[str]:
    """Where a subset facet says the data lies; no producer names partitions in it by any other means."""
    condition = facets.section(own, "subset", f"{direction}Condition")
    return [place for place in facets.items(condition, "locations") if isinstance(place, str)]


def described(
    inputs: Iterable[Mention], outputs: Iterable[Mention] = (), *, streaming: bool = False
) -> tuple[DatasetFact, ...]:
    """What the event says of each dataset it lists."""
    read = [describe(mention, streaming=streaming) for mention in inputs]
    written = (describe(mention, mention.columns, streaming=streaming) for mention in outputs)
    return (*read, *written)


def describe(mention: Mention, shown: ColumnList | None = None, *, streaming: bool = False) -> DatasetFact:
    """The registers and aliases of one dataset."""
    dataset, _ = paths.split(mention.namespace, mention.name, streaming=streaming)
    schema = facets.plain(_fields(mention.facets))
    return DatasetFact(
        dataset=dataset,
        registers={**stated(mention.facets), **({"schema": schema} if schema else {})},
        aliases=tuple(sorted(_aliases(mention, dataset))),
        columns=shown,
    )


def _fields(own: object) -> list[dict[str, object]]:
    return [
        {"name": field["name"], "type": field.get("type")}
        for field in facets.items(own, "schema", "fields")
        if isinstance(field, dict) and isinstance(field.get("name"), str)
    ]


def _aliases(mention: Mention, dataset: DatasetRef) -> set[DatasetRef]:
    found = set()
    for identifier in facets.items(mention.facets, "symlinks", "identifiers"):
        namespace, name = facets.text(identifier, "namespace"), facets.text(identifier, "name")
        if namespace and name and len(f"{namespace}{name}".encode()) <= 2_400:
            found.add(paths.split(namespace, name)[0])
    return found - {dataset}


def stated(own: object) -> dict[str, str]:
    """The owner and the description that a job's or a dataset's own facets state, as registers."""
    found = {"owner": owner(own), "description": description(own)}
    return {field: value for field, value in found.items() if value}


def owner(own: object) -> str | None:
    """The owner that an ownership facet names first; its `team:` and `user:` prefixes are OpenLineage's form."""
    for entry in facets.items(own, "ownership", "owners"):
        if name := facets.text(entry, "name"):
            return name
    return None


def description(own: object) -> str | None:
    """The begin of the text of a documentation facet."""
    text = facets.text(own, "documentation", "description")
    return text[:_LONGEST_DESCRIPTION] if text else None
