"""Attestation statement formats (WebAuthn 8), one per module, and the look-up by their identifiers."""

from collections.abc import Callable, Mapping

from fidoloop.protocol.webauthn.attestation.android_key import verify_android_key
from fidoloop.protocol.webauthn.attestation.apple import verify_apple
from fidoloop.protocol.webauthn.attestation.fido_u2f import verify_fido_u2f
from fidoloop.protocol.webauthn.attestation.none import verify_none
from fidoloop.protocol.webauthn.attestation.packed import verify_packed
from fidoloop.protocol.webauthn.attestation.statement import AttestationType, Attested, Statement
from fidoloop.protocol.webauthn.attestation.tpm import verify_tpm
from fidoloop.protocol.webauthn.attestation_object import AttestationObject
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

__all__ = ["FORMATS", "AttestationType", "Attested", "verify_attestation"]

FORMATS: Mapping[str, Callable[[Statement], Attested]] = {
    "packed": verify_packed,
    "tpm": verify_tpm,
    "android-key": verify_android_key,
    "fido-u2f": verify_fido_u2f,
    "apple": verify_apple,
    "none": verify_none,
}


def verify_attestation(about: AttestationObject, client_data_hash: bytes) -> Attested:
    """Verify the statement of an attestation object by its format; whether its signer is trusted is not asked here.

    Raises:
        WebAuthnRefusal: FORMAT where it is none of FORMATS; ATTESTATION, ALGORITHM where it does not verify.
    """
    verify = FORMATS.get(about.format)
    if verify is None:
        raise WebAuthnRefusal(Rule.FORMAT, f"attestation statement format {about.format[:32]!r} is not supported")
    return verify(Statement(about.statement, about, client_data_hash))
