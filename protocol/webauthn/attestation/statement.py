"""What every attestation statement format shares: its input, its outcome, and the certificate rules that recur."""

import hmac
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from cryptography import x509

from fidoloop.protocol.certificate_path import find_extension
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.attestation_object import AttestationObject
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

T = TypeVar("T")
MAX_CHAIN = 8
MAX_CERTIFICATE_BYTES = 16384
_AAGUID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")


class AttestationType(StrEnum):
    """Who vouches for the credential (WebAuthn 6.5.3); `basic` may be an attestation CA, which nothing tells apart."""

    NONE = "none"
    SELF = "self"
    BASIC = "basic"
    ATTESTATION_CA = "attca"
    ANONYMIZATION_CA = "anonca"


class Attested(NamedTuple):
    """What a statement that verifies says: the type, and the certificates that lead towards a root, leaf first."""

    type: AttestationType
    trust_path: tuple[x509.Certificate, ...] = ()


class Statement(NamedTuple):
    """One statement and all it is about; `signed` is authData ‖ clientDataHash, which most formats sign."""

    members: Mapping[object, Any]
    about: AttestationObject
    client_data_hash: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that are attested."""
        return self.about.authenticator_data.raw + self.client_data_hash

    def check_members(self, required: set[str], optional: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Refuse a statement that lacks a member, or has one that its format does not know."""
        found = set(self.members)
        if not required <= found or not found <= required | optional:
            raise refused(f"attStmt has not just the members {', '.join(sorted(required))}")

    def get(self, name: str, kind: type[T]) -> T:
        """Return a member of just this type. Raises WebAuthnRefusal ATTESTATION."""
        value = self.members.get(name)
        if type(value) is not kind:
            raise refused(f"attStmt.{name} is missing or of another type")
        return value

    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates of x5c. Raises WebAuthnRefusal ATTESTATION."""
        found = self.get("x5c", list)
        if not 1 <= len(found) <= MAX_CHAIN:
            raise refused(f"attStmt.x5c: {len(found)} certificates, 1 to {MAX_CHAIN} expected")
        if not all(isinstance(der, bytes) and len(der) <= MAX_CERTIFICATE_BYTES for der in found):
            raise refused("attStmt.x5c: not all are certificates")
        try:
            return tuple(load_certificate(der, f"attStmt.x5c[{index}]") for index, der in enumerate(found))
        except MalformedError as error:
            raise refused(str(error)) from None


def refused(detail: str) -> WebAuthnRefusal:
    """Return the refusal of a statement that does not verify."""
    return WebAuthnRefusal(Rule.ATTESTATION, detail)


def check_version_and_ca(certificate: x509.Certificate) -> None:
    """Hold an attestation certificate against what packed and tpm both demand: version 3, and no CA (8.2.1, 8.3.1)."""
    if certificate.version is not x509.Version.v3:
        raise refused("the attestation certificate is not of version 3")
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is None or constraints.ca:
        raise refused("the attestation certificate does not say that it is no CA")


def check_certified_aaguid(certificate: x509.Certificate, aaguid: bytes) -> None:
    """Where a certificate says for which AAGUID it is (id-fido-gen-ce-aaguid), it is for this one (8.2.1, 8.3.1)."""
    for extension in certificate.extensions:
        if extension.oid == _AAGUID:
            if extension.critical:
                raise refused("the certificate's AAGUID is marked critical")
            assert isinstance(extension.value, x509.UnrecognizedExtension)
            if extension.value.value != b"\x04\x10" + aaguid:
                raise refused("the attestation certificate is for another AAGUID")


def check_nonce(found: bytes, statement: Statement, what: str) -> None:
    """Refuse unless `found` is SHA-256 of the attested bytes."""
    if not hmac.compare_digest(found, sha256(statement.signed).digest()):
        raise refused(f"{what} is not the hash of what is attested")
