"""authenticatorLargeBlobs (CTAP 2.1, section 6.10)."""

import hashlib
import hmac
from typing import Any, Final

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.limits import MAX_FRAGMENT, MAX_LARGE_BLOBS
from fidoloop.authenticator.ctap2.members import Members, optional, unsigned
from fidoloop.authenticator.ctap2.proofs import require_proof

_GET, _SET, _OFFSET, _LENGTH, _AUTH, _PROTOCOL = range(1, 7)
_COMMAND: Final = 0x0C
_CONFIG: Final = 0x01
_HASH_BYTES: Final = 16
_LEAST: Final = 17
"""Bytes of a serialized array: one of CBOR, and the hash."""


def large_blobs(core: Core, members: Members) -> dict[int, Any]:
    """Read or write a part of the serialized large-blob array. Raises CtapError; TamperedStateError."""
    get, content = unsigned(members, _GET), optional(members, _SET, bytes)
    offset, length = unsigned(members, _OFFSET), unsigned(members, _LENGTH)
    if offset is None or (get is None) == (content is None):
        raise CtapError(ERR.INVALID_PARAMETER)
    if content is not None:
        return _write(core, members, content, offset, length)
    assert get is not None
    if length is not None or _AUTH in members or _PROTOCOL in members:
        raise CtapError(ERR.INVALID_PARAMETER)
    if get > MAX_FRAGMENT:
        raise CtapError(ERR.INVALID_LENGTH)
    serialized = core.state.large_blobs()
    if offset > len(serialized):
        raise CtapError(ERR.INVALID_PARAMETER)
    return {_CONFIG: serialized[offset : offset + get]}


def _write(core: Core, members: Members, content: bytes, offset: int, length: int | None) -> dict[int, Any]:
    writing = core.large_blob_writing
    if len(content) > MAX_FRAGMENT:
        raise CtapError(ERR.INVALID_LENGTH)
    if offset == 0:
        if length is None:
            raise CtapError(ERR.INVALID_PARAMETER)
        if length > MAX_LARGE_BLOBS:
            raise CtapError(ERR.LARGE_BLOB_STORAGE_FULL)
        if length < _LEAST:
            raise CtapError(ERR.INVALID_PARAMETER)
        writing.expected_length, writing.written = length, b""
    elif length is not None:
        raise CtapError(ERR.INVALID_PARAMETER)
    if offset != len(writing.written):
        raise CtapError(ERR.INVALID_SEQ)
    if core.protected or core.state.settings.always_uv:
        message = b"\xff" * 32 + bytes((_COMMAND, 0)) + offset.to_bytes(4, "little") + hashlib.sha256(content).digest()
        require_proof(
            core, members, protocol=_PROTOCOL, parameter=_AUTH, message=message, permission=Permission.LARGE_BLOB_WRITE
        )
    if offset + len(content) > writing.expected_length:
        raise CtapError(ERR.INVALID_PARAMETER)
    writing.written += content
    if len(writing.written) == writing.expected_length:
        serialized, writing.written, writing.expected_length = writing.written, b"", 0
        body, code = serialized[:-_HASH_BYTES], serialized[-_HASH_BYTES:]
        if not hmac.compare_digest(hashlib.sha256(body).digest()[:_HASH_BYTES], code):
            raise CtapError(ERR.INTEGRITY_FAILURE)
        core.state.store_large_blobs(serialized)
    return {}
