"""What is told of QR codes that are no dispatched tokens: what they are, and nothing that may be secret in them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.bridge.qr_content import MAX_NAMED, foreign_kind, our_token
from fidoloop.protocol import jose, outofband

WHERE = "the image"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("https://example.com/path?secret=1", "a web address (example.com), which was not opened"),
        ("HTTP://EXAMPLE.COM", "a web address (EXAMPLE.COM), which was not opened"),
        ("https://user:secret@example.com:99/", "a web address (example.com:99), which was not opened"),
        ("https://[secret", "a web address (no host), which was not opened"),
        ("https://a\x1bcb/", "a web address (a?cb), which was not opened"),
        ("WIFI:T:WPA;S:lab;P:secret;;", "a Wi-Fi network's credentials"),
        ("BEGIN:VCARD\nN:secret\nEND:VCARD", "a contact"),
        ("MECARD:N:secret;;", "a contact"),
        ("BEGIN:VEVENT\nSUMMARY:secret", "a calendar entry"),
        ("mailto:secret@example.com", "an e-mail to write"),
        ("tel:+41000000000", "a telephone number"),
        ("SMSTO:+4100:secret", "a text message to send"),
        ("geo:47.0,8.0", "a place"),
        ("otpauth://totp/x?secret=secret", "a secret for one-time passwords"),
        ("bitcoin:1secret", "a payment address"),
        ("SPC\n0200\n1\nsecret", "a payment slip"),
        ("BCD\n002\n1\nSCT\n", "a payment slip"),
        ("FIDO:/0123456789", "a passkey request for a phone"),
        ("https://h.example/?dispatchTokenResponse=secret", "the link of a dispatched token, damaged"),
        ("steam://run/secret", "a link of the kind steam:, which was not opened"),
        ("4006381333931", "a number"),
        ("some secret words", "some text"),
        ("two words: secret", "some text"),
        ("", "some text"),
    ],
)
def test_what_is_not_ours_is_named_and_not_opened(text: str, named: str) -> None:
    assert foreign_kind(text) == named
    with pytest.raises(MalformedPayloadError) as refused:
        our_token([text], WHERE)
    assert str(refused.value) == f"the QR code in {WHERE} is no dispatched token but {named}"
    assert "secret@" not in str(refused.value)


def test_several_that_are_not_ours_are_all_named() -> None:
    texts = ["WIFI:S:lab;;", *(f"https://host-{number}.example/" for number in range(MAX_NAMED + 2))]
    with pytest.raises(MalformedPayloadError, match=r"none of the 8 QR codes .* and 3 more") as refused:
        our_token(texts, WHERE)
    assert "a Wi-Fi network's credentials; a web address (host-0.example)" in str(refused.value)


def test_tokens_encrypted_to_different_keys_are_told_apart_by_the_keys() -> None:
    recipients = [jose.public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()) for _ in range(2)]
    texts = [outofband.qr_text(outofband.encode_payload({"token": "t"}, one)) for one in recipients]
    with pytest.raises(MalformedPayloadError) as refused:
        our_token(texts, WHERE)
    for recipient in recipients:
        assert recipient.thumbprint in str(refused.value)


@pytest.mark.parametrize("data", [{}, {"redeem_url": 5}, {"redeem_url": "\x1b[2J"}])
def test_a_token_that_cannot_be_described_is_refused_all_the_same(data: dict[str, object]) -> None:
    texts = [outofband.qr_text(outofband.encode_payload({**data, "token": number}, None)) for number in range(2)]
    with pytest.raises(MalformedPayloadError, match="more than one") as refused:
        our_token(texts, WHERE)
    assert str(refused.value).isprintable()
