"""Checkpoints: the facts and the derived state of an environment at an exact cut of its events, signed.

Guarantees that a checkpoint is whole or not there, and that one in which a single byte was changed is not used. Its
name holds the number of the last event it covers; its files are `manifest.json`, `manifest.sig`, one file of facts a
table, and `state.zst`, the canonical rows whose SHA-256 is the digest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import msgspec
import psutil

from dataforge.ledger.verify import canonical_lines
from dataforge.model.errors import Conflict
from dataforge.storage.database import Connection
from dataforge.storage.fact_file import FACTS, Part, export, hash_of, write_lines
from dataforge.storage.signing_key import SigningKey, is_signed

_MANIFEST, _SIGNATURE, _STATE = "manifest.json", "manifest.sig", "state.zst"
_DRAFT = ".making-"


class LastEvent(msgspec.Struct, frozen=True):
    """The last event of a cut: its number within its database, and its identity, which shows that it is that one."""

    number: int
    occurred_at: datetime
    id: str  # hexadecimal


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed."""

    format: int = 1
    environment: str
    last: LastEvent
    events: int  # up to the last
    rules: str  # the version of the rules that read them
    digest: str  # of the state that they and the definitions of that moment give
    made_at: datetime
    previous: str | None  # SHA-256 of the manifest of the checkpoint before
    public_key: str  # hexadecimal
    parts: tuple[Part, ...]


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint that is good: signed by the trusted key, and every part as it was."""

    folder: Path
    manifest: Manifest


class Refused(msgspec.Struct, frozen=True):
    """A checkpoint that is not used, and why."""

    name: str
    reason: str


class Shelf(msgspec.Struct, frozen=True):
    """Where the checkpoints of an environment stand, and whose signatures are believed."""

    folder: Path
    environment: str
    trusted: bytes | None

    def all(self) -> Iterator[Checkpoint | Refused]:
        """Every checkpoint, the newest cut first, each checked only when it is asked for."""
        for folder in sorted(self._folders(), key=lambda path: path.name, reverse=True):
            yield self.check(folder)

    def newest_manifest(self) -> bytes | None:
        """What the next checkpoint names as its previous one."""
        manifests = [path / _MANIFEST for path in self._folders() if (path / _MANIFEST).is_file()]
        return max(manifests).read_bytes() if manifests else None

    def _folders(self) -> list[Path]:
        here = self.folder / self.environment
        return [path for path in here.iterdir() if not path.name.startswith(".")] if here.is_dir() else []

    def check(self, folder: Path) -> Checkpoint | Refused:
        """Whether the checkpoint in this folder is good."""
        try:
            content = (folder / _MANIFEST).read_bytes()
            signature = (folder / _SIGNATURE).read_bytes()
            manifest = msgspec.json.decode(content, type=Manifest)
            reason = self._problem(manifest, content, signature) or _changed_part(folder, manifest)
        except (OSError, msgspec.DecodeError) as error:
            return Refused(folder.name, f"cannot be read: {error}")
        return Refused(folder.name, reason) if reason else Checkpoint(folder, manifest)

    def _problem(self, manifest: Manifest, content: bytes, signature: bytes) -> str | None:
        if self.trusted is None:
            return "there is no public key to check its signature with"
        if not is_signed(self.trusted, content, signature):
            return "its manifest was changed, or signed with another key"
        if manifest.environment != self.environment:
            return f"it is one of {manifest.environment}"
        return None


def _changed_part(folder: Path, manifest: Manifest) -> str | None:
    for part in manifest.parts:
        if hash_of(folder / part.file) != part.sha256:
            return f"{part.file} was changed"
    return None


class Cut(msgspec.Struct, frozen=True):
    """What a checkpoint is of: the rebuilt state that was compared with the live one, and what it was read from."""

    beside: int
    last: LastEvent
    events: int
    rules: str


def make(connection: Connection, shelf: Shelf, key: SigningKey, cut: Cut, now: datetime) -> Checkpoint:
    """Writes the checkpoint of a cut, from the state that was rebuilt of it; one that is there already is left alone.

    Raises Conflict where one of that name is there and is not good.
    """
    here = shelf.folder / shelf.environment
    here.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_drafts(here)
    draft = here / f"{_DRAFT}{os.getpid()}"
    draft.mkdir(mode=0o700)
    try:
        manifest = _write_parts(connection, shelf, key, cut, now, draft)
        name = f"{cut.last.number:012}-{manifest.digest[:12]}-{cut.rules[:8]}"
        if (here / name).exists():
            return _standing(shelf, here / name)
        content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        _write_durably(draft / _MANIFEST, content)
        _write_durably(draft / _SIGNATURE, key.sign(content))
        draft.rename(here / name)
        _sync(here)
        return Checkpoint(here / name, manifest)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove_drafts(here: Path) -> None:
    """Removes what killed processes left."""
    for draft in here.glob(f"{_DRAFT}*"):
        if not psutil.pid_exists(int(draft.name.removeprefix(_DRAFT))):
            shutil.rmtree(draft, ignore_errors=True)


def _write_parts(
    connection: Connection, shelf: Shelf, key: SigningKey, cut: Cut, now: datetime, draft: Path
) -> Manifest:
    total = sha256()

    def hashed() -> Iterator[bytes]:
        for line in canonical_lines(connection, cut.beside):
            total.update(line)
            yield line

    state = write_lines(draft / _STATE, hashed())
    facts = [export(connection, cut.beside, table, draft) for table in FACTS]
    for part in (state, *facts):
        _sync(draft / part.file)
    before = shelf.newest_manifest()
    return Manifest(
        environment=shelf.environment,
        last=cut.last,
        events=cut.events,
        rules=cut.rules,
        digest=total.hexdigest(),
        made_at=now,
        previous=sha256(before).hexdigest() if before else None,
        public_key=key.public.hex(),
        parts=(state, *facts),
    )


def _standing(shelf: Shelf, folder: Path) -> Checkpoint:
    found = shelf.check(folder)
    if isinstance(found, Refused):
        raise Conflict(f"the checkpoint {found.name} is there, but {found.reason}: move it away, and make it again")
    return found


def _write_durably(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
