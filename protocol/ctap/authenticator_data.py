"""Authenticator data, which authenticators sign (WebAuthn level 3, section 6.1)."""

import struct
from typing import Any, Final

from fidoloop.protocol.ctap.canonical_cbor import encode

USER_PRESENT: Final = 0x01
USER_VERIFIED: Final = 0x04
ATTESTED_CREDENTIAL_DATA: Final = 0x40
EXTENSION_DATA: Final = 0x80


def encode_authenticator_data(
    rp_id_hash: bytes,
    flags: int,
    sign_count: int,
    *,
    attested_credential: bytes = b"",
    extensions: dict[str, Any] | None = None,
) -> bytes:
    """Return authenticator data; the flags AT and ED are set here, by what there is to include.

    Args:
        rp_id_hash: SHA-256 of the RP ID, 32 bytes.
        flags: USER_PRESENT and USER_VERIFIED.
        sign_count: 0 to 2**32 - 1.
        attested_credential: what `encode_attested_credential` returned, empty in assertions.
        extensions: authenticator extension outputs; an empty map is left out.
    """
    if attested_credential:
        flags |= ATTESTED_CREDENTIAL_DATA
    if not extensions:
        return struct.pack(">32sBI", rp_id_hash, flags, sign_count) + attested_credential
    head = struct.pack(">32sBI", rp_id_hash, flags | EXTENSION_DATA, sign_count)
    return head + attested_credential + encode(extensions)


def encode_attested_credential(aaguid: bytes, credential_id: bytes, public_key: dict[int, Any]) -> bytes:
    """Return attested credential data (6.5.1): AAGUID of 16 bytes, an id of up to 1,023, a COSE key."""
    return aaguid + len(credential_id).to_bytes(2, "big") + credential_id + encode(public_key)
