import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import assertions as a
from fidoloop.protocol.uaf import tlv as codec
from fidoloop.protocol.uaf.attestation import verify_attestation
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import UafRefusal

from ..builders import (
    AAID,
    AT,
    AUTHENTICATION,
    NONCE,
    REGISTRATION,
    SURROGATE_REGISTRATION,
    USER_KEY,
    Assertion,
    fc_hash,
    fc_params,
    p256,
    point,
    tlv,
)

PARSERS: dict[str, Callable[[bytes], object]] = {
    "Reg": a.parse_registration_assertion,
    "Auth": a.parse_authentication_assertion,
}
BOTH = pytest.mark.parametrize(
    "valid", [SURROGATE_REGISTRATION, REGISTRATION, AUTHENTICATION], ids=["sur", "full", "auth"]
)
CRITICAL_EXTENSION = tlv(0x3E11, tlv(0x2E13, b"some.id"), tlv(0x2E14, b"data"))
EXTENSION = tlv(0x3E12, tlv(0x2E13, b"other.id"), tlv(0x2E14, b""))


def parse(assertion: Assertion) -> a.RegistrationAssertion | a.AuthenticationAssertion:
    found = PARSERS[assertion.operation](assertion.encode())
    assert isinstance(found, a.RegistrationAssertion | a.AuthenticationAssertion)
    return found


def verifies(raw: bytes, operation: str) -> bool:
    """Tells whether `raw` is accepted whole: parsed, and its signature verified over what it says."""
    try:
        if operation == "Reg":
            verify_attestation(a.parse_registration_assertion(raw), roots=(), at=AT)
        else:
            found = a.parse_authentication_assertion(raw)
            verify_signature(p256(USER_KEY).public_key(), 1, found.signature, found.signed_data)
    except (MalformedError, UafRefusal):
        return False
    return True


def test_a_registration_assertion_says_what_was_put_in() -> None:
    found = a.parse_registration_assertion(REGISTRATION.with_(counters=(7, 9), version=3, inside=EXTENSION).encode())
    assert (found.aaid, found.authenticator_version, found.authentication_mode) == (AAID, 3, 1)
    assert (found.signature_algorithm, found.public_key_format) == (1, 0x100)
    assert (found.sign_counter, found.registration_counter) == (7, 9)
    assert (found.final_challenge_hash, found.key_id) == (fc_hash(fc_params()), b"k" * 32)
    assert (found.public_key, found.attestation_type) == (point(p256(USER_KEY)), 0x3E07)
    assert found.attestation_certificates == REGISTRATION.chain
    assert found.extensions == (a.AssertionExtension("other.id", b"", False, True),)
    assert found.krd in found.raw


def test_an_authentication_assertion_says_what_was_put_in() -> None:
    given_ = AUTHENTICATION.with_(
        mode=2, tc_hash=b"t" * 32, inside=CRITICAL_EXTENSION, beside=EXTENSION, aaid=b"4e4e#4090"
    )
    found = a.parse_authentication_assertion(given_.encode())
    assert (found.aaid, found.authenticator_version, found.authentication_mode) == ("4E4E#4090", 1, 2)
    assert (found.nonce, found.transaction_content_hash, found.sign_counter) == (NONCE, b"t" * 32, 5)
    assert found.signed_data == given_.signed
    assert found.extensions == (
        a.AssertionExtension("some.id", b"data", True, True),
        a.AssertionExtension("other.id", b"", False, False),
    )


def test_the_encoders_write_what_the_wire_format_says() -> None:
    krd = a.encode_krd(
        aaid=AAID,
        authenticator_version=1,
        signature_algorithm=1,
        public_key_format=0x100,
        final_challenge_hash=fc_hash(fc_params()),
        key_id=b"k" * 32,
        sign_counter=1,
        registration_counter=1,
        public_key=point(p256(USER_KEY)),
    )
    assert krd == REGISTRATION.signed
    signed = REGISTRATION.with_(signature=b"s" * 64)
    assert signed.encode() == a.encode_registration_assertion(
        krd, attestation_type=AttestationType.BASIC_FULL, signature=b"s" * 64, certificates=signed.chain
    )
    data = a.encode_signed_data(
        aaid=AAID,
        authenticator_version=1,
        authentication_mode=1,
        signature_algorithm=1,
        nonce=NONCE,
        final_challenge_hash=fc_hash(fc_params()),
        transaction_content_hash=b"",
        key_id=b"k" * 32,
        sign_counter=5,
    )
    assert data == AUTHENTICATION.signed
    assert a.encode_authentication_assertion(data, b"s") == AUTHENTICATION.with_(signature=b"s").encode()


