"""Devices made of software keys: whole evidence, so that each test breaks one thing."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.device_certificate import device_certificate_evidence
from fidoloop.protocol.evidence.pkix import pkix_evidence
from fidoloop.protocol.evidence.tpm import tpm_evidence
from fidoloop.protocol.evidence.values import Anchors, Evidence, EvidenceKind

from ..builders import AT, certificate, name, p256, root, spki, to_der

NONCE = b"0123456789abcdef0123456789abcdef"
OTHER_NONCE = b"fedcba9876543210fedcba9876543210"
ROOT_KEY, USER_KEY, OTHER_KEY, DEVICE_KEY = 1, 4, 5, 20
ANCHORS = Anchors((root(),))
VALID = (AT - timedelta(days=1), AT + timedelta(days=1))

Extensions = dict[int, bytes]


@cache
def device(subject: str = "PIV Attestation", *, ca: bool | None = True, usage: bool = False) -> x509.Certificate:
    """Returns the certificate of a device's attesting key (slot F9), issued by the root."""
    return certificate(
        subject, p256(DEVICE_KEY), "root", p256(ROOT_KEY), ca=ca, path_length=0, key_cert_sign=True if usage else None
    )


def der_int(value: int) -> bytes:
    return asn1.encode_der(value)


PIV_EXTENSIONS: Extensions = {3: bytes((5, 7, 1)), 7: der_int(12345678), 8: bytes((2, 1)), 9: b"\x03"}
HSM_EXTENSIONS: Extensions = {
    1: asn1.encode_der(bytes((2, 3, 1))),
    2: der_int(7550140),
    3: asn1.encode_der(asn1.BitString(b"\x01", 0)),
    4: asn1.encode_der(asn1.BitString(b"\xff\xff", 0)),
    5: asn1.encode_der(asn1.BitString(bytes(7) + b"\x80", 0)),
    6: der_int(0x1234),
    9: asn1.encode_der("a label"),
}


def attested(
    key: Any,  # noqa: ANN401 - any private key
    *,
    subject: str = "fidoloop PIV Attestation 9a",
    arc: str = oids.PRIVATE_PIV,
    extensions: Extensions = PIV_EXTENSIONS,
    critical: bool = False,
    more: tuple[tuple[str, bytes], ...] = (),
    valid: tuple[Any, Any] = VALID,
    issuer: str = "PIV Attestation",
    issuer_key: int = DEVICE_KEY,
    ca: bool | None = None,
) -> x509.Certificate:
    """Returns the certificate a device makes for a key in it."""
    builder = (
        x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    for oid, value in (*((f"{arc}.{number}", value) for number, value in extensions.items()), *more):
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=critical
        )
    return builder.sign(p256(issuer_key), hashes.SHA256())


def piv(
    *chain: x509.Certificate,
    key: Any = None,  # noqa: ANN401 - any private key
    nonce: bytes = NONCE,
    kind: EvidenceKind = EvidenceKind.PIV,
) -> Evidence:
    """Returns PIV evidence of these certificates, or of a usual chain, signed by `key`, the user's."""
    certificates = chain or (attested(p256(USER_KEY)), device())
    return device_certificate_evidence(
        kind, [to_der(one) for one in certificates], nonce=nonce, key=key or p256(USER_KEY)
    )


def hsm(**changes: Any) -> Evidence:  # noqa: ANN401 - arguments of `attested`
    arguments = {"arc": oids.YUBICO_HSM, "subject": "YubiHSM Attestation id 0x1234", "extensions": HSM_EXTENSIONS}
    return piv(attested(p256(USER_KEY), **(arguments | changes)), device(), kind=EvidenceKind.YUBIHSM)


def tpm2b(value: bytes) -> bytes:
    return len(value).to_bytes(2) + value


STAYS = 1 << 1 | 1 << 4 | 1 << 5
KEY_ATTRIBUTES = STAYS | 1 << 6 | 1 << 18
AK_ATTRIBUTES = KEY_ATTRIBUTES | 1 << 16


def tpm_public(
    key: Any,  # noqa: ANN401 - any private key
    attributes: int = KEY_ATTRIBUTES,
    *,
    name_algorithm: int = 0x000B,
    symmetric: bytes = b"\x00\x10",
    scheme: bytes = b"\x00\x10",
    curve: int | None = None,
    kdf: bytes = b"\x00\x10",
) -> bytes:
    """Returns the TPMT_PUBLIC of a key."""
    public = key.public_key()
    head = (
        (1 if isinstance(public, rsa.RSAPublicKey) else 0x23).to_bytes(2)
        + name_algorithm.to_bytes(2)
        + attributes.to_bytes(4)
        + tpm2b(b"")
        + symmetric
        + scheme
    )
    if isinstance(public, rsa.RSAPublicKey):
        return head + (2048).to_bytes(2) + bytes(4) + tpm2b(public.public_numbers().n.to_bytes(256))
    numbers, size = public.public_numbers(), public.key_size // 8
    number = curve if curve is not None else {32: 3, 48: 4}[size]
    return head + number.to_bytes(2) + kdf + tpm2b(numbers.x.to_bytes(size)) + tpm2b(numbers.y.to_bytes(size))


