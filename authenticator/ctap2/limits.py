"""What this authenticator has room for, as getInfo claims it (CTAP 2.1, section 6.4)."""

from typing import Final

from fidoloop.authenticator.ctap2.credentials import MAX_BLOB, MAX_ID_BYTES

MAX_MESSAGE: Final = 2048
MAX_LIST: Final = 16
"""Credentials in an allow or exclude list."""
MAX_CREDENTIAL_ID: Final = MAX_ID_BYTES
MAX_RESIDENT: Final = 128
MAX_CRED_BLOB: Final = MAX_BLOB
MAX_RP_IDS: Final = 8
"""RP IDs that may be told the minimum PIN length."""
MAX_USER_ID: Final = 64
MAX_NAME: Final = 64
"""Bytes kept of a name; more is cut off between characters (section 6.1.2)."""
MAX_RP_ID: Final = 255
MIN_PIN_LENGTH: Final = 4
MAX_PIN_BYTES: Final = 63
MAX_LARGE_BLOBS: Final = 4096
"""Bytes of the serialized large-blob array."""
MAX_FRAGMENT: Final = MAX_MESSAGE - 64
"""Bytes of it in one message (section 6.10.2)."""