@given(
    st.binary(max_size=80),
    st.sampled_from(["Reg", "Auth"]),
    st.sampled_from([b"", b"\x01\x3e", b"\x02\x3e", b"\x02\x3e\x10\x00\x04\x3e\x04\x00"]),
)
def test_arbitrary_bytes_raise_nothing_but_the_typed_error(data: bytes, operation: str, start: bytes) -> None:
    with pytest.raises(MalformedError):
        PARSERS[operation](start + data)


@given(st.data(), st.sampled_from([SURROGATE_REGISTRATION, REGISTRATION, AUTHENTICATION]))
def test_altered_bytes_raise_nothing_but_the_typed_error(data: st.DataObject, valid: Assertion) -> None:
    raw = bytearray(valid.with_(signature=b"s" * 64, inside=EXTENSION, beside=CRITICAL_EXTENSION).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedError):
        PARSERS[valid.operation](bytes(raw))


@BOTH
def test_every_truncation_is_malformed(valid: Assertion) -> None:
    raw = valid.with_(beside=EXTENSION).encode()
    for length in range(len(raw)):
        with pytest.raises(MalformedError):
            PARSERS[valid.operation](raw[:length])


@BOTH
@pytest.mark.parametrize("delta", [1, -1, 256, -256, 4])
def test_no_changed_length_is_accepted(valid: Assertion, delta: int) -> None:
    valid = valid if valid.attestation == 0x3E08 or valid.operation == "Auth" else SURROGATE_REGISTRATION
    raw = valid.encode()
    assert verifies(raw, valid.operation)
    for offset in length_fields(raw):
        changed = (struct.unpack_from("<H", raw, offset)[0] + delta) & 0xFFFF
        altered = raw[:offset] + struct.pack("<H", changed) + raw[offset + 2 :]
        assert not verifies(altered, valid.operation), offset


@pytest.mark.parametrize("valid", [SURROGATE_REGISTRATION, AUTHENTICATION], ids=["reg", "auth"])
def test_no_single_changed_byte_is_accepted(valid: Assertion) -> None:
    raw = valid.encode()
    for offset in range(len(raw)):
        for flip in (0x01, 0x80):
            altered = raw[:offset] + bytes([raw[offset] ^ flip]) + raw[offset + 1 :]
            assert not verifies(altered, valid.operation), offset


def length_fields(raw: bytes, start: int = 0, end: int | None = None) -> list[int]:
    """Returns the offset of every length field, nested ones included."""
    found = []
    for tag, header, value, stop in codec.spans(raw, start, len(raw) if end is None else end, "$"):
        found.append(header + 2)
        if tag & 0x1000:
            found += length_fields(raw, value, stop)
    return found


SINGLETONS = {
    "Reg": (0x2E0B, 0x2E0E, 0x2E0A, 0x2E09, 0x2E0D, 0x2E0C),
    "Auth": (0x2E0B, 0x2E0E, 0x2E0F, 0x2E0A, 0x2E10, 0x2E09, 0x2E0D),
}
FIELDS = [(valid, tag) for valid in (REGISTRATION, AUTHENTICATION) for tag in SINGLETONS[valid.operation]]
EACH_FIELD = pytest.mark.parametrize(
    ("valid", "tag"), FIELDS, ids=[f"{valid.operation}-{codec.tag_name(tag)}" for valid, tag in FIELDS]
)


def value_of(valid: Assertion, tag: int) -> bytes:
    inner = codec.parse(valid.signed)[0].value
    assert isinstance(inner, tuple)
    (found,) = [element.value for element in inner if element.tag == tag]
    assert isinstance(found, bytes)
    return found


@EACH_FIELD
def test_a_field_beside_the_signed_ones_is_refused(valid: Assertion, tag: int) -> None:
    with pytest.raises(MalformedError, match="does not belong here"):
        parse(valid.with_(beside=tlv(tag, value_of(valid, tag))))


@EACH_FIELD
def test_a_field_that_stands_twice_is_refused(valid: Assertion, tag: int) -> None:
    with pytest.raises(MalformedError, match="stands twice"):
        parse(valid.with_(inside=tlv(tag, value_of(valid, tag))))


