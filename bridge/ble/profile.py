"""The GATT profile that a token travels by: UUIDs, framing, limits (docs/ble.md)."""

import hashlib
import hmac
import secrets
import struct
from typing import Final, Self

import msgspec

from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.protocol import outofband, strictjson
from fidoloop.protocol.channel_linking import MAX_CONTENT_CHARACTERS
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import MAX_PAYLOAD_CHARACTERS

SERVICE: Final = "19965141-6b83-4b06-bc63-e21b3cadd335"
INFO: Final = "19965142-6b83-4b06-bc63-e21b3cadd335"
CONTROL: Final = "19965143-6b83-4b06-bc63-e21b3cadd335"
DATA: Final = "19965144-6b83-4b06-bc63-e21b3cadd335"
NONCE: Final = "19965145-6b83-4b06-bc63-e21b3cadd335"

VERSION: Final = 1
NAME_PREFIX: Final = "FL-"
"""A station's local name is this and its short id; with the service's UUID it fills one advertisement."""
SHORT_ID_CHARACTERS: Final = 4
SHORT_ID_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""No 0, O, 1, I, L and U: a short id is read off one screen and typed on another."""
MAX_NONCE_BYTES: Final = MAX_CONTENT_CHARACTERS
ATT_HEADER_BYTES: Final = 3
_INFO: Final = struct.Struct(">BH32s")
_OFFSET: Final = struct.Struct(">H")


class Info(msgspec.Struct, frozen=True):
    """What a station serves: the payload's length in bytes and its SHA-256, so that a broken transfer can go on."""

    length: int
    digest: bytes

    @classmethod
    def of(cls, payload: bytes) -> Self:
        """Return the info of a payload. Raises MalformedPayloadError where it is empty or too long."""
        _check_length(len(payload))
        return cls(len(payload), hashlib.sha256(payload).digest())

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Read the characteristic. Raises MalformedPayloadError."""
        if len(value) != _INFO.size:
            raise MalformedPayloadError(f"the station's info has {len(value)} bytes, not {_INFO.size}")
        version, length, digest = _INFO.unpack(value)
        if version != VERSION:
            raise MalformedPayloadError(f"the station speaks version {version} of the profile, not {VERSION}")
        _check_length(length)
        return cls(length, digest)

    def to_bytes(self) -> bytes:
        """Return the characteristic's value."""
        return _INFO.pack(VERSION, self.length, self.digest)

    def matches(self, payload: bytes) -> bool:
        """Tell whether `payload` is the one described."""
        return len(payload) == self.length and hmac.compare_digest(hashlib.sha256(payload).digest(), self.digest)


def served_payload(dispatched: str) -> bytes:
    """Return what a station serves of a dispatch's response, or of any form of the payload.

    Raises:
        MalformedPayloadError: it is no payload, or not encrypted.
    """
    try:
        payload = outofband.decode_scanned(dispatched)
    except MalformedError as error:
        raise MalformedPayloadError(f"not a dispatched token: {error}") from None
    if not isinstance(payload.nma_data, str):
        raise MalformedPayloadError("the token is not encrypted: everybody near could read it")
    return strictjson.encode(payload).encode("utf-8")


def new_short_id() -> str:
    """Return a random short id for a station to show."""
    return "".join(secrets.choice(SHORT_ID_ALPHABET) for _ in range(SHORT_ID_CHARACTERS))


def local_name(short_id: str) -> str:
    """Return what a station of this short id is called on the air."""
    return NAME_PREFIX + short_id


def short_id_in(name: str | None) -> str | None:
    """Return the short id in an advertised local name, None where it is not a station's."""
    short_id = (name or "").removeprefix(NAME_PREFIX)
    usual = len(short_id) == SHORT_ID_CHARACTERS and set(short_id) <= set(SHORT_ID_ALPHABET)
    return short_id if usual and name == local_name(short_id) else None


def encode_offset(offset: int) -> bytes:
    """Return what is written to the control characteristic to have the payload sent from `offset` on."""
    return _OFFSET.pack(offset)


def decode_offset(value: bytes, length: int) -> int | None:
    """Return the offset in a value written to the control characteristic, None where it is none below `length`."""
    if len(value) != _OFFSET.size:
        return None
    offset: int = _OFFSET.unpack(value)[0]
    return offset if offset < length else None


def chunk(payload: bytes, offset: int, mtu: int) -> bytes:
    """Return the notification that carries `payload` from `offset` on, as much as the ATT MTU takes."""
    size = mtu - ATT_HEADER_BYTES - _OFFSET.size
    return _OFFSET.pack(offset) + payload[offset : offset + size]


def split_chunk(value: bytes) -> tuple[int, bytes]:
    """Return offset and bytes of a notification. Raises MalformedPayloadError where there are no bytes."""
    if len(value) <= _OFFSET.size:
        raise MalformedPayloadError("the station sent an empty notification")
    return _OFFSET.unpack_from(value)[0], value[_OFFSET.size :]


def _check_length(length: int) -> None:
    if not 0 < length <= MAX_PAYLOAD_CHARACTERS:
        raise MalformedPayloadError(f"a payload of {length} bytes, where 1 to {MAX_PAYLOAD_CHARACTERS} are taken")
