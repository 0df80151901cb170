"""Numbers of the PIV card application (NIST SP 800-73-4, SP 800-78-4) and of Yubico's extensions to it."""

from enum import IntEnum
from typing import Final

AID: Final = bytes.fromhex("a00000030800001000 0100")
"""SP 800-73-4 part 1, 2.2: registered provider, application, version 1.0."""


class Ins(IntEnum):
    """Instructions (SP 800-73-4 part 2, table 2); those from IMPORT_KEY on are Yubico's."""

    VERIFY = 0x20
    CHANGE_REFERENCE_DATA = 0x24
    RESET_RETRY_COUNTER = 0x2C
    GENERATE_ASYMMETRIC_KEY_PAIR = 0x47
    GENERAL_AUTHENTICATE = 0x87
    GET_DATA = 0xCB
    PUT_DATA = 0xDB
    MOVE_KEY = 0xF6
    GET_METADATA = 0xF7
    GET_SERIAL = 0xF8
    ATTEST = 0xF9
    SET_PIN_RETRIES = 0xFA
    RESET = 0xFB
    GET_VERSION = 0xFD
    IMPORT_KEY = 0xFE
    SET_MANAGEMENT_KEY = 0xFF


class Algorithm(IntEnum):
    """Cryptographic mechanism identifiers (SP 800-78-4, table 6-2) of what this card does."""

    TDES = 0x03
    RSA2048 = 0x07
    AES128 = 0x08
    AES192 = 0x0A
    AES256 = 0x0C
    P256 = 0x11
    P384 = 0x14


class PinPolicy(IntEnum):
    """When a private key wants the PIN (Yubico's numbers)."""

    DEFAULT = 0
    NEVER = 1
    ONCE = 2
    ALWAYS = 3


class Origin(IntEnum):
    """Where a private key comes from (Yubico's numbers)."""

    GENERATED = 1
    IMPORTED = 2


PIN: Final = 0x80
PUK: Final = 0x81
MANAGEMENT: Final = 0x9B
AUTHENTICATION: Final = 0x9A
SIGNATURE: Final = 0x9C
KEY_MANAGEMENT: Final = 0x9D
CARD_AUTHENTICATION: Final = 0x9E
ATTESTATION: Final = 0xF9
RETIRED: Final = range(0x82, 0x96)
SLOTS: Final = frozenset({AUTHENTICATION, SIGNATURE, KEY_MANAGEMENT, CARD_AUTHENTICATION, *RETIRED})
"""Key references of asymmetric keys (SP 800-73-4 part 1, table 4)."""

DISCOVERY: Final = 0x7E
CHUID: Final = 0x5FC102
CAPABILITIES: Final = 0x5FC107
ATTESTATION_CERTIFICATE: Final = 0x5FFF01
PIN_PROTECTED: Final = frozenset({0x5FC103, 0x5FC108, 0x5FC109, 0x5FC121, 0x5FC123})
"""Read only after VERIFY (part 1, table 2): fingerprints, facial image, printed information, irises, pairing code."""
