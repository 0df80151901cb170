"""Payloads that were bent on their way: each is refused in clear words, and nothing is redeemed by it."""

import json
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from fidoloop.authenticator.user_verification import AutoApprove
from fidoloop.bridge.errors import (
    CannotDecryptError,
    MalformedPayloadError,
    ServerRefusedError,
    TokenRedeemedError,
    UnknownHostError,
)
from fidoloop.bridge.http import Exchange, Server
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.protocol import base64url, jose, outofband, strictjson
from tests.bridge.stub import Reply, stub
from tests.lab import Lab

REFUSED = (CannotDecryptError, MalformedPayloadError, UnknownHostError)


@pytest.fixture
def sent(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> tuple[outofband.Payload, str]:
    """A payload to the phone, and its session."""
    _, username = enrolled_phone
    (target,) = fidoloop_lab.laptop.targets(username)
    dispatched = fidoloop_lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
    return outofband.decode_scanned(dispatched.response), dispatched.session_id


def parts_flipped(token: str) -> Iterator[tuple[str, str]]:
    """Yield the token with one bit flipped, in several places of each of its parts."""
    parts = token.split(".")
    for index, name in enumerate(("header", "key", "nonce", "content", "tag")):
        raw = base64url.decode(parts[index])
        for at in {0, len(raw) // 2, len(raw) - 1}:
            for bit in (0x01, 0x80):
                bent = raw[:at] + bytes((raw[at] ^ bit,)) + raw[at + 1 :]
                yield f"{name}[{at}]", ".".join((*parts[:index], base64url.encode(bent), *parts[index + 1 :]))


def test_a_flipped_bit_anywhere_is_refused_and_the_token_still_good(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], sent: tuple[outofband.Payload, str]
) -> None:
    phone, _ = enrolled_phone
    payload, session_id = sent
    assert isinstance(payload.nma_data, str)
    for where, token in parts_flipped(payload.nma_data):
        bent = strictjson.encode(outofband.Payload(token, payload.nma_data_content_type))
        try:
            phone.scan(bent)
        except REFUSED:
            continue
        raise AssertionError(f"taken with a bit flipped in its {where}")
    assert fidoloop_lab.laptop.status(session_id).status == "tokenCreated"
    assert phone.scan(strictjson.encode(payload)).status == 1200


@pytest.mark.parametrize(
    "bend",
    [
        lambda text: text[:-10],
        lambda text: text[10:],
        lambda text: text + text,
        lambda text: text.replace("application/jose", "application/json"),
        lambda text: text.replace('"1"', '"2"'),
        lambda text: text.replace("nma_data_content_type", "content_type"),
        lambda text: "",
    ],
    ids=["cut", "headless", "twice", "other type", "other version", "other member", "empty"],
)
def test_a_frame_that_was_bent_is_refused(
    fidoloop_lab: Lab,
    enrolled_phone: tuple[Phone, str],
    sent: tuple[outofband.Payload, str],
    bend: Callable[[str], str],
) -> None:
    phone, _ = enrolled_phone
    payload, session_id = sent
    with pytest.raises(MalformedPayloadError):
        phone.scan(bend(strictjson.encode(payload)))
    assert fidoloop_lab.laptop.status(session_id).status == "tokenCreated"


def test_what_was_encrypted_to_another_phone_is_not_even_tried(
    fidoloop_lab: Lab, sent: tuple[outofband.Payload, str]
) -> None:
    payload, session_id = sent
    other, _ = fidoloop_lab.enrolled()
    with pytest.raises(CannotDecryptError, match="another device"):
        other.scan(strictjson.encode(payload))
    assert fidoloop_lab.laptop.status(session_id).status == "tokenCreated"


def test_a_redeem_host_of_somebody_else_is_not_asked_though_it_was_encrypted_to_this_phone(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    """Anyone can encrypt to a public key: that it decrypts says nothing of where it is from."""
    phone, _ = enrolled_phone
    (account,) = phone.accounts()
    assert account.encryption_key_id is not None
    public = fidoloop_lab.store.key(account.encryption_key_id).public_key()
    assert isinstance(public, EllipticCurvePublicKey | RSAPublicKey)
    recipient = jose.public_jwk(public)
    with stub(lambda _: Reply()) as foreign:
        url = f"{foreign.url}/nevisfido/token/redeem/authentication"
        text = outofband.encode_payload({"token": "t", "redeem_url": url}, recipient)
        for link in (text, outofband.link("fidoloop://authenticate", text), outofband.link(foreign.url, text)):
            with pytest.raises(UnknownHostError, match="not registered"):
                phone.scan(link)
        assert foreign.asked == []


def test_a_link_says_where_nothing_and_its_token_works_once(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], sent: tuple[outofband.Payload, str]
) -> None:
    phone, _ = enrolled_phone
    payload, session_id = sent
    with stub(lambda _: Reply()) as foreign:
        link = outofband.link(f"{foreign.url}/link", strictjson.encode(payload))
        assert phone.scan(link).status == 1200
        assert foreign.asked == []
    with pytest.raises(TokenRedeemedError):
        phone.scan(link)
    assert fidoloop_lab.laptop.status(session_id).status == "succeeded"


def test_a_replayed_device_signature_is_refused(fidoloop_lab: Lab) -> None:
    enrolled, _ = fidoloop_lab.enrolled()
    profile: Profile = enrolled._profile
    enrolled.close()
    seen: list[Exchange] = []
    phone = Phone(profile, fidoloop_lab.store, AutoApprove(), confirm=lambda _: True, recorder=seen.append)
    fidoloop_lab.opened.callback(phone.close)
    (account,) = phone.accounts()
    phone.targets.operations(account)
    phone.targets.modify(account, name="renamed")
    with Server(fidoloop_lab.server.url, ca=fidoloop_lab.server.ca) as server:
        for exchange in seen:
            again = server.send(
                exchange.method,
                f"{fidoloop_lab.server.url}{exchange.path}",
                content=exchange.request_body.encode(),
                headers=exchange.request_headers,
            )
            assert (exchange.status, again.status) in ((200, 401), (204, 401))
            assert "used before" in json.loads(again.body)["detail"]


def test_a_watcher_who_does_not_know_the_id_sees_nothing(
    fidoloop_lab: Lab, sent: tuple[outofband.Payload, str]
) -> None:
    _, session_id = sent
    last = "0" if session_id[-1] != "0" else "1"
    for guess in (session_id[:-1] + last, session_id[:13], f"{session_id} ", "%", "' OR 1=1 --"):
        assert fidoloop_lab.laptop.status(guess).status == "unknown"
    with pytest.raises(ServerRefusedError, match="400"):
        fidoloop_lab.laptop.status("")
