"""What vouches for a registered key: the type a policy prefers, the AAID of a certificate, Android's keystore."""

import base64
import json
from typing import Any

import pytest
from cryptography import x509

from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import StatusCode

from ..builders import (
    AAID,
    LEAF_KEY,
    MIDDLE_KEY,
    OTHER_KEY,
    REGISTRATION,
    SURROGATE,
    SURROGATE_REGISTRATION,
    Assertion,
    certificate,
    entry,
    message,
    middle,
    p256,
    root,
    spki,
    to_der,
)
from ..signers import key_of, keys_of, sign
from .key_descriptions import key_attestation
from .verifying import models, refused, register

ATTESTATION = StatusCode.UNACCEPTABLE_ATTESTATION
FULL, SURROGATE_TYPE, ECDAA = 0x3E07, 0x3E08, 0x3E09
# A model of both kinds lists no roots, or its surrogate attestation would count for nothing.
BOTH_KINDS = entry(attestationTypes=[FULL, SURROGATE_TYPE], attestationRootCertificates=[])


def preferring(*types: int, **more: Any) -> Policy:  # noqa: ANN401 - any member
    return Policy(accepted=((MatchCriteria(attestationTypes=types, **more),),))


@pytest.mark.parametrize(
    "policy",
    [
        preferring(SURROGATE_TYPE),
        preferring(SURROGATE_TYPE, FULL),
        preferring(ECDAA, SURROGATE_TYPE),
        Policy(accepted=(*preferring(FULL).accepted, *preferring(SURROGATE_TYPE).accepted)),
        Policy(accepted=((MatchCriteria(attestationTypes=(FULL,)),), (MatchCriteria(),))),
        Policy(accepted=((MatchCriteria(),),)),
        Policy(accepted=((MatchCriteria(userVerification=2, attestationTypes=(FULL,)),), (MatchCriteria(),))),
    ],
    ids=["only", "first", "first it can", "of another alternative", "left open by another", "left open", "not its"],
)
def test_the_type_that_the_policy_prefers_of_those_of_the_model_is_taken(policy: Policy) -> None:
    (key,) = register(message(SURROGATE_REGISTRATION), policy=policy, metadata=models(BOTH_KINDS))
    assert key.attestation_type == SURROGATE_TYPE


@pytest.mark.parametrize("policy", [preferring(FULL), preferring(FULL, SURROGATE_TYPE), preferring(ECDAA, FULL)])
def test_another_type_is_refused_though_the_model_has_it(policy: Policy) -> None:
    status, detail = refused(register, message(SURROGATE_REGISTRATION), policy=policy, metadata=models(BOTH_KINDS))
    assert (status, detail) == (ATTESTATION, "attestation type is not the one the policy prefers")


def test_what_is_not_preferred_is_skipped_where_another_assertion_meets_the_policy() -> None:
    second = REGISTRATION.with_(aaid=b"F10B#0115", key_id=b"2" * 32)
    policy = preferring(FULL, SURROGATE_TYPE)
    metadata = models(BOTH_KINDS, entry(aaid="F10B#0115"))
    (key,) = register(message(SURROGATE_REGISTRATION, second), policy=policy, metadata=metadata)
    assert key.aaid == "F10B#0115"


AAID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.1")


def certified_for(value: bytes) -> Assertion:
    extension = (x509.UnrecognizedExtension(AAID_OID, value), False)
    made = certificate("leaf", p256(LEAF_KEY), "middle", p256(MIDDLE_KEY), extension=extension)
    return REGISTRATION.with_(chain=(to_der(made), to_der(middle())))


@pytest.mark.parametrize("header", [b"", b"\x04\x09", b"\x0c\x09", b"\x13\x09", b"\x16\x09"])
def test_a_certificate_may_say_for_which_aaid_it_is(header: bytes) -> None:
    for aaid in (AAID, AAID.lower()):
        assert register(message(certified_for(header + aaid.encode())))


