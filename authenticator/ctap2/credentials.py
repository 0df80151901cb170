"""Credentials and their ids.

The key pair is in the token, found by the 16 random bytes of the id. The id also says what has to be known of a
credential that is stored nowhere else: algorithm, protection, whether it has an hmac-secret, and the relying party's
own credBlob. A MAC binds all of it to the relying party, so that nobody but this authenticator can have made it, and
nobody else's request can use it.
"""

import hmac
from enum import IntEnum
from typing import Final, Protocol

import msgspec

from fidoloop.protocol.ctap.canonical_cbor import Encoded, encode

KEY_ID_BYTES: Final = 16
_VERSION: Final = 0x02
_RESIDENT, _HMAC_SECRET = 0x10, 0x20
_MAC_BYTES: Final = 32
_HEAD_BYTES: Final = 1 + KEY_ID_BYTES + 2
MAX_BLOB: Final = 32
MAX_ID_BYTES: Final = _HEAD_BYTES + MAX_BLOB + _MAC_BYTES


class Protection(IntEnum):
    """credProtect (CTAP 2.1, section 12.1)."""

    OPTIONAL = 1
    OPTIONAL_WITH_LIST = 2
    REQUIRED = 3


class Maker(Protocol):
    """What computes the MACs; see `Ctap2State.secret_mac`."""

    def secret_mac(self, purpose: str, *parts: bytes) -> bytes:
        """Return 32 bytes."""


class Credential(msgspec.Struct, frozen=True):
    """A credential, its id decoded. `algorithm` is a COSE number, `descriptor` how answers name it.

    `cred_blob` is empty where there is none, or where it is stored (discoverable credentials).
    """

    key_id: bytes
    algorithm: int
    protection: Protection
    hmac_secret: bool
    resident: bool
    credential_id: bytes
    cred_blob: bytes
    descriptor: Encoded


# COSE numbers are written as one byte; a new algorithm takes the next.
_ALGORITHM_CODES: Final = {-7: 1, -35: 2, -257: 3, -8: 4}
_CODED_ALGORITHMS: Final = {code: number for number, code in _ALGORITHM_CODES.items()}


def make_credential_id(
    maker: Maker,
    rp_id_hash: bytes,
    *,
    key_id: bytes,
    algorithm: int,
    protection: Protection,
    hmac_secret: bool,
    resident: bool,
    cred_blob: bytes = b"",
) -> Credential:
    """Return the credential of a key just made, with its id; `cred_blob` has up to MAX_BLOB bytes."""
    flags = protection | (_HMAC_SECRET if hmac_secret else 0) | (_RESIDENT if resident else 0)
    body = bytes((_VERSION,)) + key_id + bytes((_ALGORITHM_CODES[algorithm], flags)) + cred_blob
    return _read(body + maker.secret_mac("credential id", rp_id_hash, body))


def read_credential_id(maker: Maker, rp_id_hash: bytes, credential_id: bytes) -> Credential | None:
    """Return the credential, None where this authenticator did not make this id for this relying party."""
    if not MAX_ID_BYTES - MAX_BLOB <= len(credential_id) <= MAX_ID_BYTES or credential_id[0] != _VERSION:
        return None
    body, mac = credential_id[:-_MAC_BYTES], credential_id[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, maker.secret_mac("credential id", rp_id_hash, body)):
        return None
    return _read(credential_id)


def _read(credential_id: bytes) -> Credential:
    code, flags = credential_id[_HEAD_BYTES - 2 : _HEAD_BYTES]
    return Credential(
        key_id=credential_id[1 : 1 + KEY_ID_BYTES],
        algorithm=_CODED_ALGORITHMS[code],
        protection=Protection(flags & 0x0F),
        hmac_secret=bool(flags & _HMAC_SECRET),
        resident=bool(flags & _RESIDENT),
        credential_id=credential_id,
        cred_blob=credential_id[_HEAD_BYTES:-_MAC_BYTES],
        descriptor=Encoded(encode({"id": credential_id, "type": "public-key"})),
    )
