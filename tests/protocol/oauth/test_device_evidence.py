"""Device evidence tokens, what they say of a device, and policies."""

import itertools
import json

import pytest
from msgspec import UNSET

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.evidence.values import Anchors, Appraisal, Evidence
from fidoloop.protocol.oauth.device_evidence import (
    DeviceEvidence,
    appraise_device_evidence,
    make_device_evidence,
    read_device_evidence,
)
from fidoloop.protocol.oauth.device_facts import SIMULATED_OEM, YUBICO_PEN, DeviceFacts, KeyFacts, device_facts
from fidoloop.protocol.oauth.device_policy import Attested, decide, parse_device_policy, version_number
from fidoloop.protocol.oauth.errors import OAuthRefusal

from ..builders import AT, p256
from ..evidence.builders import ANCHORS, NONCE, OTHER_KEY, OTHER_NONCE, USER_KEY, attested, device, hsm, piv, pkix
from .tokens import signed_jwt

NOW = int(AT.timestamp())
SERVICE = "https://as.example/register"
CASES = itertools.count()


def token(evidence: Evidence | None = None, *, nonce: bytes = NONCE, key: int = USER_KEY) -> str:
    made = evidence or piv(nonce=nonce)
    text = base64url.encode(nonce)
    return make_device_evidence(
        p256(key), made, nonce=text, audience=SERVICE, now=NOW, token_id=f"t{next(CASES)}", app_name="phone"
    )


def read(text: str) -> DeviceEvidence:
    return read_device_evidence(text, expected_audience=SERVICE, now=NOW)


def appraise(text: str, anchors: Anchors = ANCHORS) -> Appraisal:
    return appraise_device_evidence(read(text), anchors=anchors, now=NOW)


def facts_of(evidence: Evidence) -> DeviceFacts:
    return device_facts(appraise(token(evidence)))


def test_a_token_says_what_the_device_says_of_the_key_that_signed_it() -> None:
    found = read(token())
    assert found.nonce == NONCE
    assert found.jwk == jose.public_jwk(p256(USER_KEY).public_key())
    assert device_facts(appraise(token())) == DeviceFacts(
        evidence_type="piv-attestation",
        tier="attested",
        oemid=SIMULATED_OEM,
        hwmodel=base64url.encode(b"PIV card"),
        swname="firmware",
        swversion=["5.7.1", "multipartnumeric"],
        key=KeyFacts(local=True, never_extractable=True),
        pin_policy="once",
        touch_policy="never",
        fips=False,
    )


def test_a_yubikeys_arc_names_its_maker() -> None:
    assert facts_of(piv(attested(p256(USER_KEY), arc=oids.YUBICO_PIV), device())).oemid == YUBICO_PEN


def test_an_hsm_says_whether_the_key_can_leave() -> None:
    assert facts_of(hsm()).key == KeyFacts(local=True, never_extractable=True)


def test_no_fact_is_a_serial_number() -> None:
    for evidence in (piv(), hsm(), pkix()):
        said = appraise(token(evidence))
        serial = str(said.claims.get("serial", said.claims.get("hwserial")))
        assert serial not in str(device_facts(said))


def jwt(header: dict[str, object] | None = None, key: int = USER_KEY, **changes: object) -> str:
    """Returns a token rightly signed by the user's key, changed."""
    payload = json.loads(base64url.decode(token().split(".")[1]))
    own = {"typ": "eat+jwt", "alg": "ES256", "jwk": jose.public_jwk(p256(key).public_key()).members}
    return signed_jwt({**own, **(header or {})}, {**payload, **changes}, p256(key))


