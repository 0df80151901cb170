"""Forms, read by either way alike."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.oauth.parameters import MAX_PARAMETERS, read_form

PLAIN = st.text("abcXYZ019-_.~", max_size=12)


@given(st.dictionaries(PLAIN, PLAIN | st.text(max_size=12), min_size=1, max_size=8))
def test_what_was_written_is_what_is_read(parameters: dict[str, str]) -> None:
    found, repeated = read_form(urlencode(parameters).encode("ascii"))
    assert found == {name: value for name, value in parameters.items() if value}
    assert not repeated


@given(st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=6))
def test_a_form_without_escapes_is_read_as_one_with(pairs: list[tuple[str, str]]) -> None:
    text = "&".join(f"{name}={value}" for name, value in pairs)
    found, repeated = read_form(text.encode("ascii"))
    first = dict(reversed(parse_qsl(text, keep_blank_values=True)))
    assert found == {name: value for name, value in first.items() if value}
    assert repeated == {name for name, _ in pairs if [each for each, _ in pairs].count(name) > 1}


@pytest.mark.parametrize(
    "text", [b"a", b"a=1&b", b"a=1&", b"&", b"a=%ff", b"\xff=1", b"&".join([b"a=1"] * (MAX_PARAMETERS + 1))]
)
def test_what_is_no_form_is_refused(text: bytes) -> None:
    with pytest.raises(OAuthRefusal, match="no form"):
        read_form(text)
