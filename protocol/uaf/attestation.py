"""Attestation of a registration: basic full against pinned roots, basic surrogate by the key itself.

UAF protocol 3.4.6.5, step 6; digest 3.2 j.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import RegistrationAssertion
from fidoloop.protocol.uaf.certificates import load_certificate
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

MAX_CHAIN = 6
E = TypeVar("E", bound=x509.ExtensionType)
_KNOWN_CRITICAL = frozenset({x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid})
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


def verify_attestation(assertion: RegistrationAssertion, *, roots: Sequence[x509.Certificate], at: datetime) -> None:
    """Verify the attestation of `assertion` under the model's metadata `roots` at time `at` (UTC).

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION (type, chain, root), UNACCEPTABLE_ALGORITHM, UNACCEPTABLE_KEY,
            or UNACCEPTABLE_CONTENT where the signature does not verify.
    """
    if assertion.attestation_type == AttestationType.BASIC_FULL:
        chain = load_chain(assertion.attestation_certificates)
        verify_chain(chain, roots=roots, at=at)
        verify_full_signature(assertion, chain[0])
    elif assertion.attestation_type == AttestationType.BASIC_SURROGATE:
        if roots:
            raise _refused("surrogate attestation by a model whose metadata lists attestation roots")
        verify_surrogate_signature(assertion)
    else:
        raise _refused(f"attestation type 0x{assertion.attestation_type:X} is not supported")


def verify_full_signature(assertion: RegistrationAssertion, leaf: x509.Certificate) -> None:
    """Verify the attestation signature over the KRD with the key of the leaf certificate.

    Raises:
        UafRefusal: the leaf's key is not of a supported kind, or the signature does not verify.
    """
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    verify_signature(key, assertion.signature_algorithm, assertion.attestation_signature, assertion.krd)


def verify_surrogate_signature(assertion: RegistrationAssertion) -> None:
    """Verify the attestation signature over the KRD with the registered key itself.

    Raises:
        UafRefusal: certificates stand beside it, the key is unusable, or the signature does not verify.
    """
    if assertion.attestation_certificates:
        raise _refused("surrogate attestation with certificates")
    key = load_public_key(assertion.signature_algorithm, assertion.public_key_format, assertion.public_key)
    verify_signature(key, assertion.signature_algorithm, assertion.attestation_signature, assertion.krd)


def load_chain(certificates: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Return the DER `certificates`, leaf first.

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION where there is none, too many, or one is not X.509.
    """
    if not 1 <= len(certificates) <= MAX_CHAIN:
        raise _refused(f"{len(certificates)} attestation certificates, 1 to {MAX_CHAIN} expected")
    try:
        return tuple(load_certificate(der) for der in certificates)
    except MalformedError:
        raise _refused("an attestation certificate is not X.509") from None


def verify_chain(chain: Sequence[x509.Certificate], *, roots: Sequence[x509.Certificate], at: datetime) -> None:
    """Verify the path leaf, intermediates, root (RFC 5280 section 6.1 as far as attestation certificates keep to it).

    A listed root may be the leaf itself, one of the chain, or the issuer of its last certificate.

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION where no listed root ends the path or a certificate breaks a rule.
    """
    if not roots:
        raise _refused("the model's metadata lists no attestation root")
    path = _path_to_root(chain, roots)
    for depth, certificate in enumerate(path):
        _check_certificate(certificate, at=at)
        if depth + 1 < len(path):
            _check_issued(certificate, path[depth + 1], intermediates_below=depth)


def _path_to_root(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    for length, certificate in enumerate(chain, 1):
        if certificate in roots:
            return list(chain[:length])
    for root in roots:
        if _is_issued_by(chain[-1], root):
            return [*chain, root]
    raise _refused("the attestation chain does not end in a root of the model's metadata")


def _check_certificate(certificate: x509.Certificate, *, at: datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise _refused("an attestation certificate is outside its validity")
    if any(extension.critical and extension.oid not in _KNOWN_CRITICAL for extension in certificate.extensions):
        raise _refused("an attestation certificate has an unknown critical extension")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate, *, intermediates_below: int) -> None:
    if not _is_issued_by(certificate, issuer):
        raise _refused("an attestation certificate is not issued by the next one")
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise _refused("an issuing certificate is not a CA")
    if constraints.path_length is not None and intermediates_below > constraints.path_length:
        raise _refused("the attestation chain is longer than a path length constraint allows")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise _refused("an issuing certificate may not sign certificates")


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` has the name and the key that `certificate` was signed by."""
    try:
        if isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES):
            raise _refused("an attestation certificate is signed over a weak hash")
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _refused(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, detail)
