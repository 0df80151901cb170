"""The path from an attestation certificate to a pinned root: what of RFC 5280 section 6.1 such certificates keep to.

Generic validators refuse them: they name no host, have no extended key usage, and their dates are copied.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import SignatureAlgorithmOID as SignatureOid

E = TypeVar("E", bound=x509.ExtensionType)
_KNOWN_CRITICAL = frozenset({x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid})
# An allow-list: SHA-1 and MD5 are weak; RSASSA-PSS has parameters that no attestation certificate was seen to use.
_SIGNATURE_ALGORITHMS = frozenset(
    {
        SignatureOid.ECDSA_WITH_SHA256,
        SignatureOid.ECDSA_WITH_SHA384,
        SignatureOid.ECDSA_WITH_SHA512,
        SignatureOid.RSA_WITH_SHA256,
        SignatureOid.RSA_WITH_SHA384,
        SignatureOid.RSA_WITH_SHA512,
        SignatureOid.ED25519,
    }
)


class PathRule(StrEnum):
    """Which rule a path breaks."""

    ANCHOR = "anchor"
    ALGORITHM = "algorithm"
    VALIDITY = "validity"
    CA = "CA"
    EXTENSION = "extension"


class PathRefusal(ValueError):
    """A path breaks `rule`; `detail` says how."""

    def __init__(self, rule: PathRule, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


def verify_path(
    chain: Sequence[x509.Certificate],
    *,
    roots: Sequence[x509.Certificate],
    at: datetime,
    root_may_lack_constraints: bool = False,
) -> x509.Certificate:
    """Verify the path leaf, intermediates, root at time `at` (UTC) and return the root.

    A root may be the leaf itself, one of the chain, or the issuer of its last certificate. With
    `root_may_lack_constraints` it is one because it is listed, even without BasicConstraints (RFC 5280 section 6.1.1 d:
    a trust anchor is a name and a key); one that says it is no CA is none all the same.

    Raises:
        PathRefusal: no root ends the path, or a certificate breaks a rule.
    """
    path = _path_to_root(chain, roots)
    for depth, certificate in enumerate(path):
        _check_certificate(certificate, at=at)
        if depth + 1 < len(path):
            bare = root_may_lack_constraints and depth + 2 == len(path)
            _check_issued(certificate, path[depth + 1], intermediates_below=depth, may_lack_constraints=bare)
    return path[-1]


def find_extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """Return the value of the certificate's extension of this kind, None where there is none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _path_to_root(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    for length, certificate in enumerate(chain, 1):
        if certificate in roots:
            return list(chain[:length])
    for root in roots:
        if _is_issued_by(chain[-1], root):
            return [*chain, root]
    raise PathRefusal(PathRule.ANCHOR, "the attestation chain does not end in a root that is listed")


def _check_certificate(certificate: x509.Certificate, *, at: datetime) -> None:
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise PathRefusal(PathRule.VALIDITY, "an attestation certificate is outside its validity")
    if any(extension.critical and extension.oid not in _KNOWN_CRITICAL for extension in certificate.extensions):
        raise PathRefusal(PathRule.EXTENSION, "an attestation certificate has an unknown critical extension")


def _check_issued(
    certificate: x509.Certificate, issuer: x509.Certificate, *, intermediates_below: int, may_lack_constraints: bool
) -> None:
    if not _is_issued_by(certificate, issuer):
        raise PathRefusal(PathRule.ANCHOR, "an attestation certificate is not issued by the next one")
    constraints = find_extension(issuer, x509.BasicConstraints)
    if not (may_lack_constraints if constraints is None else constraints.ca):
        raise PathRefusal(PathRule.CA, "an issuing certificate is not a CA")
    if (
        constraints is not None
        and constraints.path_length is not None
        and intermediates_below > constraints.path_length
    ):
        raise PathRefusal(PathRule.CA, "the attestation chain is longer than a path length constraint allows")
    usage = find_extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise PathRefusal(PathRule.CA, "an issuing certificate may not sign certificates")


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` has the name and the key that `certificate` was signed by."""
    if certificate.signature_algorithm_oid not in _SIGNATURE_ALGORITHMS:
        detail = "an attestation certificate is signed over a weak hash, or in a way that is not allowed"
        raise PathRefusal(PathRule.ALGORITHM, detail)
    return _is_signed_by(certificate, issuer)


# A model's certificates attest a hundred thousand devices or more: what they say of one another never changes. Validity
# and constraints are held against each path anew.
@lru_cache(maxsize=1024)
def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
