import json
from collections.abc import Callable
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.channel_binding import ChannelRule
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.final_challenge import decode
from fidoloop.protocol.uaf.messages import Version, decode_response
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.transactions import transaction_content_hash
from fidoloop.protocol.uaf.verify_authentication_response import (
    StoredKey,
    VerifiedAuthentication,
    parse_authentication_assertions,
    verify_authentication_response,
)

from ..builders import (
    AAID,
    APP_ID,
    AUTHENTICATION,
    CHALLENGE,
    FACET,
    OTHER_KEY,
    REGISTRATION,
    USER_KEY,
    Assertion,
    entry,
    fc_params,
    message,
    p256,
    point,
    seed_request_body,
    spki,
    tlv,
    vectors,
)

KEY_ID = base64url.encode(b"k" * 32)
EXPECTED = Expected(app_id=APP_ID, challenge=CHALLENGE, trusted_facets=frozenset({FACET}))
ANY = Policy(accepted=((MatchCriteria(),),))
CRITICAL = tlv(0x3E11, tlv(0x2E13, b"unheard.of"), tlv(0x2E14, b""))
IGNORABLE = tlv(0x3E12, tlv(0x2E13, b"unheard.of"), tlv(0x2E14, b""))
STORED = StoredKey(
    owner="jeff",
    aaid=AAID,
    key_id=KEY_ID,
    public_key=point(p256(USER_KEY)),
    public_key_format=0x100,
    signature_algorithm=1,
    sign_counter=4,
)
PAY, OTHER_TEXT = b"Pay 10 CHF?", b"Pay 99 CHF?"
ASKED = (PAY, b"Pay CHF 10?")
CONFIRMED = AUTHENTICATION.with_(mode=2, tc_hash=transaction_content_hash(PAY))


def stored(**changes: Any) -> dict[tuple[str, str], StoredKey]:  # noqa: ANN401 - any field
    fields = {name: getattr(STORED, name) for name in STORED.__struct_fields__}
    key = StoredKey(**{**fields, **changes})
    return {(key.aaid, key.key_id): key}


def models(*entries: MetadataEntry) -> Callable[[str], MetadataEntry | None]:
    return {entry.statement.aaid: entry for entry in entries}.get


def verify(text: str, **changes: Any) -> tuple[VerifiedAuthentication, ...]:  # noqa: ANN401 - any argument
    arguments: dict[str, Any] = {
        "expected": EXPECTED,
        "expected_owner": None,
        "policy": ANY,
        "metadata": models(entry()),
        "keys": stored(),
        "transactions": (),
        **changes,
    }
    response = decode_response(text)
    return verify_authentication_response(response, parse_authentication_assertions(response), **arguments)


def refusal(text: str, **changes: Any) -> tuple[StatusCode, str]:  # noqa: ANN401 - any argument
    with pytest.raises(UafRefusal) as caught:
        verify(text, **changes)
    return caught.value.status, caught.value.detail


def test_an_authentication_names_its_key_and_new_counter() -> None:
    (result,) = verify(message(AUTHENTICATION))
    assert result == VerifiedAuthentication(STORED, 5, None)


def test_a_confirmed_transaction_is_named_by_its_content() -> None:
    (result,) = verify(message(CONFIRMED), transactions=ASKED)
    assert result.transaction == PAY


