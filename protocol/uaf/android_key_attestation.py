"""The extension fido.uaf.android.key_attestation: Android's keystore vouches for the key registered (digest 1.3).

UAF registry 1.1, "Android Key Attestation". It comes on top of surrogate attestation, whose checks it does not replace.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fidoloop.protocol import strictjson
from fidoloop.protocol.certificate_path import PathRefusal, verify_path
from fidoloop.protocol.certificates import certified_key, load_base64_certificates
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import UafPublicKey
from fidoloop.protocol.uaf.extensions import ANDROID_KEY_ATTESTATION
from fidoloop.protocol.uaf.key_description import (
    ALGORITHM_EC,
    ALGORITHM_RSA,
    DIGEST_SHA256,
    LEVEL_SOFTWARE,
    ORIGIN_GENERATED,
    PURPOSE_SIGN,
    PURPOSE_VERIFY,
    AuthorizationList,
    KeyDescription,
    key_description,
)
from fidoloop.protocol.uaf.match_criteria import AuthenticatorFacts
from fidoloop.protocol.uaf.registry import KeyProtection, UserVerification
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

NOT_SUPPORTED, NOT_AVAILABLE = "p", "a"
MAX_CHAIN = 6
_IN_HARDWARE = KeyProtection.HARDWARE | KeyProtection.TEE | KeyProtection.SECURE_ELEMENT


class KeyAttestationRoots(msgspec.Struct, frozen=True):
    """What the `data` of a model's supportedExtensions entry holds: roots as base64 DER."""

    attestationRootCertificates: tuple[str, ...]


def load_key_attestation_roots(data: str, where: str) -> tuple[x509.Certificate, ...]:
    """Return the roots in the metadata's `data`, a JSON text.

    Raises:
        MalformedError: not JSON with attestationRootCertificates, or one is no certificate.
    """
    texts = strictjson.decode(data, KeyAttestationRoots, where).attestationRootCertificates
    return load_base64_certificates(texts, where)


def verify_key_attestation(
    data: str,
    *,
    expected_key: UafPublicKey,
    expected_challenge: bytes,
    model: AuthenticatorFacts,
    roots: Sequence[x509.Certificate],
    at: datetime,
) -> bool:
    """Verify the extension's `data`; return False where it says that the platform has no attestation to give.

    `expected_key` is the registered key, `expected_challenge` the FCHash; `model` says how its keys are protected and
    its user is verified, `roots` are those of its supportedExtensions.

    Raises:
        UafRefusal: UNACCEPTABLE_ATTESTATION, with the rule that is broken.
    """
    if data in (NOT_SUPPORTED, NOT_AVAILABLE):
        return False
    chain = _chain(data)
    try:
        verify_path(chain, roots=roots, at=at)
        description = key_description(chain[0])
    except PathRefusal as refusal:
        raise _refused(refusal.detail) from None
    except MalformedError as error:
        raise _refused(error.what) from None
    if certified_key(chain[0]) != expected_key:
        raise _refused("the attested key is not the one registered")
    if not hmac.compare_digest(description.challenge, expected_challenge):
        raise _refused("attestationChallenge is not the FINAL_CHALLENGE_HASH")
    silent = model.user_verification == UserVerification.NONE
    in_hardware = bool(model.key_protection & _IN_HARDWARE)
    _check_description(description, expected_key, in_hardware=in_hardware, silent=silent)
    return True


def _chain(data: str) -> tuple[x509.Certificate, ...]:
    try:
        texts = strictjson.decode(data, list[str])
        if not 1 <= len(texts) <= MAX_CHAIN:
            raise MalformedError("$", f"{len(texts)} certificates, 1 to {MAX_CHAIN} expected")
        return load_base64_certificates(texts)
    except MalformedError as error:
        raise _refused(str(error)) from None


def _check_description(found: KeyDescription, key: UafPublicKey, *, in_hardware: bool, silent: bool) -> None:
    """Hold what is enforced where the model says its keys are protected against what UAF demands."""
    if in_hardware and LEVEL_SOFTWARE in (found.attestation_level, found.keymaster_level):
        raise _refused("attested in software, though the model protects its keys in hardware")
    lists = (found.software_enforced, found.tee_enforced)
    if any(each.all_applications is not None for each in lists):
        raise _refused("the key is for all applications")
    if not silent and any(each.no_auth_required is not None for each in lists):
        raise _refused("the key needs no user verification")
    _check_enforced(found.tee_enforced if in_hardware else found.software_enforced, key, silent=silent)


def _check_enforced(enforced: AuthorizationList, key: UafPublicKey, *, silent: bool) -> None:
    if enforced.origin != ORIGIN_GENERATED:
        raise _refused("origin: the key was not generated in the keystore")
    if PURPOSE_SIGN not in enforced.purposes or enforced.purposes - {PURPOSE_SIGN, PURPOSE_VERIFY}:
        raise _refused("purpose: the key is not for signing only")
    if (enforced.algorithm, enforced.key_size) != _algorithm_and_size(key):
        raise _refused("algorithm or keySize is not the registered key's")
    if DIGEST_SHA256 not in enforced.digests:
        raise _refused("digest: not over SHA-256")
    if not silent and not enforced.user_auth_type:
        raise _refused("userAuthType: no user verification unlocks the key")
    if enforced.auth_timeout:
        raise _refused("authTimeout: one verification unlocks the key for a time")


def _algorithm_and_size(key: UafPublicKey) -> tuple[int, int]:
    """Return what the keystore calls such a key: RSA of 2048 bits or EC of 256, no others (UAF registry)."""
    if isinstance(key, rsa.RSAPublicKey):
        return ALGORITHM_RSA, 2048
    if isinstance(key, ec.EllipticCurvePublicKey):
        return ALGORITHM_EC, 256
    raise _refused("the keystore attests no key of this kind")


def _refused(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, f"{ANDROID_KEY_ATTESTATION}: {detail}")
