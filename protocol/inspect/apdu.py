"""APDUs of smart cards: commands and answers, those of PIV and FIDO by name (ISO/IEC 7816-3, 12.1.3; 7816-4, 5.1)."""

import string
from typing import Final

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.ctap import COMMANDS, read_request
from fidoloop.protocol.inspect.der import elements
from fidoloop.protocol.inspect.node import Node, number, octets

_INSTRUCTIONS: Final = {
    0x03: "U2F: VERSION",
    0x10: "CTAP: MSG",
    0x11: "CTAP: GET RESPONSE of a long command",
    0x20: "VERIFY (a PIN)",
    0x24: "CHANGE REFERENCE DATA (a PIN)",
    0x2C: "RESET RETRY COUNTER (by the PUK)",
    0x36: "UAF: command of the authenticator",
    0x47: "GENERATE ASYMMETRIC KEY PAIR",
    0x84: "GET CHALLENGE",
    0x87: "GENERAL AUTHENTICATE (sign, agree on a key, log in as manager)",
    0xA4: "SELECT",
    0xC0: "GET RESPONSE",
    0xCB: "GET DATA",
    0xDB: "PUT DATA",
    0xF7: "Yubico: GET METADATA",
    0xF8: "Yubico: GET SERIAL",
    0xF9: "Yubico: ATTEST",
    0xFB: "Yubico: RESET",
    0xFD: "Yubico: GET VERSION",
    0xFE: "Yubico: IMPORT KEY",
    0xFF: "Yubico: SET MANAGEMENT KEY",
}
_SECRET: Final = frozenset({0x20, 0x24, 0x2C, 0xFE, 0xFF})
_BER: Final = frozenset({0x47, 0x87, 0xCB, 0xDB})
_APPLETS: Final = {
    "a000000308": "PIV",
    "a0000006472f0001": "FIDO",
    "a000000647af0001": "UAF",
    "a0000005272001": "Yubico OTP",
}
_STATUS: Final = {
    0x9000: "done",
    0x6581: "the memory failed",
    0x6700: "wrong length",
    0x6881: "logical channels are not supported",
    0x6882: "secure messaging is not supported",
    0x6982: "not allowed before somebody has logged in",
    0x6983: "blocked: too many wrong PINs",
    0x6985: "not under these conditions",
    0x6A80: "wrong data",
    0x6A81: "not supported",
    0x6A82: "not found",
    0x6A84: "no room left",
    0x6A86: "wrong P1 or P2",
    0x6A88: "no such key or PIN",
    0x6D00: "the instruction is not supported",
    0x6E00: "the class is not supported",
    0x9100: "go on (CTAP keep-alive)",
}


def read_command(content: Content, context: Context) -> Node:
    """Return a command APDU. Raises MalformedError where it has no header."""
    data = content.data
    if len(data) < 4:
        raise MalformedError("$", f"{len(data)} bytes, a command has at least 4")
    parts = [
        number(0, data[:1], "CLA", "part of a chain, more follow" if data[0] & 0x10 else ""),
        number(1, data[1:2], "INS", _INSTRUCTIONS.get(data[1], "not known here")),
        number(2, data[2:3], "P1"),
        number(3, data[3:4], "P2"),
    ]
    return Node(0, len(data), "command APDU", children=(*parts, *_body(data, context)))


def _body(data: bytes, context: Context) -> list[Node]:
    at, end = 4, len(data)
    if at == end:
        return []
    wide = data[4] == 0 and end - at >= 3
    width = 3 if wide else 1
    if end - at == width:
        return [octets(at, data[at:], "Le", "the most bytes wanted back; 0 is all")]
    length = int.from_bytes(data[at + width - (2 if wide else 1) : at + width])
    start = at + width
    value = data[start : start + length]
    problem = f"{length} bytes, {len(value)} there" if len(value) < length or not length else ""
    found = [octets(at, data[at:start], "Lc", f"{length} bytes of data", problem)]
    if value:
        found.append(_data(data, start, value, context))
    rest = data[start + length :]
    if rest:
        wrong = "" if len(rest) == (2 if wide else 1) else "neither data nor Le"
        found.append(octets(start + length, rest, "Le", "the most bytes wanted back; 0 is all", wrong))
    return found


def _data(data: bytes, start: int, value: bytes, context: Context) -> Node:
    node = Node(start, len(value), "data")
    instruction = data[1]
    if instruction in _SECRET:
        return node.wrong("a PIN or key, not shown: whoever has these bytes has it")
    if instruction == 0xA4:
        aid = value.hex()
        applet = next((name for begin, name in _APPLETS.items() if aid.startswith(begin)), "")
        return node.but(value=aid, meaning=f"AID {applet}".strip())
    if instruction == 0x10 and value[0] in COMMANDS:
        try:
            return node.but(coding="CTAP2", children=read_request(Content(value), context.inside()).children)
        except MalformedError as error:
            return node.but(value=value.hex()).wrong(str(error))
    if instruction in _BER:
        return node.but(children=elements(data, start, start + len(value)))
    return node.but(value=value.hex())


def read_answer(content: Content, context: Context) -> Node:
    """Return the answer to a command. Raises MalformedError where it has no status."""
    data = content.data
    if len(data) < 2:
        raise MalformedError("$", f"{len(data)} bytes, an answer has at least 2")
    at = len(data) - 2
    status = int.from_bytes(data[at:])
    said = _told(status)
    wrong = "" if status >> 8 in (0x90, 0x61, 0x91) else said or "not carried out"
    word = Node(at, 2, "SW1-SW2", f"{status:04x}", said, wrong)
    parts: tuple[Node, ...] = (word,)
    if at:
        inner = context.find(Content(data[:at]), context) if context.depth == 0 else None
        body = Node(0, at, "data", data[:at].hex() if inner is None else None)
        parts = (body if inner is None else body.but(children=inner.children or (inner,)), word)
    return Node(0, len(data), "answer APDU", children=parts)


def _told(status: int) -> str:
    if status >> 8 == 0x61:
        return f"{status & 0xFF or 256} bytes more by GET RESPONSE"
    if status >> 4 == 0x63C:
        return f"wrong; {status & 0xF} tries left"
    return _STATUS.get(status, "")


def _looks_command(content: Content) -> bool:
    data = content.data
    if len(data) < 4 or data[0] & 0x60 or data[1] not in _INSTRUCTIONS or len(data) > 0x10009:
        return False
    if len(data) <= 5:
        return True
    wide = data[4] == 0 and len(data) >= 7
    length = int.from_bytes(data[5:7]) if wide else data[4]
    rest = len(data) - (7 if wide else 5) - length
    return (length > 0 and rest in (0, 2 if wide else 1)) or (wide and len(data) == 7)


_PRINTABLE: Final = string.printable.encode("ascii")


def _looks_answer(content: Content) -> bool:
    data = content.data
    # Text may well end in `a6`, which is 61 36: it is the coding of something else.
    is_text = not content.coding and data.isascii() and not data.translate(None, _PRINTABLE)
    return len(data) >= 2 and not is_text and bool(_told(int.from_bytes(data[-2:])))


KINDS = (
    Kind("apdu", "a command APDU", _looks_command, read_command),
    Kind("apdu-answer", "the answer to an APDU", _looks_answer, read_answer),
)