DER_KEY = stored(public_key=spki(p256(USER_KEY)), public_key_format=0x101, signature_algorithm=2)
ACCEPTED: dict[str, tuple[Assertion, dict[str, Any], dict[str, Any]]] = {
    "DER and SPKI": (AUTHENTICATION.with_(algorithm=2), {}, {"keys": DER_KEY}),
    "the owner expected": (AUTHENTICATION, {}, {"expected_owner": "jeff"}),
    "counters unsupported": (AUTHENTICATION.with_(counters=(0, 0)), {}, {"keys": stored(sign_counter=0)}),
    "counter leaves 0": (AUTHENTICATION, {}, {"keys": stored(sign_counter=0)}),
    "counter jumps": (AUTHENTICATION.with_(counters=(2**32 - 1, 0)), {}, {}),
    "shortest nonce": (AUTHENTICATION.with_(nonce=b"n" * 8), {}, {}),
    "newer version": (AUTHENTICATION.with_(version=9), {}, {}),
    "lower case AAID": (AUTHENTICATION.with_(aaid=b"f10b#0113"), {}, {}),
    "ignorable extensions": (AUTHENTICATION.with_(inside=IGNORABLE, beside=IGNORABLE), {}, {}),
    "step-up policy": (
        AUTHENTICATION,
        {},
        {"policy": Policy(accepted=((MatchCriteria(aaid=(AAID,), keyIDs=("x", KEY_ID)),),))},
    ),
    "padded fcParams": (AUTHENTICATION.with_(fc_params=fc_params() + "=" * (-len(fc_params()) % 4)), {}, {}),
    "web facet as origin": (
        AUTHENTICATION.with_(fc_params=fc_params(facetID="https://LOGIN.example:443/")),
        {},
        {"expected": Expected(app_id=APP_ID, challenge=CHALLENGE, trusted_facets=frozenset({"https://login.example"}))},
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_rules_allow_is_accepted(case: str) -> None:
    assertion, around, changes = ACCEPTED[case]
    assert len(verify(message(assertion, **around), **changes)) == 1


BOUND = Expected(
    app_id=APP_ID,
    challenge=CHALLENGE,
    trusted_facets=frozenset({FACET}),
    channel_binding=ChannelRule(required="serverEndPoint", accepted={"serverEndPoint": frozenset({"x"})}),
)
CONTENT = StatusCode.UNACCEPTABLE_CONTENT
EXT = {"id": "unheard.of", "data": "", "fail_if_unknown": True}

# What is wrong: the assertion, what stands around it, what the server knows, and HTTP contract 11a's code.
REFUSED: dict[str, tuple[Assertion, dict[str, Any], dict[str, Any], StatusCode, str]] = {
    "version not offered": (
        AUTHENTICATION,
        {"header": {"upv": {"major": 1, "minor": 2}}},
        {},
        StatusCode.REQUEST_INVALID,
        "upv",
    ),
    "other operation": (AUTHENTICATION, {"header": {"op": "Reg"}}, {}, CONTENT, "header.op"),
    "required header extension": (AUTHENTICATION, {"header": {"exts": [EXT]}}, {}, CONTENT, "header.exts"),
    "required assertion extension around": (AUTHENTICATION, {"wrapper": {"exts": [EXT]}}, {}, CONTENT, "extension"),
    "required extension signed": (AUTHENTICATION.with_(inside=CRITICAL), {}, {}, CONTENT, "extension"),
    "required extension unsigned": (AUTHENTICATION.with_(beside=CRITICAL), {}, {}, CONTENT, "extension"),
    "fcParams unreadable": (AUTHENTICATION, {"params": "eyJ1bmtub3duIjoxfQ"}, {}, CONTENT, "fcParams"),
    "header of a foreign appID": (AUTHENTICATION, {"header": {"appID": "https://evil"}}, {}, CONTENT, "header.appID"),
    "foreign appID": (AUTHENTICATION.with_(fc_params=fc_params(appID="https://evil")), {}, {}, CONTENT, "appID"),
    "untrusted facet": (AUTHENTICATION.with_(fc_params=fc_params(facetID="https://evil")), {}, {}, CONTENT, "facetID"),
    "channel binding": (AUTHENTICATION, {}, {"expected": BOUND}, StatusCode.CHANNEL_BINDING_REFUSED, "serverEndPoint"),
    "other challenge": (
        AUTHENTICATION.with_(fc_params=fc_params(challenge="A" * 86)),
        {},
        {},
        StatusCode.REQUEST_INVALID,
        "challenge",
    ),
    "challenge not ASCII": (
        AUTHENTICATION.with_(fc_params=fc_params(challenge="é")),
        {},
        {},
        StatusCode.REQUEST_INVALID,
        "challenge",
    ),
    "scheme": (AUTHENTICATION, {"wrapper": {"assertionScheme": "uafv1tlv"}}, {}, CONTENT, "assertionScheme"),
    "assertion empty": (AUTHENTICATION, {"wrapper": {"assertion": ""}}, {}, CONTENT, "UAFV1_AUTH_ASSERTION"),
    "assertion not base64url": (AUTHENTICATION, {"wrapper": {"assertion": "a+b="}}, {}, CONTENT, "base64url"),
    "assertion overlong": (
        AUTHENTICATION,
        {"wrapper": {"assertion": base64url.encode(AUTHENTICATION.encode() + b"\x00" * 4)}},
        {},
        CONTENT,
        "after",
    ),
    "registration assertion": (
        AUTHENTICATION,
        {"wrapper": {"assertion": base64url.encode(REGISTRATION.encode())}},
        {},
        CONTENT,
        "does not start",
    ),
    "signed fields beside": (AUTHENTICATION.with_(beside=tlv(0x2E09, b"k" * 32)), {}, {}, CONTENT, "does not belong"),
    "unknown AAID": (AUTHENTICATION.with_(aaid=b"FFFF#FFFF"), {}, {}, StatusCode.UNKNOWN_AAID, "FFFF#FFFF"),
    "revoked": (
        AUTHENTICATION,
        {},
        {"metadata": models(entry(statuses=("REVOKED",)))},
        StatusCode.REVOKED_AUTHENTICATOR,
        "REVOKED",
    ),
    "disallowed": (
        AUTHENTICATION,
        {},
        {"policy": Policy(accepted=((MatchCriteria(),),), disallowed=(MatchCriteria(aaid=(AAID,)),))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "disallowed",
    ),
    "policy not met": (
        AUTHENTICATION,
        {},
        {"policy": Policy(accepted=((MatchCriteria(userVerification=2),),))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "policy",
    ),
    "step-up by another key": (
        AUTHENTICATION,
        {},
        {"policy": Policy(accepted=((MatchCriteria(aaid=(AAID,), keyIDs=("x",)),),))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "policy",
    ),
    "version below the model's": (
        AUTHENTICATION,
        {},
        {"metadata": models(entry(authenticatorVersion=2))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "version",
    ),
    "unknown KeyID": (AUTHENTICATION.with_(key_id=b"x" * 32), {}, {}, StatusCode.UNKNOWN_KEYID, "KeyID"),
    "KeyID of another model": (
        AUTHENTICATION.with_(aaid=b"F10B#0114"),
        {},
        {"metadata": models(entry(aaid="F10B#0114"))},
        StatusCode.UNKNOWN_KEYID,
        "KeyID",
    ),
    "another user's": (AUTHENTICATION, {}, {"expected_owner": "anna"}, CONTENT, "another user"),
    "algorithm not the registered one": (
        AUTHENTICATION.with_(algorithm=2),
        {},
        {},
        StatusCode.UNACCEPTABLE_ALGORITHM,
        "registered",
    ),
    "algorithm not supported": (
        AUTHENTICATION.with_(algorithm=7),
        {},
        {"keys": stored(signature_algorithm=7)},
        StatusCode.UNACCEPTABLE_ALGORITHM,
        "not supported",
    ),
    "stored key unusable": (AUTHENTICATION, {}, {"keys": stored(public_key=b"")}, StatusCode.UNACCEPTABLE_KEY, "key"),
    "counter equal": (AUTHENTICATION.with_(counters=(4, 0)), {}, {}, CONTENT, "counter"),
    "counter back": (AUTHENTICATION.with_(counters=(3, 0)), {}, {}, CONTENT, "counter"),
    "counter back to 0": (AUTHENTICATION.with_(counters=(0, 0)), {}, {}, CONTENT, "counter"),
    "FCHash": (AUTHENTICATION.with_(hash=bytes(32)), {}, {}, CONTENT, "FINAL_CHALLENGE_HASH"),
    "FCHash cut": (AUTHENTICATION.with_(hash=bytes(31)), {}, {}, CONTENT, "FINAL_CHALLENGE_HASH"),
    "fcParams altered after signing": (
        AUTHENTICATION,
        {"params": fc_params(channelBinding={"tlsUnique": "x"})},
        {},
        CONTENT,
        "FINAL_CHALLENGE_HASH",
    ),
    "nonce short": (AUTHENTICATION.with_(nonce=b"n" * 7), {}, {}, CONTENT, "NONCE"),
    "mode 0": (AUTHENTICATION.with_(mode=0), {}, {}, CONTENT, "mode 0"),
    "mode 3": (AUTHENTICATION.with_(mode=3), {}, {}, CONTENT, "mode 3"),
    "mode 2 though nothing was asked": (CONFIRMED, {}, {}, CONTENT, "no transaction asked for"),
    "mode 2 without hash": (CONFIRMED.with_(tc_hash=b""), {}, {"transactions": ASKED}, CONTENT, "no transaction"),
    "mode 2 of another text": (
        CONFIRMED.with_(tc_hash=transaction_content_hash(OTHER_TEXT)),
        {},
        {"transactions": ASKED},
        CONTENT,
        "no transaction asked for",
    ),
    "mode 1 with hash": (CONFIRMED.with_(mode=1), {}, {"transactions": ASKED}, CONTENT, "without transaction"),
    "mode 1 with hash, nothing asked": (CONFIRMED.with_(mode=1), {}, {}, CONTENT, "without transaction"),
    "mode 1 though a transaction was asked": (AUTHENTICATION, {}, {"transactions": ASKED}, CONTENT, "not confirmed"),
    "signed by another key": (AUTHENTICATION.with_(key=p256(OTHER_KEY)), {}, {}, CONTENT, "does not verify"),
    "signature of other data": (
        AUTHENTICATION.with_(signature=AUTHENTICATION.with_(counters=(6, 0)).sign()),
        {},
        {},
        CONTENT,
        "does not verify",
    ),
    "signature cut": (AUTHENTICATION.with_(signature=AUTHENTICATION.sign()[:-1]), {}, {}, CONTENT, "not encoded"),
    "signature of zeros": (AUTHENTICATION.with_(signature=bytes(64)), {}, {}, CONTENT, "does not verify"),
    "signature empty": (AUTHENTICATION.with_(signature=b""), {}, {}, CONTENT, "not encoded"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_broken_rule_refuses_with_its_code(case: str) -> None:
    assertion, around, changes, status, reason = REFUSED[case]
    found, detail = refusal(message(assertion, **around), **changes)
    assert found is status
    assert reason in detail


def test_padding_added_after_signing_is_seen() -> None:
    params = next(text for text in (fc_params(pad="x" * n) for n in range(4)) if len(text) % 4)
    padded = params + "=" * (-len(params) % 4)
    assert decode(padded) == decode(params)
    assertion = AUTHENTICATION.with_(fc_params=params)
    verify(message(assertion))
    assert "FINAL_CHALLENGE_HASH" in refusal(message(assertion, params=padded))[1]


def test_a_response_without_assertions_is_refused() -> None:
    assert refusal(message()) == (CONTENT, "no assertions")


SECOND_ID = base64url.encode(b"2" * 32)
SECOND = AUTHENTICATION.with_(key_id=b"2" * 32, key=p256(OTHER_KEY))
TWO_KEYS = {**stored(), **stored(key_id=SECOND_ID, public_key=point(p256(OTHER_KEY)))}
BOTH = Policy(accepted=((MatchCriteria(), MatchCriteria()),))
BAD = AUTHENTICATION.with_(signature=bytes(64))
UNKNOWN = AUTHENTICATION.with_(key_id=b"x" * 32)


def test_an_assertion_that_fails_is_skipped_where_another_meets_the_policy() -> None:
    (result,) = verify(message(BAD, UNKNOWN, SECOND), keys=TWO_KEYS)
    assert result.key.key_id == SECOND_ID


def test_of_several_failing_assertions_the_first_ones_code_counts() -> None:
    assert refusal(message(BAD, UNKNOWN))[0] is CONTENT
    assert refusal(message(UNKNOWN, BAD))[0] is StatusCode.UNKNOWN_KEYID


def test_a_set_needed_together_is_two_keys_of_one_user() -> None:
    assert len(verify(message(AUTHENTICATION, SECOND), keys=TWO_KEYS, policy=BOTH)) == 2
    assert refusal(message(AUTHENTICATION), keys=TWO_KEYS, policy=BOTH)[0] is StatusCode.UNACCEPTABLE_AUTHENTICATOR
    foreign = {**stored(), **stored(key_id=SECOND_ID, public_key=point(p256(OTHER_KEY)), owner="anna")}
    assert refusal(message(AUTHENTICATION, SECOND), keys=foreign, policy=BOTH) == (
        CONTENT,
        "assertions of different users",
    )


def test_one_key_twice_is_no_set_of_two() -> None:
    later = AUTHENTICATION.with_(counters=(6, 0))
    assert refusal(message(AUTHENTICATION, later), policy=BOTH) == (CONTENT, "two assertions by one key")


def test_only_what_the_policy_needs_is_returned() -> None:
    assert len(verify(message(AUTHENTICATION, SECOND), keys=TWO_KEYS)) == 1


# The published examples, through the same rules.


def expected_of(response: Any) -> Expected:  # noqa: ANN401 - a UafResponse
    params = decode(response.fcParams)
    return Expected(
        app_id=params.appID,
        challenge=params.challenge,
        trusted_facets=frozenset({params.facetID}),
        versions=(Version(1, 0), Version(1, 1)),
    )


@pytest.mark.parametrize(("name", "counter"), [("spec-auth", 2), ("dds-auth", 0)])
def test_the_published_authentications_verify(name: str, counter: int) -> None:
    example = vectors()[name]
    (record,) = example["registrations"]
    key = StoredKey(
        owner="",
        aaid=record["aaid"],
        key_id=record["keyID"],
        public_key=base64url.decode(record["publicKey"]),
        public_key_format=record["keyAlg"],
        signature_algorithm=record["sigAlg"],
        sign_counter=record["signCounter"],
    )
    text = json.dumps(example["response"])
    model = entry(
        aaid=record["aaid"],
        authenticatorVersion=0,
        authenticationAlgorithm=record["sigAlg"],
        publicKeyAlgAndEncoding=record["keyAlg"],
    )
    arguments = {
        "expected": expected_of(decode_response(text)),
        "metadata": models(model),
        "keys": {(key.aaid, key.key_id): key},
    }
    (result,) = verify(text, **arguments)
    assert result.sign_counter == counter
    altered = {**arguments, "keys": {(key.aaid, key.key_id): stored(**{"key_id": key.key_id})[AAID, key.key_id]}}
    assert refusal(text, **altered)[0] in (CONTENT, StatusCode.UNACCEPTABLE_ALGORITHM)


def test_the_seeds_example_sent_live_is_refused() -> None:
    text = seed_request_body("002")["uafResponse"]
    assert refusal(text)[0] is CONTENT
    ours = Expected(app_id="appID", challenge="challenge", trusted_facets=frozenset({"facetID"}))
    assert refusal(text, expected=ours)[0] is StatusCode.UNKNOWN_AAID
    model = models(entry(aaid="ABCD#ABCD", authenticatorVersion=0))
    assert refusal(text, expected=ours, metadata=model)[0] is StatusCode.UNKNOWN_KEYID
    key_id = base64url.encode(b"keyId")
    keys = stored(aaid="ABCD#ABCD", key_id=key_id, signature_algorithm=9, sign_counter=0)
    assert refusal(text, expected=ours, metadata=model, keys=keys)[0] is CONTENT
