import base64
import hashlib

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import Transaction
from fidoloop.protocol.uaf.transactions import transaction_content, transaction_content_hash

PNG = b"\x89PNG\r\n\x1a\n" + b"\xff" * 8


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("text/plain", b"p"),
        ("text/plain", b"Pay 10 CHF?"),
        ("text/plain", b"x" * 200),
        ("image/png", PNG),
        ("image/png", PNG[:8]),
    ],
)
def test_content_is_read_in_both_alphabets_padded_or_not(content_type: str, content: bytes) -> None:
    for text in (
        base64url.encode(content),
        base64.b64encode(content).decode(),
        base64.urlsafe_b64encode(content).decode(),
    ):
        assert transaction_content(Transaction(content_type, text)) == content


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("text/plain", b""),
        ("text/plain", b"x" * 201),
        ("text/plain", "Zürich".encode()),
        ("text/plain", PNG),
        ("image/png", b"Pay"),
        ("image/png", b""),
        ("text/html", b"Pay"),
        ("image/jpeg", PNG),
        ("TEXT/PLAIN", b"Pay"),
        ("", b"Pay"),
    ],
)
def test_content_outside_the_rules_is_malformed(content_type: str, content: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        transaction_content(Transaction(content_type, base64url.encode(content)), "$.transaction[1]")
    assert caught.value.where.startswith("$.transaction[1].content")


def test_content_that_is_not_base64_is_malformed() -> None:
    for text in ("*", "A", "AA=", "UGF5 "):
        with pytest.raises(MalformedError):
            transaction_content(Transaction("text/plain", text))


def test_the_hash_is_over_the_decoded_bytes() -> None:
    assert transaction_content_hash(b"Pay") == hashlib.sha256(b"Pay").digest()
