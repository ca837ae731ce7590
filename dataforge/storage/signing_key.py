"""The key that this installation signs with, made on first use and readable by its owner alone.

Guarantees that processes that start at once end with one key. Both halves are PEM files that OpenSSL reads.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dataforge.model.errors import StartupError

_SECRET, _PUBLIC = "checkpoint.pem", "checkpoint.pub.pem"


class SigningKey(NamedTuple):
    """Both halves, of which the public one is 32 bytes."""

    secret: Ed25519PrivateKey
    public: bytes

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes; the same every time."""
        return self.secret.sign(message)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of this public key's other half signed the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signing_key(folder: Path) -> SigningKey:
    """The key in this folder; a new one where there is none yet. Raises StartupError where it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, shown = folder / _SECRET, folder / _PUBLIC
        # Asked in this order: whoever makes both makes the secret first.
        if shown.exists() and not path.exists():
            raise StartupError(f"{folder} holds the public key of another installation, to check with: none signs here")
        if not path.exists():
            made = Ed25519PrivateKey.generate()
            _create(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        if path.stat().st_mode & 0o077:
            raise StartupError(f"{path} can be read by others than its owner: chmod 600 it, or move it away")
        secret = _secret_of(path)
        public = secret.public_key().public_bytes_raw()
        if not shown.exists():
            _create(shown, public_pem(public).encode(), 0o644)
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
        read = load_pem_public_key(path.read_bytes()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise StartupError(f"{path} cannot be read: {error}") from error
    return read.public_bytes_raw() if isinstance(read, Ed25519PublicKey) else None


def public_pem(public: bytes) -> str:
    """The public key as OpenSSL reads it."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _secret_of(path: Path) -> Ed25519PrivateKey:
    try:
        secret = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):  # TypeError: it wants a password
        secret = None
    if not isinstance(secret, Ed25519PrivateKey):
        raise StartupError(f"{path} is no Ed25519 key in PKCS #8: move it away, and a new one is made")
    return secret


def _create(path: Path, content: bytes, mode: int) -> None:
    """Writes a whole file, unless somebody else was first."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
