"""X.509 certificates, read whole at once, so that nothing in one can fail later."""

import binascii
from collections.abc import Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.protocol.errors import MalformedError

UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What is raised for a certificate, or later for a part of it, that cannot be read."""


def load_certificate(der: bytes, where: str = "$") -> x509.Certificate:
    """Return the certificate in `der`; its names, validity and extensions are known to be readable.

    The public key is not looked at: it may be of a kind that is not supported.

    Raises:
        MalformedError: not a DER X.509 certificate.
    """
    try:
        return _load(der)
    except UNREADABLE:
        raise MalformedError(where, "not an X.509 certificate") from None


def load_pem_certificates(content: bytes, where: str = "$") -> list[x509.Certificate]:
    """Return the certificates in a PEM text, each as `load_certificate` does.

    Raises:
        MalformedError: there is none, or one cannot be read.
    """
    try:
        return [_load(each.public_bytes(Encoding.DER)) for each in x509.load_pem_x509_certificates(content)]
    except UNREADABLE:
        raise MalformedError(where, "not X.509 certificates in PEM") from None


# Kept, because the same few certificates attest all devices of a model.
@lru_cache(maxsize=1024)
def _load(der: bytes) -> x509.Certificate:
    """cryptography parses a certificate's parts on first use, and raises there what is wrong with them."""
    certificate = x509.load_der_x509_certificate(der)
    _ = (certificate.subject, certificate.issuer, certificate.extensions)
    _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    return certificate


@lru_cache(maxsize=1024)
def certified_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes | None:
    """Return the certificate's public key, None where it is of a kind that is not supported."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def load_base64_certificates(texts: Sequence[str], where: str = "$") -> tuple[x509.Certificate, ...]:
    """Return the certificates in base64 DER `texts`, in their order.

    Raises:
        MalformedError: one is not base64, or not an X.509 certificate.
    """
    return tuple(load_base64_certificate(text, f"{where}[{index}]") for index, text in enumerate(texts))


def load_base64_certificate(text: str, where: str = "$") -> x509.Certificate:
    """Return the certificate in base64 DER `text`, which may be broken into lines.

    Raises:
        MalformedError: not base64, or not an X.509 certificate.
    """
    try:
        der = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        raise MalformedError(where, "not base64") from None
    return load_certificate(der, where)
