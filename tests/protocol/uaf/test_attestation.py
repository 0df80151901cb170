import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.assertions import parse_registration_assertion
from fidoloop.protocol.uaf.attestation import load_chain, verify_attestation, verify_chain
from fidoloop.protocol.uaf.messages import decode_response
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import (
    AT,
    LEAF_KEY,
    MIDDLE_KEY,
    OTHER_KEY,
    REGISTRATION,
    ROOT_KEY,
    SURROGATE_REGISTRATION,
    Assertion,
    certificate,
    leaf,
    middle,
    p256,
    root,
    rsa2048,
    tlv,
    to_der,
    vectors,
)

EXPIRED = (AT - timedelta(days=2), AT - timedelta(seconds=1))
FUTURE = (AT + timedelta(seconds=1), AT + timedelta(days=2))
NAME_CONSTRAINTS = (x509.NameConstraints([x509.DNSName("a.example")], None), True)
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.9"), b"\x04\x00"), True)


def a_leaf(**changes: Any) -> x509.Certificate:  # noqa: ANN401 - any argument of `certificate`
    return certificate("leaf", changes.pop("key", p256(LEAF_KEY)), "middle", p256(MIDDLE_KEY), **changes)


def a_middle(**changes: Any) -> x509.Certificate:  # noqa: ANN401 - any argument of `certificate`
    arguments = {"ca": True, "path_length": 0, "key_cert_sign": True, **changes}
    return certificate("middle", p256(MIDDLE_KEY), "root", p256(ROOT_KEY), **arguments)


def a_root(**changes: Any) -> x509.Certificate:  # noqa: ANN401 - any argument of `certificate`
    arguments = {"ca": True, "key_cert_sign": True, **changes}
    return certificate("root", p256(ROOT_KEY), "root", p256(ROOT_KEY), **arguments)