WRONG = {
    "another typ": jwt({"typ": "jwt"}),
    "no key": jwt({"jwk": None}),
    "another key in the header": jwt({"jwk": jose.public_jwk(p256(OTHER_KEY).public_key()).members}),
    "signed by another than the attested key": jwt(key=OTHER_KEY),
    "alg none": jwt({"alg": "none"}),
    "another service": jwt(aud="https://as.example/attester/attest"),
    "too old": jwt(iat=NOW - 301),
    "of the future": jwt(iat=NOW + 61),
    "iat with a fraction": jwt(iat=NOW + 0.5),
    "another profile": jwt(eat_profile="tag:example,2026:x"),
    "a short nonce": jwt(eat_nonce="abc"),
    "the nonce in another member": jwt(eat_nonce=None, nonce=base64url.encode(NONCE)),
    "a nonce that the device did not sign": jwt(eat_nonce=base64url.encode(OTHER_NONCE)),
    "no evidence": jwt(hw=[]),
    "no JWT": "x",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_breaks_a_rule_is_refused(name: str) -> None:
    appraise(jwt())
    with pytest.raises(OAuthRefusal, match="bad_attestation"):
        appraise(WRONG[name])


def test_a_device_that_no_anchor_vouches_for_is_refused() -> None:
    with pytest.raises(OAuthRefusal, match="anchor"):
        appraise(token(), Anchors())


FACTS = device_facts(appraise(token()))
DEVICE = Attested(FACTS, "a1", 100)
GRANTS = {"acr": ["fido2-hw"], "scopes": ["api"]}


def policy(*rules: dict[str, object]) -> bytes:
    return json.dumps({"rules": [{"name": f"r{index}", **rule} for index, rule in enumerate(rules)]}).encode()


def granted(attested: Attested = DEVICE, **members: object) -> bool:
    rule, grants = decide(parse_device_policy(policy({"grants": GRANTS, **members})), attested)
    assert (rule is None) == (grants.acr == [])
    return rule is not None


def test_nothing_is_granted_by_default() -> None:
    assert decide(parse_device_policy(policy()), DEVICE) == (None, decide(parse_device_policy(policy({})), DEVICE)[1])


def test_the_first_rule_that_matches_wins_and_one_without_grants_denies() -> None:
    rules = parse_device_policy(
        policy({"swversion": {"max": "5.6"}}, {"hwmodel": ["x"], "grants": GRANTS}, {"grants": GRANTS})
    )
    assert decide(rules, DEVICE)[0] is rules.rules[2]
    old = Attested(replace_version("5.4.3"), "a1", 100)
    rule, grants = decide(rules, old)
    assert rule is rules.rules[0]
    assert (grants.acr, grants.scopes) == ([], [])


def replace_version(version: str) -> DeviceFacts:
    members = {name: getattr(FACTS, name) for name in FACTS.__struct_fields__}
    return DeviceFacts(**{**members, "swversion": [version]})


@pytest.mark.parametrize(
    ("met", "unmet"),
    [
        ({"evidence_types": ["piv-attestation"]}, {"evidence_types": ["tpm2-certify"]}),
        ({"tiers": ["attested"]}, {"tiers": ["unattested"]}),
        ({"oemid": [YUBICO_PEN, SIMULATED_OEM]}, {"oemid": [YUBICO_PEN]}),
        ({"hwmodel": [base64url.encode(b"PIV card")]}, {"hwmodel": ["x"]}),
        ({"swname": ["firmware"]}, {"swname": ["other"]}),
        ({"swversion": {"min": "5.7.1"}}, {"swversion": {"min": "5.10"}}),
        ({"swversion": {"max": "5.7.1"}}, {"swversion": {"max": "5.7"}}),
        ({"swversion": {"deny": ["5.7.2"]}}, {"swversion": {"deny": ["5.7.1.0"]}}),
        ({"fips": False}, {"fips": True}),
        ({"key": {"local": True, "never_extractable": True}}, {"key": {"sensitive": True}}),
        ({"pin_policy": ["once", "always"]}, {"pin_policy": ["always"]}),
        ({"touch_policy": ["never"]}, {"touch_policy": ["always", "cached"]}),
        ({"attester": ["a1"]}, {"attester": ["a2"]}),
        ({"max_attestation_age": 100}, {"max_attestation_age": 99}),
        ({}, {"dbgstat": "disabled"}),
    ],
    ids=lambda rule: next(iter(rule), "nothing"),
)
def test_each_member_of_a_rule_decides(met: dict[str, object], unmet: dict[str, object]) -> None:
    assert granted(DEVICE, **met)
    assert not granted(DEVICE, **unmet)


@pytest.mark.parametrize(
    ("state", "enough"), [("enabled", False), ("disabled", True), ("disabled-permanently", True), ("x", False)]
)
def test_debugging_is_at_least_as_far_off(state: str, enough: bool) -> None:
    members = {name: getattr(FACTS, name) for name in FACTS.__struct_fields__}
    assert granted(Attested(DeviceFacts(**{**members, "dbgstat": state}), "a1", 0), dbgstat="disabled") is enough


def test_what_a_device_does_not_state_meets_no_rule() -> None:
    bare = Attested(DeviceFacts("piv-attestation", "attested"), "a1", None)
    assert granted(bare)
    for members in (
        {"swversion": {"deny": ["1"]}},
        {"oemid": [1]},
        {"fips": False},
        {"key": {"local": True}},
        {"max_attestation_age": 9},
    ):
        assert not granted(bare, **members)


def test_unsigned_claims_match_only_where_a_rule_says_so() -> None:
    software = Attested(DeviceFacts("p11-claims", "unattested"), "a1", 0)
    assert not granted(software)
    assert granted(software, tiers=["unattested"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"grant": {}},
        {"swversion": {"min": "5.7b"}},
        {"swversion": {"deny": ["v5"]}},
        {"swversion": {"from": "1"}},
        {"dbgstat": "off"},
        {"key": {"locl": True}},
        {"evidence_types": []},
        {"name": "r0", "grants": {"acr": []}},
    ],
)
def test_a_policy_that_says_something_unknown_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MalformedError, match="rules"):
        parse_device_policy(policy(wrong))


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(MalformedError, match="second"):
        parse_device_policy(policy({"name": "a"}, {"name": "a"}))


def test_versions_are_compared_by_number() -> None:
    ordered = ["1", "1.2", "1.10", "1.10.1", "2", "10.0"]
    numbers = [version_number(text) or () for text in ordered]
    assert numbers == sorted(numbers)
    assert version_number("1.0.0") == version_number("1")
    assert version_number("1.x") is version_number("") is None
    assert FACTS.dbgstat is UNSET