@EACH_FIELD
def test_a_missing_field_is_refused(valid: Assertion, tag: int) -> None:
    outer = codec.parse(valid.encode())[0]
    signed, *rest = outer.value
    assert isinstance(signed, codec.Element)
    assert isinstance(signed.value, tuple)
    assert isinstance(signed.value, tuple)
    kept = codec.Element(signed.tag, tuple(element for element in signed.value if element.tag != tag))
    with pytest.raises(MalformedError) as caught:
        PARSERS[valid.operation](codec.encode((codec.Element(outer.tag, (kept, *rest)),)))
    assert caught.value.where.endswith(codec.tag_name(tag))
    assert caught.value.what == "is missing"


@BOTH
def test_the_order_of_signed_fields_is_free(valid: Assertion) -> None:
    outer = codec.parse(valid.encode())[0]
    signed, *rest = outer.value
    assert isinstance(signed, codec.Element)
    assert isinstance(signed.value, tuple)
    turned = codec.Element(signed.tag, tuple(reversed(signed.value)))
    found = PARSERS[valid.operation](codec.encode((codec.Element(outer.tag, (turned, *rest)),)))
    assert isinstance(found, a.RegistrationAssertion | a.AuthenticationAssertion)
    assert found.key_id == valid.key_id


@BOTH
def test_the_signed_element_comes_first(valid: Assertion) -> None:
    outer = codec.parse(valid.encode())[0]
    assert isinstance(outer.value, tuple)
    with pytest.raises(MalformedError, match="first element"):
        PARSERS[valid.operation](codec.encode((codec.Element(outer.tag, tuple(reversed(outer.value))),)))


OTHER = {"Reg": 0x3E04, "Auth": 0x3E03}


@BOTH
@pytest.mark.parametrize(
    ("inside", "beside"),
    [
        (tlv(0x2EFF, b""), b""),
        (tlv(0x3EFF), b""),
        (b"", tlv(0x2EFF, b"")),
        (b"", tlv(0x2801, b"")),
        (tlv(0x2E06, b"s"), b""),
        (tlv(0x2E05, b"s"), b""),
        (b"", tlv(0x2E06, b"s" * 64)),
        (b"", tlv(0x2E13, b"id")),
        (b"", tlv(0x3E01)),
    ],
    ids=[
        "unknown inside",
        "composite inside",
        "unknown beside",
        "key handle",
        "signature",
        "certificate",
        "second",
        "id",
        "outer",
    ],
)
def test_a_critical_tag_unknown_or_misplaced_is_refused(valid: Assertion, inside: bytes, beside: bytes) -> None:
    if valid.operation == "Reg" and beside.startswith(tlv(0x2E06, b"")[:2]):
        beside = tlv(0x3E08, beside)
    with pytest.raises(MalformedError):
        parse(valid.with_(inside=inside, beside=beside))


@BOTH
def test_a_second_signed_element_is_refused(valid: Assertion) -> None:
    for other in (valid.signed, tlv(OTHER[valid.operation])):
        with pytest.raises(MalformedError, match="does not belong here"):
            parse(valid.with_(beside=other))


@BOTH
def test_an_unknown_tag_that_is_not_critical_is_ignored(valid: Assertion) -> None:
    found = parse(valid.with_(inside=tlv(0x0104, b"uvi"), beside=tlv(0x0999, b"x")))
    assert found.key_id == valid.key_id


@BOTH
def test_bytes_after_the_assertion_are_refused(valid: Assertion) -> None:
    for trailing in (b"\x00", tlv(0x0999, b""), valid.encode()):
        with pytest.raises(MalformedError):
            PARSERS[valid.operation](valid.encode() + trailing)


@pytest.mark.parametrize("tag", [0x3E01, 0x3E02])
def test_an_empty_assertion_is_malformed(tag: int) -> None:
    for parser in PARSERS.values():
        with pytest.raises(MalformedError):
            parser(tlv(tag))


def test_one_operation_is_not_taken_for_the_other() -> None:
    with pytest.raises(MalformedError, match="does not start with"):
        a.parse_registration_assertion(AUTHENTICATION.encode())
    with pytest.raises(MalformedError, match="does not start with"):
        a.parse_authentication_assertion(REGISTRATION.encode())


@BOTH
@pytest.mark.parametrize("size", [0, 4, 5, 6, 7, 8])
def test_assertion_info_has_exactly_its_length(valid: Assertion, size: int) -> None:
    raw = valid.encode()
    right = 7 if valid.operation == "Reg" else 5
    info = value_of(valid, 0x2E0E)
    other = replace_field(raw, 0x2E0E, (info + b"\x00\x00")[:size])
    if size == right:
        PARSERS[valid.operation](other)
    else:
        with pytest.raises(MalformedError, match=f"{right} expected"):
            PARSERS[valid.operation](other)


