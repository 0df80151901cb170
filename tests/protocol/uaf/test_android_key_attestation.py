import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.android_key_attestation import load_key_attestation_roots, verify_key_attestation
from fidoloop.protocol.uaf.key_description import KeyDescription, key_description
from fidoloop.protocol.uaf.policy import AuthenticatorFacts
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import (
    AT,
    OTHER_KEY,
    USER_KEY,
    certificate,
    fc_hash,
    fc_params,
    leaf,
    middle,
    p256,
    root,
    rsa2048,
    to_der,
)
from ..signers import key_of
from .key_descriptions import (
    AUTHORIZED,
    NULL,
    as_data,
    attested,
    description,
    explicit,
    integer,
    integers,
    key_attestation,
)

HARDWARE, SOFTWARE = 0x06, 0x01
FINGERPRINT, NONE = 0x02, 0x200


def model(*, key_protection: int = HARDWARE, user_verification: int = FINGERPRINT) -> AuthenticatorFacts:
    nothing: frozenset[int] = frozenset()
    return AuthenticatorFacts(
        "F10B#0111", frozenset(), user_verification, key_protection, 1, None, 0, nothing, frozenset(), nothing, 1
    )


def verify(data: str, **changes: Any) -> bool:  # noqa: ANN401 - any argument
    arguments: dict[str, Any] = {
        "expected_key": p256(USER_KEY).public_key(),
        "expected_challenge": fc_hash(fc_params()),
        "model": model(),
        "roots": [root()],
        "at": AT,
        **changes,
    }
    return verify_key_attestation(data, **arguments)


def refusal(data: str, **changes: Any) -> str:  # noqa: ANN401 - any argument
    with pytest.raises(UafRefusal) as caught:
        verify(data, **changes)
    assert caught.value.status is StatusCode.UNACCEPTABLE_ATTESTATION
    return caught.value.detail


