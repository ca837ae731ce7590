"""Signatures are those of RFC 8032, and nothing that was changed passes for signed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataforge.model.ed25519 import is_signed, of_private_der, of_public_der, private_der, public_der, public_key, sign

# RFC 8032, section 7.1: tests 1 to 3.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
            "b00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
            "c027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_signatures_are_those_of_the_rfc(secret: str, public: str, message: str, signature: str) -> None:
    assert public_key(bytes.fromhex(secret)).hex() == public
    assert sign(bytes.fromhex(secret), bytes.fromhex(message)).hex() == signature
    assert is_signed(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=50), st.integers(0, 511), st.binary(max_size=5))
def test_what_was_changed_is_not_signed(secret: bytes, message: bytes, bit: int, more: bytes) -> None:
    public, signature = public_key(secret), sign(secret, message)
    assert is_signed(public, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not is_signed(public, message, bytes(flipped))
    assert not is_signed(public, message + b"x" + more, signature)
    assert not is_signed(public, message, signature + b"x")
    assert not is_signed(public_key(b"\0" * 32), message, signature) or secret == b"\0" * 32


def test_keys_are_read_as_they_were_written() -> None:
    secret = bytes(range(32))
    assert of_private_der(private_der(secret)) == secret
    assert of_public_der(public_der(public_key(secret))) == public_key(secret)
    assert of_private_der(public_der(secret)) is None
    assert of_public_der(b"") is None
