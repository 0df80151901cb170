from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.errors import PinRequired, UriError
from fidoloop.hsm.uri import Pkcs11Uri, parse_uri

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
MAYBE = st.none() | TEXT
PINS = st.one_of(
    st.tuples(st.none(), st.none()),
    st.tuples(TEXT, st.none()),
    st.tuples(st.none(), st.text(st.characters(codec="utf-8"))),
)


@given(
    st.builds(
        Pkcs11Uri,
        token=MAYBE,
        serial=MAYBE,
        manufacturer=MAYBE,
        model=MAYBE,
        slot_id=st.none() | st.integers(0, 2**64 - 1),
        id=st.none() | st.binary(min_size=1),
        object=MAYBE,
        module_path=MAYBE,
    ),
    PINS,
)
def test_what_is_written_is_parsed_back(uri: Pkcs11Uri, pins: tuple[str | None, str | None]) -> None:
    whole = Pkcs11Uri(**{**vars(uri), "pin_source": pins[0], "pin_value": pins[1]})
    assert parse_uri(whole.unredacted()) == whole
    assert parse_uri(whole.without_pin()) == Pkcs11Uri(**{**vars(whole), "pin_value": None})


@given(st.text())
def test_any_text_is_parsed_or_refused_with_one_error(text: str) -> None:
    for candidate in (text, "pkcs11:" + text):
        try:
            parse_uri(candidate)
        except UriError:
            continue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pkcs11:", Pkcs11Uri()),
        ("pkcs11:token=The%20Software%20PKCS%2311%20Softtoken", Pkcs11Uri(token="The Software PKCS#11 Softtoken")),
        ("pkcs11:id=%69%95%3E", Pkcs11Uri(id=b"\x69\x95\x3e")),
        ("pkcs11:object=k&v;slot-id=327", Pkcs11Uri(object="k&v", slot_id=327)),
        (
            "pkcs11:token=t?module-path=/usr/lib/p.so&pin-value=1%2634",
            Pkcs11Uri("t", module_path="/usr/lib/p.so", pin_value="1&34"),
        ),
        ("pkcs11:token=%C3%A9;type=private", Pkcs11Uri(token="é")),
        ("pkcs11:token=t?pin-value=", Pkcs11Uri(token="t", pin_value="")),
        # Vendor attributes are not ours to understand.
        ("pkcs11:token=t;vendor-aaa=b?vendor-bbb=c&x=y", Pkcs11Uri(token="t")),
    ],
)
def test_well_formed_uris(text: str, expected: Pkcs11Uri) -> None:
    assert parse_uri(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "piv:reader=0",
        "PKCS12:token=a",
        "pkcs11:token",
        "pkcs11:=a",
        "pkcs11:token=a;",
        "pkcs11:token=",
        "pkcs11:token=a;token=b",
        "pkcs11:token=%4",
        "pkcs11:token=%zz",
        "pkcs11:token=%ff",
        "pkcs11:token=a b",
        "pkcs11:token=a#b",
        "pkcs11:token=a/b",
        "pkcs11:tokn=a",
        "pkcs11:id=",
        "pkcs11:slot-id=-1",
        "pkcs11:slot-id=0x1",
        "pkcs11:slot-id=٣",
        "pkcs11:type=spoon",
        "pkcs11:library-manufacturer=x",
        "pkcs11:slot-description=x",
        "pkcs11:?module-name=softhsm2",
        "pkcs11:?module-path=",
        "pkcs11:?pin-value=1&pin-value=2",
        "pkcs11:?pin-value=1&pin-source=/p",
        "pkcs11:token=a?b?c",
    ],
)
def test_malformed_uris_are_refused(text: str) -> None:
    with pytest.raises(UriError):
        parse_uri(text)


def test_module_name_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(UriError, match="module-path"):
        parse_uri("pkcs11:token=a?module-name=p11-kit-proxy")


def test_a_pin_is_never_printed() -> None:
    uri = parse_uri("pkcs11:token=a?pin-value=s3cret")
    assert "s3cret" not in f"{uri} {uri!r} {uri.without_pin()}"
    assert "s3cret" in uri.unredacted()


@pytest.mark.parametrize("text", ["pkcs11:token=a?pin-value=s3cr%et", "pkcs11:?pin-value=s3cret&pin-source=/s3cret"])
def test_a_pin_is_not_in_the_error_either(text: str) -> None:
    with pytest.raises(UriError) as caught:
        parse_uri(text)
    assert "s3cr" not in str(caught.value)


def test_a_redacted_uri_cannot_be_used_to_try_a_pin() -> None:
    with pytest.raises(UriError, match="redacted"):
        parse_uri(str(Pkcs11Uri(token="a", pin_value="s3cret")))


@pytest.mark.parametrize(
    ("content", "pin"),
    [
        (b"1234", "1234"),
        (b"1234\n", "1234"),
        (b"1234\r\n", "1234"),
        (b"1234\n\n", "1234\n"),
        (b" 12 ", " 12 "),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("form", ["{path}", "file:{path}", "file://{path}", "file://localhost{path}"])
def test_pin_source_reads_a_file_less_one_newline(tmp_path: Path, content: bytes, pin: str, form: str) -> None:
    path = tmp_path / "the pin"
    path.write_bytes(content)
    source = form.format(path=quote(str(path)) if form.startswith("file") else path)
    uri = Pkcs11Uri(pin_source=source)
    assert uri.pin() == parse_uri(uri.unredacted()).pin() == pin


def test_a_pin_file_that_cannot_be_one_is_a_clear_error(tmp_path: Path) -> None:
    big, binary = tmp_path / "big", tmp_path / "binary"
    big.write_bytes(b"1" * 2000)
    binary.write_bytes(b"\xff\xfe")
    for path, reason in (
        (big, "longer"),
        (binary, "UTF-8"),
        (tmp_path, "directory"),
        (tmp_path / "no", "No such file"),
        (Path("/\0"), "not a file name"),
    ):
        with pytest.raises(PinRequired, match=reason):
            Pkcs11Uri(pin_source=str(path)).pin()


@pytest.mark.parametrize(
    "source",
    [
        "|/bin/cat pin",
        "https://host/pin",
        "file://elsewhere/pin",
        "file:pin",
        "file:///a?b",
        "file:///%zz",
        "file://[/",
    ],
)
def test_a_pin_source_that_is_no_file_is_refused(source: str) -> None:
    with pytest.raises(UriError):
        Pkcs11Uri(pin_source=source).pin()


def test_no_pin_is_no_pin() -> None:
    assert Pkcs11Uri().pin() is None
