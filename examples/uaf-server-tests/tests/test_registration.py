"""Enrolment."""

import pytest

from fidoloop.api.phone import ServerRefusedError
from fidoloop.testing.messages import Messages
from fidoloop.testing.phones import PhoneMaker
from fidoloop.testing.server import Enrol


def test_a_phone_enrols(fidoloop_make_phone: PhoneMaker, fidoloop_enrol: Enrol, fidoloop_user: str) -> None:
    phone = fidoloop_make_phone()
    result = phone.register(fidoloop_enrol(fidoloop_user), target_name="the first")
    assert (result.status, result.username) == (1200, fidoloop_user)
    assert [account.username for account in phone.accounts()] == [fidoloop_user]


def test_a_registration_token_is_good_once(
    fidoloop_make_phone: PhoneMaker, fidoloop_enrol: Enrol, fidoloop_user: str
) -> None:
    token = fidoloop_enrol(fidoloop_user)
    fidoloop_make_phone().register(token, target_name="who was first")
    with pytest.raises(ServerRefusedError):
        fidoloop_make_phone().register(token, target_name="who was second")


def test_the_response_is_for_this_server_and_names_the_phones_app(
    fidoloop_make_phone: PhoneMaker, fidoloop_user: str, fidoloop_messages: Messages
) -> None:
    fidoloop_make_phone(fidoloop_user)
    request = fidoloop_messages.last("/token/redeem/registration").response["uafRequest"][0]
    response = fidoloop_messages.last("/uaf/1.1/registration").request["uafResponse"][0]
    assert response["fcParams"]["challenge"] == request["challenge"]
    assert response["fcParams"]["appID"] == request["header"]["appID"]
    assert response["fcParams"]["facetID"].startswith("android:apk-key-hash:")


def test_a_user_has_two_phones(fidoloop_make_phone: PhoneMaker, fidoloop_user: str) -> None:
    first, second = fidoloop_make_phone(fidoloop_user), fidoloop_make_phone(fidoloop_user)
    assert first.authenticate().status == 1200
    assert second.authenticate().status == 1200
