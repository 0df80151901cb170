"""Number matching through the whole loop: the laptop shows a number, the phone's user types it."""

from collections.abc import Callable
from typing import Any

import pytest

from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.bridge.laptop import Dispatched
from fidoloop.bridge.phone import Phone
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from fidoloop.protocol.uaf.status import ClientError
from tests.lab import Lab

Answers = Callable[[str], list[str | None]]


def dispatched(lab: Lab, username: str, mode: str = "number") -> Dispatched:
    (target,) = lab.laptop.targets(username)
    information = {"channelLinking": {"mode": mode}}
    return lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link", information=information)


def wrong(number: str) -> str:
    return f"{(int(number) + 1) % 100:02}"


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        (lambda number: [number], "succeeded"),
        (lambda number: [wrong(number), wrong(number), number], "succeeded"),
        (lambda number: [wrong(number)] * 3, "refused"),
        (lambda number: [None], "cancelled"),
        (lambda number: [wrong(number), None], "cancelled"),
    ],
    ids=["right", "third time right", "never right", "no answer", "given up"],
)
def test_the_phone_asks_until_the_number_is_right_and_signs_once(
    fidoloop_lab: Lab,
    enrolled_phone: tuple[Phone, str],
    monkeypatch: pytest.MonkeyPatch,
    answers: Answers,
    ends: str,
) -> None:
    phone, username = enrolled_phone
    sent = dispatched(fidoloop_lab, username)
    assert sent.linking is not None
    left = answers(sent.linking.content)
    expected, asked = len(left), list[int | None]()
    signed, sign = list[str](), phone.asm.authenticate

    def counted(aaid: str, **more: Any) -> bytes:  # noqa: ANN401 - what it takes
        signed.append(aaid)
        return sign(aaid, **more)

    monkeypatch.setattr(phone.asm, "authenticate", counted)

    def link(demand: ChannelLinkingDemand, tries_left: int | None) -> str | None:
        assert demand == ChannelLinkingDemand("number", 2)
        asked.append(tries_left)
        return left.pop(0)

    if ends == "succeeded":
        assert phone.scan(sent.response, link=link).status == 1200
    elif ends == "refused":
        with pytest.raises(ServerRefusedError, match="1498"):
            phone.scan(sent.response, link=link)
    else:
        with pytest.raises(ClientFailureError, match="USER_CANCELLED"):
            phone.scan(sent.response, link=link)
    assert asked == [None, 2, 1][:expected]
    final = fidoloop_lab.laptop.status(sent.session_id)
    assert final.status == ("succeeded" if ends == "succeeded" else "failed")
    if ends == "cancelled":
        assert final.clientErrorCode == ClientError.USER_CANCELLED
    assert len(signed) == (0 if answers("00")[0] is None else 1)


def test_a_stations_nonce_is_answered_by_the_channel(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, username = enrolled_phone
    sent = dispatched(fidoloop_lab, username, "ble")
    assert sent.linking is not None
    nonce = sent.linking.content
    phone.scan(sent.response, link=lambda demand, left: nonce if demand.mode == "ble" and left is None else None)
    assert fidoloop_lab.laptop.status(sent.session_id).status == "succeeded"


def test_a_phone_that_nobody_answers_for_logs_nobody_in(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, username = enrolled_phone
    sent = dispatched(fidoloop_lab, username)
    with pytest.raises(ClientFailureError, match="was not answered"):
        phone.scan(sent.response)
    assert fidoloop_lab.laptop.status(sent.session_id).status == "failed"
