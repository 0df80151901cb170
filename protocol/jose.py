"""Public JWKs, compact JWS and compact JWE with allow-lists per use (RFC 7515 to 7518, 7638; HTTP contract 6 and 9).

Private keys are `cryptography` private keys, hardware ones included. joserfc does JWE. JWS are signed and verified
here, since joserfc takes as long again as the signature does: every request to the OAuth services carries some.
"""

import hashlib
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple, cast

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MAX_JWK_CHARACTERS = 4096
MAX_JOSE_CHARACTERS = 32768
MAX_HEADER_CHARACTERS = 16384
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096
MAX_RSA_EXPONENT_BITS = 32

CONTENT_ENCRYPTION = "A256GCM"
DECRYPTION_ALGORITHMS = ("ECDH-ES+A256KW", "ECDH-ES", "RSA-OAEP-256")
DECRYPTION_ENCODINGS = ("A256GCM", "A128GCM")

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
_ECDSA = {32: ec.ECDSA(hashes.SHA256()), 48: ec.ECDSA(hashes.SHA384())}
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
_SIGNATURE_ALGORITHMS = {"P-256": ("ES256",), "P-384": ("ES384",), "RSA": ("PS256", "RS256")}


class JoseRefusal(ValueError):
    """A JWS or JWE is well formed and is refused: algorithm, key or signature. Says nothing of the content."""


class _JweRegistry(jwe.JWERegistry):
    max_protected_header_length = MAX_HEADER_CHARACTERS


class PublicJwk(msgspec.Struct, frozen=True):
    """A public key as its JWK members (only the required ones, RFC 7638) and as a cryptography key."""

    members: dict[str, str]
    key: PublicKey

    @property
    def thumbprint(self) -> str:
        """RFC 7638 SHA-256 thumbprint, base64url."""
        text = strictjson.encode(dict(sorted(self.members.items())))
        return base64url.encode(hashlib.sha256(text.encode("utf-8")).digest())

    @property
    def signature_algorithms(self) -> tuple[str, ...]:
        """The JWS algorithms this key may verify (HTTP contract 6)."""
        return _SIGNATURE_ALGORITHMS[self.members.get("crv", "RSA")]

    def to_json(self) -> str:
        """Return the JWK as a JSON text."""
        return strictjson.encode(self.members)


