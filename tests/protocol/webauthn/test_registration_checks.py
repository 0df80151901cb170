"""WebAuthn Level 3, section 7.1: every check, broken one at a time."""

import json
from typing import Any

import pytest
from fido2 import cbor

from fidoloop.protocol import base64url
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.trust import TrustPolicy

from .builders import (
    BE,
    BS,
    CHALLENGE,
    CREATE,
    ORIGIN,
    RP_ID,
    TOP,
    UP,
    UV,
    Ceremony,
    cose,
    model,
    packed,
    register,
)

EMBEDDED = RelyingParty(RP_ID, frozenset({ORIGIN}), frozenset({TOP}))
Change = dict[str, Any]


def whole(**changes: Any) -> Ceremony:  # noqa: ANN401 - any field
    return CREATE.with_(**changes)


def object_of(**changes: Any) -> Ceremony:  # noqa: ANN401 - any member
    members = {"fmt": "none", "attStmt": {}, "authData": CREATE.authenticator_data} | changes
    return whole(attestation_object=cbor.encode({key: value for key, value in members.items() if value is not None}))


def test_a_whole_registration_is_taken() -> None:
    taken = register(whole(count=3, response={"transports": ["usb", "nfc"]}))
    assert (taken.format, taken.attestation_type, taken.trusted) == ("none", "none", False)
    assert (taken.sign_count, taken.user_verified, taken.backup_eligible, taken.backup_state) == (3, True, False, False)
    assert taken.transports == ("usb", "nfc")
    assert taken.public_key == cose()
    assert taken.discoverable is None


