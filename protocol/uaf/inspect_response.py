"""What a response says and which of its rules hold, one by one: the rules of a server, told apart, not just applied.

A server stops at the first broken rule; whoever studies a response wants to see each.
"""

import hmac
from collections.abc import Callable
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import (
    final_challenge,
    verify_authentication_response,
    verify_registration_response,
)
from fidoloop.protocol.uaf.algorithms import ES256
from fidoloop.protocol.uaf.assertions import (
    AuthenticationAssertion,
    RegistrationAssertion,
    parse_authentication_assertion,
    parse_registration_assertion,
)
from fidoloop.protocol.uaf.attestation import (
    load_chain,
    verify_chain,
    verify_full_signature,
    verify_surrogate_signature,
)
from fidoloop.protocol.uaf.expectations import check_wrapper
from fidoloop.protocol.uaf.extensions import KNOWN_TO_SERVER, first_unknown_required
from fidoloop.protocol.uaf.final_challenge import FinalChallengeParams
from fidoloop.protocol.uaf.messages import AuthenticatorAssertion
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import Algorithm, AttestationType, AuthenticationMode, PublicKeyFormat
from fidoloop.protocol.uaf.signatures import SUPPORTED, verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verification_input import VerificationInput


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


class Check(msgspec.Struct, frozen=True):
    """One rule held against one assertion, or against the message."""

    name: str
    outcome: Outcome
    detail: str = ""


class AssertionReport(msgspec.Struct, frozen=True):
    """What one assertion says, by name, and its checks."""

    says: dict[str, Any]
    checks: tuple[Check, ...]


class ResponseReport(msgspec.Struct, frozen=True):
    """What a response says and which rules hold."""

    says: dict[str, Any]
    checks: tuple[Check, ...]
    assertions: tuple[AssertionReport, ...]

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """The checks of the message and of every assertion."""
        return self.checks + tuple(check for assertion in self.assertions for check in assertion.checks)

    def verified(self, *, strict: bool) -> bool:
        """Tell whether every rule that could be checked holds, every signature among them.

        Signatures must have been checked; other rules may be left out for want of what they need, unless `strict`.
        """
        for check in self.all_checks:
            if check.outcome is Outcome.FAILED:
                return False
            if check.outcome is Outcome.NOT_CHECKED and (strict or check.name in _SIGNATURES):
                return False
        return True


_CHAIN = "attestation chain"
_SIGNATURES = frozenset({"attestation signature", "signature"})


def inspect_response(given: VerificationInput, *, now: datetime) -> ResponseReport:
    """Return what the response in `given` says and the outcome of each rule; `now` counts where no time was given.

    Raises:
        MalformedError: an assertion cannot be parsed; `where` names it.
    """
    response = given.response
    header = response.header
    says: dict[str, Any] = {
        "operation": header.op,
        "version": f"{header.upv.major}.{header.upv.minor}",
        "appID": header.appID or "",
    }
    params: FinalChallengeParams | None = None
    if given.fc_params_known:
        try:
            params = final_challenge.decode(response.fcParams)
        except MalformedError as error:
            checks = [Check("fcParams", Outcome.FAILED, str(error))]
        else:
            says |= {"facetID": params.facetID, "challenge": params.challenge}
            says["channelBinding"] = msgspec.to_builtins(params.channelBinding)
            same = not header.appID or header.appID == params.appID
            detail = "" if same else "appID is not the header's"
            checks = [Check("fcParams", Outcome.OK if same else Outcome.FAILED, detail)]
    else:
        checks = [Check("fcParams", Outcome.NOT_CHECKED, "not given")]
    unknown = first_unknown_required(header.exts or (), KNOWN_TO_SERVER)
    if unknown is not None:
        checks.append(Check("extensions", Outcome.FAILED, f"{unknown} must be understood and is not"))
    if not response.assertions:
        checks.append(Check("assertions", Outcome.FAILED, "there are none"))
    inspect = {"Reg": _registration, "Auth": _authentication}.get(header.op)
    if inspect is None:
        raise MalformedError("header.op", "neither Reg nor Auth")
    return ResponseReport(
        says,
        tuple(checks),
        tuple(
            inspect(wrapper, f"assertions[{index}].assertion", given, given.at or now)
            for index, wrapper in enumerate(response.assertions)
        ),
    )


