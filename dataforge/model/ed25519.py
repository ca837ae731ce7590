"""Ed25519 signatures, after RFC 8032: who holds a public key can tell that the holder of the other half signed.

Guarantees the RFC's own signatures, so `openssl pkeyutl` and every library check them. It signs a few short documents
with a key of this machine; it is no match for a library where time or an attacker who measures it counts.
"""

from hashlib import sha512

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1
_Point = tuple[int, int, int, int]  # x, y, z, t with x = x/z, y = y/z, x*y = t/z
_NEUTRAL: _Point = (0, 1, 1, 0)
# How the two halves are written where others read them: RFC 8410.
_PRIVATE_DER = bytes.fromhex("302e020100300506032b657004220420")
_PUBLIC_DER = bytes.fromhex("302a300506032b6570032100")


def public_key(secret: bytes) -> bytes:
    """The 32 bytes of the public half of a secret of 32 bytes."""
    return _encode(_multiply(_scalar(secret), _BASE))


def sign(secret: bytes, message: bytes) -> bytes:
    """The signature of a message, 64 bytes; the same every time."""
    prefix, scalar = sha512(secret).digest()[32:], _scalar(secret)
    nonce = _number(sha512(prefix + message).digest()) % _ORDER
    shown = _encode(_multiply(nonce, _BASE))
    challenge = _number(sha512(shown + public_key(secret) + message).digest()) % _ORDER
    return shown + ((nonce + challenge * scalar) % _ORDER).to_bytes(32, "little")


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of this public key's secret signed the message."""
    key, shown = _decode(public), _decode(signature[:32])
    answer = _number(signature[32:])
    if len(signature) != 64 or key is None or shown is None or answer >= _ORDER:
        return False
    challenge = _number(sha512(signature[:32] + public + message).digest()) % _ORDER
    return _encode(_multiply(answer, _BASE)) == _encode(_add(shown, _multiply(challenge, key)))


def private_der(secret: bytes) -> bytes:
    """The secret as PKCS #8."""
    return _PRIVATE_DER + secret


def public_der(public: bytes) -> bytes:
    """The public key as SubjectPublicKeyInfo."""
    return _PUBLIC_DER + public


def of_private_der(content: bytes) -> bytes | None:
    """The secret of such a key; None where it is something else."""
    return _rest(content, _PRIVATE_DER)


def of_public_der(content: bytes) -> bytes | None:
    """The public key of such a document; None where it is something else."""
    return _rest(content, _PUBLIC_DER)


def _rest(content: bytes, prefix: bytes) -> bytes | None:
    return content[len(prefix) :] if content.startswith(prefix) and len(content) == len(prefix) + 32 else None


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")


def _scalar(secret: bytes) -> int:
    clamped = bytearray(sha512(secret).digest()[:32])
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    return _number(bytes(clamped))


def _add(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: _Point) -> _Point:
    total = _NEUTRAL
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _encode(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decode(content: bytes) -> _Point | None:
    if len(content) != 32:
        return None
    y, sign_bit = _number(content) & (1 << 255) - 1, content[31] >> 7
    x = _recover(y, sign_bit) if y < _P else None
    return None if x is None else (x, y, 1, x * y % _P)


def _recover(y: int, sign_bit: int) -> int | None:
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    if x * x % _P != square or (x == 0 and sign_bit):
        return None
    return _P - x if x & 1 != sign_bit else x


def _base() -> _Point:
    y = 4 * pow(5, -1, _P) % _P
    x = _recover(y, 0)
    assert x is not None, "the base point of RFC 8032 is on the curve"
    return (x, y, 1, x * y % _P)


_BASE = _base()