CASES: list[tuple[str, Ceremony, Change, Rule]] = [
    ("5 not UTF-8", whole(document=b'{"type":"\xff"}'), {}, Rule.MALFORMED),
    ("5 not base64url", whole(response={"clientDataJSON": "a+b="}), {}, Rule.MALFORMED),
    ("6 not JSON", whole(document=b"{"), {}, Rule.MALFORMED),
    ("6 a member twice", whole(document=CREATE.client_data[:-1] + b',"type":"webauthn.create"}'), {}, Rule.MALFORMED),
    ("6 no challenge", whole(client={"challenge": None}), {}, Rule.MALFORMED),
    ("6 a type that is a number", whole(client={"type": 1}), {}, Rule.MALFORMED),
    ("7 type", whole(client={"type": "webauthn.get"}), {}, Rule.TYPE),
    ("8 challenge", whole(client={"challenge": base64url.encode(b"d" * 32)}), {}, Rule.CHALLENGE),
    ("8 challenge with padding", whole(client={"challenge": CHALLENGE + "="}), {}, Rule.CHALLENGE),
    ("9 origin", whole(client={"origin": "https://evil.example"}), {}, Rule.ORIGIN),
    ("9 origin's port", whole(client={"origin": f"{ORIGIN}:8443"}), {}, Rule.ORIGIN),
    ("9 origin's scheme", whole(client={"origin": ORIGIN.replace("https", "http")}), {}, Rule.ORIGIN),
    ("9 origin of a subdomain", whole(client={"origin": "https://a.login.example"}), {}, Rule.ORIGIN),
    ("10 cross origin", whole(client={"crossOrigin": True}), {}, Rule.CROSS_ORIGIN),
    ("11 top origin, nowhere embedded", whole(client={"topOrigin": TOP}), {}, Rule.TOP_ORIGIN),
    (
        "11 top origin, another",
        whole(client={"crossOrigin": True, "topOrigin": "https://evil.example"}),
        {"rp": EMBEDDED},
        Rule.TOP_ORIGIN,
    ),
    ("13 not base64url", whole(response={"attestationObject": "%"}), {}, Rule.MALFORMED),
    ("13 not CBOR", whole(attestation_object=b"\xff"), {}, Rule.MALFORMED),
    ("13 empty", whole(attestation_object=b""), {}, Rule.MALFORMED),
    ("13 not a map", whole(attestation_object=cbor.encode([1])), {}, Rule.MALFORMED),
    ("13 more behind it", whole(attestation_object=b"\xa0\x00"), {}, Rule.MALFORMED),
    ("13 a member missing", object_of(attStmt=None), {}, Rule.MALFORMED),
    ("13 a member too many", object_of(epAtt=True), {}, Rule.MALFORMED),
    ("13 a format that is a number", object_of(fmt=1), {}, Rule.MALFORMED),
    ("13 a statement that is a list", object_of(attStmt=[]), {}, Rule.MALFORMED),
    ("13 authData a text", object_of(authData="text"), {}, Rule.MALFORMED),
    ("13 authData cut short", object_of(authData=b"a" * 36), {}, Rule.MALFORMED),
    ("13 authData without a credential", object_of(authData=b"a" * 32 + b"\x05" + bytes(4)), {}, Rule.MALFORMED),
    ("13 credential cut short", object_of(authData=CREATE.authenticator_data[:60]), {}, Rule.MALFORMED),
    ("13 key cut short", object_of(authData=CREATE.authenticator_data[:-1]), {}, Rule.MALFORMED),
    ("13 bytes left over", whole(after=b"\x00"), {}, Rule.MALFORMED),
    ("13 extensions that are no map", whole(extensions=[1]), {}, Rule.MALFORMED),
    ("13 extensions announced and missing", whole(flags=UP | UV | 128), {}, Rule.MALFORMED),
    ("14 rpIdHash", whole(rp_id="evil.example"), {}, Rule.RP_ID),
    ("15 user presence", whole(flags=UV), {}, Rule.USER_PRESENCE),
    ("16 user verification", whole(flags=UP), {}, Rule.USER_VERIFICATION),
    ("17 backed up, not eligible", whole(flags=UP | UV | BS), {}, Rule.BACKUP_STATE),
    (
        "18 backup eligible",
        whole(flags=UP | UV | BE | BS),
        {"backup_eligible_allowed": False},
        Rule.BACKUP_ELIGIBILITY,
    ),
    ("20 an algorithm not offered", whole(), {"algorithms": frozenset({-257})}, Rule.ALGORITHM),
    ("20 an algorithm not known", whole(public_key=cose(alg=-65535)), {}, Rule.ALGORITHM),
    ("20 no algorithm", whole(public_key=cose(alg=None)), {}, Rule.MALFORMED),
    ("20 another curve", whole(public_key=cose(crv=2)), {}, Rule.MALFORMED),
    ("20 a point not on the curve", whole(public_key=cose(y=b"\x01" * 32)), {}, Rule.MALFORMED),
    ("20 a key with more members", whole(public_key=cose(None, kid=b"1")), {}, Rule.MALFORMED),
    ("21 credProtect is no level", whole(extensions={"credProtect": 9}), {}, Rule.EXTENSIONS),
    ("21 credProtect is no number", whole(extensions={"credProtect": True}), {}, Rule.EXTENSIONS),
    (
        "21 credProtect below what was demanded",
        whole(extensions={"credProtect": 2}),
        {
            "extensions": {
                "credentialProtectionPolicy": "userVerificationRequired",
                "enforceCredentialProtectionPolicy": True,
            }
        },
        Rule.EXTENSIONS,
    ),
    ("22 a format not known", object_of(fmt="android-safetynet"), {}, Rule.FORMAT),
    ("22 a format in capitals", object_of(fmt="None"), {}, Rule.FORMAT),
    ("23 none with a statement", object_of(attStmt={"alg": -7}), {}, Rule.ATTESTATION),
    (
        "24 a status that forbids the model",
        whole(statement=packed()),
        {"models": {CREATE.aaguid.hex(): model("REVOKED")}},
        Rule.STATUS,
    ),
    ("25 none, metadata demanded", whole(), {"trust": TrustPolicy.METADATA}, Rule.TRUST),
    (
        "25 self, metadata demanded",
        whole(statement=packed(self_attested=True)),
        {"trust": TrustPolicy.METADATA},
        Rule.TRUST,
    ),
    (
        "25 self of a model that has certificates",
        whole(statement=packed(self_attested=True)),
        {"trust": TrustPolicy.METADATA, "models": {CREATE.aaguid.hex(): model()}},
        Rule.TRUST,
    ),
    ("25 unknown model, metadata demanded", whole(statement=packed()), {"trust": TrustPolicy.METADATA}, Rule.TRUST),
    (
        "25 a chain to another root",
        whole(statement=packed()),
        {"models": {CREATE.aaguid.hex(): model(roots=[])}},
        Rule.TRUST,
    ),
    ("26 an id of 1024 bytes", whole(id=b"i" * 1024), {}, Rule.CREDENTIAL_ID),
    ("26 an id of no bytes", whole(id=b"", body={"id": "AA", "rawId": "AA"}), {}, Rule.CREDENTIAL_ID),
    ("26 another id", whole(body={"id": "AAAA", "rawId": None}), {}, Rule.CREDENTIAL_ID),
    ("26 another rawId", whole(body={"rawId": "AAAA"}), {}, Rule.CREDENTIAL_ID),
]


