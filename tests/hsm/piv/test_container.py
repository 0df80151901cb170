import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import KeyUsage
from fidoloop.hsm.piv import tlv
from fidoloop.hsm.piv.container import DELETED, MAX_KEY_ID, Container, Mark, read_container

USAGES = [KeyUsage.SIGN, KeyUsage.DERIVE, KeyUsage.DECRYPT]
MARKS = st.builds(Mark, st.binary(min_size=1, max_size=MAX_KEY_ID), st.sampled_from(USAGES), st.booleans())


@given(st.none() | st.binary(min_size=1, max_size=3000), MARKS)
def test_what_is_written_is_read(certificate: bytes | None, mark: Mark) -> None:
    container = read_container(Container(certificate, mark.encode()).encode())
    assert (container.certificate, container.mark) == (certificate, mark)
    assert len(container.mscuid) <= 38  # SP 800-73-4 part 1, table 10


@given(st.binary(max_size=60))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        container = read_container(content)
    except ValueError:
        return
    assert container.mark is None or container.mscuid.startswith(b"FL")


def test_ids_of_registrations_fit_and_longer_ones_are_refused() -> None:
    assert MAX_KEY_ID >= 32
    with pytest.raises(NotSupported, match="35 bytes"):
        Mark(bytes(MAX_KEY_ID + 1), KeyUsage.SIGN).encode()


@pytest.mark.parametrize(
    "mscuid",
    ["", "464c", "464c01", "464c00aa", "464c04aa", "464c71aa", "464c80aa", "00112233445566778899aabbccddeeff"],
)
def test_another_programs_mscuid_is_no_mark(mscuid: str) -> None:
    container = Container(b"certificate", bytes.fromhex(mscuid))
    assert container.mark is None
    assert container.with_certificate(b"other") == Container(b"other", bytes.fromhex(mscuid))


def test_a_deleted_keys_mark_is_told_apart() -> None:
    assert read_container(Container(None, DELETED.encode()).encode()).mark == DELETED


def test_a_certificate_put_in_place_of_a_placeholder_keeps_id_and_usage() -> None:
    before = Container(b"placeholder", Mark(b"id", KeyUsage.DERIVE, placeholder=True).encode())
    after = before.with_certificate(b"real")
    assert (after.certificate, after.mark) == (b"real", Mark(b"id", KeyUsage.DERIVE, placeholder=False))


def packed(content: bytes, info: bytes = b"\1") -> bytes:
    return tlv.encode(0x70, content) + tlv.encode(0x71, info) + tlv.encode(0xFE, b"")


def test_a_packed_certificate_is_unpacked() -> None:
    assert read_container(packed(gzip.compress(b"certificate"))).certificate == b"certificate"


@pytest.mark.parametrize(
    "content",
    [
        packed(b"no gzip"),
        packed(gzip.compress(b"certificate")[:-9]),
        packed(gzip.compress(b"certificate")[:10] + b"\xff" * 20),
        packed(gzip.compress(bytes(40_000))),
        packed(b"certificate", info=b"\0\0"),
        tlv.encode(0x70, b"certificate")[:-1],
        tlv.encode(0x70, b"a") + tlv.encode(0x70, b"b"),
    ],
    ids=["not packed", "cut off", "damaged inside", "a bomb", "CertInfo", "truncated", "twice"],
)
def test_containers_of_a_foreign_shape_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_container(content)
