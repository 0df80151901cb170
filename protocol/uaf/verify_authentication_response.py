"""Rules for an authentication response, in the spec's order (UAF protocol 3.5.7.5; digest 3.3)."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import (
    MIN_NONCE_BYTES,
    AuthenticationAssertion,
    parse_authentication_assertion,
)
from fidoloop.protocol.uaf.expectations import Expected, check_response, check_wrapper
from fidoloop.protocol.uaf.extensions import KNOWN_TO_SERVER, first_unknown_required
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.messages import UafResponse
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, Policy, disallowed, satisfying_set
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AuthenticationMode, UserVerification
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.transactions import transaction_content_hash
from fidoloop.protocol.uaf.user_verification_methods import UserVerificationMethod, verified_methods

_NO_VERIFICATION = int(UserVerification.NONE)


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A registered key as the server holds it; `owner` is the user it belongs to, `key_id` base64url."""

    owner: str
    aaid: str
    key_id: str
    public_key: bytes
    public_key_format: int
    signature_algorithm: int
    sign_counter: int


class VerifiedAuthentication(msgspec.Struct, frozen=True):
    """An assertion that verified: by which key, its new counter, and the transaction it confirmed (decoded) if any.

    `methods` are how the user was verified this time, where the authenticator says so.
    """

    key: StoredKey
    sign_counter: int
    transaction: bytes | None
    methods: tuple[UserVerificationMethod, ...] = ()


def parse_authentication_assertions(response: UafResponse) -> tuple[AuthenticationAssertion, ...]:
    """Return the parsed assertions of `response`, whose (AAID, KeyID) the server then looks up.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT where one is malformed.
    """
    parsed = []
    for index, wrapper in enumerate(response.assertions):
        check_wrapper(wrapper)
        where = f"assertions[{index}].assertion"
        try:
            parsed.append(parse_authentication_assertion(base64url.decode(wrapper.assertion, where), where))
        except MalformedError as error:
            raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, str(error)) from None
    return tuple(parsed)


def verify_authentication_response(
    response: UafResponse,
    assertions: Sequence[AuthenticationAssertion],
    *,
    expected: Expected,
    expected_owner: str | None,
    policy: Policy,
    metadata: Callable[[str], MetadataEntry | None],
    keys: Mapping[tuple[str, str], StoredKey],
    transactions: Sequence[bytes],
    on: date | None = None,
) -> tuple[VerifiedAuthentication, ...]:
    """Verify `response`, whose `assertions` were parsed before, and return those of the alternative it meets.

    `keys` holds the stored keys by (AAID, base64url KeyID); `expected_owner` is the only user whose keys count
    (None: usernameless); `transactions` are the decoded contents one of which is to be confirmed, if any; `on` is
    the day by which status reports are in force (None: all are).

    Raises:
        UafRefusal: with the code of HTTP contract 11a; of several failing assertions the first one's.
    """
    check_response(response, operation="Auth", expected=expected)
    verified: list[VerifiedAuthentication] = []
    facts: list[AuthenticatorFacts] = []
    first_refusal: UafRefusal | None = None
    for assertion in assertions:
        try:
            result, result_facts = verify_authentication_assertion(
                assertion,
                fc_params=response.fcParams,
                expected_owner=expected_owner,
                policy=policy,
                metadata=metadata,
                keys=keys,
                transactions=transactions,
                on=on,
            )
        except UafRefusal as refusal:
            first_refusal = first_refusal or refusal
        else:
            verified.append(result)
            facts.append(result_facts)
    chosen = satisfying_set(policy, facts)
    if chosen is None:
        raise first_refusal or UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, "the policy is not met")
    if len(chosen) == 1:
        return (verified[chosen[0]],)
    accepted = tuple(verified[index] for index in chosen)
    if len({(result.key.aaid, result.key.key_id) for result in accepted}) < len(accepted):
        raise _content("two assertions by one key")
    if len({result.key.owner for result in accepted}) > 1:
        raise _content("assertions of different users")
    return accepted


