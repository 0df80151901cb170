"""The whole loop through its public doors: server process over TLS, phone on SoftHSM, laptop."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fidoloop.authenticator.user_verification import AutoApprove, Deny, Prompt, TokenPin, VerificationRequest
from fidoloop.bridge.errors import (
    CannotDecryptError,
    ClientFailureError,
    MalformedPayloadError,
    ServerRefusedError,
    TokenRedeemedError,
    UnknownHostError,
    UserDeclinedError,
)
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.laptop import Dispatched
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.scan import scan_image
from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.uaf.status import AsmStatus, ClientError
from tests.lab import SURROGATE_POLICY, Lab


def read(lab: Lab, dispatched: Dispatched) -> str:
    """What the phone's camera sees: the PNG decoded, or the link."""
    if "qr" not in dispatched.dispatcher:
        return dispatched.response
    path = lab.directory / f"{dispatched.session_id}.png"
    path.write_bytes(base64.b64decode(dispatched.response))
    return scan_image(path)


@pytest.mark.parametrize("dispatcher", ["png-qr-code", "link", "link-png-qr-code"])
def test_a_dispatched_login_succeeds_by_every_dispatcher(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], dispatcher: str
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(username=username, target_id=target.id, dispatcher=dispatcher)
    assert laptop.status(dispatched.session_id).status == "tokenCreated"
    text = read(fidoloop_lab, dispatched)
    assert isinstance(outofband.decode_scanned(text).nma_data, str)
    result = phone.scan(text)
    final = laptop.follow(dispatched.session_id, timeout=20)
    assert (final.status, final.userId, final.uafStatusCode) == ("succeeded", username, 1200)
    assert [(entry.aaid, entry.keyId) for entry in final.authenticators or ()] == list(result.keys)


