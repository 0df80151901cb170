"""The key slots of a PIV card and their certificates' objects (NIST SP 800-73-4 part 1, tables 3 and 4b)."""

from dataclasses import dataclass
from typing import Final

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import KeyUsage

CHUID: Final = 0x5FC102
ATTESTATION_CERTIFICATE: Final = 0x5FFF01
"""Object of the attestation slot F9's certificate (YubiKey's extension)."""
ATTESTATION_SLOT: Final = 0xF9
MANAGEMENT_KEY: Final = 0x9B
PIN: Final = 0x80
PUK: Final = 0x81


@dataclass(frozen=True)
class Slot:
    """One key reference, and the object of its certificate. `pin_always` where every use wants a fresh VERIFY."""

    reference: int
    certificate_object: int
    pin_always: bool = False

    @property
    def place(self) -> str:
        """The slot's name: "9a", "82"."""
        return f"{self.reference:02x}"


AUTHENTICATION: Final = Slot(0x9A, 0x5FC105)
SIGNATURE: Final = Slot(0x9C, 0x5FC10A, pin_always=True)
KEY_MANAGEMENT: Final = Slot(0x9D, 0x5FC10B)
CARD_AUTHENTICATION: Final = Slot(0x9E, 0x5FC101)
RETIRED: Final = tuple(Slot(0x82 + number, 0x5FC10D + number) for number in range(20))
SLOTS: Final = (AUTHENTICATION, SIGNATURE, KEY_MANAGEMENT, CARD_AUTHENTICATION, *RETIRED)
_BY_PLACE: Final = {slot.place: slot for slot in SLOTS}


def slot_named(place: str) -> Slot:
    """Return the slot of this name, in either case. Raises NotSupported."""
    slot = _BY_PLACE.get(place.lower())
    if slot is None:
        raise NotSupported(f"a PIV card has no key slot {place!r}: the slots are 9a, 9c, 9d, 9e and 82 to 95")
    return slot


def candidates(usage: KeyUsage) -> tuple[Slot, ...]:
    """Return the slots to try for a new key, the best first.

    Retired slots come first: there are twenty, and other programs keep theirs in 9A to 9E. 9C wants the PIN before
    every use. 9E is never chosen, since its key works without a PIN; it can be asked for by name.
    """
    if usage == KeyUsage.SIGN:
        return (*RETIRED, AUTHENTICATION, SIGNATURE)
    return (*RETIRED, KEY_MANAGEMENT)
