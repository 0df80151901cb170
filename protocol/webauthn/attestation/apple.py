"""The format apple: Apple's anonymization CA vouches for a key (WebAuthn 8.8)."""

from cryptography import x509

from fidoloop.protocol.certificates import certified_key
from fidoloop.protocol.webauthn.algorithms import load_credential_key
from fidoloop.protocol.webauthn.attestation.statement import (
    AttestationType,
    Attested,
    Statement,
    check_nonce,
    refused,
)

_NONCE = x509.ObjectIdentifier("1.2.840.113635.100.8.2")
# SEQUENCE { [1] { OCTET STRING of 32 bytes } }
_BEFORE_NONCE = bytes.fromhex("3024a1220420")


def verify_apple(statement: Statement) -> Attested:
    """Verify the statement. Raises WebAuthnRefusal ATTESTATION."""
    # Older versions of the system send an alg as well, which means nothing.
    statement.check_members({"x5c"}, {"alg"})
    chain = statement.chain()
    check_nonce(_certified_nonce(chain[0]), statement, "the certificate's nonce")
    if certified_key(chain[0]) != load_credential_key(statement.about.credential.public_key).key:
        raise refused("the attested key is not the credential's")
    return Attested(AttestationType.ANONYMIZATION_CA, chain)


def _certified_nonce(certificate: x509.Certificate) -> bytes:
    for extension in certificate.extensions:
        if extension.oid == _NONCE and isinstance(extension.value, x509.UnrecognizedExtension):
            found = extension.value.value
            if found[: len(_BEFORE_NONCE)] == _BEFORE_NONCE and len(found) == len(_BEFORE_NONCE) + 32:
                return found[len(_BEFORE_NONCE) :]
    raise refused("the attestation certificate has no nonce")