RSA_KEY: dict[int, bytes | None] = {2: integer(1), 3: integer(2048), 10: None}
ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "in a TEE": (key_attestation(), {}),
    "in a strongbox": (key_attestation(levels=(2, 2)), {}),
    "RSA": (
        as_data(attested(description(tee=RSA_KEY), rsa2048()), middle()),
        {"expected_key": rsa2048().public_key()},
    ),
    "for verifying too": (key_attestation(tee={1: integers(2, 3)}), {}),
    "over several hashes": (key_attestation(tee={5: integers(0, 4, 6)}), {}),
    "unlocked by a PIN": (key_attestation(tee={504: integer(1)}), {}),
    "unlocked by anything": (key_attestation(tee={504: integer(0xFFFFFFFF)}), {}),
    "each use alone": (key_attestation(tee={505: integer(0)}), {}),
    "in software, as the model says": (
        key_attestation(levels=(0, 0), tee=None, software={}),
        {"model": model(key_protection=SOFTWARE)},
    ),
    "silent": (key_attestation(tee={503: NULL, 504: None}), {"model": model(user_verification=NONE)}),
    "with authorizations of later versions": (key_attestation(tee={720: integer(5), 509: NULL}), {}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_key_that_is_attested_as_uaf_demands_is_accepted(case: str) -> None:
    data, changes = ACCEPTED[case]
    assert verify(data, **changes)


@pytest.mark.parametrize("data", ["p", "a"])
def test_a_platform_without_attestation_says_so(data: str) -> None:
    assert not verify(data)


EVIL = key_attestation(key=p256(OTHER_KEY))
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty": ("", {}, "not JSON"),
    "another letter": ("P", {}, "not JSON"),
    "no list": ('"p"', {}, "$"),
    "no certificate": ("[]", {}, "0 certificates"),
    "seven": (as_data(*[middle()] * 7), {}, "7 certificates"),
    "not base64": ('["*"]', {}, "not base64"),
    "not X.509": ('["AAAA"]', {}, "not an X.509"),
    "numbers": ("[1]", {}, "$"),
    "another root": (key_attestation(), {"roots": [leaf()]}, "does not end in a root"),
    "no roots": (key_attestation(), {"roots": []}, "does not end in a root"),
    "expired": (key_attestation(), {"at": AT + timedelta(days=2)}, "outside its validity"),
    "no description": (as_data(attested(None), middle()), {}, "has no KeyDescription"),
    "description of another schema": (as_data(attested(b"\x30\x00"), middle()), {}, "not of its schema"),
    "description of the issuer only": (as_data(leaf(), middle()), {}, "has no KeyDescription"),
    "attested by a key attested": (
        as_data(
            certificate("evil", p256(USER_KEY), "Android Keystore Key", p256(OTHER_KEY)),
            attested(description(tee={}), p256(OTHER_KEY)),
            middle(),
        ),
        {},
        "not a CA",
    ),
    "another key": (EVIL, {}, "not the one registered"),
    "key of another kind": (key_attestation(), {"expected_key": rsa2048().public_key()}, "not the one registered"),
    "another challenge": (key_attestation(challenge=bytes(32)), {}, "attestationChallenge"),
    "no challenge": (key_attestation(challenge=b""), {}, "attestationChallenge"),
    "attested in software": (key_attestation(levels=(0, 1)), {}, "attested in software"),
    "kept in software": (key_attestation(levels=(1, 0)), {}, "attested in software"),
    "only in the software list": (key_attestation(tee=None, software={}), {}, "origin"),
    "only in the TEE list, though software is claimed": (
        key_attestation(),
        {"model": model(key_protection=SOFTWARE)},
        "origin",
    ),
    "imported": (key_attestation(tee={702: integer(2)}), {}, "origin"),
    "origin not said": (key_attestation(tee={702: None}), {}, "origin"),
    "for decrypting": (key_attestation(tee={1: integers(1)}), {}, "purpose"),
    "for decrypting too": (key_attestation(tee={1: integers(1, 2)}), {}, "purpose"),
    "purpose not said": (key_attestation(tee={1: None}), {}, "purpose"),
    "another algorithm": (key_attestation(tee={2: integer(1)}), {}, "algorithm or keySize"),
    "another size": (key_attestation(tee={3: integer(384)}), {}, "algorithm or keySize"),
    "size not said": (key_attestation(tee={3: None}), {}, "algorithm or keySize"),
    "another hash": (key_attestation(tee={5: integers(2)}), {}, "digest"),
    "hash not said": (key_attestation(tee={5: None}), {}, "digest"),
    "no user verification": (key_attestation(tee={504: None}), {}, "userAuthType"),
    "user verification 0": (key_attestation(tee={504: integer(0)}), {}, "userAuthType"),
    "verification not required": (key_attestation(tee={503: NULL}), {}, "needs no user verification"),
    "not required, said in the other list": (
        key_attestation(software={**dict.fromkeys(AUTHORIZED), 503: NULL}),
        {},
        "needs no user verification",
    ),
    "unlocked for a time": (key_attestation(tee={505: integer(30)}), {}, "authTimeout"),
    "for all applications": (key_attestation(tee={600: NULL}), {}, "all applications"),
    "for all applications, said in the other list": (
        key_attestation(software={**dict.fromkeys(AUTHORIZED), 600: NULL}),
        {},
        "all applications",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_broken_rule_refuses_the_attestation(case: str) -> None:
    data, changes, reason = REFUSED[case]
    assert reason in refusal(data, **changes)


def test_a_key_that_the_keystore_does_not_make_is_refused() -> None:
    ed25519 = key_of(0x12)
    data = as_data(attested(description(tee={}), ed25519), middle())
    assert "no key of this kind" in refusal(data, expected_key=ed25519.public_key())


def test_a_description_says_what_is_enforced_where() -> None:
    found = key_description(attested(description(tee={}, levels=(2, 1), challenge=b"c")))
    assert (found.challenge, found.attestation_level, found.keymaster_level) == (b"c", 2, 1)
    assert (found.tee_enforced.purposes, found.tee_enforced.digests) == (frozenset({2}), frozenset({4}))
    assert (found.software_enforced.purposes, found.software_enforced.origin) == (frozenset(), None)


GOOD = description(tee={})


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x00",
        GOOD[:-1],
        GOOD + b"\x00",
        GOOD.replace(b"\x0a\x01\x01", b"\x02\x01\x01", 1),
        GOOD.replace(b"\x0a\x01\x01", b"\x0a\x00", 1),
        description(tee={1: b"\x31\x00\x00"}),
        description(tee={2: integers(1)}),
        description(tee={503: integer(1)}),
        description(tee={}).replace(explicit(2, integer(3)), explicit(2, integer(3)) * 2),
    ],
    ids=["none", "empty", "cut", "more", "integer", "no level", "set", "set for number", "number for null", "twice"],
)
def test_a_description_of_another_schema_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        KeyDescription(value)
    with pytest.raises(MalformedError, match="schema"):
        key_description(attested(value))


def test_long_lists_are_read() -> None:
    many = description(tee={5: integers(*range(4, 80))})
    assert len(KeyDescription(many).tee_enforced.digests) == 76


def test_the_roots_stand_in_the_metadata_as_json_in_a_text() -> None:
    text = base64.b64encode(to_der(root())).decode()
    assert load_key_attestation_roots(json.dumps({"attestationRootCertificates": [text]}), "$") == (root(),)
    for data in ("", "[]", "{}", '{"attestationRootCertificates":["*"]}', '{"attestationRootCertificates":"x"}'):
        with pytest.raises(MalformedError):
            load_key_attestation_roots(data, "$")


def test_a_key_on_another_curve_of_256_bits_is_not_the_one_registered() -> None:
    other = ec.derive_private_key(77, ec.SECP256K1())
    assert "not the one registered" in refusal(key_attestation(), expected_key=other.public_key())
