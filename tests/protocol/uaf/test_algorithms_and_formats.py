"""Every algorithm with every key format through the public doors: registered by surrogate attestation, then signing."""

import hashlib

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import decode_response
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.registry import Algorithm, PublicKeyFormat
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import (
    StoredKey,
    VerifiedAuthentication,
    parse_authentication_assertions,
    verify_authentication_response,
)
from fidoloop.protocol.uaf.verify_registration_response import RegisteredKey, verify_registration_response

from ..builders import (
    AAID,
    APP_ID,
    AT,
    AUTHENTICATION,
    CHALLENGE,
    FACET,
    SURROGATE,
    SURROGATE_REGISTRATION,
    Assertion,
    entry,
    message,
)
from ..signers import ALGORITHM_AND_FORMAT, HASHES, key_of, keys_of, sign

EXPECTED = Expected(app_id=APP_ID, challenge=CHALLENGE, trusted_facets=frozenset({FACET}))
ANY = Policy(accepted=((MatchCriteria(),),))
EACH = pytest.mark.parametrize(
    ("algorithm", "key_format"),
    ALGORITHM_AND_FORMAT,
    ids=[f"{Algorithm(algorithm).name}-{PublicKeyFormat(form).name}" for algorithm, form in ALGORITHM_AND_FORMAT],
)


def signed(base: Assertion, algorithm: int, key_format: int, hash_name: str | None = None) -> Assertion:
    digest = hashlib.new(hash_name or HASHES[algorithm], base.fc_params.encode()).digest()
    made = base.with_(
        algorithm=algorithm, key_format=key_format, hash=digest, public_key=keys_of(algorithm)[key_format]
    )
    return made.with_(signature=sign(algorithm, key_of(algorithm), made.signed))


def register(assertion: Assertion, algorithm: int, key_format: int) -> RegisteredKey:
    model = entry(**SURROGATE, authenticationAlgorithm=algorithm, publicKeyAlgAndEncoding=key_format)
    (key,) = verify_registration_response(
        decode_response(message(assertion)),
        expected=EXPECTED,
        policy=ANY,
        metadata={AAID: model}.get,
        already_registered=frozenset(),
        at=AT,
    )
    return key


def authenticate(
    assertion: Assertion, algorithm: int, key_format: int, *contents: bytes
) -> tuple[VerifiedAuthentication, ...]:
    key = StoredKey(
        owner="jeff",
        aaid=AAID,
        key_id=base64url.encode(b"k" * 32),
        public_key=keys_of(algorithm)[key_format],
        public_key_format=key_format,
        signature_algorithm=algorithm,
        sign_counter=1,
    )
    model = entry(**SURROGATE, authenticationAlgorithm=algorithm, publicKeyAlgAndEncoding=key_format)
    response = decode_response(message(assertion))
    return verify_authentication_response(
        response,
        parse_authentication_assertions(response),
        expected=EXPECTED,
        expected_owner=None,
        policy=ANY,
        metadata={AAID: model}.get,
        keys={(AAID, key.key_id): key},
        transactions=contents,
    )


def altered(assertion: Assertion) -> Assertion:
    """Returns `assertion` with the last bit of its signature turned."""
    signature = assertion.sign()
    return assertion.with_(signature=signature[:-1] + bytes([signature[-1] ^ 1]))


@EACH
def test_a_registration_verifies_and_one_of_an_altered_signature_does_not(algorithm: int, key_format: int) -> None:
    assertion = signed(SURROGATE_REGISTRATION, algorithm, key_format)
    key = register(assertion, algorithm, key_format)
    assert (key.signature_algorithm, key.public_key_format) == (algorithm, key_format)
    assert key.public_key == keys_of(algorithm)[key_format]
    with pytest.raises(UafRefusal, match="does not verify") as caught:
        register(altered(assertion), algorithm, key_format)
    assert caught.value.status is StatusCode.UNACCEPTABLE_CONTENT


@EACH
def test_an_authentication_verifies_and_one_of_an_altered_signature_does_not(algorithm: int, key_format: int) -> None:
    assertion = signed(AUTHENTICATION, algorithm, key_format)
    assert len(authenticate(assertion, algorithm, key_format)) == 1
    with pytest.raises(UafRefusal, match="does not verify") as caught:
        authenticate(altered(assertion), algorithm, key_format)
    assert caught.value.status is StatusCode.UNACCEPTABLE_CONTENT


@EACH
def test_a_transaction_is_confirmed_by_the_algorithms_hash(algorithm: int, key_format: int) -> None:
    def confirming(hash_name: str) -> Assertion:
        return signed(
            AUTHENTICATION.with_(mode=2, tc_hash=hashlib.new(hash_name, b"Pay 10 CHF?").digest()), algorithm, key_format
        )

    right = confirming(HASHES[algorithm])
    (result,) = authenticate(right, algorithm, key_format, b"Pay 99 CHF?", b"Pay 10 CHF?")
    assert result.transaction == b"Pay 10 CHF?"
    wrong = confirming("sha512" if HASHES[algorithm] == "sha256" else "sha256")
    with pytest.raises(UafRefusal, match="no transaction asked for"):
        authenticate(wrong, algorithm, key_format, b"Pay 10 CHF?")


@EACH
def test_a_challenge_hashed_by_another_hash_is_refused(algorithm: int, key_format: int) -> None:
    other = "sha512" if HASHES[algorithm] == "sha256" else "sha256"
    for base in (SURROGATE_REGISTRATION, AUTHENTICATION):
        assertion = signed(base, algorithm, key_format, other)
        with pytest.raises(UafRefusal, match="FINAL_CHALLENGE_HASH") as caught:
            (register if base.operation == "Reg" else authenticate)(assertion, algorithm, key_format)
        assert caught.value.status is StatusCode.UNACCEPTABLE_CONTENT
