"""What the plugin's fixtures give, used as a stranger's tests use them."""

from pathlib import Path
from typing import Any

import pytest
from fido2.client import DefaultClientDataCollector, Fido2Client

from fidoloop.api.keys import KeyAlgorithm, KeyStoreError, KeyUsage, open_key_store
from fidoloop.api.laptop import Laptop
from fidoloop.api.phone import ClientFailureError, Phone, User, VerificationRequest
from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.lab_card import LabCard
from fidoloop.testing.messages import Messages
from fidoloop.testing.phones import PhoneMaker
from fidoloop.testing.server import NewUser, ServerUnderTest

KEY_STORES = [
    pytest.param("softhsm"),
    pytest.param("tpm", marks=pytest.mark.xdist_group("tpm")),
    pytest.param("piv"),
]


@pytest.mark.parametrize("fidoloop_key_store", KEY_STORES, indirect=True)
def test_an_enrolled_phone_logs_in_by_the_qr_code_that_a_laptop_shows(
    fidoloop_phone: Phone, fidoloop_laptop: Laptop, fidoloop_user: str
) -> None:
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code")
    assert fidoloop_phone.redeem(fidoloop_laptop.shown(dispatched)).status == 1200
    final = fidoloop_laptop.follow(dispatched.session_id)
    assert (final.status, final.userId) == ("succeeded", fidoloop_user)


def test_a_phone_logs_in_alone_and_a_response_sent_again_is_refused(
    fidoloop_phone: Phone, fidoloop_messages: Messages, fidoloop_server: ServerUnderTest
) -> None:
    fidoloop_phone.authenticate()
    sent = fidoloop_messages.last("/uaf/1.1/authentication")
    assert (sent.status, sent.status_code) == (200, 1200)
    again = fidoloop_server.send_again(sent)
    assert again.exchange.request_body == sent.exchange.request_body
    assert again.status_code != 1200


def test_messages_are_decoded_down_to_the_elements_of_an_assertion(
    fidoloop_phone: Phone, fidoloop_messages: Messages, fidoloop_user: str
) -> None:
    message = fidoloop_messages.last("/uaf/1.1/registration")
    (response,) = message.request["uafResponse" if "uafResponse" in message.request else "uafProtocolMessage"]
    assert response["header"]["op"] == "Reg"
    assert response["fcParams"]["facetID"].startswith("android:apk-key-hash:")
    tree = response["assertions"][0]["assertion"]
    assert "UAFV1_REG_ASSERTION" in str(tree)
    assert "UAFV1_REG_ASSERTION" in str(message)
    with pytest.raises(LookupError, match="no message to /nowhere; sent was POST /nevisfido/"):
        fidoloop_messages.last("/nowhere")
    fidoloop_messages.clear()
    assert len(fidoloop_messages) == 0


def test_two_phones_of_one_user_both_log_in(
    fidoloop_make_phone: PhoneMaker, fidoloop_laptop: Laptop, fidoloop_user: str
) -> None:
    first, second = fidoloop_make_phone(fidoloop_user), fidoloop_make_phone(fidoloop_user)
    for phone in (first, second):
        (account,) = phone.accounts()
        dispatched = fidoloop_laptop.dispatch(fidoloop_user, target_id=account.target_id, dispatcher="link")
        phone.redeem(dispatched.response)
        assert fidoloop_laptop.status(dispatched.session_id).status == "succeeded"


def test_a_users_no_reaches_the_laptop(
    fidoloop_make_phone: PhoneMaker, fidoloop_laptop: Laptop, fidoloop_new_user: NewUser
) -> None:
    asked: list[VerificationRequest] = []

    def approve(request: VerificationRequest) -> bool:
        asked.append(request)
        return request.operation == "registration"

    username = fidoloop_new_user()
    phone = fidoloop_make_phone(username, user=User(approve=approve), verification="prompt")
    dispatched = fidoloop_laptop.dispatch(username, dispatcher="link", transaction="Pay 5 CHF to Bob")
    with pytest.raises(ClientFailureError):
        phone.confirm(dispatched.response)
    assert asked[-1].transaction_text == "Pay 5 CHF to Bob"
    assert fidoloop_laptop.status(dispatched.session_id).status == "failed"


def test_a_token_served_by_bluetooth_logs_in(
    fidoloop_phone: Phone, fidoloop_laptop: Laptop, fidoloop_user: str, fidoloop_radios: tuple[str, str]
) -> None:
    at_laptop, at_phone = fidoloop_radios
    (target,) = fidoloop_laptop.targets(fidoloop_user)
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, target_id=target.id, dispatcher="ble", linked_by="ble")
    with fidoloop_laptop.serving(dispatched, at_laptop) as station:
        fidoloop_phone.redeem_nearby(station=station, radio=at_phone)
    assert fidoloop_laptop.status(dispatched.session_id).status == "succeeded"


def test_a_passkey_is_made_and_logs_in(
    fidoloop_make_phone: PhoneMaker, fidoloop_server: ServerUnderTest, fidoloop_user: str
) -> None:
    phone = fidoloop_make_phone()
    phone.register_passkey(fidoloop_server.url, fidoloop_user, api_key=fidoloop_server.api_key)
    assert phone.passkey_login(fidoloop_server.url).username == fidoloop_user


def test_the_security_key_serves_a_client_of_fido2(fidoloop_security_key: InProcessDevice) -> None:
    client = Fido2Client(fidoloop_security_key, DefaultClientDataCollector("https://rp.example"))
    options: Any = {
        "rp": {"id": "rp.example", "name": "RP"},
        "user": {"id": b"1", "name": "a", "displayName": "A"},
        "challenge": b"0" * 32,
        "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
        "authenticatorSelection": {"userVerification": "discouraged"},
    }
    made = client.make_credential(options)
    data = made.response.attestation_object.auth_data.credential_data
    assert data is not None
    assert data.public_key.ALGORITHM == -7


def test_a_card_is_a_key_store(fidoloop_card: LabCard) -> None:
    with open_key_store(f"{fidoloop_card.uri}?pin-value=123456&management-key=default") as store:
        key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"1", label="mine")
        assert [info.key_id for info in store.list()] == [key.key_id]


used: list[str] = []


@pytest.mark.parametrize("turn", [1, 2])
def test_a_fresh_token_is_empty_and_another_one_each_time(fidoloop_fresh_token: str, turn: int) -> None:
    assert fidoloop_fresh_token not in used
    for earlier in used:
        with pytest.raises(KeyStoreError):
            open_key_store(earlier)
    used.append(fidoloop_fresh_token)
    with open_key_store(fidoloop_fresh_token) as store:
        assert store.list() == []
        store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"1", label="mine")


def test_phones_leave_no_key_behind(
    fidoloop_make_phone: PhoneMaker, fidoloop_user: str, fidoloop_key_store: str, tmp_path: Path
) -> None:
    with open_key_store(fidoloop_key_store) as store:
        before = {info.key_id for info in store.list()}
        fidoloop_make_phone(fidoloop_user)
        assert {info.key_id for info in store.list()} > before
        fidoloop_make_phone.opened.close()
        assert {info.key_id for info in store.list()} == before
