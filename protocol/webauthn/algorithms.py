"""Which COSE algorithms are taken, and what each demands of its key (WebAuthn 5.8.5, 6.5.5; RFC 9053, RFC 8812).

An allow-list: SHA-1 (RS1) is not on it. ECDSA signatures are DER here, as in all of WebAuthn.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.uaf.algorithms import ALGORITHMS, Scheme, SignatureAlgorithm, UafPublicKey, misfit
from fidoloop.protocol.uaf.cose_keys import load_cose_key
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

AlgorithmName = Literal[
    "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed448", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
]
NUMBERS: Mapping[AlgorithmName, int] = MappingProxyType(
    {
        "ES256": -7,
        "ES384": -35,
        "ES512": -36,
        "ES256K": -47,
        "EdDSA": -8,
        "Ed448": -53,
        "RS256": -257,
        "RS384": -258,
        "RS512": -259,
        "PS256": -37,
        "PS384": -38,
        "PS512": -39,
    }
)
# ESP256, ESP384, ESP512 and Ed25519 are other numbers for four of them (RFC 9864).
_ROWS: Mapping[int, SignatureAlgorithm] = {
    number: ALGORITHMS[algorithm]
    for numbers, algorithm in (
        ((-7, -9), Algorithm.SECP256R1_ECDSA_SHA256_RAW),
        ((-35, -51), Algorithm.SECP384R1_ECDSA_SHA384_RAW),
        ((-36, -52), Algorithm.SECP521R1_ECDSA_SHA512_RAW),
        ((-47,), Algorithm.SECP256K1_ECDSA_SHA256_RAW),
        ((-8, -19), Algorithm.ED25519_EDDSA_SHA512_RAW),
        ((-53,), Algorithm.ED448_EDDSA_SHA512_RAW),
        ((-257,), Algorithm.RSASSA_PKCSV15_SHA256_RAW),
        ((-258,), Algorithm.RSASSA_PKCSV15_SHA384_RAW),
        ((-259,), Algorithm.RSASSA_PKCSV15_SHA512_RAW),
        ((-37,), Algorithm.RSASSA_PSS_SHA256_RAW),
        ((-38,), Algorithm.RSASSA_PSS_SHA384_RAW),
        ((-39,), Algorithm.RSASSA_PSS_SHA512_RAW),
    )
    for number in numbers
}
_ALG = 3


class CredentialKey(NamedTuple):
    """A credential's public key; `verify(signature, data)` raises InvalidSignature."""

    algorithm: int
    key: UafPublicKey
    verify: Callable[[bytes, bytes], None]


@lru_cache(maxsize=4096)
def load_credential_key(cose: bytes) -> CredentialKey:
    """Return the key in `cose`, a COSE_Key that holds just its own members and `alg` (WebAuthn 6.5.1.1).

    Keys are kept, since building one costs a third of a verification.

    Raises:
        WebAuthnRefusal: ALGORITHM where it is not on the list; MALFORMED where the bytes are no such key.
    """
    try:
        members = canonical_cbor.decode(cose)
    except canonical_cbor.CborError as error:
        raise WebAuthnRefusal(Rule.MALFORMED, f"credentialPublicKey: {error}") from None
    algorithm = members.get(_ALG) if isinstance(members, dict) else None
    if type(algorithm) is not int:
        raise WebAuthnRefusal(Rule.MALFORMED, "credentialPublicKey: not a COSE_Key with an alg")
    row = signature_algorithm(algorithm)
    try:
        key = load_cose_key(cose, row)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WebAuthnRefusal(Rule.MALFORMED, f"credentialPublicKey: {error}") from None
    wrong = misfit(row, key)
    if wrong is not None:
        raise WebAuthnRefusal(Rule.MALFORMED, f"credentialPublicKey: {wrong}")
    return CredentialKey(algorithm, key, _verifier(row, key))


def signature_algorithm(algorithm: int) -> SignatureAlgorithm:
    """Return what a COSE algorithm demands of its key. Raises WebAuthnRefusal ALGORITHM where it is not on the list."""
    row = _ROWS.get(algorithm)
    if row is None:
        raise WebAuthnRefusal(Rule.ALGORITHM, f"COSE algorithm {algorithm} is not supported")
    return row


def verify_signature(key: object, algorithm: int, signature: bytes, data: bytes) -> None:
    """Verify `signature` over `data` with `key`, any of cryptography's public keys, under a COSE algorithm.

    Raises:
        WebAuthnRefusal: ALGORITHM where it is not on the list, ATTESTATION where it does not fit the key or the
            signature does not verify.
    """
    row = signature_algorithm(algorithm)
    wrong = misfit(row, key)
    if wrong is not None:
        raise WebAuthnRefusal(Rule.ATTESTATION, f"alg: {wrong}")
    try:
        _verifier(row, cast(UafPublicKey, key))(signature, data)
    except InvalidSignature:
        raise WebAuthnRefusal(Rule.ATTESTATION, "sig: the signature does not verify") from None


def _verifier(row: SignatureAlgorithm, key: UafPublicKey) -> Callable[[bytes, bytes], None]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        ecdsa = ec.ECDSA(row.hash)
        return lambda signature, data: key.verify(signature, data, ecdsa)
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key.verify
    assert isinstance(key, rsa.RSAPublicKey)
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if row.scheme is Scheme.RSASSA_PSS:
        scheme = padding.PSS(padding.MGF1(row.hash), row.hash.digest_size)
    return lambda signature, data: key.verify(signature, data, scheme, row.hash)
