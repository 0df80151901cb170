"""Signature algorithms of credentials: each signs, verifies, and fits its own keys only."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from fido2 import cbor

from fidoloop.protocol.webauthn.algorithms import NUMBERS, load_credential_key, verify_signature
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

from ..builders import rsa2048

H256, H384, H512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()


def ecdsa(
    curve: ec.EllipticCurve, digest: hashes.HashAlgorithm
) -> tuple[Any, Callable[[bytes], bytes], dict[Any, Any]]:
    key = ec.derive_private_key(12345, curve)
    numbers, size = key.public_key().public_numbers(), (curve.key_size + 7) // 8
    crv = {"secp256r1": 1, "secp384r1": 2, "secp521r1": 3, "secp256k1": 8}[curve.name]
    members = {1: 2, -1: crv, -2: numbers.x.to_bytes(size), -3: numbers.y.to_bytes(size)}
    return key, lambda data: key.sign(data, ec.ECDSA(digest)), members


def eddsa(
    key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey,
) -> tuple[Any, Callable[[bytes], bytes], dict[Any, Any]]:
    crv = 6 if isinstance(key, ed25519.Ed25519PrivateKey) else 7
    return key, key.sign, {1: 1, -1: crv, -2: key.public_key().public_bytes_raw()}


def rsassa(digest: hashes.HashAlgorithm, *, pss: bool = False, key: rsa.RSAPrivateKey | None = None) -> Any:  # noqa: ANN401
    found = key or rsa2048()
    numbers = found.public_key().public_numbers()
    scheme: Any = padding.PSS(padding.MGF1(digest), digest.digest_size) if pss else padding.PKCS1v15()
    members = {1: 3, -1: numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8), -2: b"\x01\x00\x01"}
    return found, lambda data: found.sign(data, scheme, digest), members


ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(b"1" * 32)
CASES = {
    -7: ecdsa(ec.SECP256R1(), H256),
    -9: ecdsa(ec.SECP256R1(), H256),
    -35: ecdsa(ec.SECP384R1(), H384),
    -51: ecdsa(ec.SECP384R1(), H384),
    -36: ecdsa(ec.SECP521R1(), H512),
    -52: ecdsa(ec.SECP521R1(), H512),
    -47: ecdsa(ec.SECP256K1(), H256),
    -8: eddsa(ED25519),
    -19: eddsa(ED25519),
    -53: eddsa(ed448.Ed448PrivateKey.from_private_bytes(b"1" * 57)),
    -257: rsassa(H256),
    -258: rsassa(H384),
    -259: rsassa(H512),
    -37: rsassa(H256, pss=True),
    -38: rsassa(H384, pss=True),
    -39: rsassa(H512, pss=True),
}


def test_every_algorithm_with_a_name_is_tried() -> None:
    assert set(NUMBERS.values()) <= set(CASES)


@pytest.mark.parametrize("algorithm", CASES)
def test_an_algorithm_verifies_what_was_signed_and_nothing_else(algorithm: int) -> None:
    key, sign, members = CASES[algorithm]
    loaded = load_credential_key(cbor.encode(members | {3: algorithm}))
    assert loaded.algorithm == algorithm
    loaded.verify(sign(b"data"), b"data")
    verify_signature(key.public_key(), algorithm, sign(b"data"), b"data")
    with pytest.raises(InvalidSignature):
        loaded.verify(sign(b"data"), b"date")
    with pytest.raises(InvalidSignature):
        loaded.verify(b"", b"data")
    with pytest.raises(WebAuthnRefusal) as refused:
        verify_signature(key.public_key(), algorithm, sign(b"data"), b"date")
    assert refused.value.rule is Rule.ATTESTATION


@pytest.mark.parametrize("algorithm", CASES)
def test_a_key_of_another_kind_is_refused(algorithm: int) -> None:
    own = CASES[algorithm][2]
    for _, _, members in CASES.values():
        if {k: v for k, v in members.items() if isinstance(v, int)} != {
            k: v for k, v in own.items() if isinstance(v, int)
        }:
            with pytest.raises(WebAuthnRefusal) as refused:
                load_credential_key(cbor.encode(members | {3: algorithm}))
            assert refused.value.rule is Rule.MALFORMED


@pytest.mark.parametrize("algorithm", [-65535, 0, -6, -48, 5, -25])
def test_an_algorithm_that_is_not_listed_is_refused(algorithm: int) -> None:
    with pytest.raises(WebAuthnRefusal) as refused:
        load_credential_key(cbor.encode(CASES[-7][2] | {3: algorithm}))
    assert refused.value.rule is Rule.ALGORITHM


def test_a_short_rsa_key_is_refused() -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    with pytest.raises(WebAuthnRefusal) as refused:
        load_credential_key(cbor.encode(rsassa(H256, key=key)[2] | {3: -257}))
    assert "1024" in refused.value.detail


def test_keys_in_other_than_canonical_cbor_are_refused() -> None:
    members = CASES[-7][2] | {3: -7}
    backwards = b"\xa5" + b"".join(cbor.encode(k) + cbor.encode(v) for k, v in sorted(members.items(), reverse=True))
    with pytest.raises(WebAuthnRefusal) as refused:
        load_credential_key(backwards)
    assert refused.value.rule is Rule.MALFORMED
