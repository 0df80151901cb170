"""Whether an attestation is trusted: by the metadata's roots and status reports (WebAuthn 7.1, steps 24, 25 and 29)."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from cryptography import x509

from fidoloop.protocol.certificate_path import PathRefusal, verify_path
from fidoloop.protocol.certificates import certified_key
from fidoloop.protocol.uaf.status_reports import unacceptable_status
from fidoloop.protocol.webauthn.attestation import AttestationType, Attested
from fidoloop.protocol.webauthn.models import AuthenticatorModel, ModelLookup
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

# A report may be about a firmware and later ones; the authenticator does not say which it has.
_ANY_VERSION = 0xFFFFFFFF
_SURROGATE = "basic_surrogate"


class TrustPolicy(StrEnum):
    """Which attestations are taken.

    OPEN: any that verifies; where the metadata knows the model, its chain must end in the model's roots.
    METADATA: only those that the metadata vouches for.
    """

    OPEN = "open"
    METADATA = "metadata"


class Trust(NamedTuple):
    """The model that the authenticator is of, as far as it is known, and whether its attestation proves that."""

    model: AuthenticatorModel | None
    trusted: bool


def assess_trust(attested: Attested, aaguid: bytes, *, models: ModelLookup, policy: TrustPolicy, at: datetime) -> Trust:
    """Assess a statement that verifies, of an authenticator that says it has this AAGUID, at time `at` (UTC).

    Raises:
        WebAuthnRefusal: STATUS where the model's status reports forbid its use; TRUST where the chain does not end in
            the model's roots, or the policy wants more than there is.
    """
    model = _model(attested, aaguid, models)
    if model is not None:
        status = unacceptable_status(model.entry.statusReports, version=_ANY_VERSION, on=at.date())
        if status is not None:
            raise WebAuthnRefusal(Rule.STATUS, f"the metadata forbids this model of authenticator: {status}")
    trusted = _is_trusted(attested, model, at)
    if policy is TrustPolicy.METADATA and not trusted:
        unknown = (
            "its model is not in the metadata" if model is None else f"{attested.type} attestation proves no model"
        )
        raise WebAuthnRefusal(Rule.TRUST, f"only authenticators that the metadata vouches for are taken: {unknown}")
    return Trust(model, trusted)


def _model(attested: Attested, aaguid: bytes, models: ModelLookup) -> AuthenticatorModel | None:
    if any(aaguid):
        return models.get(aaguid.hex())
    for certificate in attested.trust_path[:1]:
        return models.get(key_identifier(certificate))
    return None


def key_identifier(certificate: x509.Certificate) -> str:
    """Return the SHA-1 of a certificate's key in hexadecimal (RFC 5280, 4.2.1.2, method 1); "" of no known key."""
    key = certified_key(certificate)
    if key is None:
        return ""
    return x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()


def _is_trusted(attested: Attested, model: AuthenticatorModel | None, at: datetime) -> bool:
    if model is None or attested.type is AttestationType.NONE:
        return False
    if attested.type is AttestationType.SELF:
        return _SURROGATE in model.attestation_types
    try:
        verify_path(attested.trust_path, roots=model.roots, at=at, root_may_lack_constraints=True)
    except PathRefusal as refusal:
        raise WebAuthnRefusal(Rule.TRUST, f"attStmt.x5c: {refusal.detail}") from None
    return True
