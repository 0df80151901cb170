"""The format packed: by an attestation key with a certificate, or by the credential's own key (WebAuthn 8.2)."""

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from fidoloop.protocol.certificates import certified_key
from fidoloop.protocol.webauthn.algorithms import load_credential_key, verify_signature
from fidoloop.protocol.webauthn.attestation.statement import (
    AttestationType,
    Attested,
    Statement,
    check_certified_aaguid,
    check_version_and_ca,
    refused,
)

_UNIT = "Authenticator Attestation"
_COUNTRY = re.compile(r"[A-Z]{2}")


def verify_packed(statement: Statement) -> Attested:
    """Verify the statement. Raises WebAuthnRefusal ATTESTATION, ALGORITHM."""
    statement.check_members({"alg", "sig"}, {"x5c"})
    algorithm, signature = statement.get("alg", int), statement.get("sig", bytes)
    if "x5c" not in statement.members:
        return _verify_self(statement, algorithm, signature)
    chain = statement.chain()
    verify_signature(certified_key(chain[0]), algorithm, signature, statement.signed)
    check_version_and_ca(chain[0])
    _check_subject(chain[0].subject)
    check_certified_aaguid(chain[0], statement.about.credential.aaguid)
    return Attested(AttestationType.BASIC, chain)


def _verify_self(statement: Statement, algorithm: int, signature: bytes) -> Attested:
    key = load_credential_key(statement.about.credential.public_key)
    if algorithm != key.algorithm:
        raise refused("attStmt.alg is not the credential key's")
    verify_signature(key.key, algorithm, signature, statement.signed)
    return Attested(AttestationType.SELF)


def _check_subject(subject: x509.Name) -> None:
    """Hold the subject against 8.2.1."""

    def named(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(attribute.value) for attribute in subject.get_attributes_for_oid(oid)]

    country = named(NameOID.COUNTRY_NAME)
    if len(country) != 1 or not _COUNTRY.fullmatch(country[0]):
        raise refused("the attestation certificate's subject names no country (C)")
    for oid, name in ((NameOID.ORGANIZATION_NAME, "O"), (NameOID.COMMON_NAME, "CN")):
        if not any(named(oid)):
            raise refused(f"the attestation certificate's subject has no {name}")
    if named(NameOID.ORGANIZATIONAL_UNIT_NAME) != [_UNIT]:
        raise refused(f"the attestation certificate's subject has not the OU {_UNIT}")
