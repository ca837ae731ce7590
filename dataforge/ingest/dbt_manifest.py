"""dbt's manifest.json as a manifest of ours: what dbt will run, what each node reads and writes, and whose it is.

Guarantees that a node is the same task here as in dbt's events (dataforge.ingest.dbt), so that a project which is
both declared and seen running is there once. A manifest names neither job nor dataset namespace; both are given.

What dbt has no word for, a node says in its meta, under `dataforge`; as everywhere in dbt, `models:` in
dbt_project.yml may say it for all of a folder:

    config:
      meta:
        dataforge:
          partitioning: {kind: daily, start: "2026-01-01"}   # of the task and of its relation; a source's relation
          run_after: PT30M                                   # and domain, pools, trigger_rule: the task's
          mapping: {kind: all}                               # of each edge to what the node reads

A test is cut as what it tests: as the node it is attached to, else as all of what it reads, where they agree.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dataforge.ingest import facets
from dataforge.ingest.dbt import PLATFORM, task_name
from dataforge.model import definition
from dataforge.model.decoding import of_json
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.manifest import Manifest

_Node = Mapping[str, Any]
_RELATIONS = frozenset({"model", "seed", "snapshot"})  # nodes that leave a table or view behind
# What dbt runs and reports on; analyses and operations are not part of a build.
_TASKS = _RELATIONS | {"test", "unit_test"}
_SAID = ("domain", "pools", "run_after", "trigger_rule")  # of a task, in meta.dataforge
_ALSO_SAID = ("mapping", "partitioning")
_SECTIONS = ("nodes", "unit_tests", "sources", "exposures", "metrics", "semantic_models", "saved_queries")


def from_dbt(document: object, namespace: str, dataset_namespace: str, source: str | None = None) -> Manifest:
    """The manifest of a dbt project, from the file's bytes or what they decode to.

    `namespace` is that of its jobs (OPENLINEAGE_NAMESPACE), `dataset_namespace` that of its warehouse (such as
    `postgres://db:5432`); `source` defaults to `dbt:<namespace>/<project>`.

    Raises InvalidInput when the document is no manifest.json.
    """
    if isinstance(document, bytes):
        document = of_json(document)
    project = facets.text(document, "metadata", "project_name")
    if project is None or not isinstance(document, dict) or not isinstance(document.get("nodes"), dict):
        expected = "dbt's target/manifest.json, with metadata.project_name and nodes"
        raise InvalidInput(f"this is no manifest of dbt: expected {expected}", [FieldError("$", None, expected)])
    reading = _Reading(document, namespace, dataset_namespace)
    shape = {"tasks": reading.tasks(), "datasets": reading.datasets()}
    return definition.parse(shape, source or f"dbt:{namespace}/{project}")


class _Reading:
    """One manifest.json, with its nodes of every section by unique id."""

    def __init__(self, document: _Node, namespace: str, dataset_namespace: str) -> None:
        self._namespace = namespace
        self._dataset_namespace = dataset_namespace
        self._groups = _section(document, "groups")
        self._nodes: dict[str, _Node] = {}
        for name in _SECTIONS:
            self._nodes |= _section(document, name)

    def tasks(self) -> list[dict[str, Any]]:
        """A task for each node that dbt runs and for each exposure. Tests that differ in their hash alone (one
        name given twice) are one task, since events do not tell them apart."""
        found: dict[str, dict[str, Any]] = {}
        for unique_id, node in sorted(self._nodes.items()):
            if _kind(node) in _TASKS or _kind(node) == "exposure":
                task = self._task(unique_id, node)
                known = found.setdefault(task["name"], task)
                if known is not task:
                    known["consumes"] = _distinct([*known["consumes"], *task["consumes"]])
        return list(found.values())

    def _task(self, unique_id: str, node: _Node) -> dict[str, Any]:
        produced = self._relation(node) if _kind(node) in _RELATIONS else None
        said = _said(node)
        mapping = {"mapping": said["mapping"]} if "mapping" in said else {}
        return {
            "namespace": self._namespace,
            "name": task_name(unique_id),
            "platform": PLATFORM,
            "owner": self._owner(node),
            **_described(node),
            "partitioning": self._partitioning(node),
            **{field: said[field] for field in _SAID if field in said},
            "consumes": [edge | mapping for edge in _distinct(self._consumes(node, frozenset({unique_id})))],
            "produces": [produced] if produced else [],
        }

    def _partitioning(self, node: _Node) -> Any:
        """How a node's partitions are cut, by its meta or, for a test, by what it tests; None if nobody says."""
        own = _said(node).get("partitioning")
        if own is not None or _kind(node) != "test":
            return own
        attached = facets.text(node, "attached_node")
        tested = [self._nodes.get(unique_id, {}) for unique_id in ([attached] if attached else _upstreams(node))]
        cuts = [self._partitioning(each) for each in tested]
        return cuts[0] if cuts and all(cut == cuts[0] for cut in cuts) else None

    def datasets(self) -> list[dict[str, Any]]:
        """The project's sources, and those of its own relations that somebody answers for or whose partitions are
        declared; of the others the edges say all there is. Two names of one relation are one dataset."""
        found: dict[str, dict[str, Any]] = {}
        for _, node in sorted(self._nodes.items()):
            relation = self._relation(node)
            says = {"owner": self._owner(node), "partitioning": _said(node).get("partitioning")}
            says |= _described(node) if _kind(node) == "source" else {}  # of all else the task says it
            if relation and (any(says.values()) or _kind(node) == "source"):
                known = found.setdefault(relation["name"], {**relation, **says})
                known |= {field: known.get(field) or value for field, value in says.items()}
        for name, aliases in self._source_names().items():
            found[name]["aliases"] = aliases
        return list(found.values())

    def _source_names(self) -> dict[str, list[dict[str, str]]]:
        """By relation, what dbt's events call a source with an identifier: by its name in the project, which no
        table has. Without the names that mean another relation too."""
        relations = [relation["name"] for node in self._nodes.values() if (relation := self._relation(node))]
        sources = [node for node in self._nodes.values() if _kind(node) == "source"]
        named = {(self._named(node, "identifier")["name"], self._named(node, "name")["name"]) for node in sources}
        taken = Counter([*relations, *(alias for own, alias in named if own != alias)])
        found: dict[str, list[dict[str, str]]] = {}
        for own, alias in sorted(named):
            if own != alias and taken[alias] == 1:
                found.setdefault(own, []).append({"namespace": self._dataset_namespace, "name": alias})
        return found

    def _consumes(self, node: _Node, passed: frozenset[str]) -> Iterator[dict[str, Any]]:
        """What a node reads; a unit test only the rows in its own definition. An ephemeral model, a metric or the
        like leaves nothing behind and runs nowhere, so the node really waits for what lies behind it; the ephemeral
        model itself is an edge that is not required.
        """
        for unique_id in _upstreams(node) if _kind(node) != "unit_test" else ():
            upstream = self._nodes.get(unique_id)
            if upstream is None or unique_id in passed:
                continue
            relation = self._relation(upstream)
            if relation:
                yield {"dataset": relation}
                continue
            if _kind(upstream) in _TASKS:
                task = {"namespace": self._namespace, "name": task_name(unique_id)}
                yield {"task": task, "required": _kind(upstream) == "test"}
            if _kind(upstream) != "test":
                yield from self._consumes(upstream, passed | {unique_id})

    def _relation(self, node: _Node) -> dict[str, str] | None:
        """The dataset that a node is, named as OpenLineage names it; None for what has no relation."""
        kind = _kind(node)
        if kind not in _RELATIONS and kind != "source":
            return None
        if facets.text(node, "config", "materialized") == "ephemeral":
            return None
        return self._named(node, "identifier" if kind == "source" else "alias")

    def _named(self, node: _Node, field: str) -> dict[str, str]:
        own = facets.text(node, field) or facets.text(node, "name")
        parts = (facets.text(node, "database"), facets.text(node, "schema"), own)
        return {"namespace": self._dataset_namespace, "name": ".".join(part for part in parts if part)}

    def _owner(self, node: _Node) -> str | None:
        """The owner in meta, else that of the exposure or of the group."""
        group = self._groups.get(f"group.{facets.text(node, 'package_name')}.{facets.text(node, 'group')}", {})
        found = (
            facets.text(node, "meta", "owner"),
            facets.text(node, "config", "meta", "owner"),
            *(facets.text(holder, "owner", field) for holder in (node, group) for field in ("email", "name")),
        )
        return next((owner for owner in found if owner), None)