def refused(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> str:
    with pytest.raises(UafRefusal) as caught:
        verify_chain(chain, roots=roots, at=AT)
    assert caught.value.status is StatusCode.UNACCEPTABLE_ATTESTATION
    return caught.value.detail


@pytest.mark.parametrize(
    ("chain", "roots"),
    [
        ([leaf(), middle()], [root()]),
        ([leaf(), middle(), root()], [root()]),
        ([leaf(), middle()], [a_root(path_length=1)]),
        ([leaf(), middle()], [a_root(key_cert_sign=None)]),
        ([leaf(), middle()], [middle()]),
        ([leaf()], [middle()]),
        ([leaf()], [leaf()]),
        ([leaf(), middle()], [leaf()]),
        ([leaf(), middle()], [certificate("root", p256(OTHER_KEY), "root", p256(OTHER_KEY), ca=True), root()]),
        ([leaf(), middle()], [a_root(digest=hashes.SHA512())]),
        ([a_leaf(ca=None), middle()], [root()]),
        ([a_leaf(extension=(UNKNOWN[0], False)), middle()], [root()]),
        ([leaf(), middle()], [a_root(valid=(AT, AT))]),
    ],
    ids=[
        "without root",
        "with root",
        "path length enough",
        "no key usage",
        "root is intermediate",
        "root is issuer of leaf",
        "root is leaf",
        "root is leaf, rest ignored",
        "second root of one name",
        "other hash",
        "leaf without basic constraints",
        "unknown extension that is not critical",
        "validity to the second",
    ],
)
def test_a_chain_to_a_listed_root_verifies(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> None:
    verify_chain(chain, roots=roots, at=AT)


IMPOSTOR = certificate("root", p256(OTHER_KEY), "root", p256(OTHER_KEY), ca=True, key_cert_sign=True)
LONG = certificate("leaf", p256(LEAF_KEY), "low", p256(OTHER_KEY))
LOW = certificate("low", p256(OTHER_KEY), "middle", p256(MIDDLE_KEY), ca=True, key_cert_sign=True)

BROKEN: dict[str, tuple[list[x509.Certificate], list[x509.Certificate], str]] = {
    "no roots": ([leaf(), middle()], [], "lists no attestation root"),
    "another root": ([leaf(), middle()], [IMPOSTOR], "does not end in a root"),
    "own root in the chain": ([leaf(), middle(), root()], [IMPOSTOR], "does not end in a root"),
    "intermediate missing": ([leaf()], [root()], "does not end in a root"),
    "wrong order": ([middle(), leaf()], [root()], "does not end in a root"),
    "leaf expired": ([a_leaf(valid=EXPIRED), middle()], [root()], "validity"),
    "leaf not yet valid": ([a_leaf(valid=FUTURE), middle()], [root()], "validity"),
    "root expired": ([leaf(), middle()], [a_root(valid=EXPIRED)], "validity"),
    "wrong issuer name": (
        [certificate("leaf", p256(LEAF_KEY), "x", p256(MIDDLE_KEY)), middle()],
        [root()],
        "not issued",
    ),
    "wrong issuer key": (
        [certificate("leaf", p256(LEAF_KEY), "middle", p256(OTHER_KEY)), middle()],
        [root()],
        "not issued",
    ),
    "intermediate is no CA": ([leaf(), a_middle(ca=False, path_length=None)], [root()], "not a CA"),
    "intermediate without basic constraints": ([leaf(), a_middle(ca=None)], [root()], "not a CA"),
    "root is no CA": ([leaf(), middle()], [a_root(ca=False)], "not a CA"),
    "intermediate may not sign": ([leaf(), a_middle(key_cert_sign=False)], [root()], "may not sign"),
    "root may not sign": ([leaf(), middle()], [a_root(key_cert_sign=False)], "may not sign"),
    "root's path length": ([leaf(), middle()], [a_root(path_length=0)], "path length"),
    "intermediate's path length": ([LONG, LOW, middle()], [root()], "path length"),
    "unknown critical extension": ([a_leaf(extension=UNKNOWN), middle()], [root()], "unknown critical"),
    "critical name constraints": ([leaf(), a_middle(extension=NAME_CONSTRAINTS)], [root()], "unknown critical"),
    "root's critical extension": ([leaf(), middle()], [a_root(extension=UNKNOWN)], "unknown critical"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_chain_that_breaks_one_rule_is_refused(case: str) -> None:
    chain, roots, reason = BROKEN[case]
    assert reason in refused(chain, roots)


def test_a_listed_leaf_must_be_valid_too() -> None:
    expired = a_leaf(valid=EXPIRED)
    assert "validity" in refused([expired], [expired])


def test_a_signature_over_a_weak_hash_is_refused() -> None:
    """The specification's example certificate is signed over SHA-1, which nothing here can make any more."""
    response = decode_response(json.dumps(vectors()["spec-reg"]["response"]))
    found = parse_registration_assertion(base64url.decode(response.assertions[0].assertion))
    (old,) = load_chain(found.attestation_certificates)
    issuer = (
        x509.CertificateBuilder(old.issuer, old.issuer, p256(ROOT_KEY).public_key(), 1, *EXPIRED)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(p256(ROOT_KEY), hashes.SHA256())
    )
    assert "weak hash" in refused([old], [issuer])


def status_of(assertion: Assertion, roots: Sequence[x509.Certificate]) -> StatusCode | None:
    try:
        verify_attestation(parse_registration_assertion(assertion.encode()), roots=roots, at=AT)
    except UafRefusal as refusal:
        return refusal.status
    return None


def der_of(*chain: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(map(to_der, chain))


def test_full_attestation_verifies_by_the_leaf_key() -> None:
    assert status_of(REGISTRATION, [root()]) is None
    assert status_of(REGISTRATION.with_(algorithm=2), [root()]) is None


@pytest.mark.parametrize("key", [ROOT_KEY, MIDDLE_KEY, 4, OTHER_KEY], ids=["root", "middle", "user", "other"])
def test_full_attestation_by_any_other_key_is_refused(key: int) -> None:
    assert status_of(REGISTRATION.with_(attestation_key=p256(key)), [root()]) is StatusCode.UNACCEPTABLE_CONTENT


def test_surrogate_attestation_verifies_by_the_registered_key_only() -> None:
    assert status_of(SURROGATE_REGISTRATION, []) is None
    wrong = SURROGATE_REGISTRATION.with_(signature=REGISTRATION.sign())
    assert status_of(wrong, []) is StatusCode.UNACCEPTABLE_CONTENT


def test_surrogate_attestation_is_refused_where_roots_are_listed() -> None:
    assert status_of(SURROGATE_REGISTRATION, [root()]) is StatusCode.UNACCEPTABLE_ATTESTATION


def test_surrogate_attestation_with_certificates_is_refused() -> None:
    signed = SURROGATE_REGISTRATION.signed
    attestation = tlv(0x3E08, tlv(0x2E06, SURROGATE_REGISTRATION.sign()), tlv(0x2E05, to_der(leaf())))
    found = parse_registration_assertion(tlv(0x3E01, signed, attestation))
    with pytest.raises(UafRefusal) as caught:
        verify_attestation(found, roots=(), at=AT)
    assert caught.value.status is StatusCode.UNACCEPTABLE_ATTESTATION


def test_full_attestation_without_roots_is_refused() -> None:
    assert status_of(REGISTRATION, []) is StatusCode.UNACCEPTABLE_ATTESTATION


def test_ecdaa_is_refused() -> None:
    for roots in ([root()], []):
        assert status_of(REGISTRATION.with_(attestation=0x3E09), roots) is StatusCode.UNACCEPTABLE_ATTESTATION


@pytest.mark.parametrize(
    "chain",
    [
        (),
        (b"",),
        (b"\x30\x03\x02\x01\x00",),
        (to_der(leaf())[:-1],),
        (to_der(leaf()) + b"\x00",),
        der_of(*[leaf()] * 7),
    ],
    ids=["none", "empty", "no certificate", "cut", "trailing", "seven"],
)
def test_a_chain_that_cannot_be_read_is_refused(chain: tuple[bytes, ...]) -> None:
    with pytest.raises(UafRefusal) as caught:
        load_chain(chain)
    assert caught.value.status is StatusCode.UNACCEPTABLE_ATTESTATION


def test_an_attestation_key_of_another_kind_is_an_unacceptable_algorithm() -> None:
    for key in (rsa2048(), ec.derive_private_key(7, ec.SECP256K1()), ec.derive_private_key(7, ec.SECP384R1())):
        chain = der_of(a_leaf(key=key), middle())
        assert status_of(REGISTRATION.with_(chain=chain), [root()]) is StatusCode.UNACCEPTABLE_ALGORITHM


def test_an_attestation_algorithm_not_supported_is_refused() -> None:
    for algorithm in (0, 3, 5, 6, 8, 99):
        assert status_of(REGISTRATION.with_(algorithm=algorithm), [root()]) is StatusCode.UNACCEPTABLE_ALGORITHM


# cryptography warns of what it still reads and will not for ever: serial numbers below 1, names of no length.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning")
@given(st.data())
def test_a_certificate_with_altered_bytes_raises_nothing_but_a_refusal(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, 1))
    chain = [bytearray(der) for der in REGISTRATION.chain]
    for _ in range(data.draw(st.integers(1, 3))):
        chain[which][data.draw(st.integers(0, len(chain[which]) - 1))] = data.draw(st.integers(0, 255))
    altered = tuple(map(bytes, chain))
    if altered != REGISTRATION.chain:
        assert status_of(REGISTRATION.with_(chain=altered), [root()]) is not None
