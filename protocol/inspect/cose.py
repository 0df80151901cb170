"""COSE keys (RFC 9052 section 7, RFC 9053 section 7): the meaning of a member depends on the kind of key."""

from typing import Final

from fidoloop.protocol.inspect.cbor import Field, Fields, canonical_problem, cbor_tree, first_item
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.node import Node
from fidoloop.protocol.webauthn.algorithms import NUMBERS

_NAMES: Final = {number: name for name, number in NUMBERS.items()} | {-9: "ESP256", -25: "ECDH-ES+HKDF-256"}
_KTY: Final = {1: "OKP", 2: "EC2", 3: "RSA", 4: "symmetric"}
_CURVES: Final = {1: "P-256", 2: "P-384", 3: "P-521", 6: "Ed25519", 7: "Ed448", 8: "secp256k1"}


def tell_cose_algorithm(value: object) -> str:
    """Return the name of a COSE algorithm, empty where it has none here."""
    return _NAMES.get(value, "") if isinstance(value, int) else ""


_COMMON: Final[Fields] = {
    1: Field("kty", "kind of key", tell=lambda value: _KTY.get(value, "") if isinstance(value, int) else ""),
    2: Field("kid", "name of the key"),
    3: Field("alg", "algorithm", tell=tell_cose_algorithm),
}
_CURVE: Final = Field("crv", "curve", tell=lambda value: _CURVES.get(value, "") if isinstance(value, int) else "")
_ELLIPTIC: Final[Fields] = {
    -1: _CURVE,
    -2: Field("x", "x coordinate, or the public key"),
    -3: Field("y", "y coordinate"),
    -4: Field("d", secret=True),
}
_OF_KIND: Final[dict[int | None, Fields]] = {
    1: _ELLIPTIC,
    2: _ELLIPTIC,
    3: {
        -1: Field("n", "modulus"),
        -2: Field("e", "public exponent"),
        **{number: Field("private", secret=True) for number in range(-12, -2)},
    },
    4: {-1: Field("k", secret=True)},
}


def key_fields(key: object) -> Fields:
    """Return the fields of a COSE key by its kind."""
    return {**_COMMON, **_OF_KIND.get(_kind(key), {})}


def _kind(key: object) -> int | None:
    """Return the kind that a COSE key says it is of, which may be anything, as a number or None."""
    kind = key.get(1) if isinstance(key, dict) else None
    return kind if isinstance(kind, int) else None


def cose_key(data: bytes, at: int, context: Context, name: str) -> Node:
    """Return the COSE key at `at`. Raises MalformedError where it cannot be read."""
    return cbor_tree(data, at, context, name, key_fields(first_item(data, at)))


def read_cose_key(content: Content, context: Context) -> Node:
    """Return a COSE key that is all there is. Raises MalformedError where it cannot be read."""
    return cose_key(content.data, 0, context, "COSE key").wrong(canonical_problem(content.data))


def _looks(content: Content) -> bool:
    key = first_item(content.data) if not canonical_problem(content.data) else None
    return isinstance(key, dict) and _kind(key) in _KTY and -1 in key


KINDS = (Kind("cose-key", "a COSE key", _looks, read_cose_key),)
