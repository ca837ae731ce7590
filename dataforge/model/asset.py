"""What a window shows of a dataset, or of a task that writes none: an asset, and the snapshot that holds all of them.

Guarantees that one state of the ledger makes one snapshot, byte for byte; that its assets depend on each other without
a cycle, since Dagster takes none; and that what was left out for it is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

import msgspec
from msgspec.structs import replace

from dataforge.model import edge
from dataforge.model.decoding import convert
from dataforge.model.errors import FieldError, InvalidInput
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, NodeKind, TaskRef

FORMAT = 1  # of a snapshot; one of another release is to be built anew


class AssetName(msgspec.Struct, frozen=True, order=True, array_like=True):
    """What an asset is in the ledger."""

    kind: NodeKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column as it was last seen."""

    name: str
    type: str = ""
    description: str = ""


class Upstream(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an asset is made from. `mapping` leads from its partitions to the upstream's; None where no single one does,
    and `reason` says why."""

    asset: AssetName
    mapping: edge.Mapping | None = edge.SAME
    reason: str = ""
    observed: bool = False  # nobody declares it


class Asset(msgspec.Struct, frozen=True, omit_defaults=True):
    """One asset, with all that is shown of it. `task` makes it, or all of `makers` do."""

    asset: AssetName
    key: tuple[str, ...]
    task: TaskRef | None = None
    makers: tuple[TaskRef, ...] = ()
    aliases: tuple[DatasetRef, ...] = ()
    platforms: tuple[str, ...] = ()  # of all that write it, as far as anybody has seen
    owner: str | None = None
    domain: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    links: dict[str, str] = {}
    columns: tuple[Column, ...] = ()
    partitioning: Partitioning | None = None  # None: nobody knows
    first: str | None = None  # when the first known partition begins, where it is cut into windows without a start
    upstream: tuple[Upstream, ...] = ()
    left_out: tuple[AssetName, ...] = ()  # upstreams that would close a cycle: it reaches them at another time

    @property
    def label(self) -> str:
        """Its key as Dagster writes it."""
        return "/".join(self.key)


class Snapshot(msgspec.Struct, frozen=True):
    """All assets of a window, in the order of their keys, and how those outside of it are called."""

    format: int
    keys: dict[str, str]
    assets: tuple[Asset, ...]


class Difference(msgspec.Struct, frozen=True):
    """One thing that a refresh would change."""

    asset: str
    what: str
    before: Any
    now: Any


def key_of(asset: AssetName, prefixes: Mapping[str, str]) -> tuple[str, ...]:
    """The key that a name stands under: its parts, with the longest of the prefixes that it begins with replaced."""
    whole = str(asset)
    begin = max((each for each in prefixes if whole.startswith(each)), key=len, default="")
    key = prefixes.get(begin, "") + whole[len(begin) :].replace("://", "/")
    return tuple(part for part in key.split("/") if part)


def snapshot(assets: Iterable[Asset], keys: Mapping[str, str]) -> Snapshot:
    """The snapshot of these assets. Raises InvalidInput where two of them would have one key."""
    ordered = sorted(assets, key=lambda asset: (asset.key, asset.asset))
    for one, other in pairwise(ordered):
        if one.key == other.key:
            expected = "another prefix for one of them, in keys"
            message = f"{one.asset} and {other.asset} would both be the asset {one.label}: expected {expected}"
            raise InvalidInput(message, [FieldError("keys", one.label, expected)])
    return Snapshot(FORMAT, dict(keys), tuple(_without_cycles(ordered)))


def _without_cycles(assets: Sequence[Asset]) -> Iterator[Asset]:
    """The assets without the upstreams that close a cycle: of each cycle the one that counts least goes. An asset that
    is made from its own earlier partitions stays so."""
    upstreams = {asset.asset: {each.asset: each for each in asset.upstream} for asset in assets}
    while cycle := _cycle(upstreams):
        steps = [upstreams[below][above] for above, below in pairwise(cycle)]
        least = min(range(len(steps)), key=lambda place: (*_weight(steps[place]), cycle[place + 1]))
        del upstreams[cycle[least + 1]][cycle[least]]
    for asset in assets:
        kept = upstreams[asset.asset]
        gone = tuple(each.asset for each in asset.upstream if each.asset not in kept)
        yield replace(asset, upstream=tuple(each for each in asset.upstream if each.asset in kept), left_out=gone)


def _cycle(upstreams: Mapping[AssetName, Mapping[AssetName, Upstream]]) -> list[AssetName] | None:
    """A cycle of two assets or more, each before the one that is made from it, and its first once more at the end."""
    between = {below: [each for each in above if each != below] for below, above in upstreams.items()}
    try:
        TopologicalSorter(between).prepare()
    except CycleError as error:
        found: list[AssetName] = error.args[1]
        return found
    return None


def _weight(upstream: Upstream) -> tuple[bool, bool]:
    """What nobody declares counts least, then what is needed of an earlier time."""
    earlier = isinstance(upstream.mapping, edge.Window) and upstream.mapping.to < 0
    return (not upstream.observed, not earlier)


def write(found: Snapshot) -> bytes:
    """The snapshot as a file: a line for each value, so that its differences are read as text."""
    return msgspec.json.format(msgspec.json.encode(found, order="deterministic"), indent=1) + b"\n"


def read(text: bytes, where: str, remedy: str) -> Snapshot:
    """The snapshot that a file holds. Raises InvalidInput with the remedy for what is none."""
    try:
        found = msgspec.json.decode(text, type=Snapshot)
    except msgspec.ValidationError as error:
        wrong = convert(msgspec.json.decode(text), Snapshot, "")
        unnamed = FieldError("$", "another document", str(error))
        raise _unreadable(where, wrong if isinstance(wrong, FieldError) else unnamed, remedy) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(where, FieldError("$", "no JSON", f"a window's snapshot ({error})"), remedy) from None
    if found.format != FORMAT:
        expected = f"{FORMAT}, the format of this release"
        raise _unreadable(where, FieldError("format", found.format, expected), remedy)
    return found


def _unreadable(where: str, error: FieldError, remedy: str) -> InvalidInput:
    message = (
        f"{where} is no snapshot of a window: {error.field} is {error.value!r}: expected {error.expected}; {remedy}"
    )
    return InvalidInput(message, [error])


_SHOWN = (
    "task",
    "makers",
    "platforms",
    "owner",
    "domain",
    "description",
    "tags",
    "links",
    "columns",
    "partitioning",
    "first",
)


def differences(before: Snapshot, now: Snapshot) -> list[Difference]:
    """What the second shows otherwise than the first, in the order of its assets; what has gone comes last."""
    old = {asset.asset: asset for asset in before.assets}
    new = {asset.asset: asset for asset in now.assets}
    former = {
        AssetName("dataset", alias.namespace, alias.name): asset for asset in now.assets for alias in asset.aliases
    }
    renamed = {former[name].asset: name for name in old if name not in new and name in former}
    found: list[Difference] = []
    for asset in now.assets:
        known = old.get(asset.asset) or old.get(renamed.get(asset.asset, asset.asset))
        found += [Difference(asset.label, "added", None, asset.label)] if known is None else _changes(known, asset)
    gone = [asset for asset in before.assets if asset.asset not in new and asset.asset not in former]
    return found + [Difference(asset.label, "gone", asset.label, None) for asset in gone]


def _changes(old: Asset, new: Asset) -> Iterator[Difference]:
    """What is shown otherwise of one asset."""
    if (old.asset, old.key) != (new.asset, new.key):
        yield Difference(new.label, "renamed", f"{old.label} ({old.asset})", f"{new.label} ({new.asset})")
    for field in _SHOWN:
        was, is_ = _plain(getattr(old, field)), _plain(getattr(new, field))
        if was != is_:
            yield Difference(new.label, field.replace("_", " "), was, is_)
    above = [{each.asset: each for each in asset.upstream} for asset in (old, new)]
    for name in sorted({*above[0], *above[1]}):
        one, other = (each.get(name) for each in above)
        if one != other:
            what = f"mapping of {name}" if one and other else f"upstream {name}"
            yield Difference(new.label, what, _upstream(one), _upstream(other))


def _upstream(each: Upstream | None) -> Any:
    if each is None:
        return None
    return each.reason if each.mapping is None else _plain(each.mapping)


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)
