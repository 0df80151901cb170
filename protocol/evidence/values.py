"""What goes into a verification and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from cryptography import x509

from fidoloop.protocol.jose import PublicKey

MAX_VALUE_BYTES = 65_536
MIN_NONCE_BYTES, MAX_NONCE_BYTES = 8, 32
"""32 is what every TPM takes as qualifying data, and what a server sends (attested registration, section 3.1)."""

ClaimValue = str | int | bool | tuple[str, ...]


class EvidenceKind(StrEnum):
    """How a device speaks for a key."""

    PIV = "piv-attestation"
    YUBIHSM = "yubihsm-attestation"
    TPM = "tpm2-certify"
    PKIX = "pkix-evidence"
    PKCS11 = "p11-claims"


class Source(StrEnum):
    """Who says what evidence says."""

    DEVICE = "device-signed"
    UNSIGNED = "unsigned"


class Tier(StrEnum):
    """What evidence is worth."""

    ATTESTED = "attested"
    """Signed by a device that a pinned anchor vouches for."""
    UNATTESTED = "unattested"
    """Said by nobody in particular: a policy allows nothing for it."""


class EvidenceCheck(StrEnum):
    """The checks of a verification; the code of a refusal."""

    NONCE = "nonce"
    POSSESSION = "possession"
    KEY = "key"
    ANCHOR = "anchor"
    ALGORITHM = "algorithm"
    VALIDITY = "validity"
    CA = "CA"
    EXTENSION = "extension"
    SIGNATURE = "signature"
    ATTRIBUTES = "attributes"


class EvidenceRefusal(ValueError):
    """Evidence is well formed and does not verify; `check` says which check failed, `detail` how."""

    def __init__(self, check: EvidenceCheck, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail

    @property
    def code(self) -> str:
        """Stable, for programs."""
        return f"evidence_{self.check.lower()}"


@dataclass(frozen=True)
class Evidence:
    """Evidence about one key, as its kind encodes it.

    `possession` is a signature by the key itself over `possession_message`, for the kinds that carry no nonce.
    """

    kind: EvidenceKind
    value: bytes
    possession: bytes = b""


@dataclass(frozen=True)
class Anchors:
    """What is trusted from the outset: root certificates, and public keys of attestation keys."""

    certificates: Sequence[x509.Certificate] = ()
    keys: Sequence[PublicKey] = ()


@dataclass(frozen=True)
class Appraisal:
    """What verified evidence says: about which key, by whom it is said, and what that is worth."""

    kind: EvidenceKind
    tier: Tier
    source: Source
    key: PublicKey
    signed_by: str
    """The anchor that vouches: a root's name, or "pinned key"; empty for unsigned claims."""
    claims: Mapping[str, ClaimValue] = field(default_factory=lambda: MappingProxyType({}))