@pytest.mark.parametrize(
    "value", [b"F10B#0114", b"\x04\x09F10B#0114", b"", b"\x04\x09", b"\x04\x0aF10B#01130", b"\x02\x09F10B#0113"]
)
def test_a_certificate_for_another_aaid_is_refused(value: bytes) -> None:
    assert refused(register, message(certified_for(value)))[0] is ATTESTATION


# Models of several algorithms, as the metadata service 3 has them

SEVERAL = entry(**SURROGATE, authenticationAlgorithms=[1, 3, 2], publicKeyAlgAndEncodings=[0x100, 0x102, 0x101, 0x104])
SEVERAL_FULL = entry(authenticationAlgorithms=[1, 5, 3, 2], publicKeyAlgAndEncodings=[0x100, 0x102, 0x101, 0x104])


def surrogate_of(algorithm: int, key_format: int) -> Assertion:
    made = SURROGATE_REGISTRATION.with_(
        algorithm=algorithm, key_format=key_format, public_key=keys_of(algorithm)[key_format]
    )
    return made.with_(signature=sign(algorithm, key_of(algorithm), made.signed))


@pytest.mark.parametrize(("algorithm", "key_format"), [(1, 0x100), (3, 0x102), (2, 0x101), (3, 0x104), (2, 0x104)])
def test_a_surrogate_attestation_says_which_of_the_models_algorithms_the_key_is_of(
    algorithm: int, key_format: int
) -> None:
    (key,) = register(message(surrogate_of(algorithm, key_format)), metadata=models(SEVERAL))
    assert (key.signature_algorithm, key.public_key_format) == (algorithm, key_format)


def test_a_surrogate_attestation_of_none_of_the_models_algorithms_is_refused() -> None:
    found = refused(register, message(surrogate_of(5, 0x100)), metadata=models(SEVERAL))
    assert found == (StatusCode.UNACCEPTABLE_ALGORITHM, "signature algorithm is not the model's")


@pytest.mark.parametrize(
    ("attested_by", "user", "key_format", "expected"),
    [(1, 1, 0x100, 1), (2, 1, 0x100, 2), (1, 5, 0x100, 5), (1, 3, 0x102, 3), (2, 3, 0x104, 3)],
    ids=["of the same", "of one curve", "of another curve", "RSA", "RSA in COSE"],
)
def test_of_a_full_attestation_the_key_itself_tells_which_of_the_models_algorithms_it_is_of(
    attested_by: int, user: int, key_format: int, expected: int
) -> None:
    made = REGISTRATION.with_(algorithm=attested_by, key_format=key_format, public_key=keys_of(user)[key_format])
    (key,) = register(message(made), metadata=models(SEVERAL_FULL))
    assert key.signature_algorithm == expected


def test_a_key_of_none_of_the_models_algorithms_is_refused() -> None:
    made = REGISTRATION.with_(key_format=0x101, public_key=spki(key_of(0x10)))
    assert refused(register, message(made), metadata=models(SEVERAL_FULL))[0] is StatusCode.UNACCEPTABLE_KEY


@pytest.mark.parametrize("algorithm", [3, 4, 5, 6, 8, 9, 0x0A, 0x10, 0x11, 0x12])
def test_the_attestation_key_may_be_of_any_algorithm(algorithm: int) -> None:
    key = key_of(algorithm)
    leaf = certificate("leaf", key, "middle", p256(MIDDLE_KEY))
    made = REGISTRATION.with_(algorithm=algorithm, chain=(to_der(leaf), to_der(middle())))
    signed = made.with_(signature=sign(algorithm, key, made.signed))
    (registered,) = register(message(signed))
    assert registered.signature_algorithm == 1
    wrong = made.with_(signature=sign(algorithm, key_of(algorithm, 1), made.signed))
    assert refused(register, message(wrong))[0] is StatusCode.UNACCEPTABLE_CONTENT


# Android's key attestation on top of a surrogate one

