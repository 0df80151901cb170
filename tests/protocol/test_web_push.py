"""Web Push messages: the example of RFC 8291, http-ece as the other side, and everything that is refused."""

import json
import os
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from fidoloop.protocol import base64url, web_push
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.web_push import PushRefusal, Subscription

# RFC 8291 section 5 and appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
ENDPOINT = "https://push.example/abc"


def key(scalar: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(base64url.decode(scalar)), ec.SECP256R1())


def receiver() -> tuple[ec.EllipticCurvePrivateKey, Subscription]:
    private = ec.generate_private_key(ec.SECP256R1())
    return private, Subscription(ENDPOINT, private.public_key(), os.urandom(16))


def seal(plaintext: bytes, subscription: Subscription) -> bytes:
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    return web_push.encrypt(plaintext, subscription, ephemeral_key=ephemeral, salt=os.urandom(16))


def test_the_example_of_rfc_8291_is_written_and_read() -> None:
    private = key(RECEIVER)
    assert base64url.encode(web_push.point_of(private.public_key())) == RECEIVER_POINT
    subscription = Subscription(ENDPOINT, private.public_key(), base64url.decode(AUTH))
    body = web_push.encrypt(PLAINTEXT, subscription, ephemeral_key=key(SENDER), salt=base64url.decode(SALT))
    assert base64url.encode(body) == BODY
    assert web_push.decrypt(base64url.decode(BODY), private, base64url.decode(AUTH)) == PLAINTEXT


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=web_push.MAX_PLAINTEXT_BYTES))
def test_http_ece_reads_what_is_written(plaintext: bytes) -> None:
    private, subscription = receiver()
    body = seal(plaintext, subscription)
    assert len(body) == len(plaintext) + 103
    assert http_ece.decrypt(body, private_key=private, auth_secret=subscription.auth) == plaintext
    assert web_push.decrypt(body, private, subscription.auth) == plaintext


def test_what_http_ece_writes_is_read() -> None:
    private, subscription = receiver()
    sender, point = ec.generate_private_key(ec.SECP256R1()), web_push.point_of(private.public_key())
    body = http_ece.encrypt(PLAINTEXT, private_key=sender, dh=point, auth_secret=subscription.auth)
    assert web_push.decrypt(body, private, subscription.auth) == PLAINTEXT


def test_the_largest_message_fits_exactly() -> None:
    private, subscription = receiver()
    body = seal(b"x" * web_push.MAX_PLAINTEXT_BYTES, subscription)
    assert len(body) == web_push.MAX_BODY_BYTES
    assert web_push.decrypt(body, private, subscription.auth) == b"x" * web_push.MAX_PLAINTEXT_BYTES
    with pytest.raises(ValueError, match="3994 bytes, at most 3993"):
        seal(b"x" * (web_push.MAX_PLAINTEXT_BYTES + 1), subscription)


def changed(body: bytes, at: int, to: bytes) -> bytes:
    return body[:at] + to + body[at + len(to) :]


@pytest.mark.parametrize(
    ("at", "to"),
    [
        (20, b"\x40"),  # a keyid of another length
        (21, b"\x02"),  # a compressed point
        (22, b"\xff" * 64),  # no point of the curve
        (16, (17).to_bytes(4)),  # no room for a record
        (16, (40).to_bytes(4)),  # more than one record
    ],
)
def test_a_message_that_is_none_is_malformed(at: int, to: bytes) -> None:
    private, subscription = receiver()
    with pytest.raises(MalformedError):
        web_push.decrypt(changed(seal(PLAINTEXT, subscription), at, to), private, subscription.auth)


@pytest.mark.parametrize("size", [0, 1, 16, 21, 86, 102, 4097, 100_000])
def test_garbage_of_any_size_is_malformed(size: int) -> None:
    private, subscription = receiver()
    with pytest.raises(MalformedError):
        web_push.decrypt(bytes(size), private, subscription.auth)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_changed_bit_anywhere_is_refused(data: st.DataObject) -> None:
    private, subscription = receiver()
    body = seal(PLAINTEXT, subscription)
    # All but the record size, which a receiver of one record need not trust.
    position = data.draw(st.integers(0, len(body) - 1).filter(lambda at: not 16 <= at < 20))
    body = changed(body, position, bytes([body[position] ^ (1 << data.draw(st.integers(0, 7)))]))
    with pytest.raises((MalformedError, PushRefusal)):
        web_push.decrypt(body, private, subscription.auth)


def test_a_message_for_another_is_refused() -> None:
    _, subscription = receiver()
    other, others = receiver()
    body = seal(PLAINTEXT, subscription)
    with pytest.raises(PushRefusal):
        web_push.decrypt(body, other, others.auth)
    with pytest.raises(PushRefusal):
        web_push.decrypt(body, other, subscription.auth)


@pytest.mark.parametrize("end", [b"", b"\x01", b"\x00"])
def test_a_record_that_is_not_the_last_is_refused(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    private, subscription = receiver()
    monkeypatch.setattr(web_push, "_LAST_RECORD", end)
    body = seal(b"", subscription)
    monkeypatch.undo()
    if not end:
        body += b""
    with pytest.raises((PushRefusal, MalformedError)):
        web_push.decrypt(body, private, subscription.auth)


def subscription_text(**members: Any) -> str:  # noqa: ANN401 - JSON
    keys = {"p256dh": RECEIVER_POINT, "auth": AUTH} | members.pop("keys", {})
    return json.dumps({"endpoint": ENDPOINT, "expirationTime": None, "keys": keys} | members)


def test_a_subscription_is_read_as_browsers_write_it() -> None:
    found = web_push.parse_subscription(subscription_text())
    assert (found.endpoint, found.origin) == (ENDPOINT, "https://push.example")
    assert web_push.parse_subscription(web_push.encode_subscription(found)) == found
    padded = {"p256dh": RECEIVER_POINT + "=", "auth": AUTH + "=="}
    assert web_push.parse_subscription(subscription_text(keys=padded)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        subscription_text(endpoint=5),
        subscription_text(endpoint=""),
        subscription_text(endpoint="ftp://push.example/"),
        subscription_text(endpoint="https:///x"),
        subscription_text(endpoint="https://user:pass@push.example/"),
        subscription_text(endpoint="https://push.example/#x"),
        subscription_text(endpoint="https://push.example/\r\nHost: other"),
        subscription_text(endpoint="https://push.example/ x"),
        subscription_text(endpoint="https://p\u00fcsh.example/"),
        subscription_text(endpoint="https://push.example/" + "x" * 2048),
        subscription_text(endpoint="https://push.example:99999/"),
        subscription_text(keys={"auth": "AAAA"}),
        subscription_text(keys={"auth": "!" * 22}),
        subscription_text(keys={"p256dh": RECEIVER_POINT[:-4]}),
        subscription_text(keys={"p256dh": base64url.encode(b"\x04" + b"\xff" * 64)}),
        subscription_text(keys={"p256dh": base64url.encode(b"\x02" + bytes(64))}),
    ],
)
def test_what_is_no_subscription_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        web_push.parse_subscription(text)