def _registration(
    wrapper: AuthenticatorAssertion, where: str, given: VerificationInput, at: datetime
) -> AssertionReport:
    assertion = parse_registration_assertion(base64url.decode(wrapper.assertion, where), where)
    full = assertion.attestation_type == AttestationType.BASIC_FULL
    says = {
        **_said(assertion),
        "publicKeyFormat": _named(PublicKeyFormat, assertion.public_key_format),
        "publicKey": base64url.encode(assertion.public_key),
        "registrationCounter": assertion.registration_counter,
        "attestationType": _named(AttestationType, assertion.attestation_type),
        "certificates": _certificates(assertion),
    }
    return AssertionReport(
        says,
        (
            _checked("scheme and extensions", lambda: check_wrapper(wrapper)),
            _checked("limits", lambda: verify_registration_response.check_limits(assertion)),
            _fc_hash(assertion, given),
            _public_key(assertion),
            _signature(
                "attestation signature", assertion.signature_algorithm, lambda: _verify_attestation_signature(assertion)
            ),
            _full_chain(assertion, given, at) if full else _surrogate_roots(given),
        ),
    )


def _verify_attestation_signature(assertion: RegistrationAssertion) -> None:
    if assertion.attestation_type == AttestationType.BASIC_FULL:
        verify_full_signature(assertion, load_chain(assertion.attestation_certificates)[0])
    elif assertion.attestation_type == AttestationType.BASIC_SURROGATE:
        verify_surrogate_signature(assertion)
    else:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, "attestation type not supported")


def _full_chain(assertion: RegistrationAssertion, given: VerificationInput, at: datetime) -> Check:
    roots = given.roots
    if roots is None:
        return Check(_CHAIN, Outcome.NOT_CHECKED, "no roots given")
    return _checked(_CHAIN, lambda: verify_chain(load_chain(assertion.attestation_certificates), roots=roots, at=at))


def _surrogate_roots(given: VerificationInput) -> Check:
    """A model that lists roots may not attest by surrogate, nor by a kind that has no certificates."""
    if given.roots is None:
        return Check(_CHAIN, Outcome.NOT_CHECKED, "no roots given")
    if given.roots:
        return Check(_CHAIN, Outcome.FAILED, "no certificates, though the model has roots")
    return Check(_CHAIN, Outcome.OK, "no certificates, and the model has no roots")


def _authentication(
    wrapper: AuthenticatorAssertion, where: str, given: VerificationInput, _: datetime
) -> AssertionReport:
    assertion = parse_authentication_assertion(base64url.decode(wrapper.assertion, where), where)
    says = {
        **_said(assertion),
        "nonce": base64url.encode(assertion.nonce),
        "transactionContentHash": base64url.encode(assertion.transaction_content_hash),
    }
    return AssertionReport(
        says,
        (
            _checked("scheme and extensions", lambda: check_wrapper(wrapper)),
            _checked("limits", lambda: verify_authentication_response.check_limits(assertion)),
            _fc_hash(assertion, given),
            *_by_stored_key(assertion, given),
            _transaction(assertion, given),
        ),
    )


def _by_stored_key(assertion: AuthenticationAssertion, given: VerificationInput) -> tuple[Check, ...]:
    key = (given.keys or {}).get((assertion.aaid, base64url.encode(assertion.key_id)))
    if key is None:
        found = (
            Check("stored key", Outcome.NOT_CHECKED, "no registrations given")
            if given.keys is None
            else Check("stored key", Outcome.FAILED, "this AAID and KeyID are not among the registrations")
        )
        unknown = "its key is not known"
        return (
            found,
            Check("signature", Outcome.NOT_CHECKED, unknown),
            Check("counter", Outcome.NOT_CHECKED, unknown),
        )
    same = assertion.signature_algorithm == key.signature_algorithm
    return (
        Check("stored key", Outcome.OK if same else Outcome.FAILED, "" if same else "registered for another algorithm"),
        _signature(
            "signature",
            assertion.signature_algorithm,
            lambda: verify_signature(
                load_public_key(key.signature_algorithm, key.public_key_format, key.public_key),
                key.signature_algorithm,
                assertion.signature,
                assertion.signed_data,
            ),
        ),
        _checked(
            "counter",
            lambda: verify_authentication_response.check_counter(assertion.sign_counter, key.sign_counter),
            f"{key.sign_counter} to {assertion.sign_counter}",
        ),
    )