def public_jwk(key: PublicKey) -> PublicJwk:
    """Return the JWK of a cryptography public key.

    Raises:
        ValueError: a curve or kind of key that has no place here.
    """
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return PublicJwk({"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}, key)
    curve = {curve.name: name for name, curve in _CURVES.items()}.get(key.curve.name)
    if curve is None:
        raise ValueError(f"no JWK for curve {key.curve.name}")
    point = key.public_numbers()
    size = (key.key_size + 7) // 8
    return PublicJwk(
        {
            "crv": curve,
            "kty": "EC",
            "x": base64url.encode(point.x.to_bytes(size)),
            "y": base64url.encode(point.y.to_bytes(size)),
        },
        key,
    )


def parse_public_jwk(value: object, where: str = "$") -> PublicJwk:
    """Return the public JWK in `value`, a JSON object or the JSON text of one (HTTP contract 6).

    Raises:
        MalformedError: private members, another kty or curve, a point off the curve, an RSA key outside
            2048 to 4096 bits.
    """
    if isinstance(value, str):
        if len(value) > MAX_JWK_CHARACTERS:
            raise MalformedError(where, "JWK is too long")
        value = strictjson.loads(value, where)
    if not isinstance(value, dict):
        raise MalformedError(where, "not a JWK object")
    private = sorted(_PRIVATE_MEMBERS & value.keys())
    if private:
        raise MalformedError(where, f"private member {private[0]} in a public JWK")
    if value.get("kty") == "EC":
        return public_jwk(_ec_key(value, where))
    if value.get("kty") == "RSA":
        return public_jwk(_rsa_key(value, where))
    raise MalformedError(f"{where}.kty", "neither EC nor RSA")


def sign_compact(
    payload: bytes, key: PrivateKeyTypes, header: dict[str, Any] | None = None, *, algorithm: str | None = None
) -> str:
    """Return a compact JWS of `payload` by `key`: ES256, ES384 or PS256, whichever fits the key, or `algorithm`.

    Raises:
        ValueError: the key is neither EC P-256/P-384 nor RSA, or not one for `algorithm`.
    """
    possible = _signature_algorithms(key)
    algorithm = algorithm or possible[0]
    if algorithm not in possible:
        raise ValueError(f"the key does not sign by {algorithm}")
    signing_input = f"{_written(strictjson.encode({'alg': algorithm, **(header or {})}))}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(_sign(key, signing_input.encode('ascii'), algorithm))}"


@lru_cache(maxsize=64)
def _written(header: str) -> str:
    return base64url.encode(header.encode("utf-8"))


def _signature_algorithms(key: PrivateKeyTypes) -> tuple[str, ...]:
    kind = _kind_of(type(key))
    if kind == "EC":
        curve_name = cast("ec.EllipticCurvePrivateKey", key).curve.name
        for name, curve in _CURVES.items():
            if curve.name == curve_name:
                return _SIGNATURE_ALGORITHMS[name]
    elif kind == "RSA":
        return _SIGNATURE_ALGORITHMS["RSA"]
    raise ValueError("JOSE needs an EC P-256, P-384 or RSA key")


@lru_cache(maxsize=64)
def _kind_of(key_class: type) -> str:
    """Return EC or RSA: whether an object of cryptography's has one of its interfaces takes microseconds to tell."""
    if issubclass(key_class, ec.EllipticCurvePrivateKey):
        return "EC"
    return "RSA" if issubclass(key_class, rsa.RSAPrivateKey) else ""


def _sign(key: PrivateKeyTypes, data: bytes, algorithm: str) -> bytes:
    """Return the signature as JWS has it: of ECDSA both numbers at full length (RFC 7518 section 3.4)."""
    if not algorithm.startswith("ES"):
        return cast("rsa.RSAPrivateKey", key).sign(data, _rsa_padding(algorithm), hashes.SHA256())
    private = cast("ec.EllipticCurvePrivateKey", key)
    size = (private.key_size + 7) // 8
    r, s = decode_dss_signature(private.sign(data, _ECDSA[size]))
    return r.to_bytes(size) + s.to_bytes(size)


def _rsa_padding(algorithm: str) -> padding.PSS | padding.PKCS1v15:
    return _PSS if algorithm.startswith("PS") else padding.PKCS1v15()


def verify_compact(token: str, key: PublicJwk, where: str = "$") -> bytes:
    """Return the payload of the compact JWS `token` after verifying it with `key`.

    The algorithm must be one that the key's kind allows; `none` and HMAC never are.

    Raises:
        MalformedError: not a compact JWS, too long, or duplicate header members.
        JoseRefusal: algorithm not allowed, any critical header, or the signature does not verify.
    """
    parsed = parse_compact(token, where)
    verify_parsed(parsed, key, key.signature_algorithms)
    return parsed.payload


class CompactJws(NamedTuple):
    """A compact JWS taken apart, **not verified**."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes


def parse_compact(token: str, where: str = "$") -> CompactJws:
    """Return the parts of a compact JWS, nothing verified.

    Raises:
        MalformedError: not a compact JWS, too long, or duplicate header members.
        JoseRefusal: a critical header, `b64` (RFC 7797), or a kid that is no string.
    """
    header = _check_header(token, 3, where)
    if "b64" in header or not isinstance(header.get("kid", ""), str):
        raise JoseRefusal("JWS refused: b64, or a kid that is no string")
    signing_input, _, signature = token.rpartition(".")
    payload = signing_input[signing_input.index(".") + 1 :]
    return CompactJws(
        header,
        base64url.decode(payload, f"{where} payload"),
        signing_input.encode("ascii"),
        base64url.decode(signature, f"{where} signature"),
    )


def verify_parsed(parsed: CompactJws, key: PublicJwk, algorithms: Collection[str]) -> None:
    """Verify the signature of a JWS by `key` (RFC 7518 section 3).

    Raises:
        JoseRefusal: its algorithm is not one of `algorithms` or not one of the key's kind, or it does not verify.
    """
    algorithm = parsed.header["alg"]
    if algorithm not in algorithms or algorithm not in key.signature_algorithms:
        raise JoseRefusal("JWS refused: its algorithm is not allowed")
    try:
        # By its members: asking an object of cryptography's whether it is one of its interfaces takes microseconds.
        if key.members["kty"] == "EC":
            _verify_ecdsa(parsed, cast("ec.EllipticCurvePublicKey", key.key))
        else:
            cast("rsa.RSAPublicKey", key.key).verify(
                parsed.signature, parsed.signing_input, _rsa_padding(algorithm), hashes.SHA256()
            )
    except InvalidSignature:
        raise JoseRefusal("JWS refused: its signature does not verify") from None


def _verify_ecdsa(parsed: CompactJws, key: ec.EllipticCurvePublicKey) -> None:
    size = (key.key_size + 7) // 8
    if len(parsed.signature) != 2 * size:
        raise InvalidSignature
    r, s = int.from_bytes(parsed.signature[:size]), int.from_bytes(parsed.signature[size:])
    key.verify(encode_dss_signature(r, s), parsed.signing_input, _ECDSA[size])


def unverified_payload(token: str, where: str = "$") -> bytes:
    """Return the payload of the compact JWS `token` as anyone may have written it: it says whose key to verify with.

    Raises:
        MalformedError: not a compact JWS, too long, or duplicate header members.
    """
    _check_header(token, 3, where)
    return base64url.decode(token.split(".")[1], where)


def encrypt_compact(plaintext: bytes, recipient: PublicJwk) -> str:
    """Return a compact JWE of the JSON `plaintext` to `recipient` (HTTP contract 9).

    EC: ECDH-ES+A256KW; RSA: RSA-OAEP-256; A256GCM; kid is the recipient's thumbprint.
    """
    algorithm = "ECDH-ES+A256KW" if recipient.members["kty"] == "EC" else "RSA-OAEP-256"
    header = {
        "alg": algorithm,
        "enc": CONTENT_ENCRYPTION,
        "kid": recipient.thumbprint,
        "cty": "application/json",
    }
    return jwe.encrypt_compact(header, plaintext, _jose_public_key(recipient), [algorithm, CONTENT_ENCRYPTION])


def decrypt_compact(token: str, key: PrivateKeyTypes, where: str = "$") -> bytes:
    """Return the plaintext of the compact JWE `token` decrypted by `key`.

    Raises:
        MalformedError: not a compact JWE, too long, or duplicate header members.
        JoseRefusal: an algorithm outside the allow-list, any critical header, a kid of another key, or it does
            not decrypt.
    """
    header = _check_header(token, 5, where)
    jose_key, jwk = jose_private_key(key)
    if "kid" in header and header["kid"] != jwk.thumbprint:
        raise JoseRefusal("JWE is encrypted to another key")
    if header.get("enc") not in DECRYPTION_ENCODINGS:  # joserfc would look it up, whatever it is
        raise JoseRefusal("JWE refused: its content encryption is not allowed")
    try:
        # Not in the allow-list, so refused: zip, whose output nothing would bound.
        registry = _JweRegistry(algorithms=[*DECRYPTION_ALGORITHMS, *DECRYPTION_ENCODINGS], strict_check_header=False)
        plaintext = jwe.decrypt_compact(token, jose_key, registry=registry).plaintext
    except (JoseError, ValueError, KeyError) as error:  # KeyError: an ephemeral key on a curve joserfc does not know
        raise JoseRefusal(f"JWE refused: {type(error).__name__}") from None
    if plaintext is None:
        raise JoseRefusal("JWE has no content")
    return plaintext


def key_id(token: str, where: str = "$") -> str | None:
    """Return the `kid` that a compact JWE's header names, or None.

    Raises:
        MalformedError: not a compact JWE, too long, or duplicate header members.
    """
    kid = _check_header(token, 5, where).get("kid")
    return kid if isinstance(kid, str) else None


def jose_private_key(key: PrivateKeyTypes) -> tuple[ECKey | RSAKey, PublicJwk]:
    """Return `key` as joserfc takes it, beside its public members so that nothing is ever exported.

    Raises:
        ValueError: neither an EC key on P-256 or P-384 nor an RSA key.
    """
    public = key.public_key()
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
        jwk = public_jwk(public)
        return ECKey(key, jwk.members), jwk
    if isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
        jwk = public_jwk(public)
        return RSAKey(key, jwk.members), jwk
    raise ValueError("JOSE needs an EC P-256, P-384 or RSA key")


def _jose_public_key(key: PublicJwk) -> ECKey | RSAKey:
    kind: type[ECKey] | type[RSAKey] = ECKey if key.members["kty"] == "EC" else RSAKey
    return kind.import_key(dict(key.members))


def _check_header(token: str, parts: int, where: str) -> dict[str, Any]:
    """Return the protected header, having refused what joserfc would take: duplicates, oversize, crit.

    No extension is understood here, so none can be critical (RFC 7515 section 4.1.11); joserfc knows b64.
    """
    if len(token) > MAX_JOSE_CHARACTERS:
        raise MalformedError(where, f"{len(token)} characters, at most {MAX_JOSE_CHARACTERS} allowed")
    pieces = token.split(".")
    if len(pieces) != parts:
        raise MalformedError(where, f"not a compact serialisation of {parts} parts")
    return read_header(pieces[0], where)


@lru_cache(maxsize=1024)
def read_header(segment: str, where: str = "$") -> dict[str, Any]:
    """Return a header, which is not to be changed: those of one sender are all alike, so it is kept.

    Raises:
        MalformedError: not an object with alg; JoseRefusal: a critical header.
    """
    header = strictjson.loads(base64url.decode(segment, f"{where} header"), f"{where} header")
    if not isinstance(header, dict) or not isinstance(header.get("alg"), str):
        raise MalformedError(f"{where} header", "not an object with alg")
    if "crit" in header:
        raise JoseRefusal("a critical header is not understood")
    return header


def _ec_key(value: dict[str, object], where: str) -> ec.EllipticCurvePublicKey:
    curve = _CURVES.get(str(value.get("crv")))
    if curve is None:
        raise MalformedError(f"{where}.crv", "neither P-256 nor P-384")
    size = (curve.key_size + 7) // 8
    x, y = (_bytes(value, name, where) for name in ("x", "y"))
    if len(x) != size or len(y) != size:
        raise MalformedError(where, f"coordinates are not {size} bytes each")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + x + y)
    except ValueError:
        raise MalformedError(where, "not a point of the curve") from None


def _rsa_key(value: dict[str, object], where: str) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(_bytes(value, name, where)) for name in ("n", "e"))
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        raise MalformedError(f"{where}.n", f"not {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    if e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise MalformedError(f"{where}.e", f"more than {MAX_RSA_EXPONENT_BITS} bits")
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise MalformedError(where, "not an RSA public key") from None


def _bytes(value: dict[str, object], name: str, where: str) -> bytes:
    text = value.get(name)
    if not isinstance(text, str):
        raise MalformedError(f"{where}.{name}", "is missing or not a string")
    return base64url.decode(text, f"{where}.{name}")


def _number(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8))
