"""ATTEST: what a card says of its keys, read and verified by protocol/evidence."""

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fidoloop.hsm.piv.tlv import encode, only
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.piv.objects import certificate_in, certificate_object
from fidoloop.hsm.sim.piv.registry import Algorithm, Ins
from fidoloop.protocol.evidence.certificate_chain import encode_chain
from fidoloop.protocol.evidence.possession import possession_message
from fidoloop.protocol.evidence.values import Anchors, Appraisal, Evidence, EvidenceKind, EvidenceRefusal
from fidoloop.protocol.evidence.verify import verify_evidence
from tests.hsm.sim.host import NOW, Host, new_host

NONCE = bytes(32)
LATER = NOW + datetime.timedelta(days=1)
F9_OBJECT = b"\x5f\xff\x01"


def device_certificate(host: Host) -> bytes:
    return certificate_in(only(host.ok(Ins.GET_DATA, 0x3F, 0xFF, encode(0x5C, F9_OBJECT)), 0x53))


def appraise(host: Host, root: x509.Certificate, slot: int = 0x9E) -> Appraisal:
    """Verify a P-256 key's evidence the way a server does, the key's signature over the nonce included."""
    value = encode_chain([host.ok(Ins.ATTEST, slot), device_certificate(host)])
    message = possession_message(EvidenceKind.PIV, value, NONCE)
    signature = host.use(slot, hashlib.sha256(message).digest())[1]
    evidence = Evidence(EvidenceKind.PIV, value, signature)
    return verify_evidence(evidence, anchors=Anchors([root]), expected_nonce=NONCE, expected_key=None, at=LATER)


def put_f9(host: Host, content: bytes) -> None:
    host.ok(Ins.PUT_DATA, 0x3F, 0xFF, encode(0x5C, F9_OBJECT) + encode(0x53, content))


@pytest.mark.parametrize("yubikey_shape", [False, True])
def test_evidence_of_a_generated_key_verifies_and_says_whether_it_is_simulated(yubikey_shape: bool) -> None:
    factory = Factory.create(now=NOW)
    host = new_host(factory, yubikey_shape=yubikey_shape)
    host.authenticate()
    public = host.generate(0x9E)
    found = appraise(host, factory.certificate)
    assert isinstance(found.key, ec.EllipticCurvePublicKey)
    assert found.key == ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), only(public, 0x86))
    assert dict(found.claims) == {
        "slot": "9e",
        "firmware": "5.7.0",
        "serial": int.from_bytes(host.ok(Ins.GET_SERIAL)),
        "pin_policy": "never",
        "touch_policy": "never",
        "form_factor": "not told",
        "fips": False,
        "cspn": False,
        "local": True,
        "never_extractable": True,
        "simulated": not yubikey_shape,
    }


def test_yubicos_numbers_are_used_in_yubikey_shape_only() -> None:
    for yubikey_shape, subject in ((False, "fidoloop PIV Attestation 9a"), (True, "YubiKey PIV Attestation 9a")):
        host = new_host(yubikey_shape=yubikey_shape)
        host.authenticate()
        host.generate(0x9A)
        leaf = x509.load_der_x509_certificate(host.ok(Ins.ATTEST, 0x9A))
        assert leaf.subject.rfc4514_string() == f"CN={subject}"
        assert all(
            extension.oid.dotted_string.startswith("1.3.6.1.4.1.41482.3.") == yubikey_shape
            for extension in leaf.extensions
        )


def test_another_factory_does_not_vouch(manager: Host) -> None:
    manager.generate(0x9E)
    with pytest.raises(EvidenceRefusal):
        appraise(manager, Factory.create(now=NOW).certificate)


@pytest.mark.parametrize("algorithm", [Algorithm.P256, Algorithm.P384, Algorithm.RSA2048])
def test_keys_of_every_algorithm_are_attested(manager: Host, algorithm: Algorithm) -> None:
    manager.generate(0x82, algorithm)
    leaf = x509.load_der_x509_certificate(manager.ok(Ins.ATTEST, 0x82))
    leaf.verify_directly_issued_by(x509.load_der_x509_certificate(device_certificate(manager)))


def test_attesting_wants_no_pin_and_no_management_key(manager: Host) -> None:
    manager.generate(0x9C)
    manager.card.reset()
    assert manager.status(Ins.ATTEST, 0x9C) == 0x9000


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [
        (0x9C, 0, b"", 0x6A88),
        (0xF9, 0, b"", 0x6A86),
        (0x9B, 0, b"", 0x6A86),
        (0x9E, 1, b"", 0x6A86),
        (0x9E, 0, b"x", 0x6700),
    ],
)
def test_other_attestations_are_refused(manager: Host, p1: int, p2: int, data: bytes, status: int) -> None:
    manager.generate(0x9E)
    assert manager.status(Ins.ATTEST, p1, p2, data) == status


def test_an_imported_key_is_not_attested_even_after_it_was_moved(manager: Host) -> None:
    manager.ok(Ins.IMPORT_KEY, 0x11, 0x9A, b"\x06\x01\x05")
    assert manager.status(Ins.ATTEST, 0x9A) == 0x6A80
    manager.ok(Ins.MOVE_KEY, 0x82, 0x9A)
    assert manager.status(Ins.ATTEST, 0x82) == 0x6A80


def test_an_attestation_key_of_ones_own_replaces_the_factorys(manager: Host) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our own")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + datetime.timedelta(days=9))
    certificate = builder.add_extension(x509.BasicConstraints(True, 0), critical=True).sign(key, hashes.SHA256())
    scalar = key.private_numbers().private_value.to_bytes(32)
    manager.ok(Ins.IMPORT_KEY, 0x11, 0xF9, b"\x06\x20" + scalar)
    put_f9(manager, certificate_object(certificate.public_bytes(Encoding.DER)))
    manager.generate(0x9E)
    leaf = x509.load_der_x509_certificate(manager.ok(Ins.ATTEST, 0x9E))
    leaf.verify_directly_issued_by(certificate)
    assert leaf.not_valid_after_utc == certificate.not_valid_after_utc


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x70\x00", b"\x70\x03\x30\x01\x00", b"\x71\x01\x00"])
def test_without_a_usable_attestation_certificate_there_is_no_attestation(manager: Host, content: bytes) -> None:
    manager.generate(0x9E)
    put_f9(manager, content)
    assert manager.status(Ins.ATTEST, 0x9E) == 0x6985
