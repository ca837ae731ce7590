"""Metrics, in the text format that Prometheus and its like read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from dataforge.ledger.mirror import all_mirrors
from dataforge.storage.database import Database

MEDIA_TYPE = "text/plain; version=0.0.4"  # and the encoding, which the framework adds
_LAG = ("dataforge_mirror_lag_seconds", "How old what a mirror of the ledger shows may be.")
_WAITING = ("dataforge_mirror_waiting", "Changes that a mirror of the ledger knows to wait; there may be more.")
_EXAMPLE = """\
# HELP dataforge_mirror_lag_seconds How old what a mirror of the ledger shows may be.
# TYPE dataforge_mirror_lag_seconds gauge
dataforge_mirror_lag_seconds{environment="dev",mirror="ledger_to_dagster"} 4.2
"""
_ANSWER = ResponseSpec(
    str,
    description="The metrics.",
    media_type=MEDIA_TYPE,
    examples=[Example(summary="an example", value=_EXAMPLE)],
    generate_examples=False,
)


@get("/metrics", sync_to_thread=True, media_type=MEDIA_TYPE, responses={200: _ANSWER}, summary="Read the metrics")
def metrics(database: NamedDependency[Database]) -> str:
    """How far behind each mirror of the ledger is, by environment."""
    found = [
        ({"environment": environment, "mirror": item.name}, item)
        for environment, item in all_mirrors(database, datetime.now(UTC))
    ]
    lags = [(labels, item.lag_seconds) for labels, item in found]
    waiting = [(labels, item.waiting) for labels, item in found]
    return _gauge(*_LAG, lags) + _gauge(*_WAITING, waiting)


def _gauge(name: str, said: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    lines = [f"# HELP {name} {said}", f"# TYPE {name} gauge"]
    lines += [f"{name}{{{_labels(labels)}}} {value:.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