def test_a_usernameless_login_by_a_plain_qr_code_names_the_user(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    dispatched = laptop.dispatch(dispatcher="png-qr-code")
    phone.scan(read(fidoloop_lab, dispatched))
    final = laptop.status(dispatched.session_id)
    assert (final.status, final.userId) == ("succeeded", username)


def test_a_phone_logs_in_by_itself_without_a_token(enrolled_phone: tuple[Phone, str]) -> None:
    phone, _ = enrolled_phone
    assert phone.login().status == 1200


def test_a_transaction_is_shown_to_the_user_and_confirmed(fidoloop_lab: Lab) -> None:
    shown: list[VerificationRequest] = []

    def approve(request: VerificationRequest) -> bool:
        shown.append(request)
        return True

    phone, username = fidoloop_lab.enrolled(verification="prompt", verifier=Prompt(approve))
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(
        username=username, target_id=target.id, dispatcher="png-qr-code", transaction="Pay 5 CHF to Bob"
    )
    result = phone.confirm(read(fidoloop_lab, dispatched))
    assert result.status == 1200
    assert (shown[-1].operation, shown[-1].transaction_text) == ("transaction", "Pay 5 CHF to Bob")
    assert laptop.status(dispatched.session_id).status == "succeeded"


def test_confirming_a_token_without_a_transaction_fails_and_tells_the_laptop(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    dispatched = laptop.dispatch(username=username, dispatcher="link")
    with pytest.raises(ClientFailureError):
        phone.confirm(dispatched.response)
    final = laptop.status(dispatched.session_id)
    assert (final.status, final.clientErrorCode) == ("failed", ClientError.INVALID_TRANSACTION_CONTENT)


def test_a_deregistration_deletes_the_keys_on_both_sides(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(
        operation="Dereg", username=username, target_id=target.id, context={"mode": "username"}, dispatcher="link"
    )
    result = phone.deregister(dispatched.response)
    assert len(result.keys) == 1
    assert phone.asm.registrations() == []
    again = laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    with pytest.raises((ServerRefusedError, ClientFailureError)):
        phone.scan(again.response)


def test_the_users_no_reaches_the_server_as_asm_and_client_codes(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled(verification="prompt", verifier=Prompt(lambda _: True))
    profile = phone._profile
    phone.close()
    refusing = fidoloop_lab.phone(profile=profile, verifier=Deny())
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    with pytest.raises(ClientFailureError) as failure:
        refusing.scan(dispatched.response)
    assert failure.value.error is ClientError.USER_CANCELLED
    final = laptop.status(dispatched.session_id)
    assert (final.status, final.uafStatusCode) == ("failed", 1498)
    assert (final.asmStatusCode, final.clientErrorCode) == (AsmStatus.USER_CANCELLED, ClientError.USER_CANCELLED)


def test_declining_the_token_tells_the_laptop_at_once(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    profile = phone._profile
    phone.close()
    seen: list[DispatchedToken] = []

    def decline(token: DispatchedToken) -> bool:
        seen.append(token)
        return False

    declining = fidoloop_lab.phone(profile=profile, confirm=decline)
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    with pytest.raises(UserDeclinedError):
        declining.scan(dispatched.response)
    assert laptop.status(dispatched.session_id).status == "failed"
    assert seen[0].account is not None
    assert seen[0].account.username == username
    assert seen[0].requested_by is not None
    assert "127.0.0.1" in seen[0].requested_by or "::1" in seen[0].requested_by


def test_a_declined_deregistration_is_not_redeemed(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    profile = phone._profile
    phone.close()
    declining = fidoloop_lab.phone(profile=profile, confirm=lambda _: False)
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(
        operation="Dereg", username=username, target_id=target.id, context={"mode": "username"}, dispatcher="link"
    )
    with pytest.raises(UserDeclinedError):
        declining.deregister(dispatched.response)
    assert laptop.status(dispatched.session_id).status == "tokenCreated"
    assert len(declining.asm.registrations()) == 1


def test_a_token_works_once(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, username = enrolled_phone
    dispatched = fidoloop_lab.laptop.dispatch(username=username, dispatcher="link")
    phone.scan(dispatched.response)
    with pytest.raises(TokenRedeemedError):
        phone.scan(dispatched.response)


def test_another_phone_cannot_read_what_was_dispatched_to_this_one(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    _, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    other, _ = fidoloop_lab.enrolled()
    with pytest.raises(CannotDecryptError):
        other.scan(dispatched.response)


def test_a_phone_whose_decryption_key_is_gone_says_so(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    laptop = fidoloop_lab.laptop
    (target,) = laptop.targets(username)
    dispatched = laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    (account,) = phone.accounts()
    assert account.encryption_key_id is not None
    fidoloop_lab.store.delete(account.encryption_key_id)
    with pytest.raises(CannotDecryptError, match="gone"):
        phone.scan(dispatched.response)


def payload_for(url: str) -> str:
    return outofband.qr_text(outofband.encode_payload({"token": "t", "redeem_url": url}, None))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hello", MalformedPayloadError),
        ("{}", MalformedPayloadError),
        ("fidoloop://x?dispatchTokenResponse=", MalformedPayloadError),
        (payload_for("https://localhost/nevisfido/status"), MalformedPayloadError),
        (payload_for("https://u:p@localhost/nevisfido/token/redeem/authentication"), MalformedPayloadError),
        (payload_for("https://evil.example/nevisfido/token/redeem/authentication"), UnknownHostError),
        (payload_for("https://localhost:1/nevisfido/token/redeem/authentication"), UnknownHostError),
        ("A" * 40000, MalformedPayloadError),
    ],
)
def test_a_payload_that_is_not_ours_is_refused_before_anything_is_sent(
    enrolled_phone: tuple[Phone, str], text: str, error: type[Exception]
) -> None:
    phone, _ = enrolled_phone
    with pytest.raises(error):
        phone.scan(text)


def test_a_registration_token_for_another_server_is_refused(fidoloop_lab: Lab) -> None:
    phone = fidoloop_lab.phone()
    with pytest.raises(UnknownHostError):
        phone.register(fidoloop_lab.server.enrol(fidoloop_lab.new_user()), server="https://other.example")


def test_a_refused_registration_leaves_no_keys_in_the_token(fidoloop_lab: Lab) -> None:
    username = fidoloop_lab.new_user()
    token = fidoloop_lab.server.enrol(username)
    before = {info.key_id for info in fidoloop_lab.store.list()}
    phone = fidoloop_lab.phone(facet_id="android:apk-key-hash:notTrusted")
    with pytest.raises(ClientFailureError) as failure:
        phone.register(token, server=fidoloop_lab.server.url)
    assert failure.value.error is ClientError.UNTRUSTED_FACET_ID
    assert {info.key_id for info in fidoloop_lab.store.list()} == before
    assert phone.accounts() == []


def test_a_second_phone_with_a_taken_target_name_is_refused_and_leaves_nothing(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    _, username = enrolled_phone
    second = fidoloop_lab.phone()
    before = {info.key_id for info in fidoloop_lab.store.list()}
    with pytest.raises(ServerRefusedError) as refused:
        second.register(fidoloop_lab.server.enrol(username), target_name=f"{username}'s phone")
    assert refused.value.status == 1498
    assert {info.key_id for info in fidoloop_lab.store.list()} == before


def test_removing_an_account_deletes_its_keys_and_its_dispatch_target(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    laptop = fidoloop_lab.laptop
    assert len(laptop.targets(username)) == 1
    (account,) = phone.accounts()
    assert len(phone.remove(account)) == 1
    assert laptop.targets(username) == ()
    assert (phone.accounts(), phone.asm.registrations()) == ([], [])


def test_full_attestation_is_the_default_and_a_policy_can_ask_for_surrogate(fidoloop_lab: Lab) -> None:
    usual, _ = fidoloop_lab.enrolled()
    assert [entry.aaid for entry in usual.asm.registrations()][-1] == "F10B#0111"
    username = fidoloop_lab.new_user()
    phone = fidoloop_lab.phone()
    dispatched = fidoloop_lab.laptop.dispatch(
        operation="Reg", username=username, dispatcher="link", policy=SURROGATE_POLICY
    )
    phone.register(dispatched.response, server=fidoloop_lab.server.url)
    final = fidoloop_lab.laptop.status(dispatched.session_id)
    assert final.status == "succeeded"
    assert [entry.aaid for entry in final.authenticators or ()] == ["F10B#0191"]
    login = fidoloop_lab.laptop.dispatch(username=username, dispatcher="link")
    assert phone.scan(login.response).status == 1200


def test_a_policy_that_wants_a_pin_is_not_met_by_a_silent_phone(fidoloop_lab: Lab) -> None:
    silent, username = fidoloop_lab.enrolled(verification="auto", verifier=AutoApprove())
    dispatched = fidoloop_lab.laptop.dispatch(username=username, dispatcher="link", policy="pin_only")
    with pytest.raises(ServerRefusedError) as refused:
        silent.scan(dispatched.response)
    assert refused.value.status == 1492
    assert fidoloop_lab.laptop.status(dispatched.session_id).status == "failed"


def test_a_wrong_pin_signs_nothing_and_the_laptop_hears_of_it(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    profile = phone._profile
    phone.close()
    forgetful = fidoloop_lab.phone(
        profile=profile, verifier=TokenPin(fidoloop_lab.store, lambda _request, _tries: "000000")
    )
    laptop = fidoloop_lab.laptop
    dispatched = laptop.dispatch(username=username, dispatcher="link")
    with pytest.raises(ClientFailureError) as failure:
        forgetful.scan(dispatched.response)
    assert failure.value.asm_status is AsmStatus.ACCESS_DENIED
    assert laptop.status(dispatched.session_id).asmStatusCode == AsmStatus.ACCESS_DENIED


def test_the_audit_trail_names_who_logged_in_and_holds_no_token(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    dispatched = fidoloop_lab.laptop.dispatch(username=username, dispatcher="link")
    phone.scan(dispatched.response)
    events = fidoloop_lab.server.audit()
    assert any(user == username for _, user in events)
    log = (fidoloop_lab.server.home / "server.log").read_text()
    assert fidoloop_lab.api_key not in log
    assert dispatched.response not in log


def test_an_image_without_a_qr_code_is_no_token(tmp_path: Path, fidoloop_make_token: Callable[[], str]) -> None:
    from PIL import Image

    path = tmp_path / "empty.png"
    Image.new("L", (200, 200), 255).save(path)
    (tmp_path / "text.png").write_text("not an image")
    for name in ("empty.png", "text.png"):
        with pytest.raises(MalformedPayloadError):
            scan_image(tmp_path / name)


def test_hashes_of_the_payload_are_stable() -> None:
    """The forms of one payload decode alike: JSON, base64url padded or not, link."""
    payload = outofband.encode_payload(
        {"token": "t", "redeem_url": "https://x/nevisfido/token/redeem/authentication"}, None
    )
    text = outofband.qr_text(payload)
    padded = text + "=" * (-len(text) % 4)
    forms = [payload, text, padded, outofband.link("fidoloop://authenticate", payload)]
    decoded = {hashlib.sha256(strictjson.encode(outofband.decode_scanned(form)).encode()).hexdigest() for form in forms}
    assert len(decoded) == 1
    assert base64url.decode(text).decode() == payload
