"""Passkeys: the phone is a FIDO2 authenticator too."""

import pytest

from fidoloop.api.phone import BridgeError
from fidoloop.testing.phones import PhoneMaker
from fidoloop.testing.server import ServerUnderTest


def test_a_passkey_logs_its_user_in(
    fidoloop_make_phone: PhoneMaker, fidoloop_server: ServerUnderTest, fidoloop_user: str
) -> None:
    phone = fidoloop_make_phone()
    phone.register_passkey(fidoloop_server.url, fidoloop_user, api_key=fidoloop_server.api_key)
    logged_in = phone.passkey_login(fidoloop_server.url)
    assert (logged_in.username, logged_in.user_verified) == (fidoloop_user, True)


def test_a_phone_without_one_is_not_logged_in(
    fidoloop_make_phone: PhoneMaker, fidoloop_server: ServerUnderTest
) -> None:
    with pytest.raises(BridgeError):
        fidoloop_make_phone().passkey_login(fidoloop_server.url)
