"""A software authenticator and its server's expectations: whole, so that each test breaks one thing."""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata

DATA = Path(__file__).parents[1] / "data"
AT = datetime(2026, 1, 1, tzinfo=UTC)
AAID = "F10B#0113"
APP_ID = "https://login.example/uaf/facets"
FACET = "android:apk-key-hash:abc"
CHALLENGE = base64url.encode(b"c" * 64)
NONCE = b"n" * 16
UPV = {"major": 1, "minor": 1}
VALID_DAYS = (AT - timedelta(days=1), AT + timedelta(days=1))


def vectors() -> dict[str, dict[str, Any]]:
    """Returns the published examples by id."""
    return {entry["id"]: entry for entry in json.loads((DATA / "vectors/uaf.json").read_text("utf-8"))}


def recorded() -> dict[str, dict[str, Any]]:
    """Returns messages of this project's authenticator with keys in SoftHSM, by id, with metadata and stored keys."""
    return {entry["id"]: entry for entry in json.loads((DATA / "vectors/recorded.json").read_text("utf-8"))}


def seed_request_body(number: str) -> dict[str, Any]:
    """Returns the first JSON object of a seed's text that stands on lines of its own after an example request."""
    (path,) = (DATA / "seeds").glob(f"{number}_*.txt")
    text = path.read_text("utf-8")
    start = text.index("\n{\n") + 1
    return dict(json.JSONDecoder().raw_decode(text, start)[0])


def seed_response_body(number: str) -> dict[str, Any]:
    """Returns the JSON object of a seed's example response."""
    (path,) = (DATA / "seeds").glob(f"{number}_*.txt")
    text = path.read_text("utf-8")
    start = text.index("\n{\n", text.index("Example Response")) + 1
    return dict(json.JSONDecoder().raw_decode(text, start)[0])


