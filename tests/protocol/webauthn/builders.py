"""A software authenticator and what a relying party expects of it: whole, so that each test breaks one thing."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fido2 import cbor

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.messages import AuthenticationCredential, RegistrationCredential
from fidoloop.protocol.webauthn.models import AuthenticatorModel, read_model
from fidoloop.protocol.webauthn.verify_authentication_response import (
    Assertion,
    AuthenticationExpectations,
    CredentialRecord,
    verify_authentication_response,
)
from fidoloop.protocol.webauthn.verify_registration_response import (
    RegisteredCredential,
    RegistrationExpectations,
    verify_registration_response,
)

from ..builders import AT, LEAF_KEY, ROOT_KEY, USER_KEY, VALID_DAYS, name, p256, root, to_der

RP_ID, ORIGIN, TOP = "login.example", "https://login.example", "https://portal.example"
RP = RelyingParty(RP_ID, frozenset({ORIGIN, "android:apk-key-hash:abc"}))
CHALLENGE = base64url.encode(b"c" * 32)
AAGUID = bytes(range(16))
CREDENTIAL_ID = b"i" * 32
HANDLE = base64url.encode(b"u" * 32)
UP, UV, BE, BS, AT_FLAG, ED = 1, 4, 8, 16, 64, 128
ES256 = -7

Statement = Callable[[bytes, bytes], tuple[str, dict[str, Any]]]
"""Makes format and statement for authenticator data and client data hash."""


def cose(key: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> bytes:  # noqa: ANN401 - any member
    """Returns a COSE_Key of ES256; members are kty, alg, crv, x, y; one set to None is left out."""
    numbers = (key or p256(USER_KEY)).public_key().public_numbers()
    members = {"kty": 2, "alg": ES256, "crv": 1, "x": numbers.x.to_bytes(32), "y": numbers.y.to_bytes(32)} | changes
    labels = {"kty": 1, "kid": 2, "alg": 3, "crv": -1, "x": -2, "y": -3}
    return cbor.encode({labels.get(name, name): value for name, value in members.items() if value is not None})


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class Ceremony:
    """What a client and an authenticator say; `with_` changes a thing and signs again."""

    type: str = "webauthn.create"
    client: Mapping[str, Any] = field(default_factory=dict)
    document: bytes | None = None
    rp_id: str = RP_ID
    flags: int = UP | UV
    count: int = 0
    aaguid: bytes = AAGUID
    id: bytes = CREDENTIAL_ID
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: p256(USER_KEY))
    public_key: bytes | None = None
    extensions: Mapping[str, Any] | None = None
    after: bytes = b""
    statement: Statement = lambda data, digest: ("none", {})
    attestation_object: bytes | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    response: Mapping[str, Any] = field(default_factory=dict)

    def with_(self, **changes: Any) -> "Ceremony":  # noqa: ANN401 - any field
        return replace(self, **changes)

    @property
    def client_data(self) -> bytes:
        if self.document is not None:
            return self.document
        members = {"type": self.type, "challenge": CHALLENGE, "origin": ORIGIN, "crossOrigin": False, **self.client}
        return json.dumps({key: value for key, value in members.items() if value is not None}).encode()

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.client_data).digest()

    @property
    def authenticator_data(self) -> bytes:
        creating = self.type == "webauthn.create"
        flags = self.flags | (AT_FLAG if creating else 0) | (ED if self.extensions is not None else 0)
        data = hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)
        if creating:
            public_key = cose(self.key) if self.public_key is None else self.public_key
            data += self.aaguid + len(self.id).to_bytes(2) + self.id + public_key
        if self.extensions is not None:
            data += cbor.encode(self.extensions)
        return data + self.after

    def registration(self) -> dict[str, Any]:
        """Returns the JSON of a RegistrationCredential."""
        attestation_object = self.attestation_object
        if attestation_object is None:
            format_, statement = self.statement(self.authenticator_data, self.digest)
            attestation_object = cbor.encode(
                {"fmt": format_, "attStmt": statement, "authData": self.authenticator_data}
            )
        return self._credential(attestationObject=base64url.encode(attestation_object))

    def authentication(self) -> dict[str, Any]:
        """Returns the JSON of an AuthenticationCredential."""
        data = self.authenticator_data
        return self._credential(
            authenticatorData=base64url.encode(data),
            signature=base64url.encode(sign(self.key, data + self.digest)),
            userHandle=HANDLE,
        )

    def _credential(self, **response: str) -> dict[str, Any]:
        body = {"id": base64url.encode(self.id), "rawId": base64url.encode(self.id), "type": "public-key", **self.body}
        members = {"clientDataJSON": base64url.encode(self.client_data), **response, **self.response}
        body["response"] = {key: value for key, value in members.items() if value is not None}
        return {key: value for key, value in body.items() if value is not None}


CREATE = Ceremony()
GET = Ceremony(type="webauthn.get", count=8)


def register(
    ceremony: Ceremony = CREATE,
    *,
    models: Mapping[str, AuthenticatorModel] | None = None,
    rp: RelyingParty = RP,
    **changes: Any,  # noqa: ANN401 - any expectation
) -> RegisteredCredential:
    expected: dict[str, Any] = {
        "challenge": CHALLENGE,
        "algorithms": frozenset({ES256}),
        "user_verification_required": True,
        **changes,
    }
    return verify_registration_response(
        strictjson.decode(json.dumps(ceremony.registration()), RegistrationCredential),
        rp=rp,
        expected=RegistrationExpectations(**expected),
        models=models or {},
        at=AT,
    )


RECORD = CredentialRecord(base64url.encode(CREDENTIAL_ID), HANDLE, cose(), 7, False)


def authenticate(
    ceremony: Ceremony = GET,
    *,
    record: CredentialRecord | None = RECORD,
    rp: RelyingParty = RP,
    **changes: Any,  # noqa: ANN401 - any expectation
) -> Assertion:
    expected: dict[str, Any] = {"challenge": CHALLENGE, "user_verification_required": True, **changes}
    return verify_authentication_response(
        strictjson.decode(json.dumps(ceremony.authentication()), AuthenticationCredential),
        rp=rp,
        expected=AuthenticationExpectations(**expected),
        record=record,
    )


SUBJECT = {"C": "CH", "O": "tests", "OU": "Authenticator Attestation", "CN": "model"}
_OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}
AAGUID_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")


def subject(**changes: str | None) -> x509.Name:
    parts = {**SUBJECT, **changes}
    return x509.Name([x509.NameAttribute(_OIDS[key], value) for key, value in parts.items() if value is not None])


def certificate(
    *extensions: tuple[x509.ExtensionType, bool],
    of: x509.Name | None = None,
    key: Any = None,  # noqa: ANN401 - any private key
    constraints: x509.BasicConstraints | None = x509.BasicConstraints(False, None),  # noqa: B008 - immutable
) -> x509.Certificate:
    """Returns an attestation certificate, issued by the root."""
    builder = x509.CertificateBuilder(
        name("root"), subject() if of is None else of, (key or p256(LEAF_KEY)).public_key(), 77, *VALID_DAYS
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(p256(ROOT_KEY), hashes.SHA256())


@cache
def usual_certificate() -> x509.Certificate:
    return certificate((x509.UnrecognizedExtension(AAGUID_EXTENSION, b"\x04\x10" + AAGUID), False))


def packed(
    leaf: x509.Certificate | None = None,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    self_attested: bool = False,
    **changes: Any,  # noqa: ANN401 - any member
) -> Statement:
    """Returns what makes a packed statement; a member set to None is left out."""

    def make(data: bytes, digest: bytes) -> tuple[str, dict[str, Any]]:
        signing = key or p256(USER_KEY if self_attested else LEAF_KEY)
        members: dict[str, Any] = {"alg": ES256, "sig": sign(signing, data + digest)}
        if not self_attested:
            members["x5c"] = [to_der(leaf or usual_certificate())]
        members |= changes
        return "packed", {name: value for name, value in members.items() if value is not None}

    return make


def model(*statuses: str, roots: list[str] | None = None, **changes: Any) -> AuthenticatorModel:  # noqa: ANN401
    """Returns the model of the usual AAGUID, its attestation under the root."""
    return read_model(model_entry(*statuses, roots=roots, **changes))


def model_entry(*statuses: str, roots: list[str] | None = None, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    found = [base64.b64encode(to_der(root())).decode()] if roots is None else roots
    return {
        "aaguid": str(UUID(bytes=AAGUID)),
        "metadataStatement": {
            "description": "a model",
            "protocolFamily": "fido2",
            "attestationTypes": ["basic_full"],
            "attestationRootCertificates": found,
            **changes,
        },
        "statusReports": [{"status": status, "effectiveDate": "2020-01-01"} for status in statuses],
    }
