"""A registration assertion, inspected: what it says and which of its rules hold."""

import hmac
from datetime import datetime

from cryptography import x509

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import verify_registration_response as rules
from fidoloop.protocol.uaf.algorithms import ES256
from fidoloop.protocol.uaf.android_key_attestation import verify_key_attestation
from fidoloop.protocol.uaf.assertions import RegistrationAssertion, parse_registration_assertion
from fidoloop.protocol.uaf.attestation import (
    check_certified_aaid,
    load_chain,
    verify_chain,
    verify_full_signature,
    verify_surrogate_signature,
)
from fidoloop.protocol.uaf.dissect_values import named
from fidoloop.protocol.uaf.expectations import check_wrapper
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.inspection import (
    AssertionReport,
    Check,
    Outcome,
    check_methods,
    check_signature,
    checked,
    find_model,
    said,
)
from fidoloop.protocol.uaf.messages import AuthenticatorAssertion
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import Algorithm, AttestationType, PublicKeyFormat
from fidoloop.protocol.uaf.signatures import SUPPORTED
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verification_input import VerificationInput

SIGNATURE = "attestation signature"
_CHAIN = "attestation chain"


def inspect_registration(
    wrapper: AuthenticatorAssertion, where: str, given: VerificationInput, at: datetime
) -> AssertionReport:
    """Return what the assertion in `wrapper` says and the outcome of each rule, certificates judged at time `at`.

    Raises:
        MalformedError: it cannot be parsed; `where` names it.
    """
    assertion = parse_registration_assertion(base64url.decode(wrapper.assertion, where), where)
    entry, no_model = find_model(given.models, assertion.aaid)
    roots = given.roots if entry is None else entry.roots
    full = assertion.attestation_type == AttestationType.BASIC_FULL
    says = {
        **said(assertion),
        "publicKeyFormat": named(PublicKeyFormat, assertion.public_key_format),
        "publicKey": base64url.encode(assertion.public_key),
        "registrationCounter": assertion.registration_counter,
        "attestationType": named(AttestationType, assertion.attestation_type),
        "certificates": _certificates(assertion),
    }
    checks = (
        checked("scheme and extensions", lambda: check_wrapper(wrapper)),
        checked("limits", lambda: rules.check_limits(assertion)),
        *no_model,
        *_model(assertion, entry, at),
        _fc_hash(assertion, given, entry),
        _public_key(assertion, entry),
        check_signature(SIGNATURE, assertion.signature_algorithm, lambda: _verify_attestation_signature(assertion)),
        _full_chain(assertion, roots, at) if full else _surrogate_roots(roots),
        *_key_attestation(assertion, wrapper, given, entry, at),
        *check_methods(assertion.extensions, entry),
    )
    return AssertionReport(says, checks)


def _model(assertion: RegistrationAssertion, entry: MetadataEntry | None, at: datetime) -> tuple[Check, ...]:
    if entry is None:
        return ()
    version = assertion.authenticator_version
    return (
        checked("model", lambda: rules.check_model(assertion, entry.statement)),
        checked("status", lambda: entry.check_status(version=version, on=at.date())),
    )


def _algorithms(assertion: RegistrationAssertion, entry: MetadataEntry | None) -> tuple[int, ...]:
    """Return the algorithms that the user's key may be of: a full attestation leaves that to the model's metadata."""
    if entry is not None:
        among: frozenset[int] = SUPPORTED & set(entry.statement.algorithms)
    else:
        among = SUPPORTED
    named_first = sorted(among, key=lambda each: (each != assertion.signature_algorithm, each))
    return tuple(algorithm for algorithm in named_first if _loads(assertion, algorithm))


def _loads(assertion: RegistrationAssertion, algorithm: int) -> bool:
    try:
        load_public_key(algorithm, assertion.public_key_format, assertion.public_key)
    except UafRefusal:
        return False
    return True


