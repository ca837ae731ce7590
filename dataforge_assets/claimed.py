"""`claimed`: an asset that runs only what it has claimed in the ledger, and tells how that ended.

Guarantees that Dagster, Airflow and a shell script never run one partition twice at once, as long as each claims: what
a step is to make is claimed all or none before its first line runs, and ended by what the step has made. The
function behind the asset stays as it is; nothing connects before it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from copy import copy
from functools import partial
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, OpDefinition
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.execution.plan.compute_generator import create_op_compute_wrapper

from dataforge_assets.claims import LEASE_SECONDS, holding, targets_of
from resources.identity import CLAIMED
from resources.model import FieldError, InvalidInput

_Compute = Callable[[Any, Mapping[str, Any]], Iterator[Any]]


def claimed(assets: AssetsDefinition, *, lease_seconds: int = LEASE_SECONDS) -> AssetsDefinition:
    """The assets of one step, each partition of which is claimed before the step runs: `@claimed` above `@asset`,
    `@multi_asset` or `@dbt_assets`. It asks the resource `ledger`, for the tasks that the assets name or are called by
    (`resources.identity`).

    Raises InvalidInput for assets that are no step of their own: external ones, those of a graph, and coroutines.
    """
    made = assets.node_def if assets.is_executable else None
    if not isinstance(made, OpDefinition) or _is_async(made):
        keys = ", ".join(sorted(key.to_user_string() for key in assets.keys))
        expected = "assets that one function makes, which is no coroutine"
        raise InvalidInput(f"claimed({keys}): expected {expected}", [FieldError("assets", keys, expected)])
    step = copy(made)  # built anew, it would read its outputs' metadata again, and dbt's are none of Dagster's kinds
    step._compute_fn = _claiming(made, lease_seconds)
    step._required_resource_keys = made.required_resource_keys | {"ledger"}
    rebuilt = AssetsDefinition.dagster_internal_init(**{**assets.get_attributes_dict(), "node_def": step})
    return rebuilt.map_asset_specs(lambda spec: spec.merge_attributes(metadata={CLAIMED: True}))


def _claiming(made: OpDefinition, lease_seconds: int) -> _Compute:
    """What computes the step, in the form that Dagster has for functions of no decorator: it hands over the context,
    by the annotation of the one within, and the inputs."""
    function = made.compute_fn
    within: _Compute = create_op_compute_wrapper(made) if isinstance(function, DecoratedOpFunction) else function
    compute = partial(_compute, within=within, lease_seconds=lease_seconds)
    names = {"context": _context_of(made), "inputs": inspect.Parameter.empty}
    by_position = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, by_position, annotation=each) for name, each in names.items()]
    compute.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return compute


def _compute(context: Any, inputs: Mapping[str, Any], *, within: _Compute, lease_seconds: int) -> Iterator[Any]:
    asked = context if isinstance(context, AssetExecutionContext) else AssetExecutionContext(context)
    targets = targets_of(asked)
    with holding(asked, targets, lease_seconds) if targets else nullcontext():
        yield from within(context, inputs)


def _is_async(made: OpDefinition) -> bool:
    function = made.compute_fn.decorated_fn if isinstance(made.compute_fn, DecoratedOpFunction) else made.compute_fn
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _context_of(made: OpDefinition) -> Any:
    compute = made.compute_fn
    if isinstance(compute, DecoratedOpFunction) and compute.has_context_arg():
        return compute.get_context_arg().annotation
    return inspect.Parameter.empty
