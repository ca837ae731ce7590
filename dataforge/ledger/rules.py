"""Which rules decide: the version of the code by which events become facts, and facts become state.

Guarantees that two installations of the same version decide alike. The version is a hash of the sources themselves, so
nobody can forget to raise it; a changed comment changes it too, which costs no more than reading events again.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

_PACKAGES = ("model", "ingest")
_MODULES = (
    *("ledger/completeness", "ledger/declaration", "ledger/declare", "ledger/failing", "ledger/kept"),
    *(
        "ledger/partition_set",
        "ledger/production",
        "ledger/record",
        "ledger/settle",
        "ledger/settle_runs",
        "ledger/shard",
    ),
    *("ledger/stream", "storage/attempt", "storage/completeness", "storage/control", "storage/dataset"),
    *("storage/edge", "storage/mark", "storage/outcome", "storage/partition", "storage/partition_set"),
    *("storage/quality", "storage/quarantine_order", "storage/shard", "storage/stream", "storage/task"),
    *("storage/upstream_list", "storage/version", "storage/write"),
)
# What of these packages only carries events, or checks what they gave.
_CARRIERS = frozenset({"answer", "batch", "event_file", "group", "kafka", "kafka_log", "rebuild", "replay"})


@cache
def rules_version() -> str:
    """Sixteen hexadecimal digits."""
    total = sha256()
    for name, source in sorted(_sources(files("dataforge")).items()):
        total.update(f"{name}\n{len(source)}\n".encode() + source)
    return total.hexdigest()[:16]


def _sources(package: Traversable) -> dict[str, bytes]:
    found = {f"{name}.py": package.joinpath(f"{name}.py").read_bytes() for name in _MODULES}
    for folder in _PACKAGES:
        for each in package.joinpath(folder).iterdir():
            if each.name.endswith(".py") and each.name.removesuffix(".py") not in _CARRIERS:
                found[f"{folder}/{each.name}"] = each.read_bytes()
    return found