ANDROID = "fido.uaf.android.key_attestation"
ANDROID_MODEL = entry(
    **SURROGATE,
    keyProtection=0x06,
    matcherProtection=2,
    userVerificationDetails=[[{"userVerification": 2}]],
    supportedExtensions=[
        {
            "id": ANDROID,
            "data": json.dumps({"attestationRootCertificates": [base64.b64encode(to_der(root())).decode()]}),
            "fail_if_unknown": False,
        }
    ],
)


def extension(data: str) -> dict[str, object]:
    return {"exts": [{"id": ANDROID, "data": data, "fail_if_unknown": False}]}


def test_a_keystore_that_vouches_for_the_key_is_noted() -> None:
    beside, above = extension(key_attestation()), extension(key_attestation())
    for text in (message(SURROGATE_REGISTRATION, wrapper=beside), message(SURROGATE_REGISTRATION, header=above)):
        (key,) = register(text, metadata=models(ANDROID_MODEL), require_key_attestation=True)
        assert key.key_attested


@pytest.mark.parametrize("data", ["p", "a", None])
def test_a_platform_without_key_attestation_is_refused_only_where_it_is_required(data: str | None) -> None:
    text = message(SURROGATE_REGISTRATION, wrapper={} if data is None else extension(data))
    (key,) = register(text, metadata=models(ANDROID_MODEL))
    assert not key.key_attested
    status, detail = refused(register, text, metadata=models(ANDROID_MODEL), require_key_attestation=True)
    assert (status, detail) == (ATTESTATION, f"{ANDROID} is required and not there")


@pytest.mark.parametrize(
    "data", [key_attestation(key=p256(OTHER_KEY)), key_attestation(challenge=bytes(32)), "[]", "", "x"]
)
def test_a_key_attestation_that_is_there_must_be_right_required_or_not(data: str) -> None:
    status, detail = refused(
        register, message(SURROGATE_REGISTRATION, wrapper=extension(data)), metadata=models(ANDROID_MODEL)
    )
    assert status is ATTESTATION
    assert detail.startswith(ANDROID)


def test_the_surrogate_attestation_is_verified_all_the_same() -> None:
    bad = SURROGATE_REGISTRATION.with_(signature=bytes(64))
    text = message(bad, wrapper=extension(key_attestation()))
    assert refused(register, text, metadata=models(ANDROID_MODEL))[0] is StatusCode.UNACCEPTABLE_CONTENT


def test_a_model_that_does_not_support_it_is_not_held_to_it() -> None:
    text = message(REGISTRATION, wrapper=extension("x"))
    (key,) = register(text, require_key_attestation=True)
    assert not key.key_attested


def test_metadata_that_supports_it_and_names_no_roots_holds_nobody_to_it() -> None:
    for data in ({}, {"data": ""}):
        bare = entry(**SURROGATE, supportedExtensions=[{"id": ANDROID, **data}])
        (key,) = register(message(SURROGATE_REGISTRATION, wrapper=extension("x")), metadata=models(bare))
        assert not key.key_attested


def test_of_several_assertions_each_brings_its_own() -> None:
    """The header's extension speaks of the only assertion; of which of two would be anybody's guess."""
    second = SURROGATE_REGISTRATION.with_(key_id=b"2" * 32)
    text = message(SURROGATE_REGISTRATION, second, header=extension(key_attestation()))
    keys = register(text, metadata=models(ANDROID_MODEL), policy=Policy(accepted=((MatchCriteria(), MatchCriteria()),)))
    assert [key.key_attested for key in keys] == [False, False]


def test_where_attestation_is_required_a_key_that_vouches_for_itself_is_refused() -> None:
    bare = entry(**SURROGATE)
    text = message(SURROGATE_REGISTRATION)
    (key,) = register(text, metadata=models(bare))
    assert not key.key_attested
    status, _ = refused(register, text, metadata=models(bare), require_key_attestation=True)
    assert status is ATTESTATION
