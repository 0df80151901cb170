"""GET DATA and PUT DATA (SP 800-73-4 part 2, 3.1.2 and 3.3.2)."""

import pytest

from fidoloop.hsm.piv.tlv import encode, fields, only
from fidoloop.hsm.sim.piv.objects import MAX_ALL, MAX_OBJECT
from fidoloop.hsm.sim.piv.registry import AID, Ins
from tests.hsm.sim.host import Host

CERTIFICATES = [0x5FC105, 0x5FC10A, 0x5FC10B, 0x5FC101, *range(0x5FC10D, 0x5FC121)]
OTHERS = [0x5FC102, 0x5FC107, 0x5FC106, 0x5FC10C, 0x5FC122, 0x5F0000, 0x5FFF00, 0x5FFF10, 0x5FFFFF]
PIN_PROTECTED = [0x5FC103, 0x5FC108, 0x5FC109, 0x5FC121, 0x5FC123]


def get(host: Host, tag: int) -> tuple[int, bytes]:
    name = tag.to_bytes((tag.bit_length() + 7) // 8)
    return host.send(Ins.GET_DATA, 0x3F, 0xFF, encode(0x5C, name))


def put(host: Host, tag: int, content: bytes) -> int:
    return host.status(Ins.PUT_DATA, 0x3F, 0xFF, encode(0x5C, tag.to_bytes(3)) + encode(0x53, content))


@pytest.mark.parametrize("tag", CERTIFICATES + OTHERS, ids=hex)
def test_an_object_is_kept_read_by_anybody_replaced_and_removed(manager: Host, tag: int) -> None:
    for content in (b"first", bytes(range(256)) * 12):
        assert put(manager, tag, content) == 0x9000
        manager.card.reset()
        assert get(manager, tag) == (0x9000, encode(0x53, content))
        manager.authenticate()
    assert put(manager, tag, b"") == 0x9000
    assert get(manager, tag) == (0x6A82, b"")
    assert put(manager, tag, b"") == 0x9000


@pytest.mark.parametrize("tag", PIN_PROTECTED, ids=hex)
def test_protected_objects_are_read_after_the_pin_only(manager: Host, tag: int) -> None:
    assert put(manager, tag, b"personal") == 0x9000
    assert get(manager, tag)[0] == 0x6982
    assert manager.verify() == 0x9000
    assert get(manager, tag) == (0x9000, encode(0x53, b"personal"))


@pytest.mark.parametrize("tag", PIN_PROTECTED, ids=hex)
def test_whether_a_protected_object_is_there_is_protected_too(host: Host, tag: int) -> None:
    assert get(host, tag)[0] == 0x6982


def test_objects_are_written_with_the_management_key_only(host: Host) -> None:
    host.verify()
    assert put(host, 0x5FC105, b"certificate") == 0x6982
    assert get(host, 0x5FC105)[0] == 0x6A82


def test_a_new_card_has_its_identity(host: Host) -> None:
    chuid = fields(only(get(host, 0x5FC102)[1], 0x53))
    assert (len(chuid[0x30]), len(chuid[0x34]), chuid[0x35]) == (25, 16, b"20991231")
    assert 0xF0 in fields(only(get(host, 0x5FC107)[1], 0x53))
    assert get(host, 0x5FFF01)[0] == 0x9000


def test_the_discovery_object_names_application_and_pin_and_is_fixed(manager: Host) -> None:
    discovery = get(manager, 0x7E)[1]
    assert fields(only(discovery, 0x7E)) == {0x4F: AID, 0x5F2F: b"\x40\x00"}
    assert manager.status(Ins.PUT_DATA, 0x3F, 0xFF, discovery) == 0x6A81
    assert manager.status(Ins.PUT_DATA, 0x3F, 0xFF, encode(0x7F61, b"\x02\x01\x00")) == 0x6A81


@pytest.mark.parametrize("tag", [0x7F61, 0x5EC105, 0x600000, 0x80], ids=hex)
def test_tags_the_card_does_not_have_are_not_found(host: Host, tag: int) -> None:
    assert get(host, tag) == (0x6A82, b"")


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [
        (0x3F, 0x00, "5c035fc105", 0x6A86),
        (0x00, 0xFF, "5c035fc105", 0x6A86),
        (0x3F, 0xFF, "", 0x6A80),
        (0x3F, 0xFF, "5c00", 0x6A80),
        (0x3F, 0xFF, "5c045fc10500", 0x6A80),
        (0x3F, 0xFF, "5c035fc1", 0x6A80),
        (0x3F, 0xFF, "5d035fc105", 0x6A80),
        (0x3F, 0xFF, "5c035fc1055c035fc105", 0x6A80),
        (0x3F, 0xFF, "5c85", 0x6A80),
    ],
)
def test_malformed_requests_are_refused(host: Host, p1: int, p2: int, data: str, status: int) -> None:
    assert host.status(Ins.GET_DATA, p1, p2, bytes.fromhex(data)) == status


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("", 0x6A80),
        ("5c035fc105", 0x6A80),
        ("5c035fc1055401aa", 0x6A80),
        ("5c035fc1055301aa5301bb", 0x6A80),
        ("5301aa5c035fc105", 0x6A80),
        ("5c035fc1055302aa", 0x6A80),
        ("5c035ec1055301aa", 0x6A80),
        ("5c025fc15301aa", 0x6A80),
        ("5c017e5301aa", 0x6A80),
    ],
)
def test_malformed_objects_are_refused(manager: Host, data: str, status: int) -> None:
    assert manager.status(Ins.PUT_DATA, 0x3F, 0xFF, bytes.fromhex(data)) == status
    assert get(manager, 0x5FC105)[0] == 0x6A82


def test_the_largest_object_fits_one_byte_more_does_not(manager: Host) -> None:
    assert put(manager, 0x5F0001, bytes(MAX_OBJECT)) == 0x9000
    assert put(manager, 0x5F0002, bytes(MAX_OBJECT + 1)) == 0x6A84
    assert put(manager, 0x5F0001, bytes(MAX_OBJECT + 1)) == 0x6A84
    assert get(manager, 0x5F0001)[1][-MAX_OBJECT:] == bytes(MAX_OBJECT)
    assert get(manager, 0x5F0002)[0] == 0x6A82


def test_the_card_gets_full_and_replacing_needs_no_room(manager: Host) -> None:
    room = MAX_ALL // MAX_OBJECT - 1
    for number in range(room):
        assert put(manager, 0x5F0000 + number, bytes(MAX_OBJECT)) == 0x9000
    assert put(manager, 0x5F1000, bytes(MAX_OBJECT)) == 0x6A84
    assert put(manager, 0x5F0000, b"\x01" * MAX_OBJECT) == 0x9000
    assert put(manager, 0x5F0000, b"") == 0x9000
    assert put(manager, 0x5F1000, bytes(MAX_OBJECT)) == 0x9000
