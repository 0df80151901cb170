import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import jose, outofband, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import Payload

from .builders import p256, rsa2048

DATA: dict[str, Any] = {
    "token": "t-1",
    "redeem_url": "https://login.example/redeem",
    "requestContext": {"browser": "b"},
}
PLAIN = outofband.encode_payload(DATA, None)


@pytest.mark.parametrize("key", [None, p256(), rsa2048()], ids=["plain", "EC", "RSA"])
def test_a_payload_arrives_by_every_way(key: Any) -> None:  # noqa: ANN401 - any private key
    payload = outofband.encode_payload(DATA, None if key is None else jose.public_jwk(key.public_key()))
    qr = outofband.qr_text(payload)
    padded = base64.urlsafe_b64encode(payload.encode()).decode()
    links = [outofband.link("https://a.example/p", payload), outofband.link("app://x?y=z", payload)]
    for text in (payload, qr, padded, f"  {qr}\n", *links, f"https://a.example/?dispatchTokenResponse={padded}"):
        opened = outofband.open_payload(outofband.decode_scanned(text), key)
        assert (opened.token, opened.redeem_url, opened.members) == ("t-1", DATA["redeem_url"], DATA)


def test_the_payload_has_the_three_members_of_the_contract() -> None:
    assert json.loads(PLAIN) == {
        "nma_data": DATA,
        "nma_data_content_type": "application/json",
        "nma_data_version": "1",
    }
    encrypted = json.loads(outofband.encode_payload(DATA, jose.public_jwk(p256().public_key())))
    assert encrypted["nma_data_content_type"] == "application/jose"
    assert encrypted["nma_data"].count(".") == 4
    assert "t-1" not in json.dumps(encrypted)


def test_a_link_keeps_the_parameters_it_had() -> None:
    assert outofband.link("app://x?y=z", PLAIN).startswith("app://x?y=z&dispatchTokenResponse=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "https://a.example/",
        "https://a.example/?dispatchTokenResponse=",
        "https://a.example/?dispatchTokenResponse=e30&dispatchTokenResponse=e30",
        "https://[a?dispatchTokenResponse=e30",
        "e30",
        "{}",
        '{"nma_data":',
        PLAIN.replace('"1"', '"2"'),
        PLAIN.replace("application/json", "text/plain"),
        PLAIN.replace("application/json", "application/jose"),
        '{"nma_data":"a.b.c.d.e","nma_data_content_type":"application/json","nma_data_version":"1"}',
        '{"nma_data":[],"nma_data_content_type":"application/json","nma_data_version":"1"}',
        '{"nma_data":{"a":1,"a":2},"nma_data_content_type":"application/json","nma_data_version":"1"}',
        "A" * (outofband.MAX_PAYLOAD_CHARACTERS + 4),
        PLAIN.replace("{", "{" + " " * outofband.MAX_PAYLOAD_CHARACTERS, 1),
    ],
)
def test_what_is_no_payload_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        outofband.decode_scanned(text)


@given(st.text(max_size=40) | st.text("https:/[]?&=dispatchTokenResponse.{}%", max_size=60))
def test_whatever_is_scanned_raises_nothing_else(text: str) -> None:
    with pytest.raises(MalformedError):
        outofband.decode_scanned(text)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"token": "t"},
        {"redeem_url": "https://a"},
        {"token": "", "redeem_url": "https://a"},
        {"token": 1, "redeem_url": "https://a"},
        {"token": "t" * 129, "redeem_url": "https://a"},
        {"token": "t", "redeem_url": "u" * 2049},
        {"token": None, "redeem_url": "https://a"},
    ],
)
def test_content_without_token_and_redeem_url_is_malformed(content: dict[str, Any]) -> None:
    recipient = jose.public_jwk(p256().public_key())
    for payload in (outofband.encode_payload(content, None), outofband.encode_payload(content, recipient)):
        with pytest.raises(MalformedError) as caught:
            outofband.open_payload(outofband.decode_payload(payload), p256())
        assert caught.value.where.startswith("$.nma_data")


@pytest.mark.parametrize("content", [b"[]", b"1", b"", b"{", b"\xff", b'{"token":"a","token":"b","redeem_url":"u"}'])
def test_encrypted_content_is_read_as_strictly_as_plain(content: bytes) -> None:
    token = jose.encrypt_compact(content, jose.public_jwk(p256().public_key()))
    with pytest.raises(MalformedError):
        outofband.open_payload(Payload(token, "application/jose"), p256())


def test_a_link_of_too_many_fields_is_not_taken_apart() -> None:
    link = outofband.link("https://a.example/open", outofband.encode_payload(DATA, None))
    assert outofband.decode_scanned(link + "&a=b" * (outofband.MAX_LINK_FIELDS - 1))
    with pytest.raises(MalformedError, match="not a link"):
        outofband.decode_scanned(link + "&a=b" * outofband.MAX_LINK_FIELDS)


def test_a_payload_for_another_device_is_told_apart_from_a_malformed_one() -> None:
    payload = outofband.decode_payload(outofband.encode_payload(DATA, jose.public_jwk(p256().public_key())))
    with pytest.raises(jose.JoseRefusal, match="another key"):
        outofband.open_payload(payload, p256(1))
    with pytest.raises(jose.JoseRefusal, match="no key"):
        outofband.open_payload(payload, None)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ('{"token":""}', outofband.RedeemRequest),
        ('{"sessionId":null}', outofband.StatusRequest),
        ('{"getUafRequest":{"op":"Foo"}}', outofband.DispatchRequest),
        ('{"getUafRequest":"{}"}', outofband.DispatchRequest),
        ('{"username":"u","name":"","signatureKey":{},"encryptionKey":{}}', outofband.CreateDispatchTarget),
        ('{"name":"n","signatureKey":{},"encryptionKey":{}}', outofband.CreateDispatchTarget),
        ('{"username":"u","name":"n","signatureKey":1,"encryptionKey":{}}', outofband.CreateDispatchTarget),
        (
            '{"dispatchTargetId":"a","requestId":"' + "r" * 65 + '","creationTimeInEpochMillis":1}',
            outofband.ModifyDispatchTarget,
        ),
        ('{"dispatchTargetId":"a","requestId":"r","creationTimeInEpochMillis":"1"}', outofband.ModifyDispatchTarget),
        (
            '{"dispatchTargetId":"a","requestId":"r","creationTimeInEpochMillis":1,"method":"GET"}',
            outofband.DeviceSignature,
        ),
    ],
)
def test_a_service_message_of_wrong_types_is_malformed(text: str, type_: Any) -> None:  # noqa: ANN401 - any struct
    with pytest.raises(MalformedError):
        strictjson.decode(text, type_)


def test_absent_members_stay_absent() -> None:
    assert json.loads(strictjson.encode(outofband.StatusResponse("unknown", "now"))) == {
        "status": "unknown",
        "timestamp": "now",
    }
    assert json.loads(strictjson.encode(outofband.DispatchResponse("userNotFound"))) == {
        "dispatchResult": "userNotFound"
    }
