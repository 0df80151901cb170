import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError


@given(st.binary(max_size=200))
def test_decoding_undoes_encoding(data: bytes) -> None:
    text = base64url.encode(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert base64url.decode(text) == data
    padded = base64.urlsafe_b64encode(data).decode()
    assert base64url.decode(padded, padding_allowed=True) == data
    assert base64url.decode_lenient(base64.b64encode(data).decode()) == data
    assert base64url.decode_lenient(base64.b64encode(data).decode().rstrip("=")) == data


@given(st.text(max_size=20) | st.text("ABab01-_=+/ \n", max_size=12))
def test_any_text_either_has_one_spelling_or_is_malformed(text: str) -> None:
    try:
        data = base64url.decode(text)
    except MalformedError:
        return
    assert base64url.encode(data) == text


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "AA=", "AA==", "A+AA", "A/AA", "AA A", "AAA\n", "AB", "AAB", "é", "AAAA\x00", "\ud800AAA"]
)
def test_strict_decoding_refuses(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        base64url.decode(text, "here")
    assert caught.value.where == "here"


@pytest.mark.parametrize("text", ["=", "==", "====", "AA=", "AAA==", "AAAA=", "AAAA====", "A===", "A=A=", "AB=="])
def test_wrong_padding_is_refused_where_padding_is_allowed(text: str) -> None:
    with pytest.raises(MalformedError):
        base64url.decode(text, padding_allowed=True)


def test_padding_is_refused_where_it_is_not_allowed() -> None:
    with pytest.raises(MalformedError):
        base64url.decode("AA==")
