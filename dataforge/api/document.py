"""The OpenAPI document, as far as it is not said beside each operation.

Guarantees that the document says how every operation fails, and that every schema is described by the docstring
of the type it is made from.
"""

from __future__ import annotations

from inspect import getdoc
from typing import Any

import msgspec
from litestar import Litestar
from litestar.enums import MediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Example, License, OpenAPIMediaType, OpenAPIResponse, Operation, Reference, Schema, Tag
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from dataforge import __version__
from dataforge.api import problem

# How the page groups the operations, by what a reader wants to do.
_GROUPS = {
    "Ask": (
        "get_readiness",
        "post_readiness",
        "post_freshness",
        "post_arrivals",
        "get_graph",
        "get_run_graph",
        "list_findings",
        "query_graphql",
    ),
    "Send events": ("record_event", "record_event_in", "record_batch", "record_batch_in", "record_events"),
    "Run": (
        "list_wakeups",
        "make_claim",
        "make_claims",
        "claim_each",
        "extend_claim",
        "extend_claims",
        "complete_claim",
        "fail_claim",
        "release_claim",
        "end_claims",
        "order_rerun",
    ),
    "Backfill": (
        "plan_backfill",
        "list_backfills",
        "get_backfill",
        "list_backfill_partitions",
        "pause_backfill",
        "resume_backfill",
        "cancel_backfill",
        "retry_backfill",
    ),
    "Follow": ("list_changes", "post_latest", "post_newest", "tell_mirror", "list_mirrors"),
    "Declare": ("declare_source", "declare_task", "register_keys"),
    "List": (
        "list_tasks",
        "list_datasets",
        "list_runs",
        "list_shards",
        "list_partitions",
        "list_updates",
        "list_keys",
        "list_rejects",
        "list_versions",
        "get_definition",
    ),
    "Watch the server": ("health", "ready", "metrics"),
}
_METHODS = ("get", "put", "post", "delete", "patch")


def configuration() -> OpenAPIConfig:
    """The document's head, and where it stands."""
    return OpenAPIConfig(
        title="DataForge",
        version=__version__,
        description="What may run, what is missing, and what breaks, across every data platform at once.",
        license=License(name="Apache 2.0", identifier="Apache-2.0"),
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, _, __: handler.handler_name,
        # The framework answers whatever else lies under this path, in HTML: so nothing else may.
        path="/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/", media_type=MediaType.JSON)],
    )


class DescribedStructs(OpenAPISchemaPlugin):
    """Describes the schema of a struct by its docstring; the framework's own plugin makes the rest of it."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Whether it is a struct, and not a choice of several."""
        return not field_definition.is_union and field_definition.is_subclass_of(msgspec.Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """The schema of a struct, with its description."""
        others = (plugin for plugin in schema_creator.plugins if plugin is not self)
        own = next(plugin for plugin in others if schema_creator.plugin_supports_field(plugin, field_definition))
        schema: Schema = own.to_openapi_schema(field_definition, schema_creator)
        schema.description = getdoc(field_definition.origin or field_definition.annotation)
        return schema


def complete(app: Litestar) -> None:
    """Adds the answer to errors, in the place of the framework's own: it is the same everywhere."""
    media = OpenAPIMediaType(
        schema=Reference(ref="#/components/schemas/Problem"),
        examples={"unprocessable": Example(value=msgspec.to_builtins(problem.EXAMPLE))},
    )
    failed = OpenAPIResponse(description="Refused, or failed.", content={problem.MEDIA_TYPE: media})
    groups = {name: group for group, names in _GROUPS.items() for name in names}
    app.openapi_schema.tags = [Tag(name=group) for group in _GROUPS]
    for operation in _operations(app):
        operation.tags = [groups[operation.operation_id or ""]]
        kept = {status: answer for status, answer in (operation.responses or {}).items() if status != "400"}
        operation.responses = {**kept, "default": failed}


def _operations(app: Litestar) -> list[Operation]:
    paths = (app.openapi_schema.paths or {}).values()
    return [operation for path in paths for method in _METHODS if (operation := getattr(path, method)) is not None]