def _described(node: _Node) -> dict[str, Any]:
    """What people are told of a node: its description, its tags, and of an exposure its page."""
    tags = [tag for tag in facets.items(node, "tags") if isinstance(tag, str) and tag]
    url = facets.text(node, "url") or ""
    links = {"page": url} if url.startswith(("http://", "https://")) and not set(url) & set(" \t\n") else {}
    said = {"description": facets.text(node, "description"), "tags": tags, "links": links}
    return {field: value for field, value in said.items() if value}


def _section(document: _Node, name: str) -> dict[str, _Node]:
    section = document.get(name)
    nodes = section if isinstance(section, dict) else {}
    return {unique_id: node for unique_id, node in nodes.items() if isinstance(node, dict)}


def _kind(node: _Node) -> str:
    return facets.text(node, "resource_type") or ""


def _said(node: _Node) -> dict[str, Any]:
    """What a node says under meta.dataforge. Raises InvalidInput for what is not to be said there."""
    holders = (facets.section(node, "config", "meta"), facets.section(node, "meta"))
    said: object = next((meta["dataforge"] for meta in holders if "dataforge" in meta), {})
    path = f"{facets.text(node, 'unique_id') or facets.text(node, 'name')}.meta.dataforge"
    if not isinstance(said, dict):
        raise _unsaid(path, said, "an object")
    for field in said.keys() - set(_SAID + _ALSO_SAID):
        raise _unsaid(f"{path}.{field}", said[field], f"one of {', '.join(sorted(_SAID + _ALSO_SAID))}")
    return said


def _unsaid(path: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(f"{path} is {value!r}: expected {expected}", [FieldError(path, value, expected)])


def _upstreams(node: _Node) -> list[str]:
    return [unique_id for unique_id in facets.items(node, "depends_on", "nodes") if isinstance(unique_id, str)]


def _distinct(edges: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each upstream once; an edge that is required counts before one that is not."""
    found: dict[tuple[bool, str], dict[str, Any]] = {}
    for edge in edges:
        node = edge.get("dataset") or edge["task"]
        key = ("dataset" in edge, node["name"])
        if key not in found or edge.get("required", True):
            found[key] = edge
    return list(found.values())
