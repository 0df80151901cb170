"""Dispatched tokens: what a QR code, a link or a push carries to a phone."""

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import JoseRefusal
from fidoloop.protocol.outofband import NmaData, decode_scanned
from fidoloop.protocol.outofband import open_payload as _open

__all__ = ["JoseRefusal", "MalformedError", "NmaData", "open_payload"]


def open_payload(text: str, key: PrivateKeyTypes | None = None) -> NmaData:
    """Return what a dispatched token says, decrypted by `key`, a hardware key or another, where it is encrypted.

    `text` is what the QR code, the link or the push holds.

    Raises:
        MalformedError: it is no dispatched token.
        JoseRefusal: it is encrypted to another key, or no key was given.
    """
    return _open(decode_scanned(text), key)