def numbered(*cases: object) -> list[Any]:
    """Returns parameters whose ids are numbers: workers must agree on ids, and signatures differ in each process."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), id=str(index)) for index, case in enumerate(cases)
    ]


@cache
def p256(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """Returns the same key for the same number."""
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(b"key %d" % number).digest()), ec.SECP256R1())


@cache
def rsa2048() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def raw(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(der(key, data))
    return r.to_bytes(32) + s.to_bytes(32)


def der(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def spki(key: Any) -> bytes:  # noqa: ANN401 - any private key
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def tlv(tag: int, *values: bytes) -> bytes:
    value = b"".join(values)
    return struct.pack("<HH", tag, len(value)) + value


def fc_params(**changes: object) -> str:
    """Returns fcParams; a member set to None is left out."""
    members = {"appID": APP_ID, "challenge": CHALLENGE, "facetID": FACET, "channelBinding": {}, **changes}
    text = json.dumps({name: value for name, value in members.items() if value is not None})
    return base64url.encode(text.encode())


def fc_hash(params: str) -> bytes:
    return hashlib.sha256(params.encode()).digest()


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def certificate(
    subject: str,
    key: Any,  # noqa: ANN401 - any private key
    issuer: str,
    issuer_key: Any,  # noqa: ANN401 - any private key
    *,
    ca: bool | None = False,
    path_length: int | None = None,
    key_cert_sign: bool | None = None,
    valid: tuple[datetime, datetime] = VALID_DAYS,
    extension: tuple[x509.ExtensionType, bool] | None = None,
    digest: hashes.SHA256 | hashes.SHA384 | None = None,
) -> x509.Certificate:
    """Returns a certificate; `ca` None leaves out BasicConstraints, `key_cert_sign` None leaves out KeyUsage."""
    builder = (
        x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if key_cert_sign is not None:
        usage = x509.KeyUsage(True, False, False, False, False, key_cert_sign, False, False, False)
        builder = builder.add_extension(usage, critical=True)
    if extension is not None:
        builder = builder.add_extension(extension[0], critical=extension[1])
    return builder.sign(issuer_key, digest or hashes.SHA256())


ROOT_KEY, MIDDLE_KEY, LEAF_KEY, USER_KEY, OTHER_KEY = range(1, 6)


@cache
def root() -> x509.Certificate:
    return certificate("root", p256(ROOT_KEY), "root", p256(ROOT_KEY), ca=True, key_cert_sign=True)


@cache
def middle() -> x509.Certificate:
    return certificate("middle", p256(MIDDLE_KEY), "root", p256(ROOT_KEY), ca=True, path_length=0, key_cert_sign=True)


@cache
def leaf() -> x509.Certificate:
    return certificate("leaf", p256(LEAF_KEY), "middle", p256(MIDDLE_KEY))


def to_der(found: x509.Certificate) -> bytes:
    return found.public_bytes(Encoding.DER)


def statement(**changes: object) -> dict[str, Any]:
    """Returns a metadata statement as its JSON object; a member set to None is left out."""
    members = {
        "aaid": AAID,
        "description": "test model",
        "authenticatorVersion": 1,
        "upv": [UPV],
        "assertionScheme": "UAFV1TLV",
        "authenticationAlgorithm": 1,
        "publicKeyAlgAndEncoding": 0x100,
        "attestationTypes": [0x3E07],
        "userVerificationDetails": [[{"userVerification": 4}]],
        "keyProtection": 1,
        "matcherProtection": 1,
        "attachmentHint": 1,
        "isSecondFactorOnly": False,
        "tcDisplay": 1,
        "attestationRootCertificates": [base64.b64encode(to_der(root())).decode()],
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


def entry(*, statuses: tuple[str, ...] = (), **changes: object) -> MetadataEntry:
    document = {"metadataStatement": statement(**changes), "statusReports": [{"status": s} for s in statuses]}
    return parse_metadata(json.dumps(document).encode())


SURROGATE: dict[str, Any] = {"attestationTypes": [0x3E08], "attestationRootCertificates": []}


@dataclass(frozen=True)
class Assertion:
    """What one assertion says; `with_` changes a thing and signs again. Values are the raw ones of the wire."""

    operation: str = "Reg"
    aaid: bytes = AAID.encode()
    version: int = 1
    mode: int = 1
    algorithm: int = 1
    key_format: int = 0x100
    nonce: bytes = NONCE
    fc_params: str = field(default_factory=fc_params)
    hash: bytes | None = None
    tc_hash: bytes = b""
    key_id: bytes = b"k" * 32
    counters: tuple[int, int] = (1, 1)
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: p256(USER_KEY))
    public_key: bytes | None = None
    attestation: int = 0x3E07
    attestation_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: p256(LEAF_KEY))
    chain: tuple[bytes, ...] = field(default_factory=lambda: (to_der(leaf()), to_der(middle())))
    signature: bytes | None = None
    inside: bytes = b""
    beside: bytes = b""

    def with_(self, **changes: Any) -> "Assertion":  # noqa: ANN401 - any field
        return replace(self, **changes)

    @property
    def signed(self) -> bytes:
        """UAFV1_KRD or UAFV1_SIGNED_DATA with its header."""
        found = self.hash if self.hash is not None else fc_hash(self.fc_params)
        if self.operation == "Reg":
            return tlv(
                0x3E03,
                tlv(0x2E0B, self.aaid),
                tlv(0x2E0E, struct.pack("<HBHH", self.version, self.mode, self.algorithm, self.key_format)),
                tlv(0x2E0A, found),
                tlv(0x2E09, self.key_id),
                tlv(0x2E0D, struct.pack("<II", *self.counters)),
                tlv(0x2E0C, self.public_key if self.public_key is not None else point(self.key)),
                self.inside,
            )
        return tlv(
            0x3E04,
            tlv(0x2E0B, self.aaid),
            tlv(0x2E0E, struct.pack("<HBH", self.version, self.mode, self.algorithm)),
            tlv(0x2E0F, self.nonce),
            tlv(0x2E0A, found),
            tlv(0x2E10, self.tc_hash),
            tlv(0x2E09, self.key_id),
            tlv(0x2E0D, struct.pack("<I", self.counters[0])),
            self.inside,
        )

    def sign(self) -> bytes:
        if self.signature is not None:
            return self.signature
        full = self.operation == "Reg" and self.attestation == 0x3E07
        return (der if self.algorithm == 2 else raw)(self.attestation_key if full else self.key, self.signed)

    def encode(self) -> bytes:
        if self.operation == "Reg":
            certificates = [tlv(0x2E05, der) for der in self.chain] if self.attestation == 0x3E07 else []
            attestation = tlv(self.attestation, tlv(0x2E06, self.sign()), *certificates)
            return tlv(0x3E01, self.signed, attestation, self.beside)
        return tlv(0x3E02, self.signed, tlv(0x2E06, self.sign()), self.beside)


REGISTRATION = Assertion()
SURROGATE_REGISTRATION = Assertion(attestation=0x3E08)
AUTHENTICATION = Assertion(operation="Auth", counters=(5, 0))


def message(
    *assertions: Assertion,
    header: dict[str, object] | None = None,
    params: str | None = None,
    wrapper: dict[str, object] | None = None,
) -> str:
    """Returns the uafResponse text for these assertions."""
    operation = assertions[0].operation if assertions else "Auth"
    top = {"upv": UPV, "op": operation, "appID": APP_ID, "serverData": "c2VydmVy", **(header or {})}
    return json.dumps(
        [
            {
                "header": top,
                "fcParams": params or (assertions[0].fc_params if assertions else fc_params()),
                "assertions": [
                    {
                        "assertionScheme": "UAFV1TLV",
                        "assertion": base64url.encode(assertion.encode()),
                        **(wrapper or {}),
                    }
                    for assertion in assertions
                ],
            }
        ]
    )
