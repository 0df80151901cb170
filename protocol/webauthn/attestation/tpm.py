"""The format tpm: TPM2_Certify of the credential's key by an attestation identity key (WebAuthn 8.3)."""

import hmac
import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fidoloop.protocol.certificate_path import find_extension
from fidoloop.protocol.certificates import certified_key
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.tpm_structures import CertifyInfo, TpmPublic, parse_certify_info, parse_public
from fidoloop.protocol.webauthn.algorithms import load_credential_key, signature_algorithm, verify_signature
from fidoloop.protocol.webauthn.attestation.statement import (
    AttestationType,
    Attested,
    Statement,
    check_certified_aaguid,
    check_version_and_ca,
    refused,
)

_AIK_CERTIFICATE = x509.ObjectIdentifier("2.23.133.8.3")
_MANUFACTURER = x509.ObjectIdentifier("2.23.133.2.1")
_MODEL_AND_VERSION = (x509.ObjectIdentifier("2.23.133.2.2"), x509.ObjectIdentifier("2.23.133.2.3"))
_VENDOR_ID = re.compile(r"id:[0-9A-Fa-f]{8}")


def verify_tpm(statement: Statement) -> Attested:
    """Verify the statement. Raises WebAuthnRefusal ATTESTATION, ALGORITHM."""
    statement.check_members({"ver", "alg", "x5c", "sig", "certInfo", "pubArea"})
    if statement.get("ver", str) != "2.0":
        raise refused("attStmt.ver is not 2.0")
    algorithm, signature, chain = statement.get("alg", int), statement.get("sig", bytes), statement.chain()
    public, certified = _structures(statement)
    if public.key != load_credential_key(statement.about.credential.public_key).key:
        raise refused("attStmt.pubArea is not the credential's key")
    if not hmac.compare_digest(certified.extra_data, _digest(algorithm, statement.signed)):
        raise refused("attStmt.certInfo.extraData is not the hash of what is attested")
    if not hmac.compare_digest(certified.name, public.name):
        raise refused("attStmt.certInfo attests another key than that of pubArea")
    verify_signature(certified_key(chain[0]), algorithm, signature, certified.raw)
    _check_certificate(chain[0])
    check_certified_aaguid(chain[0], statement.about.credential.aaguid)
    return Attested(AttestationType.ATTESTATION_CA, chain)


def _structures(statement: Statement) -> tuple[TpmPublic, CertifyInfo]:
    try:
        return (
            parse_public(statement.get("pubArea", bytes), "attStmt.pubArea"),
            parse_certify_info(statement.get("certInfo", bytes), "attStmt.certInfo"),
        )
    except MalformedError as error:
        raise refused(str(error)) from None


def _digest(algorithm: int, data: bytes) -> bytes:
    digest = hashes.Hash(signature_algorithm(algorithm).hash)
    digest.update(data)
    return digest.finalize()


def _check_certificate(certificate: x509.Certificate) -> None:
    """Hold the certificate of the attestation identity key against 8.3.1."""
    check_version_and_ca(certificate)
    if list(certificate.subject):
        raise refused("the subject of a TPM's attestation certificate is not empty")
    names = find_extension(certificate, x509.SubjectAlternativeName)
    directory = [] if names is None else names.get_values_for_type(x509.DirectoryName)
    if not any(_names_a_tpm(name) for name in directory):
        raise refused("the attestation certificate does not name a TPM's manufacturer, model and version")
    usage = find_extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or _AIK_CERTIFICATE not in usage:
        raise refused("the attestation certificate is not one for attestation identity keys")


def _names_a_tpm(name: x509.Name) -> bool:
    """Tell whether a name has the three attributes of the TCG's EK profile, 3.2.9."""
    manufacturers = name.get_attributes_for_oid(_MANUFACTURER)
    return (
        len(manufacturers) == 1
        and _VENDOR_ID.fullmatch(str(manufacturers[0].value)) is not None
        and all(len(name.get_attributes_for_oid(oid)) == 1 for oid in _MODEL_AND_VERSION)
    )
