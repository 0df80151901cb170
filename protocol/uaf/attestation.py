"""Attestation of a registration: basic full against pinned roots, basic surrogate by the key itself.

UAF protocol 3.4.6.5, step 6; digest 3.2 j.
"""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from fidoloop.protocol.certificate_path import PathRefusal, verify_path
from fidoloop.protocol.certificates import certified_key, load_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import RegistrationAssertion
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

MAX_CHAIN = 6


def verify_attestation(assertion: RegistrationAssertion, *, roots: Sequence[x509.Certificate], at: datetime) -> None:
    """Verify the attestation of `assertion` under the model's metadata `roots` at time `at` (UTC).

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION (type, chain, root), UNACCEPTABLE_ALGORITHM, UNACCEPTABLE_KEY,
            or UNACCEPTABLE_CONTENT where the signature does not verify.
    """
    if assertion.attestation_type == AttestationType.BASIC_FULL:
        chain = load_chain(assertion.attestation_certificates)
        verify_chain(chain, roots=roots, at=at)
        check_certified_aaid(chain[0], assertion.aaid)
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
    key = certified_key(leaf)
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


def check_certified_aaid(leaf: x509.Certificate, aaid: str) -> None:
    """Where the leaf certificate says for which AAID it is (id-fido-gen-ce-aaid, digest 9), it is for `aaid`.

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION where it is for another, or its extension is no AAID.
    """
    values = [extension.value for extension in leaf.extensions if extension.oid == _AAID_EXTENSION]
    if not values:
        return
    assert isinstance(values[0], x509.UnrecognizedExtension)
    found = values[0].value
    # The nine characters, in one of the DER types that hold such a text or bare.
    if len(found) == 11 and found[0] in _AAID_TYPES and found[1] == 9:
        found = found[2:]
    if found.upper() != aaid.encode("ascii"):
        raise _refused("the attestation certificate is for another AAID")


_AAID_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.1")
# OCTET STRING, UTF8String, PrintableString, IA5String.
_AAID_TYPES = (0x04, 0x0C, 0x13, 0x16)


def verify_chain(chain: Sequence[x509.Certificate], *, roots: Sequence[x509.Certificate], at: datetime) -> None:
    """Verify the path leaf, intermediates, root; see `verify_path`.

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION where no listed root ends the path or a certificate breaks a rule.
    """
    if not roots:
        raise _refused("the model's metadata lists no attestation root")
    try:
        verify_path(chain, roots=roots, at=at)
    except PathRefusal as refusal:
        raise _refused(refusal.detail) from None


def _refused(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, detail)