def _transaction(assertion: AuthenticationAssertion, given: VerificationInput) -> Check:
    """A log-in without transaction needs nothing to be compared with; what was confirmed does."""
    if given.transactions is None and assertion.authentication_mode == AuthenticationMode.TRANSACTION_CONFIRMED:
        return Check("transaction", Outcome.NOT_CHECKED, "no transactions given")
    asked = given.transactions or ()
    detail = "confirmed" if assertion.transaction_content_hash else "none"
    return _checked("transaction", lambda: verify_authentication_response.check_transaction(assertion, asked), detail)


def _fc_hash(assertion: RegistrationAssertion | AuthenticationAssertion, given: VerificationInput) -> Check:
    if not given.fc_params_known:
        return Check("FCHash", Outcome.NOT_CHECKED, "fcParams not given")
    # What is no key of anything still shows whether its challenge is the one hashed as most algorithms do.
    for algorithm in _algorithms(assertion) or (ES256,):
        computed = final_challenge.final_challenge_hash(given.response.fcParams, algorithm)
        if hmac.compare_digest(computed, assertion.final_challenge_hash):
            return Check("FCHash", Outcome.OK)
    return Check("FCHash", Outcome.FAILED, "not the hash of fcParams")


def _algorithms(assertion: RegistrationAssertion | AuthenticationAssertion) -> tuple[int, ...]:
    """Return the supported algorithms that the user's key may be of.

    A registration by full attestation does not say: there, only the model's metadata does.
    """
    named = assertion.signature_algorithm
    if isinstance(assertion, AuthenticationAssertion):
        return (named,) if named in SUPPORTED else ()
    named_first = sorted(SUPPORTED, key=lambda each: (each != named, each))
    return tuple(algorithm for algorithm in named_first if _loads(assertion, algorithm))


def _loads(assertion: RegistrationAssertion, algorithm: int) -> bool:
    try:
        load_public_key(algorithm, assertion.public_key_format, assertion.public_key)
    except UafRefusal:
        return False
    return True


def _public_key(assertion: RegistrationAssertion) -> Check:
    algorithms = _algorithms(assertion)
    if algorithms:
        return Check("public key", Outcome.OK, "of " + " or ".join(Algorithm(each).name for each in algorithms))
    named = assertion.signature_algorithm if assertion.signature_algorithm in SUPPORTED else ES256
    return _checked("public key", lambda: load_public_key(named, assertion.public_key_format, assertion.public_key))


def _signature(name: str, algorithm: int, rule: Callable[[], object]) -> Check:
    if algorithm not in SUPPORTED:
        return Check(name, Outcome.FAILED, f"algorithm not supported: {_named(Algorithm, algorithm)}")
    return _checked(name, rule)


def _checked(name: str, rule: Callable[[], object], detail: str = "") -> Check:
    try:
        rule()
    except UafRefusal as refusal:
        unsupported = refusal.status is StatusCode.UNACCEPTABLE_ALGORITHM
        return Check(
            name, Outcome.FAILED, f"algorithm not supported: {refusal.detail}" if unsupported else refusal.detail
        )
    return Check(name, Outcome.OK, detail)


def _said(assertion: RegistrationAssertion | AuthenticationAssertion) -> dict[str, Any]:
    """Return what both kinds of assertion say."""
    return {
        "aaid": assertion.aaid,
        "authenticatorVersion": assertion.authenticator_version,
        "authenticationMode": _named(AuthenticationMode, assertion.authentication_mode),
        "signatureAlgorithm": _named(Algorithm, assertion.signature_algorithm),
        "keyID": base64url.encode(assertion.key_id),
        "signCounter": assertion.sign_counter,
        "finalChallengeHash": base64url.encode(assertion.final_challenge_hash),
        "extensions": [
            {"id": extension.id, "data": base64url.encode(extension.data), "signed": extension.signed}
            for extension in assertion.extensions
        ],
    }


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


def _named(kind: type[IntEnum], number: int) -> str:
    """Return the registry's name of `number` beside the number, which alone is said where there is none."""
    shown = f"0x{number:X}" if number > 0xFF else str(number)
    return f"{shown} {kind(number).name}" if number in kind.__members__.values() else shown
