"""What a slot's certificate container holds: certificate and our mark (NIST SP 800-73-4 part 1, table 10 and after).

A PIV card keeps no ids, labels or usages. They go into the container's MSCUID element (72), which the standard leaves
to the host: "FL", a byte of flags, the key id. Other programs' containers have no such mark: then the key's id is the
SHA-256 of its public key, and its usage is read from the certificate, else from the slot.
"""

import gzip
import io
import zlib
from dataclasses import dataclass, replace
from typing import Final

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import KeyUsage
from fidoloop.hsm.piv import tlv

_CERTIFICATE: Final = 0x70
_CERTIFICATE_INFO: Final = 0x71
_MSCUID: Final = 0x72
_ERROR_DETECTION: Final = 0xFE
_COMPRESSED: Final = 0x01
MAX_CERTIFICATE: Final = 32768
_MAGIC: Final = b"FL"
_MSCUID_BYTES: Final = 38
MAX_KEY_ID: Final = _MSCUID_BYTES - len(_MAGIC) - 1
"""Bytes of the longest key id."""
_USAGES: Final = {KeyUsage.SIGN: 1, KeyUsage.DERIVE: 2, KeyUsage.DECRYPT: 3}
_USAGE_OF: Final = {number: usage for usage, number in _USAGES.items()}
_USAGE_MASK: Final = 0x0F
_PLACEHOLDER: Final = 0x80
_DELETED: Final = 0x00


@dataclass(frozen=True)
class Mark:
    """Our mark: id and usage of the key; `placeholder` where the certificate only carries its public key and label.

    `usage` is None where the key was deleted: the slot is free, whatever key the card could not destroy is in it.
    """

    key_id: bytes
    usage: KeyUsage | None
    placeholder: bool = False

    def encode(self) -> bytes:
        """Return the MSCUID. Raises NotSupported where the id is too long."""
        if len(self.key_id) > MAX_KEY_ID:
            raise NotSupported(f"a PIV card keeps key ids of up to {MAX_KEY_ID} bytes")
        flags = _DELETED if self.usage is None else _USAGES[self.usage]
        return _MAGIC + bytes((flags | (_PLACEHOLDER if self.placeholder else 0),)) + self.key_id


DELETED: Final = Mark(b"", None)


@dataclass(frozen=True)
class Container:
    """A certificate container: the certificate (DER) or None, and the MSCUID, which may be empty."""

    certificate: bytes | None
    mscuid: bytes = b""

    @property
    def mark(self) -> Mark | None:
        """Our mark, None in a container of another program's."""
        if not self.mscuid.startswith(_MAGIC) or len(self.mscuid) <= len(_MAGIC):
            return None
        flags, key_id = self.mscuid[len(_MAGIC)], self.mscuid[len(_MAGIC) + 1 :]
        if flags == _DELETED and not key_id:
            return DELETED
        usage = _USAGE_OF.get(flags & _USAGE_MASK)
        known = flags & ~(_USAGE_MASK | _PLACEHOLDER) == 0
        return Mark(key_id, usage, bool(flags & _PLACEHOLDER)) if usage is not None and known and key_id else None

    def with_certificate(self, der: bytes) -> "Container":
        """Return the container with another certificate and the same MSCUID, which no longer marks a placeholder."""
        mark = self.mark
        if mark is None:
            return Container(der, self.mscuid)
        return Container(der, replace(mark, placeholder=False).encode())

    def encode(self) -> bytes:
        """Return the data object's content."""
        certificate = tlv.encode(_CERTIFICATE, self.certificate or b"") + tlv.encode(_CERTIFICATE_INFO, b"\0")
        mscuid = tlv.encode(_MSCUID, self.mscuid) if self.mscuid else b""
        return certificate + mscuid + tlv.encode(_ERROR_DETECTION, b"")


def read_container(content: bytes) -> Container:
    """Read a container; a certificate packed with gzip (CertInfo 01) is unpacked.

    Raises:
        ValueError: it is not one, or its certificate is longer than 32 kB unpacked.
    """
    found = tlv.fields(content)
    info = found.get(_CERTIFICATE_INFO, b"\0")
    if len(info) != 1:
        raise tlv.TlvError("CertInfo has one byte")
    certificate = found.get(_CERTIFICATE, b"")
    if info[0] & 0x03 == _COMPRESSED and certificate:
        certificate = _unpacked(certificate)
    return Container(certificate or None, found.get(_MSCUID, b""))


def _unpacked(packed: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            certificate = file.read(MAX_CERTIFICATE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError("the certificate is not packed with gzip") from error
    if len(certificate) > MAX_CERTIFICATE:
        raise ValueError("the certificate is longer than any is")
    return certificate