def verify_authentication_assertion(
    assertion: AuthenticationAssertion,
    *,
    fc_params: str,
    expected_owner: str | None,
    policy: Policy,
    metadata: Callable[[str], MetadataEntry | None],
    keys: Mapping[tuple[str, str], StoredKey],
    transactions: Sequence[bytes],
    on: date | None = None,
) -> tuple[VerifiedAuthentication, AuthenticatorFacts]:
    """Verify one assertion by its model, its stored key and the response's `fc_params`, as received.

    Returned with it is what the policy sees of its authenticator. Arguments are those of
    `verify_authentication_response`, which holds the rest of the response against what was asked.

    Raises:
        UafRefusal: with the code of HTTP contract 11a.
    """
    entry = metadata(assertion.aaid)
    if entry is None:
        raise UafRefusal(StatusCode.UNKNOWN_AAID, f"no metadata for {assertion.aaid}")
    if entry.status_reports:
        entry.check_status(version=assertion.authenticator_version, on=on)
    key_id = base64url.encode(assertion.key_id)
    facts = entry.facts(key_id=key_id, version=assertion.authenticator_version)
    if disallowed(policy, facts):
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, f"{assertion.aaid} is disallowed by the policy")
    check_version(assertion.authenticator_version, entry)
    if expected_owner is None:
        check_first_factor(entry)
    key = keys.get((assertion.aaid, key_id))
    if key is None:
        raise UafRefusal(StatusCode.UNKNOWN_KEYID, "this KeyID is not registered")
    if expected_owner is not None and key.owner != expected_owner:
        raise _content("the assertion is another user's")
    if assertion.signature_algorithm != key.signature_algorithm:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, "signature algorithm is not the registered one")
    check_counter(assertion.sign_counter, key.sign_counter)
    fc_hash = final_challenge_hash(fc_params, key.signature_algorithm)
    if not hmac.compare_digest(assertion.final_challenge_hash, fc_hash):
        raise _content("FINAL_CHALLENGE_HASH is not the hash of fcParams")
    check_limits(assertion)
    transaction = check_transaction(assertion, transactions)
    public_key = load_public_key(key.signature_algorithm, key.public_key_format, key.public_key)
    verify_signature(public_key, key.signature_algorithm, assertion.signature, assertion.signed_data)
    methods = verified_methods(assertion.extensions, facts) if assertion.extensions else ()
    return VerifiedAuthentication(key, assertion.sign_counter, transaction, methods), facts


def check_version(version: int, entry: MetadataEntry) -> None:
    """The metadata's version is the lowest that is acceptable.

    Raises:
        UafRefusal: UNACCEPTABLE_AUTHENTICATOR.
    """
    if version < entry.statement.authenticatorVersion:
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, "authenticator version below its metadata's")


def check_first_factor(entry: MetadataEntry) -> None:
    """Where the user is not known before, the authenticator alone must tell who it is (digest section 2).

    Raises:
        UafRefusal: UNACCEPTABLE_AUTHENTICATOR for a second factor and for one that verifies nobody.
    """
    if entry.statement.isSecondFactorOnly or entry.model_facts.user_verification == _NO_VERIFICATION:
        detail = f"{entry.statement.aaid} is no first factor: the user must be known before"
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, detail)


def check_limits(assertion: AuthenticationAssertion) -> None:
    """Hold the fields against the limits of the protocol, whatever the model.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT.
    """
    if len(assertion.nonce) < MIN_NONCE_BYTES:
        raise _content(f"AUTHENTICATOR_NONCE of {len(assertion.nonce)} bytes")
    unknown = first_unknown_required(assertion.extensions, KNOWN_TO_SERVER)
    if unknown is not None:
        raise _content(f"assertion extension {unknown} must be understood and is not")


def check_counter(asserted: int, stored: int) -> None:
    """Both 0 (not supported), or greater than the stored one; otherwise the key may have been cloned.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT.
    """
    if not (asserted == stored == 0 or asserted > stored):
        raise _content("sign counter did not advance")


def check_transaction(assertion: AuthenticationAssertion, transactions: Sequence[bytes]) -> bytes | None:
    """Mode 2 must confirm one of the transactions asked for; mode 1 confirms nothing, and so answers only a log-in.

    `transactions` are decoded contents; the one confirmed is returned, None for a log-in.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT.
    """
    if assertion.authentication_mode == AuthenticationMode.USER_VERIFIED:
        if assertion.transaction_content_hash:
            raise _content("TRANSACTION_CONTENT_HASH without transaction confirmation")
        if transactions:
            raise _content("the transaction was not confirmed")
        return None
    if assertion.authentication_mode != AuthenticationMode.TRANSACTION_CONFIRMED:
        raise _content(f"authentication mode {assertion.authentication_mode}")
    for content in transactions:
        found = transaction_content_hash(content, assertion.signature_algorithm)
        if hmac.compare_digest(found, assertion.transaction_content_hash):
            return content
    raise _content("TRANSACTION_CONTENT_HASH is of no transaction asked for")


def _content(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, detail)
