"""APDUs to a card with the PIV, the UAF and the FIDO applet."""

import datetime
from collections.abc import Iterator
from functools import cache, partial

import msgspec

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.fido_applet import AID as FIDO_AID
from fidoloop.authenticator.fido_applet import FidoApplet
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_applet import UafApplet
from fidoloop.hsm.sim.apdu import ApduError, parse_command
from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.piv.applet import PivApplet
from fidoloop.hsm.sim.piv.registry import AID as PIV_AID
from fidoloop.hsm.sim.piv.state import CardState, StateStore
from fidoloop.hsm.uaf_card import AID as UAF_AID
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.tlv import element, sequence
from fuzz.properties import accepted, scratch
from fuzz.software_keys import PIN, SoftwareKeys
from fuzz.targets.ctap import authenticator, commands, make_credential, script

MAX_BYTES = 2048
_SELECT = b"\x00\xa4\x04\x00"
DICTIONARY = (
    *(_SELECT + bytes((len(aid),)) + aid for aid in (PIV_AID, UAF_AID, FIDO_AID)),
    b"\x80\x36\x00\x00", b"\x90\x36\x00\x00\xff", b"\x80\x10\x00\x00", b"\x00\x20\x00\x80\x08123456\xff\xff",
    b"\x00\x87\x03\x9b\x04\x7c\x02\x81\x00", b"\x00\x47\x00\x9a\x05\xac\x03\x80\x01\x11", b"\x00\xcb\x3f\xff\x05\x5c",
    b"\x00\xc0\x00\x00\x00", b"\x00\xf7\x00\x9a", b"\x00\xf9\x9a\x00", b"\x02\x34", b"\x03\x34",
)  # fmt: skip
_RSA = 0x07
_MANAGED = 0x01


@cache
def _new_card() -> bytes:
    return msgspec.json.encode(Factory.create(now=datetime.datetime.now(datetime.UTC)).personalise(
        now=datetime.datetime.now(datetime.UTC)
    ))  # fmt: skip


@cache
def _uaf() -> UafApplet:
    store = SoftwareKeys()
    attest_init(store, now=datetime.datetime.now(datetime.UTC))
    return UafApplet(store, AuthenticatorState(scratch() / "uaf.sqlite", store))


def check(data: bytes) -> None:
    """APDUs, each after its length in two bytes; the first byte's lowest bit: as one who has the management key.

    Every APDU is answered by data and a status word of ISO/IEC 7816-4, however it is made.
    """
    piv = PivApplet(StateStore(msgspec.json.decode(_new_card(), type=CardState)))
    card = Card([piv, _uaf(), FidoApplet(authenticator(), patience=10)], b"\x3b\x00")
    card.reset()
    if data[:1] and data[0] & _MANAGED:
        piv._session.management_authenticated = True
        piv._session.pin_entered()
    for apdu in commands(data[1:]):
        accepted(partial(parse_command, apdu), ApduError)
        if _makes_rsa_key(apdu):
            continue  # nothing to learn, and a second each
        answer = card.transmit(apdu)
        assert 2 <= len(answer) <= 0xFFFF
        assert answer[-2] >> 4 in (6, 9), answer[-2:].hex()
        assert answer[-2:] != b"\x6f\x00", "an error without a name"


def _makes_rsa_key(apdu: bytes) -> bool:
    return apdu[1:2] == b"\x47" and _RSA in apdu


def seeds() -> Iterator[bytes]:
    """Yield sessions with each applet."""
    piv, uaf, fido = (_SELECT + bytes((len(aid),)) + aid for aid in (PIV_AID, UAF_AID, FIDO_AID))
    verify = b"\x00\x20\x00\x80\x08123456\xff\xff"
    generate = b"\x00\x47\x00\x9a\x05\xac\x03\x80\x01\x11"
    sign = b"\x00\x87\x11\x9a\x26\x7c\x24\x82\x00\x81\x20" + bytes(32)
    put = b"\x00\xdb\x3f\xff\x0b\x5c\x03\x5f\xc1\x05\x53\x04\x70\x02ab"
    for first in (b"\0", b"\1"):
        yield first + script(piv, verify, generate, sign, put, b"\x00\xcb\x3f\xff\x05\x5c\x03\x5f\xc1\x05")
        yield first + script(piv, generate, b"\x00\xf9\x9a\x00", b"\x00\xf7\x00\x9a", b"\x00\xf8\x00\x00")
    yield b"\1" + script(b"\x00\xfe\x11\x9a\x22\x06\x20" + bytes(31) + b"\1", b"\x00\xf6\x82\x9a")
    yield b"\1" + script(b"\x00\xff\xff\xff\x1b\x0a\x9b\x18" + bytes(range(24)), b"\x00\x24\x00\x80\x10" + b"1" * 16)
    yield b"\0" + script(
        piv, b"\x00\x87\x03\x9b\x04\x7c\x02\x81\x00", b"\x00\x87\x03\x9b\x0c\x7c\x0a\x82\x08" + bytes(8)
    )
    index = (0x280D, b"\0")
    register = element(0x3402, sequence(
        index, (0x2804, b"https://a.example"), (Tag.FINAL_CHALLENGE_HASH, bytes(32)), (0x2806, b"al"),
        (0x2807, b"\x07\x3e"), (0x2805, bytes(32)),
    ))  # fmt: skip
    pin = b"\x00\x20\x00\x00" + bytes((len(PIN),)) + PIN.encode()
    for command in (element(0x3401, b""), register, element(0x3406, sequence(index))):
        yield b"\0" + script(uaf, pin, b"\x80\x36\x00\x00" + bytes((len(command),)) + command + b"\0")
    yield b"\0" + script(fido, b"\x80\x10\x00\x00\x01\x04\x00", b"\x00\x03\x00\x00\x00")
    making = make_credential()
    yield b"\0" + script(fido, b"\x80\x10\x00\x00" + bytes((len(making),)) + making + b"\0", b"\x00\xc0\x00\x00\x00")