@BOTH
@pytest.mark.parametrize("size", [0, 3, 4, 5, 7, 8, 9])
def test_counters_have_exactly_their_length(valid: Assertion, size: int) -> None:
    right = 8 if valid.operation == "Reg" else 4
    other = replace_field(valid.encode(), 0x2E0D, bytes(size))
    if size == right:
        PARSERS[valid.operation](other)
    else:
        with pytest.raises(MalformedError, match=f"{right} expected"):
            PARSERS[valid.operation](other)


@BOTH
@pytest.mark.parametrize(
    "aaid",
    [
        b"",
        b"F10B0113#",
        b"F10B#011",
        b"F10B#01134",
        b"F10G#0113",
        b"F10B#011G",
        b"F10B+0113",
        b"F10B#0113\n",
        b"F10B#01\xe9\x33",
        b"+10B#0113",
    ],
)
def test_an_aaid_of_another_form_is_refused(valid: Assertion, aaid: bytes) -> None:
    with pytest.raises(MalformedError, match="HHHH#HHHH"):
        parse(valid.with_(aaid=aaid))


def replace_field(raw: bytes, tag: int, value: bytes) -> bytes:
    outer = codec.parse(raw)[0]
    signed, *rest = outer.value
    assert isinstance(signed, codec.Element)
    assert isinstance(signed.value, tuple)
    assert isinstance(signed.value, tuple)
    inner = tuple(codec.Element(tag, value) if item.tag == tag else item for item in signed.value)
    return codec.encode((codec.Element(outer.tag, (codec.Element(signed.tag, inner), *rest)),))


@pytest.mark.parametrize(
    "content",
    [
        tlv(0x2E13, b"id"),
        tlv(0x2E14, b"data"),
        tlv(0x2E13, b"id") + tlv(0x2E13, b"id") + tlv(0x2E14, b""),
        tlv(0x2E13, b"id") + tlv(0x2E14, b"") + tlv(0x2E14, b""),
        tlv(0x2E13, b"") + tlv(0x2E14, b""),
        tlv(0x2E13, b"x" * 33) + tlv(0x2E14, b""),
        tlv(0x2E13, b"\xff") + tlv(0x2E14, b""),
        tlv(0x2E13, b"id") + tlv(0x2E14, b"") + tlv(0x2E09, b""),
        tlv(0x2E13, b"id") + tlv(0x2E14, b"") + tlv(0x2EFF, b""),
        tlv(0x2E13, b"id") + b"\x14\x2e\x01\x00",
    ],
)
@BOTH
def test_a_malformed_extension_is_refused_signed_or_not(valid: Assertion, content: bytes) -> None:
    for extension in (tlv(0x3E11, content), tlv(0x3E12, content)):
        for changes in ({"inside": extension}, {"beside": extension}):
            with pytest.raises(MalformedError):
                parse(valid.with_(**changes))


@pytest.mark.parametrize(
    "attestation",
    [
        b"",
        tlv(0x3E08),
        tlv(0x3E08, tlv(0x2E06, b"s"), tlv(0x2E06, b"s")),
        tlv(0x3E08, tlv(0x2E06, b"s"), tlv(0x2E09, b"k")),
        tlv(0x3E07, tlv(0x2E05, b"c")),
        tlv(0x3E08, tlv(0x2E06, b"s")) + tlv(0x3E08, tlv(0x2E06, b"s")),
        tlv(0x3E08, tlv(0x2E06, b"s")) + tlv(0x3E07, tlv(0x2E06, b"s")),
        tlv(0x3E0B, tlv(0x2E06, b"s")),
    ],
    ids=[
        "none",
        "no signature",
        "two signatures",
        "stranger",
        "only certificate",
        "twice",
        "two kinds",
        "unknown kind",
    ],
)
def test_an_attestation_stands_once_with_one_signature(attestation: bytes) -> None:
    with pytest.raises(MalformedError):
        a.parse_registration_assertion(tlv(0x3E01, REGISTRATION.signed, attestation))


def test_an_assertion_has_at_most_4096_bytes() -> None:
    room = a.MAX_ASSERTION_BYTES - len(AUTHENTICATION.encode()) - 4
    parse(AUTHENTICATION.with_(beside=tlv(0x0999, bytes(room))))
    with pytest.raises(MalformedError, match="at most 4096"):
        parse(AUTHENTICATION.with_(beside=tlv(0x0999, bytes(room + 1))))
