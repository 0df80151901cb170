"""Second factors and other displays through the real server: what the phone is, the server knows by its metadata."""

from collections.abc import Iterator

import pytest

from fidoloop.authenticator.models import Form
from fidoloop.authenticator.user_verification import Prompt, VerificationRequest
from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.bridge.phone import Phone
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.status import ClientError
from tests.authenticator.pngs import png
from tests.lab import Lab, running_lab


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("forms"), forms=tuple(Form)) as lab:
        yield lab


def enrolled(lab: Lab, form: Form, shown: list[VerificationRequest]) -> tuple[Phone, str]:
    def approve(request: VerificationRequest) -> bool:
        shown.append(request)
        return True

    return lab.enrolled(verification="prompt", verifier=Prompt(approve), form=form)


@pytest.mark.parametrize("form", Form)
def test_every_form_registers_logs_in_and_is_removed(lab: Lab, form: Form) -> None:
    phone, username = enrolled(lab, form, [])
    (held,) = phone.asm.registrations()
    assert held.username == ("" if form is Form.SECOND_FACTOR else username)
    login = lab.laptop.dispatch(username=username, dispatcher="link")
    assert phone.scan(login.response).status == 1200
    assert lab.laptop.status(login.session_id).status == "succeeded"
    other, _ = enrolled(lab, form, [])
    (account,) = phone.accounts()
    assert phone.remove(account) == ((held.aaid, base64url.encode(held.key_id)),)
    assert (phone.asm.registrations(), len(other.asm.registrations())) == ([], 1)


def test_a_second_factor_tells_nobody_who_the_user_is(lab: Lab) -> None:
    phone, _ = enrolled(lab, Form.SECOND_FACTOR, [])
    with pytest.raises((ClientFailureError, ServerRefusedError)) as refused:
        phone.login()
    assert isinstance(refused.value, ClientFailureError)
    assert refused.value.error is ClientError.AUTHENTICATOR_ACCESS_DENIED


@pytest.mark.parametrize("form", [Form.SECOND_FACTOR, Form.HASH_DISPLAY])
def test_a_text_is_confirmed(lab: Lab, form: Form) -> None:
    shown: list[VerificationRequest] = []
    phone, username = enrolled(lab, form, shown)
    dispatched = lab.laptop.dispatch(username=username, dispatcher="link", transaction="Pay 5 CHF to Bob")
    assert phone.confirm(dispatched.response).status == 1200
    assert (shown[-1].operation, shown[-1].transaction_text) == ("transaction", "Pay 5 CHF to Bob")


def test_an_image_is_confirmed(lab: Lab) -> None:
    shown: list[VerificationRequest] = []
    phone, username = enrolled(lab, Form.IMAGE_DISPLAY, shown)
    image = png()
    asked = {"transaction": [{"contentType": "image/png", "content": base64url.encode(image)}]}
    dispatched = lab.laptop.dispatch(username=username, dispatcher="link", context=asked)
    assert phone.confirm(dispatched.response).status == 1200
    assert shown[-1].transaction_image == image
    assert lab.laptop.status(dispatched.session_id).status == "succeeded"
