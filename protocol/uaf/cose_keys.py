"""COSE_Key, the key format 0x104 (RFC 9052 section 7, RFC 9053 section 7; digest section 9)."""

import struct
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from fido2 import cbor

from fidoloop.protocol.uaf.algorithms import SignatureAlgorithm, UafPublicKey

_KTY, _ALG, _CRV, _X, _Y = 1, 3, -1, -2, -3
_N, _E = -1, -2
_OKP, _EC2, _RSA = 1, 2, 3

_EC_CURVES: Mapping[int, ec.EllipticCurve] = {
    1: ec.SECP256R1(),
    2: ec.SECP384R1(),
    3: ec.SECP521R1(),
    8: ec.SECP256K1(),
}
_EC_NUMBERS = {curve.name: number for number, curve in _EC_CURVES.items()}
_OKP_KEYS: Mapping[int, type[ed25519.Ed25519PublicKey] | type[ed448.Ed448PublicKey]] = {
    6: ed25519.Ed25519PublicKey,
    7: ed448.Ed448PublicKey,
}
_UNREADABLE = (ValueError, TypeError, LookupError, struct.error, RecursionError)


def load_cose_key(data: bytes, row: SignatureAlgorithm) -> UafPublicKey:
    """Return the key in `data`: canonical CBOR that holds just the key's own members and an algorithm of `row`.

    Raises:
        ValueError: anything else; the text says what.
    """
    try:
        members = cbor.decode(data)
        canonical = isinstance(members, dict) and cbor.encode(members) == data
    except _UNREADABLE:
        raise ValueError("not CBOR") from None
    if not isinstance(members, dict) or not canonical:
        raise ValueError("not a map in canonical CBOR")
    if _number(members, _ALG) not in row.cose:
        raise ValueError("the COSE algorithm is not that of the signatures")
    kind = _number(members, _KTY)
    if kind == _EC2:
        return _ec_key(members)
    if kind == _OKP:
        return _okp_key(members)
    if kind == _RSA:
        n, e = _bytes(members, {_KTY, _ALG, _N, _E}, _N, _E)
        return rsa.RSAPublicNumbers(int.from_bytes(e), int.from_bytes(n)).public_key()
    raise ValueError("COSE key type is neither OKP, EC2 nor RSA")


def encode_cose_key(key: UafPublicKey, row: SignatureAlgorithm) -> bytes:
    """Return `key` as a COSE_Key in canonical CBOR, its algorithm the most usual one of `row`."""
    # Of two names for one thing the older is the larger number, and every reader knows it.
    algorithm = max(row.cose)
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        size = (key.curve.key_size + 7) // 8
        return cbor.encode(
            {
                _KTY: _EC2,
                _ALG: algorithm,
                _CRV: _EC_NUMBERS[key.curve.name],
                _X: point.x.to_bytes(size),
                _Y: point.y.to_bytes(size),
            }
        )
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return cbor.encode({_KTY: _RSA, _ALG: algorithm, _N: _unsigned(numbers.n), _E: _unsigned(numbers.e)})
    (curve,) = [number for number, kind in _OKP_KEYS.items() if isinstance(key, kind)]
    return cbor.encode({_KTY: _OKP, _ALG: algorithm, _CRV: curve, _X: key.public_bytes_raw()})


def _ec_key(members: dict[object, object]) -> UafPublicKey:
    x, y = _bytes(members, {_KTY, _ALG, _CRV, _X, _Y}, _X, _Y)
    curve = _EC_CURVES.get(_number(members, _CRV))
    if curve is None:
        raise ValueError("COSE curve is not supported")
    size = (curve.key_size + 7) // 8
    if len(x) != size or len(y) != size:
        raise ValueError(f"COSE coordinates of {len(x)} and {len(y)} bytes, {size} expected")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + x + y)


def _okp_key(members: dict[object, object]) -> UafPublicKey:
    (x,) = _bytes(members, {_KTY, _ALG, _CRV, _X}, _X)
    kind = _OKP_KEYS.get(_number(members, _CRV))
    if kind is None:
        raise ValueError("COSE curve is not supported")
    return kind.from_public_bytes(x)


def _number(members: dict[object, object], name: int) -> int:
    """Return an integer member, 0 (which names nothing) where there is none; true and false are no integers."""
    value = members.get(name)
    return value if type(value) is int else 0


def _bytes(members: dict[object, object], expected: set[int], *names: int) -> list[bytes]:
    """Return the byte strings `names` of a key that has just the `expected` members."""
    if set(members) != expected or not all(type(name) is int for name in members):
        raise ValueError("COSE key has other members than its kind")
    found = [members[name] for name in names]
    if not all(isinstance(value, bytes) for value in found):
        raise ValueError("COSE key numbers are not byte strings")
    return [value for value in found if isinstance(value, bytes)]


def _unsigned(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
