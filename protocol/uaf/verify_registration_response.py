"""Rules for a registration response, in the spec's order (UAF protocol 3.4.6.5; digest 3.2)."""

import hmac
from collections.abc import Callable, Container
from datetime import datetime

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import (
    MAX_KEY_ID_BYTES,
    MIN_KEY_ID_BYTES,
    RegistrationAssertion,
    parse_registration_assertion,
)
from fidoloop.protocol.uaf.attestation import verify_attestation
from fidoloop.protocol.uaf.expectations import Expected, check_response, check_wrapper
from fidoloop.protocol.uaf.extensions import first_unknown_required
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.messages import UafResponse
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, Policy, disallowed, satisfying_set
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType, AuthenticationMode
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

MAX_REGISTRATION_COUNTER = 1_000_000


class RegisteredKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the server stores of a verified registration; `key_id` is base64url."""

    aaid: str
    key_id: str
    public_key: bytes
    public_key_format: int
    signature_algorithm: int
    authenticator_version: int
    sign_counter: int
    registration_counter: int
    attestation_type: int


def parse_registration_assertions(response: UafResponse) -> tuple[RegistrationAssertion, ...]:
    """Return the parsed assertions of `response`.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT where one is malformed.
    """
    parsed = []
    for index, wrapper in enumerate(response.assertions):
        check_wrapper(wrapper)
        where = f"assertions[{index}].assertion"
        try:
            parsed.append(parse_registration_assertion(base64url.decode(wrapper.assertion, where), where))
        except MalformedError as error:
            raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, str(error)) from None
    return tuple(parsed)


def verify_registration_response(
    response: UafResponse,
    *,
    expected: Expected,
    policy: Policy,
    metadata: Callable[[str], MetadataEntry | None],
    already_registered: Container[tuple[str, str]],
    at: datetime,
) -> tuple[RegisteredKey, ...]:
    """Verify `response` and return the keys of the first policy alternative it meets.

    `metadata` finds an AAID's entry, `already_registered` holds (AAID, KeyID) pairs, `at` is the server's time.

    Raises:
        UafRefusal: with the code of HTTP contract 11a; of several failing assertions the first one's.
    """
    check_response(response, operation="Reg", expected=expected)
    verified: list[tuple[RegisteredKey, AuthenticatorFacts]] = []
    first_refusal: UafRefusal | None = None
    for assertion in parse_registration_assertions(response):
        try:
            verified.append(
                _verify_assertion(
                    assertion,
                    fc_params=response.fcParams,
                    policy=policy,
                    metadata=metadata,
                    already_registered=already_registered,
                    at=at,
                )
            )
        except UafRefusal as refusal:
            first_refusal = first_refusal or refusal
    chosen = satisfying_set(policy, [facts for _, facts in verified])
    if chosen is None:
        raise first_refusal or UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, "the policy is not met")
    keys = tuple(verified[index][0] for index in chosen)
    if len({(key.aaid, key.key_id) for key in keys}) < len(keys):
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "two assertions register one KeyID")
    return keys


def _verify_assertion(
    assertion: RegistrationAssertion,
    *,
    fc_params: str,
    policy: Policy,
    metadata: Callable[[str], MetadataEntry | None],
    already_registered: Container[tuple[str, str]],
    at: datetime,
) -> tuple[RegisteredKey, AuthenticatorFacts]:
    entry = metadata(assertion.aaid)
    if entry is None:
        raise UafRefusal(StatusCode.UNKNOWN_AAID, f"no metadata for {assertion.aaid}")
    entry.check_status(version=assertion.authenticator_version, on=at.date())
    key_id = base64url.encode(assertion.key_id)
    facts = entry.facts(
        key_id=key_id, version=assertion.authenticator_version, attestation_type=assertion.attestation_type
    )
    if disallowed(policy, facts):
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, f"{assertion.aaid} is disallowed by the policy")
    fc_hash = final_challenge_hash(fc_params, entry.statement.authenticationAlgorithm)
    if not hmac.compare_digest(assertion.final_challenge_hash, fc_hash):
        raise _content("FINAL_CHALLENGE_HASH is not the hash of fcParams")
    _check_fields(assertion, entry)
    verify_attestation(assertion, roots=entry.roots, at=at)
    if (assertion.aaid, key_id) in already_registered:
        raise _content("this KeyID is registered already")
    return (
        RegisteredKey(
            aaid=assertion.aaid,
            key_id=key_id,
            public_key=assertion.public_key,
            public_key_format=assertion.public_key_format,
            signature_algorithm=entry.statement.authenticationAlgorithm,
            authenticator_version=assertion.authenticator_version,
            sign_counter=assertion.sign_counter,
            registration_counter=assertion.registration_counter,
            attestation_type=assertion.attestation_type,
        ),
        facts,
    )


def check_limits(assertion: RegistrationAssertion) -> None:
    """Hold the signed fields against the limits of the protocol, whatever the model.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT.
    """
    if not MIN_KEY_ID_BYTES <= len(assertion.key_id) <= MAX_KEY_ID_BYTES:
        raise _content(f"KEYID of {len(assertion.key_id)} bytes")
    if assertion.authentication_mode != AuthenticationMode.USER_VERIFIED:
        raise _content(f"authentication mode {assertion.authentication_mode} in a registration")
    if assertion.registration_counter > MAX_REGISTRATION_COUNTER:
        raise _content("registration counter is absurd")
    unknown = first_unknown_required(assertion.extensions)
    if unknown is not None:
        raise _content(f"assertion extension {unknown} must be understood and is not")


def _check_fields(assertion: RegistrationAssertion, entry: MetadataEntry) -> None:
    """Hold the signed fields against the limits of the protocol and the model's metadata."""
    statement = entry.statement
    check_limits(assertion)
    if assertion.authenticator_version < statement.authenticatorVersion:
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, "authenticator version below its metadata's")
    if assertion.attestation_type not in statement.attestationTypes:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, "attestation type is not one of the model's")
    if assertion.public_key_format != statement.publicKeyAlgAndEncoding:
        raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, "public key format is not the model's")
    if (
        assertion.attestation_type == AttestationType.BASIC_SURROGATE
        and assertion.signature_algorithm != statement.authenticationAlgorithm
    ):
        raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, "signature algorithm is not the model's")
    load_public_key(statement.authenticationAlgorithm, assertion.public_key_format, assertion.public_key)


def _content(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, detail)
