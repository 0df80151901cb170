"""An authentication assertion, inspected: what it says and which of its rules hold."""

import hmac
from datetime import datetime

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import verify_authentication_response as rules
from fidoloop.protocol.uaf.algorithms import ES256
from fidoloop.protocol.uaf.assertions import AuthenticationAssertion, parse_authentication_assertion
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
from fidoloop.protocol.uaf.registry import AuthenticationMode
from fidoloop.protocol.uaf.signatures import SUPPORTED, verify_signature
from fidoloop.protocol.uaf.verification_input import VerificationInput

SIGNATURE = "signature"


def inspect_authentication(
    wrapper: AuthenticatorAssertion, where: str, given: VerificationInput, at: datetime
) -> AssertionReport:
    """Return what the assertion in `wrapper` says and the outcome of each rule, at time `at`.

    Raises:
        MalformedError: it cannot be parsed; `where` names it.
    """
    assertion = parse_authentication_assertion(base64url.decode(wrapper.assertion, where), where)
    entry, no_model = find_model(given.models, assertion.aaid)
    says = {
        **said(assertion),
        "nonce": base64url.encode(assertion.nonce),
        "transactionContentHash": base64url.encode(assertion.transaction_content_hash),
    }
    checks = (
        checked("scheme and extensions", lambda: check_wrapper(wrapper)),
        checked("limits", lambda: rules.check_limits(assertion)),
        *no_model,
        *_model(assertion, entry, at),
        _fc_hash(assertion, given),
        *_by_stored_key(assertion, given),
        _transaction(assertion, given),
        *check_methods(assertion.extensions, entry),
    )
    return AssertionReport(says, checks)


def _model(assertion: AuthenticationAssertion, entry: MetadataEntry | None, at: datetime) -> tuple[Check, ...]:
    if entry is None:
        return ()
    version = assertion.authenticator_version
    return (
        checked("model", lambda: rules.check_version(version, entry)),
        checked("status", lambda: entry.check_status(version=version, on=at.date())),
    )


def _fc_hash(assertion: AuthenticationAssertion, given: VerificationInput) -> Check:
    if not given.fc_params_known:
        return Check("FCHash", Outcome.NOT_CHECKED, "fcParams not given")
    # What is signed by an algorithm not supported still shows whether its challenge is hashed as most do.
    named = assertion.signature_algorithm
    computed = final_challenge_hash(given.response.fcParams, named if named in SUPPORTED else ES256)
    same = hmac.compare_digest(computed, assertion.final_challenge_hash)
    return Check("FCHash", Outcome.OK) if same else Check("FCHash", Outcome.FAILED, "not the hash of fcParams")


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
            Check(SIGNATURE, Outcome.NOT_CHECKED, unknown),
            Check("counter", Outcome.NOT_CHECKED, unknown),
        )
    same = assertion.signature_algorithm == key.signature_algorithm
    return (
        Check("stored key", Outcome.OK if same else Outcome.FAILED, "" if same else "registered for another algorithm"),
        check_signature(
            SIGNATURE,
            assertion.signature_algorithm,
            lambda: verify_signature(
                load_public_key(key.signature_algorithm, key.public_key_format, key.public_key),
                key.signature_algorithm,
                assertion.signature,
                assertion.signed_data,
            ),
        ),
        checked(
            "counter",
            lambda: rules.check_counter(assertion.sign_counter, key.sign_counter),
            f"{key.sign_counter} to {assertion.sign_counter}",
        ),
    )


def _transaction(assertion: AuthenticationAssertion, given: VerificationInput) -> Check:
    """A log-in without transaction needs nothing to be compared with; what was confirmed does."""
    if given.transactions is None and assertion.authentication_mode == AuthenticationMode.TRANSACTION_CONFIRMED:
        return Check("transaction", Outcome.NOT_CHECKED, "no transactions given")
    asked = given.transactions or ()
    detail = "confirmed" if assertion.transaction_content_hash else "none"
    return checked("transaction", lambda: rules.check_transaction(assertion, asked), detail)
