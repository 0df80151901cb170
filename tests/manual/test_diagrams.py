"""The diagrams show what really travels."""

import re
from xml.etree import ElementTree

import pytest

from fidoloop.bridge.http import Exchange
from fidoloop.hsm.open import open_key_store
from fidoloop.testing.tokens import SOFTHSM_PIN
from fidoloop.traffic import Party, SentMessage, Traffic
from manual.diagrams import DIAGRAMS, committed, steps
from manual.recordings import Part, Recording, Token, record_all
from manual.sequence import draw

NAMES = {"registration", "log-in", "transaction-confirmation", "deregistration", "push", "oauth"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_drawing_is_of_its_recording(name: str) -> None:
    drawn = (DIAGRAMS / f"{name}.svg").read_text("utf-8")
    assert drawn == draw(committed()[name]), "run `make diagrams`"
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", drawn)


def test_the_recordings_have_the_steps_of_a_run(fidoloop_token: str) -> None:
    """It takes some seconds: the loop is run six times, with three servers."""
    with open_key_store(fidoloop_token, pin=SOFTHSM_PIN) as store:
        fresh = record_all(Token(store, fidoloop_token, SOFTHSM_PIN))
    assert committed().keys() == fresh.keys() == NAMES
    for name, recording in fresh.items():
        assert steps(recording) == steps(committed()[name]), f"{name}: run `make diagrams`"


def test_another_message_is_another_step() -> None:
    def recording(*names: str) -> Recording:
        messages = tuple(SentMessage(Party.PHONE, Party.SERVER, name, 1, 0.0) for name in names)
        return Recording("A run", (Part("", messages),))

    assert steps(recording("GET /a", "GET /b")) != steps(recording("GET /a"))
    assert steps(recording("GET /a", "GET /b")) != steps(recording("GET /b", "GET /a"))
    assert steps(recording("GET /a", "POST /nevisfido/status")) == steps(recording("GET /a"))


def test_a_name_with_markup_in_it_is_drawn_as_text() -> None:
    message = SentMessage(Party.PHONE, Party.SERVER, "GET /<script>: a & b", 1, 0.0)
    drawn = draw(Recording("A <b>", (Part("", (message,)),)))
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("text")]  # noqa: S314
    assert "GET /<script>" in texts
    assert "A <b>" in texts


def test_messages_are_named_by_what_they_are_and_never_by_values() -> None:
    heard: list[SentMessage] = []
    record = Traffic(heard.append).recorder(Party.LAPTOP)
    secret = "a secret value"
    record(
        Exchange(
            method="DELETE",
            path="/targets/0189c1d2-aaaa-bbbb-cccc-0123456789ab?token=secret",
            request_headers={},
            request_body=f'{{"password":"{secret}"}}',
            status=200,
            response_headers={},
            response_body=f'{{"token":"{secret}","one":1,"two":2}}',
            ms=4.0,
        )
    )
    assert [message.name for message in heard] == ["DELETE /targets/{id}: password", "200 token, one, …"]
    asked, answered = heard
    assert (asked.sender, asked.receiver, answered.sender) == (Party.LAPTOP, Party.SERVER, Party.SERVER)
    assert answered.took == 4.0
    assert asked.at <= answered.at