def _public_key(assertion: RegistrationAssertion, entry: MetadataEntry | None) -> Check:
    algorithms = _algorithms(assertion, entry)
    if algorithms:
        return Check("public key", Outcome.OK, "of " + " or ".join(Algorithm(each).name for each in algorithms))
    algorithm = assertion.signature_algorithm if assertion.signature_algorithm in SUPPORTED else ES256
    if entry is not None:
        algorithm = entry.statement.authenticationAlgorithm
    return checked("public key", lambda: load_public_key(algorithm, assertion.public_key_format, assertion.public_key))


def _fc_hash(assertion: RegistrationAssertion, given: VerificationInput, entry: MetadataEntry | None) -> Check:
    if not given.fc_params_known:
        return Check("FCHash", Outcome.NOT_CHECKED, "fcParams not given")
    # What is no key of anything still shows whether its challenge is the one hashed as most algorithms do.
    for algorithm in _algorithms(assertion, entry) or (ES256,):
        computed = final_challenge_hash(given.response.fcParams, algorithm)
        if hmac.compare_digest(computed, assertion.final_challenge_hash):
            return Check("FCHash", Outcome.OK)
    return Check("FCHash", Outcome.FAILED, "not the hash of fcParams")


def _verify_attestation_signature(assertion: RegistrationAssertion) -> None:
    if assertion.attestation_type == AttestationType.BASIC_FULL:
        verify_full_signature(assertion, load_chain(assertion.attestation_certificates)[0])
    elif assertion.attestation_type == AttestationType.BASIC_SURROGATE:
        verify_surrogate_signature(assertion)
    else:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, "attestation type not supported")


def _full_chain(assertion: RegistrationAssertion, roots: tuple[x509.Certificate, ...] | None, at: datetime) -> Check:
    if roots is None:
        return Check(_CHAIN, Outcome.NOT_CHECKED, "no roots given")

    def verify() -> None:
        chain = load_chain(assertion.attestation_certificates)
        verify_chain(chain, roots=roots, at=at)
        check_certified_aaid(chain[0], assertion.aaid)

    return checked(_CHAIN, verify)


def _surrogate_roots(roots: tuple[x509.Certificate, ...] | None) -> Check:
    """A model that lists roots may not attest by surrogate, nor by a kind that has no certificates."""
    if roots is None:
        return Check(_CHAIN, Outcome.NOT_CHECKED, "no roots given")
    if roots:
        return Check(_CHAIN, Outcome.FAILED, "no certificates, though the model has roots")
    return Check(_CHAIN, Outcome.OK, "no certificates, and the model has no roots")


def _key_attestation(
    assertion: RegistrationAssertion,
    wrapper: AuthenticatorAssertion,
    given: VerificationInput,
    entry: MetadataEntry | None,
    at: datetime,
) -> tuple[Check, ...]:
    """Android's key attestation, where there is one: only the model's metadata says by which roots."""
    name = "key attestation"
    data = rules.key_attestation_data(given.response, wrapper)
    if data is None:
        return ()
    if entry is None or entry.key_attestation_roots is None:
        return (Check(name, Outcome.NOT_CHECKED, "no metadata given that supports it"),)
    roots, model = entry.key_attestation_roots, entry.model_facts
    return (
        checked(
            name,
            lambda: verify_key_attestation(
                data,
                expected_key=load_public_key(
                    rules.user_algorithm(assertion, entry.statement), assertion.public_key_format, assertion.public_key
                ),
                expected_challenge=assertion.final_challenge_hash,
                model=model,
                roots=roots,
                at=at,
            ),
        ),
    )


def _certificates(assertion: RegistrationAssertion) -> list[dict[str, str]]:
    try:
        chain = load_chain(assertion.attestation_certificates) if assertion.attestation_certificates else ()
    except UafRefusal as refusal:
        return [{"subject": f"({refusal.detail})", "issuer": "", "notBefore": "", "notAfter": ""}]
    return [
        {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "notBefore": certificate.not_valid_before_utc.isoformat(),
            "notAfter": certificate.not_valid_after_utc.isoformat(),
        }
        for certificate in chain
    ]
