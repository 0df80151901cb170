"""Rules for a registration response, in the spec's order (UAF protocol 3.4.6.5; digest 3.2)."""

import hmac
from collections.abc import Callable, Container
from datetime import datetime
from typing import NamedTuple

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import UafPublicKey
from fidoloop.protocol.uaf.android_key_attestation import verify_key_attestation
from fidoloop.protocol.uaf.assertions import (
    MAX_KEY_ID_BYTES,
    MIN_KEY_ID_BYTES,
    RegistrationAssertion,
    parse_registration_assertion,
)
from fidoloop.protocol.uaf.attestation import verify_attestation
from fidoloop.protocol.uaf.expectations import Expected, check_response, check_wrapper
from fidoloop.protocol.uaf.extensions import ANDROID_KEY_ATTESTATION, KNOWN_TO_SERVER, first_unknown_required
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.messages import AuthenticatorAssertion, DisplayPngCharacteristics, UafResponse
from fidoloop.protocol.uaf.metadata import MetadataEntry, MetadataStatement
from fidoloop.protocol.uaf.policy import (
    AuthenticatorFacts,
    Policy,
    disallowed,
    preferred_attestation_types,
    satisfying_set,
)
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType, AuthenticationMode
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.user_verification_methods import UserVerificationMethod, verified_methods

MAX_REGISTRATION_COUNTER = 1_000_000


class RegisteredKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the server stores of a verified registration; `key_id` is base64url.

    `display_characteristics` are the authenticator's own, which beat its metadata's; `key_attested` tells that
    Android's keystore vouched for the key, `methods` how the user was verified, where the authenticator says so.
    """

    aaid: str
    key_id: str
    public_key: bytes
    public_key_format: int
    signature_algorithm: int
    authenticator_version: int
    sign_counter: int
    registration_counter: int
    attestation_type: int
    display_characteristics: tuple[DisplayPngCharacteristics, ...] = ()
    key_attested: bool = False
    methods: tuple[UserVerificationMethod, ...] = ()


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
    require_key_attestation: bool = False,
) -> tuple[RegisteredKey, ...]:
    """Verify `response` and return the keys of the first policy alternative it meets.

    `metadata` finds an AAID's entry, `already_registered` holds (AAID, KeyID) pairs, `at` is the server's time.
    With `require_key_attestation` models that support Android's key attestation must bring one, and all others a full
    attestation.

    Raises:
        UafRefusal: with the code of HTTP contract 11a; of several failing assertions the first one's.
    """
    check_response(response, operation="Reg", expected=expected)
    rules = _Rules(response, policy, metadata, already_registered, at, require_key_attestation)
    verified: list[tuple[RegisteredKey, AuthenticatorFacts]] = []
    first_refusal: UafRefusal | None = None
    for wrapper, assertion in zip(response.assertions, parse_registration_assertions(response), strict=True):
        try:
            verified.append(_verify_assertion(assertion, wrapper, rules))
        except UafRefusal as refusal:
            first_refusal = first_refusal or refusal
    chosen = satisfying_set(policy, [facts for _, facts in verified])
    if chosen is None:
        raise first_refusal or UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, "the policy is not met")
    keys = tuple(verified[index][0] for index in chosen)
    if len({(key.aaid, key.key_id) for key in keys}) < len(keys):
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "two assertions register one KeyID")
    return keys


class _Rules(NamedTuple):
    """What every assertion of a response is held against."""

    response: UafResponse
    policy: Policy
    metadata: Callable[[str], MetadataEntry | None]
    already_registered: Container[tuple[str, str]]
    at: datetime
    require_key_attestation: bool


def _verify_assertion(
    assertion: RegistrationAssertion, wrapper: AuthenticatorAssertion, rules: _Rules
) -> tuple[RegisteredKey, AuthenticatorFacts]:
    """Verify one assertion in the order of UAF protocol 3.4.6.5, step 5 (digest 3.2, 5 b to j)."""
    entry = rules.metadata(assertion.aaid)
    if entry is None:
        raise UafRefusal(StatusCode.UNKNOWN_AAID, f"no metadata for {assertion.aaid}")
    entry.check_status(version=assertion.authenticator_version, on=rules.at.date())
    key_id, version = base64url.encode(assertion.key_id), assertion.authenticator_version
    facts = entry.facts(key_id=key_id, version=version, attestation_type=assertion.attestation_type)
    if disallowed(rules.policy, facts):
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, f"{assertion.aaid} is disallowed by the policy")
    algorithm = user_algorithm(assertion, entry.statement)
    fc_hash = final_challenge_hash(rules.response.fcParams, algorithm)
    if not hmac.compare_digest(assertion.final_challenge_hash, fc_hash):
        raise _content("FINAL_CHALLENGE_HASH is not the hash of fcParams")
    check_limits(assertion)
    check_model(assertion, entry.statement)
    preferred = preferred_attestation_types(rules.policy, entry.facts(key_id=key_id, version=version))
    if preferred is not None and assertion.attestation_type not in preferred:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, "attestation type is not the one the policy prefers")
    key = load_public_key(algorithm, assertion.public_key_format, assertion.public_key)
    verify_attestation(assertion, roots=entry.roots, at=rules.at)
    attested = _verify_key_attestation(key, assertion, wrapper, entry, rules)
    if (assertion.aaid, key_id) in rules.already_registered:
        raise _content("this KeyID is registered already")
    registered = RegisteredKey(
        aaid=assertion.aaid,
        key_id=key_id,
        public_key=assertion.public_key,
        public_key_format=assertion.public_key_format,
        signature_algorithm=algorithm,
        authenticator_version=version,
        sign_counter=assertion.sign_counter,
        registration_counter=assertion.registration_counter,
        attestation_type=assertion.attestation_type,
        display_characteristics=wrapper.tcDisplayPNGCharacteristics or (),
        key_attested=attested,
        methods=verified_methods(assertion.extensions, facts),
    )
    return registered, facts


def user_algorithm(assertion: RegistrationAssertion, statement: MetadataStatement) -> int:
    """Return the algorithm of the user's key: the model's, and where it has several, the one the key is of.

    ASSERTION_INFO names it in a surrogate attestation only; in a full one it names the attestation key's.

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where a surrogate attestation names one that is not the model's.
    """
    if assertion.attestation_type == AttestationType.BASIC_SURROGATE:
        if assertion.signature_algorithm not in statement.algorithms:
            raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, "signature algorithm is not the model's")
        return assertion.signature_algorithm
    *others, last = sorted(statement.algorithms, key=lambda each: each != assertion.signature_algorithm)
    for algorithm in others:
        try:
            load_public_key(algorithm, assertion.public_key_format, assertion.public_key)
        except UafRefusal:
            continue
        return algorithm
    return last


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
    unknown = first_unknown_required(assertion.extensions, KNOWN_TO_SERVER)
    if unknown is not None:
        raise _content(f"assertion extension {unknown} must be understood and is not")


def check_model(assertion: RegistrationAssertion, statement: MetadataStatement) -> None:
    """Hold the signed fields against the model's metadata.

    Raises:
        UafRefusal: UNACCEPTABLE_AUTHENTICATOR (version), UNACCEPTABLE_ATTESTATION (type), UNACCEPTABLE_KEY (format).
    """
    if assertion.authenticator_version < statement.authenticatorVersion:
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, "authenticator version below its metadata's")
    if assertion.attestation_type not in statement.attestationTypes:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, "attestation type is not one of the model's")
    if assertion.public_key_format not in statement.key_formats:
        raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, "public key format is not the model's")


def key_attestation_data(response: UafResponse, wrapper: AuthenticatorAssertion) -> str | None:
    """Return the data of Android's key attestation for one assertion of a response, None where there is none.

    The client puts the extension beside the assertion, or in the header where there is only one.
    """
    single = len(response.assertions) == 1
    extensions = (*(wrapper.exts or ()), *((response.header.exts or ()) if single else ()))
    return next((extension.data for extension in extensions if extension.id == ANDROID_KEY_ATTESTATION), None)


def _verify_key_attestation(
    key: UafPublicKey,
    assertion: RegistrationAssertion,
    wrapper: AuthenticatorAssertion,
    entry: MetadataEntry,
    rules: _Rules,
) -> bool:
    """Tell whether Android's keystore vouches for the key, for a model that supports it (digest 1.3)."""
    if entry.key_attestation_roots is None:
        if rules.require_key_attestation and assertion.attestation_type != AttestationType.BASIC_FULL:
            raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, "nobody vouches for the key: a full one is required")
        return False
    data = key_attestation_data(rules.response, wrapper)
    attested = data is not None and verify_key_attestation(
        data,
        expected_key=key,
        expected_challenge=assertion.final_challenge_hash,
        model=entry.model_facts,
        roots=entry.key_attestation_roots,
        at=rules.at,
    )
    if rules.require_key_attestation and not attested:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ATTESTATION, f"{ANDROID_KEY_ATTESTATION} is required and not there")
    return attested


def _content(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, detail)
