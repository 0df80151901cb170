"""Tags and bits of authenticator commands (UAF authenticator commands 1.1, 4 to 6; digest section 7)."""

from enum import IntEnum, IntFlag
from typing import Final

API_VERSION: Final = 1
RESPONSE: Final = 0x3600
"""A response's tag: this and the low byte of its command's."""


class Command(IntEnum):
    """TAG_UAFV1_*_CMD."""

    GET_INFO = 0x3401
    REGISTER = 0x3402
    SIGN = 0x3403
    DEREGISTER = 0x3404
    OPEN_SETTINGS = 0x3406


class CommandTag(IntEnum):
    """What stands in commands and responses beside the tags of assertions."""

    KEYHANDLE = 0x2801
    USERNAME_AND_KEYHANDLE = 0x3802
    USERVERIFY_TOKEN = 0x2803
    APPID = 0x2804
    KEYHANDLE_ACCESS_TOKEN = 0x2805
    USERNAME = 0x2806
    ATTESTATION_TYPE = 0x2807
    STATUS_CODE = 0x2808
    AUTHENTICATOR_METADATA = 0x2809
    ASSERTION_SCHEME = 0x280A
    TC_DISPLAY_PNG_CHARACTERISTICS = 0x280B
    TC_DISPLAY_CONTENT_TYPE = 0x280C
    AUTHENTICATOR_INDEX = 0x280D
    API_VERSION = 0x280E
    AUTHENTICATOR_ASSERTION = 0x280F
    TRANSACTION_CONTENT = 0x2810
    AUTHENTICATOR_INFO = 0x3811
    SUPPORTED_EXTENSION_ID = 0x2812
    TOTAL_LENGTH = 0x2813  # in the APDU binding; TRANSACTIONCONFIRMATION_TOKEN elsewhere, which nothing here has


class AuthenticatorType(IntFlag):
    """AUTHENTICATOR_METADATA.AuthenticatorType."""

    SECOND_FACTOR = 0x0001
    ROAMING = 0x0002
    HANDLES_INSIDE = 0x0004
    OWN_VERIFICATION_UI = 0x0008
    OWN_SETTINGS_UI = 0x0010
    WANTS_APPID = 0x0020
    USER_ENROLLED = 0x0040
    USER_VERIFY_TOKEN = 0x0080
    TRANSACTION_HASH_ONLY = 0x0100
