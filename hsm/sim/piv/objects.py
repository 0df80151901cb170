"""Data objects (SP 800-73-4 part 1, 3.3; part 2, 3.1.2 and 3.3.2): the standard's and any other with tag 5Fxxxx."""

import secrets
from typing import Final

from fidoloop.hsm.piv.tlv import TlvError, encode, parse
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.piv.registry import AID, CAPABILITIES, CHUID, DISCOVERY, PIN_PROTECTED
from fidoloop.hsm.sim.piv.session import Session
from fidoloop.hsm.sim.piv.state import StateStore

MAX_OBJECT: Final = 16 << 10
"""Bytes of one object; the largest of the standard, an image, has 12,710."""
MAX_ALL: Final = 128 << 10
_TAG_LIST, _DATA = 0x5C, 0x53
_ANY = range(0x5F0000, 0x600000)
_BIOMETRIC_TEMPLATES = 0x7F61
_DISCOVERY_OBJECT = encode(DISCOVERY, encode(0x4F, AID) + encode(0x5F2F, b"\x40\x00"))  # only the application's PIN


class Objects:
    """GET DATA and PUT DATA."""

    def __init__(self, store: StateStore, session: Session) -> None:
        self._store = store
        self._session = session

    def get(self, command: Command) -> bytes:
        """GET DATA: the object of one tag, in 53 unless it is the discovery object."""
        command.require(p1=0x3F, p2=0xFF)
        tag = _tag_of(_parse(command.data), 1)
        if tag == DISCOVERY:
            return _DISCOVERY_OBJECT
        if tag in PIN_PROTECTED and not self._session.pin_verified:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        content = self._store.state.objects.get(tag)
        if content is None:
            raise ApduError(StatusWord.NOT_FOUND)
        return encode(_DATA, content)

    def put(self, command: Command) -> bytes:
        """PUT DATA: replace one object, or remove it where its new content is empty."""
        command.require(p1=0x3F, p2=0xFF)
        self._session.require_management()
        given = _parse(command.data)
        if given and given[0][0] in (DISCOVERY, _BIOMETRIC_TEMPLATES):
            raise ApduError(StatusWord.FUNCTION_NOT_SUPPORTED)
        tag = _tag_of(given, 2)
        if tag not in _ANY or given[1][0] != _DATA:
            raise ApduError(StatusWord.INCORRECT_DATA)
        content = given[1][1]
        objects = self._store.state.objects
        others = sum(len(value) for other, value in objects.items() if other != tag)
        if len(content) > MAX_OBJECT or others + len(content) > MAX_ALL:
            raise ApduError(StatusWord.NOT_ENOUGH_MEMORY)
        if content:
            objects[tag] = content
        else:
            objects.pop(tag, None)
        self._store.save()
        return b""


def certificate_object(der: bytes) -> bytes:
    """Return the object of a certificate that is not compressed (part 1, appendix A, table 10)."""
    return encode(0x70, der) + encode(0x71, b"\x00") + encode(0xFE, b"")


def certificate_in(content: bytes) -> bytes:
    """Return the certificate (DER) in an object. Raises TlvError where there is none."""
    found = dict(parse(content)).get(0x70)
    if not found:
        raise TlvError("the object holds no certificate")
    return found


def factory_objects() -> dict[int, bytes]:
    """Return the objects of a new card: CHUID with a random GUID and CCC with a random identifier, neither signed."""
    # FASC-N of no agency (TIG SCEPACS 2.1): 9999-9999-999999-0-1-0000000000-3-0000-1, as bits with parity.
    fasc_n = bytes.fromhex("d4e739da739ced39ce739d836858210842108421c84210c3eb")
    chuid = encode(0x30, fasc_n) + encode(0x34, secrets.token_bytes(16)) + encode(0x35, b"20991231")
    chuid += encode(0x3E, b"") + encode(0xFE, b"")
    card_identifier = bytes.fromhex("a000000308") + b"\xff\x02" + secrets.token_bytes(14)
    ccc = encode(0xF0, card_identifier) + encode(0xF1, b"\x21") + encode(0xF2, b"\x21") + encode(0xF3, b"")
    ccc += encode(0xF4, b"\x00") + encode(0xF5, b"\x10")
    ccc += b"".join(encode(tag, b"") for tag in (0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE))
    return {CHUID: chuid, CAPABILITIES: ccc}


def _parse(data: bytes) -> list[tuple[int, bytes]]:
    try:
        return parse(data)
    except TlvError:
        raise ApduError(StatusWord.INCORRECT_DATA) from None


def _tag_of(given: list[tuple[int, bytes]], count: int) -> int:
    """Return the tag a tag list names; the command has `count` data objects, the tag list first."""
    if len(given) != count or given[0][0] != _TAG_LIST or not 1 <= len(given[0][1]) <= 3:
        raise ApduError(StatusWord.INCORRECT_DATA)
    return int.from_bytes(given[0][1])
