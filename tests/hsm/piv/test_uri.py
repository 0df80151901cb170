from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.errors import PinRequired, UriError
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.hsm.piv.uri import PivUri, parse_piv_uri
from fidoloop.hsm.uri import Pkcs11Uri

TEXTS = st.none() | st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())


@given(st.builds(PivUri, reader=TEXTS, serial=TEXTS, pin_source=TEXTS, management_key_source=TEXTS))
def test_what_is_written_is_parsed(uri: PivUri) -> None:
    assert parse_piv_uri(str(uri)) == parse_piv_uri(uri.unredacted()) == uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("piv:", PivUri()),
        ("piv:reader=Virtual%20PCD%2000%2000", PivUri(reader="Virtual PCD 00 00")),
        ("piv:serial=17;reader=Yubico", PivUri(reader="Yubico", serial="17")),
        ("piv:?pin-source=/p&management-key=default", PivUri(pin_source="/p", management_key="default")),
        ("piv:?pin-value=", PivUri(pin_value="")),
        ("piv:x-vendor=1?x-other=2", PivUri()),
    ],
)
def test_uris_and_what_they_say(text: str, expected: PivUri) -> None:
    assert parse_piv_uri(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pkcs11:token=a", "begins"),
        ("piv:raeder=x", "unknown attribute"),
        ("piv:reader=", "empty"),
        ("piv:reader=a;reader=b", "twice"),
        ("piv:reader=a b", "percent-encoded"),
        ("piv:reader=%zz", "percent-encoded"),
        ("piv:reader=%ff", "UTF-8"),
        ("piv:reader", "name=value"),
        ("piv:?pin-value=1&pin-source=/x", "exclude"),
        ("piv:?management-key=default&management-key-source=/x", "exclude"),
        ("piv:?pin-value=<redacted>", "redacted"),
    ],
)
def test_what_is_refused_and_why(text: str, problem: str) -> None:
    with pytest.raises(UriError, match=problem):
        parse_piv_uri(text)


def test_a_management_key_does_not_stand_in_a_uri_and_is_not_repeated() -> None:
    with pytest.raises(UriError, match="management-key-source") as refused:
        parse_piv_uri("piv:?management-key=c0ffee")
    assert "c0ffee" not in str(refused.value)


def test_the_pin_is_redacted_wherever_a_uri_is_printed() -> None:
    uri = parse_piv_uri("piv:reader=a?pin-value=271828&management-key-source=/key")
    for printed in (str(uri), repr(uri), uri.without_pin()):
        assert "271828" not in printed
    assert parse_piv_uri(uri.without_pin()).management_key_source == "/key"
    assert parse_piv_uri(uri.unredacted()) == uri


def test_the_pin_comes_from_the_uri_or_the_file_it_names(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text("271828\n")
    assert parse_piv_uri(f"piv:?pin-source={file}").pin() == "271828"
    assert parse_piv_uri("piv:?pin-value=31").pin() == "31"
    assert parse_piv_uri("piv:").pin() is None
    with pytest.raises(PinRequired, match="cannot be read"):
        parse_piv_uri(f"piv:?pin-source={file}.none").pin()


def test_one_function_parses_both_kinds() -> None:
    assert isinstance(parse_key_store_uri("piv:reader=a"), PivUri)
    assert isinstance(parse_key_store_uri("pkcs11:token=a"), Pkcs11Uri)
    with pytest.raises(UriError, match="'pkcs11:' or 'piv:'"):
        parse_key_store_uri("file:/x")
