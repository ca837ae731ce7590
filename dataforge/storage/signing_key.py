"""The key that this installation signs with, made on first use and readable by its owner alone.

Guarantees that processes that start at once end with one key. Both halves are PEM files that OpenSSL reads.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from dataforge.model import ed25519
from dataforge.model.errors import StartupError

_SECRET, _PUBLIC = "checkpoint.pem", "checkpoint.pub.pem"


class SigningKey(NamedTuple):
    """Both halves."""

    secret: bytes
    public: bytes


def signing_key(folder: Path) -> SigningKey:
    """The key in this folder; a new one where there is none yet. Raises StartupError where it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, shown = folder / _SECRET, folder / _PUBLIC
        # Asked in this order: whoever makes both makes the secret first.
        if shown.exists() and not path.exists():
            raise StartupError(f"{folder} holds the public key of another installation, to check with: none signs here")
        if not path.exists():
            _create(path, _pem("PRIVATE KEY", ed25519.private_der(secrets.token_bytes(32))), 0o600)
        if path.stat().st_mode & 0o077:
            raise StartupError(f"{path} can be read by others than its owner: chmod 600 it, or move it away")
        secret = ed25519.of_private_der(_of_pem(path.read_text(encoding="ascii")))
        if secret is None:
            raise StartupError(f"{path} is no Ed25519 key in PKCS #8: move it away, and a new one is made")
        public = ed25519.public_key(secret)
        if not shown.exists():
            _create(shown, public_pem(public), 0o644)
        if trusted_key(folder) != public:
            raise StartupError(f"{shown} is not the public half of {path}: move away the one that is wrong")
        return SigningKey(secret, public)
    except (OSError, ValueError) as error:
        raise StartupError(f"the signing key in {folder} cannot be used: {error}") from error


def trusted_key(folder: Path) -> bytes | None:
    """The public key whose signatures are believed: where nothing is signed, its file alone will do. None where there
    is none."""
    path = folder / _PUBLIC
    try:
        return ed25519.of_public_der(_of_pem(path.read_text(encoding="ascii"))) if path.exists() else None
    except (OSError, ValueError) as error:
        raise StartupError(f"{path} cannot be read: {error}") from error


def public_pem(public: bytes) -> str:
    """The public key as OpenSSL reads it."""
    return _pem("PUBLIC KEY", ed25519.public_der(public))


def _create(path: Path, content: str, mode: int) -> None:
    """Writes a whole file, unless somebody else was first."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _pem(label: str, content: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(content).decode()}\n-----END {label}-----\n"


def _of_pem(text: str) -> bytes:
    return base64.b64decode("".join(line for line in text.splitlines() if not line.startswith("-----")))
