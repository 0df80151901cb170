"""Log-ins, and what must not be one."""

import pytest

from fidoloop.api.laptop import Laptop
from fidoloop.api.phone import BridgeError, ClientFailureError, Phone, User, VerificationRequest
from fidoloop.testing.messages import Messages
from fidoloop.testing.phones import PhoneMaker
from fidoloop.testing.server import ServerUnderTest


def test_a_phone_logs_in_alone(fidoloop_phone: Phone) -> None:
    assert fidoloop_phone.authenticate().status == 1200


def test_a_response_that_somebody_recorded_is_refused(
    fidoloop_phone: Phone, fidoloop_messages: Messages, fidoloop_server: ServerUnderTest
) -> None:
    fidoloop_phone.authenticate()
    recorded = fidoloop_messages.last("/uaf/1.1/authentication")
    assert recorded.status_code == 1200
    assert fidoloop_server.send_again(recorded).status_code != 1200


def test_a_laptop_is_logged_in_by_the_qr_code_that_it_shows(
    fidoloop_phone: Phone, fidoloop_laptop: Laptop, fidoloop_user: str
) -> None:
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code")
    fidoloop_phone.redeem(fidoloop_laptop.shown(dispatched))
    final = fidoloop_laptop.follow(dispatched.session_id)
    assert (final.status, final.userId) == ("succeeded", fidoloop_user)


def test_a_token_is_good_for_one_log_in(fidoloop_phone: Phone, fidoloop_laptop: Laptop, fidoloop_user: str) -> None:
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code")
    token = fidoloop_laptop.shown(dispatched)
    fidoloop_phone.redeem(token)
    with pytest.raises(BridgeError):
        fidoloop_phone.redeem(token)


def test_the_user_types_the_number_that_the_laptop_shows(
    fidoloop_make_phone: PhoneMaker, fidoloop_laptop: Laptop, fidoloop_user: str
) -> None:
    seen: list[str] = []
    user = User(number=lambda: seen[-1])
    phone = fidoloop_make_phone(fidoloop_user, user=user, verification="prompt")
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code", linked_by="number")
    assert dispatched.linking is not None
    seen.append(dispatched.linking.content)
    phone.redeem(fidoloop_laptop.shown(dispatched))
    assert fidoloop_laptop.status(dispatched.session_id).status == "succeeded"


def test_the_user_sees_what_is_paid_and_says_no(
    fidoloop_make_phone: PhoneMaker, fidoloop_laptop: Laptop, fidoloop_user: str
) -> None:
    shown: list[str | None] = []

    def approve(request: VerificationRequest) -> bool:
        shown.append(request.transaction_text)
        return request.operation == "registration"

    phone = fidoloop_make_phone(fidoloop_user, user=User(approve=approve), verification="prompt")
    dispatched = fidoloop_laptop.dispatch(fidoloop_user, dispatcher="png-qr-code", transaction="Pay 100 CHF to Bob")
    with pytest.raises(ClientFailureError):
        phone.confirm(fidoloop_laptop.shown(dispatched))
    assert shown[-1] == "Pay 100 CHF to Bob"
    assert fidoloop_laptop.status(dispatched.session_id).status == "failed"
