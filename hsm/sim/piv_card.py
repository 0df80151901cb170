"""A PIV card as it comes from the simulated factory."""

from fidoloop.hsm.sim.card import Applet, Card
from fidoloop.hsm.sim.piv.applet import PivApplet
from fidoloop.hsm.sim.piv.state import StateStore

_INTERFACE = bytes.fromhex("130000 81 31fe15")
"""TA1 TB1 TC1, TD1 and TD2 (T=1), TA3 IFSC 254, TB3 waiting times: those of a USB token."""
_CAPABILITIES = bytes.fromhex("73c021c0")
"""Selection by full and partial name; command chaining and extended length (ISO/IEC 7816-4, 12.1.1.9)."""
_YUBIKEY = b"\x57YubiKey"
_PIV_AID = bytes.fromhex("f9a00000030800001000")


def atr(*, yubikey_shape: bool) -> bytes:
    """Return the answer to reset.

    OpenSC decides by the historical bytes how it treats a PIV card. One it does not know is "generic": VERIFY without
    data counts as broken there; some vendors' cards count as having no EC keys. The PIV application's identifier in
    them (compact TLV F, ISO/IEC 7816-4, 12.1.1) makes it a card without known faults that has ECDSA and ECDH; a
    YubiKey's bytes make it a YubiKey.
    """
    historical = b"\x80" + _CAPABILITIES + (_YUBIKEY if yubikey_shape else _PIV_AID)
    body = bytes([0xF0 | len(historical)]) + _INTERFACE + historical
    check = 0
    for byte in body:
        check ^= byte
    return b"\x3b" + body + bytes([check])


def piv_card(store: StateStore, *further: Applet) -> Card:
    """Return a card with the PIV applet, selected from the start (SP 800-73-4 part 1, 2.2), and others."""
    return Card([PivApplet(store), *further], atr(yubikey_shape=store.state.yubikey_shape))
