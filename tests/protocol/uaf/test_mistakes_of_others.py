"""What public implementations get wrong (digest section 11): refused here with its code, or accepted as it must be."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.channel_binding import MEMBERS, ChannelRule, Member
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.protocol.uaf.transactions import transaction_content_hash

from ..builders import (
    AUTHENTICATION,
    LEAF_KEY,
    OTHER_KEY,
    REGISTRATION,
    SURROGATE,
    SURROGATE_REGISTRATION,
    USER_KEY,
    Assertion,
    certificate,
    der,
    entry,
    fc_params,
    message,
    p256,
    point,
    raw,
    tlv,
    to_der,
)
from ..signers import HASHES, key_of, keys_of, sign
from .verifying import authenticate, expected, models, refused, register, stored

CONTENT = StatusCode.UNACCEPTABLE_CONTENT
BOTH: dict[str, tuple[Assertion, Callable[..., tuple[Any, ...]]]] = {
    "Reg": (REGISTRATION, register),
    "Auth": (AUTHENTICATION, authenticate),
}
EACH_OPERATION = pytest.mark.parametrize("operation", BOTH)
SURROGATE_MODEL = models(entry(**SURROGATE))

# "Fields taken from unsigned tags beside KRD / SIGNED_DATA replace the signed ones"

BESIDE = {
    "KEYID": tlv(0x2E09, b"e" * 32),
    "FINAL_CHALLENGE_HASH": tlv(0x2E0A, bytes(32)),
    "AAID": tlv(0x2E0B, b"F10B#0114"),
    "PUB_KEY": tlv(0x2E0C, point(p256(OTHER_KEY))),
    "COUNTERS": tlv(0x2E0D, bytes(8)),
    "ASSERTION_INFO": tlv(0x2E0E, bytes(7)),
    "AUTHENTICATOR_NONCE": tlv(0x2E0F, bytes(16)),
    "TRANSACTION_CONTENT_HASH": tlv(0x2E10, bytes(32)),
}


@EACH_OPERATION
@pytest.mark.parametrize("field", BESIDE)
def test_a_field_beside_the_signed_data_is_never_taken(operation: str, field: str) -> None:
    assertion, verify = BOTH[operation]
    status, detail = refused(verify, message(assertion.with_(beside=BESIDE[field])))
    assert (status, detail.rpartition("/")[2]) == (CONTENT, f"{field}: does not belong here")


# "Surrogate attestation never verified; certificate chains and roots not checked; full attestation checked with the
# KRD key"


def test_a_surrogate_attestation_is_verified() -> None:
    for signature in (bytes(64), b"", SURROGATE_REGISTRATION.with_(key=p256(OTHER_KEY)).sign()):
        text = message(SURROGATE_REGISTRATION.with_(signature=signature))
        assert refused(register, text, metadata=SURROGATE_MODEL)[0] is CONTENT


def test_a_certificate_that_anybody_made_attests_nothing() -> None:
    own = certificate("leaf", p256(LEAF_KEY), "leaf", p256(LEAF_KEY), ca=True)
    named_alike = certificate("leaf", p256(LEAF_KEY), "middle", p256(OTHER_KEY))
    for chain in ((to_der(own),), (to_der(named_alike), REGISTRATION.chain[1]), (REGISTRATION.chain[0],)):
        status, _ = refused(register, message(REGISTRATION.with_(chain=chain)))
        assert status is StatusCode.UNACCEPTABLE_ATTESTATION


def test_a_full_attestation_by_the_registered_key_is_none() -> None:
    assert refused(register, message(REGISTRATION.with_(attestation_key=p256(USER_KEY))))[0] is CONTENT


# "Signature check skipped for test AAIDs; transaction-hash test inverted; counter allowed to stay equal; FCHash check a
# stub"


@EACH_OPERATION
@pytest.mark.parametrize("aaid", ["EBA0#0001", "0000#0000", "FFFF#FC01", "ABCD#ABCD", "DAB8#8011"])
def test_no_aaid_is_let_through_without_a_signature(operation: str, aaid: str) -> None:
    assertion, verify = BOTH[operation]
    more: dict[str, Any] = {} if operation == "Reg" else {"keys": stored(aaid=aaid)}
    right = assertion.with_(aaid=aaid.encode())
    assert verify(message(right), metadata=models(entry(aaid=aaid)), **more)
    text = message(right.with_(signature=bytes(64)))
    assert refused(verify, text, metadata=models(entry(aaid=aaid)), **more)[0] is CONTENT


def test_the_transaction_that_was_asked_for_is_the_one_confirmed() -> None:
    confirmed = AUTHENTICATION.with_(mode=2, tc_hash=transaction_content_hash(b"Pay 10"))
    assert authenticate(message(confirmed), transactions=(b"Pay 10",))[0].transaction == b"Pay 10"
    assert refused(authenticate, message(confirmed), transactions=(b"Pay 99",))[0] is CONTENT
    assert refused(authenticate, message(confirmed), transactions=())[0] is CONTENT


@pytest.mark.parametrize(("asserted", "known"), [(4, 4), (3, 4), (0, 4), (1, 2**32 - 1)])
def test_a_counter_that_does_not_advance_is_refused(asserted: int, known: int) -> None:
    text = message(AUTHENTICATION.with_(counters=(asserted, 0)))
    status, detail = refused(authenticate, text, keys=stored(sign_counter=known))
    assert (status, detail) == (CONTENT, "sign counter did not advance")


@EACH_OPERATION
@pytest.mark.parametrize("digest", [b"", bytes(32), b"\xff" * 32, hashlib.sha256(b"").digest()])
def test_the_final_challenge_hash_is_compared(operation: str, digest: bytes) -> None:
    assertion, verify = BOTH[operation]
    status, detail = refused(verify, message(assertion.with_(hash=digest)))
    assert (status, detail) == (CONTENT, "FINAL_CHALLENGE_HASH is not the hash of fcParams")


# "An EC coordinate or r/s with a leading zero byte rejected or misread; trailing bytes, unknown critical tags ignored"


@pytest.mark.parametrize("coordinate", [0, 1], ids=["x", "y"])
def test_a_key_whose_coordinate_starts_with_zero_registers_and_signs(coordinate: int) -> None:
    number = next(n for n in range(100_000) if point(p256(n))[1 + 32 * coordinate] == 0)
    own = {"key": p256(number)}
    assert register(message(SURROGATE_REGISTRATION.with_(**own)), metadata=SURROGATE_MODEL)
    assert authenticate(message(AUTHENTICATION.with_(**own)), keys=stored(public_key=point(p256(number))))


@pytest.mark.parametrize("part", [0, 1], ids=["r", "s"])
@pytest.mark.parametrize("encoding", ["raw", "DER"])
def test_a_signature_whose_number_starts_with_zero_verifies(part: int, encoding: str) -> None:
    made = AUTHENTICATION if encoding == "raw" else AUTHENTICATION.with_(algorithm=2)
    while True:
        signature = der(p256(USER_KEY), made.signed)
        numbers = decode_dss_signature(signature)
        if numbers[part] < 1 << 248:
            break
    if encoding == "raw":
        signature = numbers[0].to_bytes(32) + numbers[1].to_bytes(32)
    keys = stored(signature_algorithm=made.algorithm)
    assert authenticate(message(made.with_(signature=signature)), keys=keys)


@EACH_OPERATION
def test_bytes_after_the_assertion_are_not_ignored(operation: str) -> None:
    assertion, verify = BOTH[operation]
    for after in (b"\x00", tlv(0x0999, b""), tlv(0x2E06, bytes(64))):
        text = message(assertion, wrapper={"assertion": base64url.encode(assertion.encode() + after)})
        assert refused(verify, text)[0] is CONTENT


@EACH_OPERATION
@pytest.mark.parametrize("place", ["inside", "beside"])
def test_a_critical_tag_that_is_unknown_is_not_ignored(operation: str, place: str) -> None:
    assertion, verify = BOTH[operation]
    for tag in (0x2EFF, 0x3EFF, 0x2000, 0x3000):
        assert refused(verify, message(assertion.with_(**{place: tlv(tag)})))[0] is CONTENT
    assert verify(message(assertion.with_(**{place: tlv(0x0EFF) + tlv(0x1EFF)})))


# "RSA DER wrapping not unwrapped; algorithms 8 and 9 unknown; MatchCriteria reduced to aaid; no facets, extensions,
# channel binding"


@pytest.mark.parametrize("algorithm", [4, 8, 9])
def test_rsa_in_der_and_pkcs1_is_understood(algorithm: int) -> None:
    digest = hashlib.new(HASHES[algorithm], AUTHENTICATION.fc_params.encode()).digest()
    made = AUTHENTICATION.with_(algorithm=algorithm, hash=digest)
    signed = made.with_(signature=sign(algorithm, key_of(algorithm), made.signed))
    keys = stored(public_key=keys_of(algorithm)[0x103], public_key_format=0x103, signature_algorithm=algorithm)
    assert authenticate(message(signed), keys=keys)
    bare = made.with_(signature=sign(3, key_of(3), made.signed))
    assert refused(authenticate, message(bare), keys=keys)[0] is CONTENT


UNMET: dict[str, MatchCriteria] = {
    "aaid": MatchCriteria(aaid=("F10B#0114",)),
    "vendorID": MatchCriteria(vendorID=("ABCD",)),
    "keyIDs": MatchCriteria(keyIDs=("x",)),
    "userVerification": MatchCriteria(userVerification=0x02),
    "keyProtection": MatchCriteria(keyProtection=0x02),
    "matcherProtection": MatchCriteria(matcherProtection=0x04),
    "tcDisplay": MatchCriteria(tcDisplay=0x02),
    "authenticationAlgorithms": MatchCriteria(authenticationAlgorithms=(2,)),
    "assertionSchemes": MatchCriteria(assertionSchemes=("WAV1CBOR",)),
    "attestationTypes": MatchCriteria(attestationTypes=(0x3E08,)),
    "authenticatorVersion": MatchCriteria(authenticatorVersion=2),
}


@EACH_OPERATION
@pytest.mark.parametrize("member", UNMET)
def test_every_member_of_a_criteria_decides(operation: str, member: str) -> None:
    assertion, verify = BOTH[operation]
    policy = Policy(accepted=((UNMET[member],),))
    assert refused(verify, message(assertion), policy=policy)[0] is StatusCode.UNACCEPTABLE_AUTHENTICATOR
    unwanted = Policy(accepted=((MatchCriteria(),),), disallowed=(MatchCriteria(aaid=("F10B#0113",)),))
    assert refused(verify, message(assertion), policy=unwanted)[0] is StatusCode.UNACCEPTABLE_AUTHENTICATOR


@EACH_OPERATION
def test_the_facet_must_be_a_trusted_one(operation: str) -> None:
    assertion, verify = BOTH[operation]
    for facet in ("android:apk-key-hash:evil", "https://evil.example", "null"):
        text = message(assertion.with_(fc_params=fc_params(facetID=facet)))
        assert refused(verify, text) == (CONTENT, "fcParams.facetID is not a trusted facet")


@EACH_OPERATION
def test_an_extension_that_must_be_understood_is_never_passed_over(operation: str) -> None:
    assertion, verify = BOTH[operation]
    unknown = {"exts": [{"id": "unheard.of", "data": "", "fail_if_unknown": True}]}
    in_tlv = tlv(0x3E11, tlv(0x2E13, b"unheard.of"), tlv(0x2E14, b""))
    for text in (
        message(assertion, header=dict(unknown)),
        message(assertion, wrapper=dict(unknown)),
        message(assertion.with_(inside=in_tlv)),
        message(assertion.with_(beside=in_tlv)),
    ):
        assert refused(verify, text)[0] is CONTENT


@EACH_OPERATION
@pytest.mark.parametrize("member", MEMBERS)
def test_a_channel_that_is_bound_is_compared(operation: str, member: Member) -> None:
    assertion, verify = BOTH[operation]
    bound = expected(channel_binding=ChannelRule(required=member, accepted={member: frozenset({"b3Vycw"})}))
    ours = message(assertion.with_(fc_params=fc_params(channelBinding={member: "b3Vycw"})))
    assert verify(ours, expected=bound)
    for found in ({}, {member: "dGhlaXJz"}):
        text = message(assertion.with_(fc_params=fc_params(channelBinding=found)))
        assert refused(verify, text, expected=bound)[0] is StatusCode.CHANNEL_BINDING_REFUSED


def test_the_two_encodings_of_a_signature_are_not_taken_for_one_another() -> None:
    for algorithm, encode in ((1, der), (2, raw)):
        made = AUTHENTICATION.with_(algorithm=algorithm)
        text = message(made.with_(signature=encode(p256(USER_KEY), made.signed)))
        assert refused(authenticate, text, keys=stored(signature_algorithm=algorithm))[0] is CONTENT
