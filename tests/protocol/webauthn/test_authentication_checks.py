"""WebAuthn Level 3, section 7.2: every check, broken one at a time."""

from typing import Any

import msgspec
import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

from ..builders import OTHER_KEY, p256
from .builders import BE, BS, GET, HANDLE, ORIGIN, RECORD, RP_ID, TOP, UP, UV, Ceremony, authenticate, cose

EMBEDDED = RelyingParty(RP_ID, frozenset({ORIGIN}), frozenset({TOP}))
OTHER_HANDLE = base64url.encode(b"v" * 32)
Change = dict[str, Any]


def whole(**changes: Any) -> Ceremony:  # noqa: ANN401 - any field
    return GET.with_(**changes)


def record(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return {"record": msgspec.structs.replace(RECORD, **changes)}


def test_a_whole_assertion_is_taken() -> None:
    taken = authenticate()
    assert (taken.sign_count, taken.user_verified, taken.backup_state, taken.clone_suspected) == (8, True, False, False)


CASES: list[tuple[str, Ceremony, Change, Rule]] = [
    ("5 not in the allow list", whole(), {"allowed": ("AAAA",)}, Rule.CREDENTIAL),
    ("6 not known", whole(), {"record": None}, Rule.CREDENTIAL),
    ("6 the record of another credential", whole(), record(id="AAAA"), Rule.CREDENTIAL),
    ("6 rawId is another", whole(body={"rawId": "AAAA"}), {}, Rule.CREDENTIAL_ID),
    ("6 of another user than named before", whole(), {"user_handle": OTHER_HANDLE}, Rule.CREDENTIAL),
    (
        "6 handle of another user than named before",
        whole(response={"userHandle": OTHER_HANDLE}),
        {"user_handle": HANDLE},
        Rule.USER_HANDLE,
    ),
    ("6 no handle and nobody named", whole(response={"userHandle": None}), {}, Rule.USER_HANDLE),
    ("6 an empty handle and nobody named", whole(response={"userHandle": ""}), {}, Rule.USER_HANDLE),
    ("6 the handle is not the record's", whole(response={"userHandle": OTHER_HANDLE}), {}, Rule.USER_HANDLE),
    ("7 not base64url", whole(response={"signature": "%"}), {}, Rule.MALFORMED),
    ("7 authenticatorData cut short", whole(response={"authenticatorData": "AAAA"}), {}, Rule.MALFORMED),
    ("7 authenticatorData too long", whole(after=b"\x00"), {}, Rule.MALFORMED),
    ("8 not UTF-8", whole(document=b'{"type":"\xff"}'), {}, Rule.MALFORMED),
    ("9 not JSON", whole(document=b"[]"), {}, Rule.MALFORMED),
    ("9 a member twice", whole(document=GET.client_data[:-1] + b',"origin":"https://x"}'), {}, Rule.MALFORMED),
    ("10 type", whole(client={"type": "webauthn.create"}), {}, Rule.TYPE),
    ("11 challenge", whole(client={"challenge": "AAAA"}), {}, Rule.CHALLENGE),
    ("12 origin", whole(client={"origin": "https://evil.example"}), {}, Rule.ORIGIN),
    ("13 cross origin", whole(client={"crossOrigin": True}), {}, Rule.CROSS_ORIGIN),
    ("14 top origin, nowhere embedded", whole(client={"topOrigin": TOP}), {}, Rule.TOP_ORIGIN),
    (
        "14 top origin, another",
        whole(client={"crossOrigin": True, "topOrigin": "https://evil.example"}),
        {"rp": EMBEDDED},
        Rule.TOP_ORIGIN,
    ),
    ("15 rpIdHash", whole(rp_id="evil.example"), {}, Rule.RP_ID),
    ("16 user presence", whole(flags=UV), {}, Rule.USER_PRESENCE),
    ("17 user verification", whole(flags=UP), {}, Rule.USER_VERIFICATION),
    ("18 backed up, not eligible", whole(flags=UP | UV | BS), record(backup_eligible=True), Rule.BACKUP_STATE),
    ("19 eligible, was not", whole(flags=UP | UV | BE), {}, Rule.BACKUP_ELIGIBILITY),
    ("19 not eligible, was", whole(), record(backup_eligible=True), Rule.BACKUP_ELIGIBILITY),
    (
        "19 eligible, not allowed any more",
        whole(flags=UP | UV | BE),
        record(backup_eligible=True) | {"backup_eligible_allowed": False},
        Rule.BACKUP_ELIGIBILITY,
    ),
    (
        "20 appid that nobody offered",
        whole(body={"clientExtensionResults": {"appid": True}}),
        {},
        Rule.EXTENSIONS,
    ),
    ("22 signed by another key", whole(key=p256(OTHER_KEY)), {}, Rule.SIGNATURE),
    ("22 the record's key is another", whole(), record(public_key=cose(p256(OTHER_KEY))), Rule.SIGNATURE),
    ("22 a signature of no bytes", whole(response={"signature": ""}), {}, Rule.SIGNATURE),
    ("22 raw instead of DER", whole(response={"signature": base64url.encode(b"1" * 64)}), {}, Rule.SIGNATURE),
    ("23 the counter stands still", whole(count=7), {}, Rule.COUNTER),
    ("23 the counter goes back", whole(count=6), {}, Rule.COUNTER),
    ("23 the counter is gone", whole(count=0), {}, Rule.COUNTER),
]


@pytest.mark.parametrize(("ceremony", "changes", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_broken_check_refuses_the_assertion(ceremony: Ceremony, changes: Change, rule: Rule) -> None:
    with pytest.raises(WebAuthnRefusal) as refused:
        authenticate(ceremony, **changes)
    assert refused.value.rule is rule, refused.value.detail


@pytest.mark.parametrize("part", ["authenticatorData", "clientDataJSON"])
def test_what_was_changed_after_signing_is_refused(part: str) -> None:
    body = GET.authentication()["response"]
    changed = bytearray(base64url.decode(body[part]))
    # The signature counter, or a blank: all else is as it was.
    changed[-1] += 1
    if part == "clientDataJSON":
        changed = bytearray(base64url.decode(body[part]).replace(b", ", b" ,", 1))
    signed = {"signature": body["signature"], part: base64url.encode(bytes(changed))}
    with pytest.raises(WebAuthnRefusal) as refused:
        authenticate(whole(response=signed))
    assert refused.value.rule is Rule.SIGNATURE


@pytest.mark.parametrize(
    ("ceremony", "changes"),
    [
        (whole(), {"allowed": (RECORD.id, "AAAA")}),
        (whole(), {"user_handle": HANDLE}),
        (whole(response={"userHandle": None}), {"user_handle": HANDLE}),
        (whole(response={"userHandle": ""}), {"user_handle": HANDLE}),
        (whole(client={"crossOrigin": True, "topOrigin": TOP}), {"rp": EMBEDDED}),
        (whole(flags=UP), {"user_verification_required": False}),
        (whole(flags=UP | UV | BE | BS), record(backup_eligible=True)),
        (whole(count=0), record(sign_count=0)),
        (whole(count=0xFFFFFFFF), {}),
        (whole(extensions={"credBlob": b"1"}), {}),
        (whole(body={"clientExtensionResults": {"appid": True}}), {"extensions": {"appid": ORIGIN}}),
        (whole(body={"clientExtensionResults": {"appid": False, "largeBlob": {}}}), {}),
    ],
    ids=[
        "in the allow list",
        "the user named before",
        "no handle, named before",
        "an empty handle, named before",
        "embedded",
        "no verification where none is demanded",
        "backed up",
        "no counter",
        "the largest counter",
        "authenticator extensions",
        "appid offered",
        "client extension not known",
    ],
)
def test_what_the_specification_allows_is_taken(ceremony: Ceremony, changes: Change) -> None:
    assert authenticate(ceremony, **changes).clone_suspected is False


def test_a_suspected_clone_is_only_reported_where_the_policy_says_so() -> None:
    taken = authenticate(whole(count=7), clones_refused=False)
    assert taken.clone_suspected
    assert taken.sign_count == 7
