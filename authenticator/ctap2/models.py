"""Models: one AAGUID is one model, as one AAID is for UAF (authenticator/models.py)."""

import uuid
from typing import Final

from fidoloop.authenticator.models import StoreKind
from fidoloop.hsm.keystore import TokenInfo

_FAMILY: Final = "f10bf1d0-0000-4000-8000-00000000"
FIRMWARE_VERSION: Final = 1


def aaguid(token: TokenInfo, *, full_attestation: bool, built_in_verification: bool) -> bytes:
    """Return the AAGUID, 16 bytes: kind of key store as in AAIDs, full attestation or self, built-in verification."""
    attestation, verification = ("1" if full_attestation else "9"), ("1" if built_in_verification else "2")
    return uuid.UUID(f"{_FAMILY}{StoreKind.of(token).value:02}{attestation}{verification}").bytes
