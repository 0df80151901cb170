"""Packed attestation (WebAuthn 8.2): by the token's attestation key where it has one, else by the credential itself.

The attestation key is the one UAF has. Its FIDO2 certificate is another one, because WebAuthn 8.2.1 wants a country in
the subject and the AAGUID in an extension; the same lab CA in the token signs it when it is first needed.
"""

import datetime
import os
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fidoloop.authenticator.attestation import ATTESTATION_KEY_ID, CA_KEY_ID
from fidoloop.authenticator.ctap2.signing import ALGORITHMS, ES256
from fidoloop.hsm.keystore import EcHardwareKey, HardwareKey, KeyStore

AAGUID_EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
"""id-fido-gen-ce-aaguid (WebAuthn 8.2.1)."""
_CERTIFICATE_IDS: Final = b"fidoloop:ctap2-attestation:"
_COUNTRY: Final = "ZZ"
"""User-assigned (ISO 3166-1): a lab is in no country."""
_UNIT: Final = "Authenticator Attestation"
_VALIDITY: Final = datetime.timedelta(days=3650)


class FullAttestation(msgspec.Struct, frozen=True):
    """The attestation key and its certificate (DER); the root is the token's lab CA."""

    key: EcHardwareKey
    certificate: bytes
    root: bytes


def attestation_root(store: KeyStore) -> bytes | None:
    """Return the lab CA that full attestation leads to (DER).

    None where `attest_init` was not called, or the token has no lab CA (cards with few places).
    """
    return None if store.certificate(ATTESTATION_KEY_ID) is None else store.certificate(CA_KEY_ID)


def load_full_attestation(store: KeyStore, aaguid: bytes, *, now: datetime.datetime) -> FullAttestation | None:
    """Return the attestation of this model, its certificate made where it is missing.

    None where there is no `attestation_root`.

    Raises:
        KeyStoreError: the token cannot keep the certificate.
    """
    root = attestation_root(store)
    if root is None:
        return None
    key = store.key(ATTESTATION_KEY_ID)
    if not isinstance(key, EcHardwareKey):
        return None
    certificate_id = _CERTIFICATE_IDS + aaguid[-4:].hex().encode()
    certificate = store.certificate(certificate_id)
    if certificate is None:
        authority = x509.load_der_x509_certificate(root)
        builder = _builder(authority.subject, key, aaguid, now).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(store.key(CA_KEY_ID).public_key()), critical=False
        )
        certificate = builder.sign(store.key(CA_KEY_ID), hashes.SHA256()).public_bytes(Encoding.DER)
        store.put_certificate(certificate_id, certificate, "fidoloop FIDO2 attestation")
    return FullAttestation(key, certificate, root)


def self_signed(key: EcHardwareKey, aaguid: bytes, *, now: datetime.datetime) -> bytes:
    """Return a certificate (DER) of `key` by itself, for U2F, which has no attestation without one."""
    builder = _builder(_subject(), key, aaguid, now)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def attestation_statement(
    full: FullAttestation | None, key: HardwareKey, algorithm: int, signed: bytes
) -> dict[str, Any]:
    """Return the statement of format "packed" over `signed`: authenticator data and the client data's hash."""
    if full is None:
        return {"alg": algorithm, "sig": ALGORITHMS[algorithm].sign(key, signed)}
    return {"alg": ES256, "sig": ALGORITHMS[ES256].sign(full.key, signed), "x5c": [full.certificate]}


def _subject() -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, _COUNTRY),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fidoloop"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _UNIT),
            x509.NameAttribute(NameOID.COMMON_NAME, "fidoloop FIDO2 authenticator"),
        ]
    )


def _builder(issuer: x509.Name, key: EcHardwareKey, aaguid: bytes, now: datetime.datetime) -> x509.CertificateBuilder:
    octet_string = b"\x04\x10" + aaguid
    return (
        x509.CertificateBuilder()
        .subject_name(_subject())
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.UnrecognizedExtension(AAGUID_EXTENSION, octet_string), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