@pytest.mark.parametrize(("ceremony", "changes", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_broken_check_refuses_the_registration(ceremony: Ceremony, changes: Change, rule: Rule) -> None:
    with pytest.raises(WebAuthnRefusal) as refused:
        register(ceremony, **changes)
    assert refused.value.rule is rule, refused.value.detail


@pytest.mark.parametrize(
    ("ceremony", "changes"),
    [
        (whole(document=b"\xef\xbb\xbf" + CREATE.client_data), {}),
        (whole(client={"crossOrigin": None}), {}),
        (whole(client={"androidPackageName": "ch.example", "tokenBinding": {"status": "supported"}}), {}),
        (whole(client={"origin": "android:apk-key-hash:abc"}), {}),
        (whole(client={"crossOrigin": True}), {"rp": EMBEDDED}),
        (whole(client={"crossOrigin": True, "topOrigin": TOP}), {"rp": EMBEDDED}),
        (whole(flags=UV), {"user_presence_required": False}),
        (whole(flags=UP), {"user_verification_required": False}),
        (whole(flags=UP | UV | 0x02 | 0x20), {}),
        (whole(flags=UP | UV | BE | BS), {}),
        (whole(extensions={"credProtect": 3, "hmac-secret": True}), {}),
        (whole(id=b"i" * 1023), {}),
        (whole(body={"rawId": None}), {}),
        (whole(body={"clientExtensionResults": {"prf": {"enabled": True}}}), {}),
    ],
    ids=[
        "byte order mark",
        "no crossOrigin",
        "members not known",
        "origin of an app",
        "embedded",
        "embedded, by whom is said",
        "no presence under conditional mediation",
        "no verification where none is demanded",
        "reserved flags",
        "backed up",
        "extensions not asked for",
        "longest id",
        "no rawId",
        "client extension not known",
    ],
)
def test_what_the_specification_allows_is_taken(ceremony: Ceremony, changes: Change) -> None:
    assert register(ceremony, **changes).algorithm == -7


def test_what_cred_props_says_is_kept() -> None:
    assert register(whole(body={"clientExtensionResults": {"credProps": {"rk": True}}})).discoverable is True
    assert register(whole(body={"clientExtensionResults": {"credProps": {}}})).discoverable is None


def test_the_first_broken_check_is_named() -> None:
    wrong = whole(client={"type": "x", "origin": "https://evil.example"}, rp_id="evil.example", flags=0)
    with pytest.raises(WebAuthnRefusal) as refused:
        register(wrong)
    assert refused.value.rule is Rule.TYPE


def test_a_refusal_repeats_little_of_a_long_origin() -> None:
    with pytest.raises(WebAuthnRefusal) as refused:
        register(whole(client={"origin": "https://" + "a" * 10_000}))
    assert len(refused.value.detail) < 300
    assert json.dumps(refused.value.detail)