def tpm_qualified_name(public: bytes, handle: int = 0x4000000B) -> bytes:
    return tpm_name(handle.to_bytes(4) + tpm_name(public))


def tpm_name(public: bytes) -> bytes:
    return b"\x00\x0b" + hashlib.sha256(public).digest()


@dataclass(frozen=True)
class Certified:
    """A TPM2_Certify; `with_` changes a thing and signs again."""

    key: Any = field(default_factory=lambda: p256(USER_KEY))
    public: bytes = field(default_factory=lambda: tpm_public(p256(USER_KEY)))
    ak: Any = field(default_factory=lambda: p256(DEVICE_KEY))
    ak_public: bytes = field(default_factory=lambda: tpm_public(p256(DEVICE_KEY), AK_ATTRIBUTES))
    ak_chain: tuple[str, ...] = ()
    nonce: bytes = NONCE
    magic: bytes = b"\xffTCG"
    kind: int = 0x8017
    safe: int = 1
    name: bytes | None = None
    signer: bytes | None = None
    trailing: bytes = b""
    signature: bytes | None = None

    def with_(self, **changes: Any) -> "Certified":  # noqa: ANN401 - any field
        return replace(self, **changes)

    @property
    def attest(self) -> bytes:
        clock = (1000).to_bytes(8) + (3).to_bytes(4) + (1).to_bytes(4) + self.safe.to_bytes(1)
        attested_name = self.name if self.name is not None else tpm_name(self.public)
        return (
            self.magic
            + self.kind.to_bytes(2)
            + tpm2b(self.signer if self.signer is not None else tpm_qualified_name(self.ak_public))
            + tpm2b(self.nonce)
            + clock
            + (0x2019102300163636).to_bytes(8)
            + tpm2b(attested_name)
            + tpm2b(tpm_name(attested_name))
            + self.trailing
        )

    def signed(self) -> bytes:
        if self.signature is not None:
            return self.signature
        return tpm_signature(self.ak, self.attest)

    def evidence(self) -> Evidence:
        return tpm_evidence(
            attest=self.attest,
            signature=self.signed(),
            public=self.public,
            ak_public=self.ak_public,
            ak_chain=self.ak_chain,
        )


def tpm_signature(key: ec.EllipticCurvePrivateKey, data: bytes, *, algorithm: int = 0x18, digest: int = 0x0B) -> bytes:
    """Returns the TPMT_SIGNATURE of an ECDSA signature."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return algorithm.to_bytes(2) + digest.to_bytes(2) + tpm2b(r.to_bytes(32)) + tpm2b(s.to_bytes(32))


@cache
def ak_certificate(
    *,
    usage: bool | None = True,
    purpose: str = oids.ATTESTATION_KEY_USAGE.dotted_string,
    key: Any = None,  # noqa: ANN401 - any private key
    issuer: str = "root",
    issuer_key: int = ROOT_KEY,
) -> x509.Certificate:
    """Returns the certificate of an attestation key for PKIX Evidence; `usage` None leaves out KeyUsage."""
    public = (key or p256(DEVICE_KEY)).public_key()
    builder = x509.CertificateBuilder(name(issuer), name("AK"), public, 7, *VALID)
    if usage is not None:
        bits = x509.KeyUsage(usage, not usage, False, False, False, False, False, False, False)
        builder = builder.add_extension(bits, critical=True)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), critical=False)
    return builder.sign(p256(issuer_key), hashes.SHA256())


PLATFORM: dict[str, Any] = {"vendor": "a maker", "hwserial": "0001", "swversion": "1.2.3", "fipsboot": False}


def key_claims(number: int = USER_KEY, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - claim values
    claims = {
        "identifier": f"key-{number}",
        "spki": spki(p256(number)),
        "extractable": False,
        "sensitive": True,
        "never-extractable": True,
        "local": True,
        "purpose": ("sign",),
    }
    return claims | {name.replace("_", "-"): value for name, value in changes.items()}


def pkix(**changes: Any) -> Evidence:  # noqa: ANN401 - arguments of `pkix_evidence`
    arguments: dict[str, Any] = {
        "nonce": NONCE,
        "platform": PLATFORM,
        "key": key_claims(),
        "attestation_key": p256(DEVICE_KEY),
        "certificate": ak_certificate(),
    }
    return pkix_evidence(**(arguments | changes))
