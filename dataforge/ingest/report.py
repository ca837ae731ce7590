"""What an event reports of a dataset beyond rows and version: sizes, tags, checks, and scalars of other facets.

Guarantees that what is read does not depend on the order of keys, which the same event may have otherwise when it is
read again from its canonical body.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dataforge.ingest import facets
from dataforge.ingest.envelope import Mention
from dataforge.model.attempt import Direction
from dataforge.model.expression import Scalar
from dataforge.model.report import Check, Report, Value, reported

_DEEPEST = 5  # keys of a path, the facet's own name included
_MOST = 1_000  # scalars of one dataset; far more than a report keeps
_OTHERWISE_KNOWN = frozenset(
    {
        *("columnLineage", "dataQualityAssertions", "dataSource", "documentation", "lifecycleStateChange"),
        *("outputStatistics", "ownership", "schema", "subset", "symlinks", "tags", "version"),
    }
)


def of(mention: Mention, direction: Direction, at: datetime, event: bytes, *, whole: bool) -> Report:
    """The report on a dataset. `whole`: sizes are those of the one partition that the event names."""
    own = mention.input_facets if direction == "input" else mention.output_facets
    values: dict[str, Value] = {}
    for holder in (mention.facets, own):
        values |= checks(facets.items(holder, "dataQualityAssertions", "assertions"))
    if direction == "output":
        for holder in (mention.facets, own):
            values |= _tags(holder) | _scalars(holder)
        values |= _sizes(own) if whole else {}
    return reported(values, at, event, facets.text(mention.facets, "version", "datasetVersion"))


def checks(listed: list[Any]) -> dict[str, Value]:
    """Checks by the name of their field, as the items of an array of assertions tell them; of two of one name the
    worse. A check without a name goes by its assertion and column."""
    found: dict[str, Value] = {}
    for item in listed:
        success, name = facets.section(item).get("success"), check_name(item)
        if not isinstance(success, bool) or not name:
            continue
        check = Check.of(success=success, severity=facets.text(item, "severity"))
        known = found.get(f"check.{name}")
        worse = isinstance(known, Check) and known.rank > check.rank
        found[f"check.{name}"] = known if worse else check
    return found


def check_name(item: object) -> str:
    """The name of a check: its own, else its assertion and the column."""
    parts = (facets.text(item, "assertion"), facets.text(item, "column"))
    return facets.text(item, "name") or "_".join(part for part in parts if part)


def _sizes(own: object) -> dict[str, Value]:
    statistics = facets.section(own, "outputStatistics")
    found = {"bytes": facets.number(statistics, "size"), "files": facets.number(statistics, "fileCount")}
    return {field: count for field, count in found.items() if count is not None and count >= 0}


def _tags(holder: object) -> dict[str, Value]:
    """The tags of the dataset itself; one with a field is that of a column."""
    return {
        f"tag.{key}": value
        for item in facets.items(holder, "tags", "tags")
        if (key := facets.text(item, "key"))
        and (value := facets.text(item, "value"))
        and not facets.text(item, "field")
    }


def _scalars(holder: object) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name in sorted(facets.section(holder).keys() - _OTHERWISE_KNOWN):
        for path, value in _leaves(name, facets.section(holder)[name], _DEEPEST - 1):
            if len(found) == _MOST:
                return found
            found[f"facet.{facets.whole(path)}"] = value
    return found


def _leaves(path: str, value: object, deeper: int) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, dict) and deeper:
        for key in sorted(value):
            if not key.startswith("_"):
                yield from _leaves(f"{path}.{key}", value[key], deeper - 1)
    elif isinstance(value, str):
        yield path, facets.whole(value)
    elif isinstance(value, bool | int | float):
        yield path, value
