import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.protocol import base64url
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.uaf.channel_binding import (
    MEMBERS,
    ChannelBinding,
    ChannelRule,
    Member,
    channel_binding_of,
    check_channel_binding,
)
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from tests.protocol.builders import name, p256, rsa2048

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rule(required: Member, *values: str, also: tuple[Member, ...] = ()) -> ChannelRule:
    return ChannelRule(required=required, accepted={member: frozenset(values) for member in (required, *also)})


def test_nothing_configured_accepts_every_channel() -> None:
    for found in (ChannelBinding(), ChannelBinding(serverEndPoint="x", cid_pubkey="unused")):
        check_channel_binding(found, None)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_required_member_must_be_there_and_one_of_those_accepted(member: Member) -> None:
    for value in ("right", "also right"):
        check_channel_binding(ChannelBinding(**{member: value}), rule(member, "right", "also right"))
    for found in (ChannelBinding(), ChannelBinding(**{member: "wrong"}), ChannelBinding(**{member: "right "})):
        with pytest.raises(UafRefusal, match=member) as caught:
            check_channel_binding(found, rule(member, "right"))
        assert caught.value.status is StatusCode.CHANNEL_BINDING_REFUSED


@pytest.mark.parametrize("member", MEMBERS[1:])
def test_what_is_there_beside_must_be_right_too(member: Member) -> None:
    found = ChannelBinding(**{"serverEndPoint": "x", member: "x"})
    check_channel_binding(found, rule("serverEndPoint", "x", also=(member,)))
    for only in (
        rule("serverEndPoint", "x"),
        ChannelRule(required="serverEndPoint", accepted={"serverEndPoint": frozenset({"x"}), member: frozenset({"y"})}),
    ):
        with pytest.raises(UafRefusal, match=member):
            check_channel_binding(found, only)


def test_one_member_does_not_stand_in_for_another() -> None:
    with pytest.raises(UafRefusal, match="serverEndPoint is required"):
        check_channel_binding(ChannelBinding(tlsUnique="x"), rule("serverEndPoint", "x", also=("tlsUnique",)))


def test_text_that_is_not_ascii_is_compared_not_failed_on() -> None:
    with pytest.raises(UafRefusal):
        check_channel_binding(ChannelBinding(tlsUnique="é"), rule("tlsUnique", "x"))


def signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
    *,
    pss: bool = False,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(name("server"), name("server"), key.public_key(), 1, NOW, NOW)
    how = padding.PSS(padding.MGF1(algorithm), 32) if pss and algorithm else None
    return builder.sign(key, algorithm, rsa_padding=how)


END_POINTS = {
    "ECDSA with SHA-256": (signed(p256(), hashes.SHA256()), "sha256"),
    "ECDSA with SHA-384": (signed(p256(), hashes.SHA384()), "sha384"),
    "RSA with SHA-512": (signed(rsa2048(), hashes.SHA512()), "sha512"),
    "RSA-PSS with SHA-384": (signed(rsa2048(), hashes.SHA384(), pss=True), "sha384"),
    "Ed25519": (signed(ed25519.Ed25519PrivateKey.generate(), None), None),
}


@pytest.mark.parametrize("case", END_POINTS)
def test_the_end_point_is_the_certificate_under_the_hash_of_its_signature(case: str) -> None:
    certificate, algorithm = END_POINTS[case]
    der = certificate.public_bytes(Encoding.DER)
    found = channel_binding_of(certificate)
    assert found.tlsServerCertificate == base64url.encode(der)
    if algorithm is None:
        assert not found.serverEndPoint
    else:
        assert found.serverEndPoint == base64url.encode(hashlib.new(algorithm, der).digest())


# ecdsa-with-SHA1 and ecdsa-with-SHA256 (RFC 5758): the identifiers are of one form, only the last bytes differ.
_SHA256_OID, _SHA1_OID = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401")


def test_sha1_is_replaced_by_sha256() -> None:
    """No library signs by SHA-1 any more, so the name of the algorithm is changed in a certificate that is there."""
    der = signed(p256(), hashes.SHA256()).public_bytes(Encoding.DER)
    old = reencoded(der)
    certificate = load_certificate(old)
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA1)
    assert channel_binding_of(certificate).serverEndPoint == base64url.encode(hashlib.sha256(old).digest())


def reencoded(der: bytes) -> bytes:
    """Return the certificate with SHA-1 in the place of SHA-256 as the hash of its signature."""
    outer = children(der)
    parts = children(outer[0])
    to_sign = sequence(*(part.replace(b"\x30\x0a" + _SHA256_OID, b"\x30\x09" + _SHA1_OID) for part in parts))
    return sequence(to_sign, b"\x30\x09" + _SHA1_OID, outer[2])


def children(der: bytes) -> list[bytes]:
    start, end = content(der, 0)
    found = []
    while start < end:
        _, after = content(der, start)
        found.append(der[start:after])
        start = after
    return found


def content(der: bytes, at: int) -> tuple[int, int]:
    length, start = der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start])
    return start, start + length


def sequence(*parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes(2).lstrip(b"\x00")
    return b"\x30" + (size if len(body) < 0x80 else bytes([0x80 | len(size)]) + size) + body
