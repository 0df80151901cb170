"""Authenticator data: what the authenticator says of the ceremony, in binary (WebAuthn 6.1)."""

from collections.abc import Mapping
from enum import IntFlag
from typing import Any, NamedTuple

from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

MAX_CREDENTIAL_ID = 1023
_WHERE = "authenticatorData"
_HEADER = 37


class Flags(IntFlag):
    """The flags (6.1); bits 1 and 5 are reserved."""

    UP = 0x01
    UV = 0x04
    BE = 0x08
    BS = 0x10
    AT = 0x40
    ED = 0x80


UP, UV, BE, BS, AT, ED = (int(flag) for flag in Flags)
"""The flags as plain numbers, whose operations cost a tenth."""


class AttestedCredential(NamedTuple):
    """Attested credential data (6.5.1); `public_key` is the COSE_Key as it was sent."""

    aaguid: bytes
    id: bytes
    public_key: bytes


class AuthenticatorData(NamedTuple):
    """Authenticator data, with its bytes; `credential` and `extensions` where the flags say so."""

    raw: bytes
    rp_id_hash: bytes
    flags: int
    sign_count: int
    credential: AttestedCredential | None
    extensions: Mapping[object, Any]

    @property
    def user_verified(self) -> bool:
        """Whether the authenticator verified the user."""
        return bool(self.flags & UV)

    @property
    def backup_eligible(self) -> bool:
        """Whether the credential may be on several devices."""
        return bool(self.flags & BE)

    @property
    def backup_state(self) -> bool:
        """Whether the credential is backed up at present."""
        return bool(self.flags & BS)


def parse_authenticator_data(raw: bytes) -> AuthenticatorData:
    """Return the authenticator data in `raw`.

    Raises:
        MalformedError: cut short, longer than its flags say, or CBOR inside it that is not as it must be.
    """
    if len(raw) < _HEADER:
        raise MalformedError(_WHERE, f"{len(raw)} bytes, at least {_HEADER} expected")
    flags, at = raw[32], _HEADER
    credential: AttestedCredential | None = None
    extensions: Mapping[object, Any] = {}
    if flags & AT:
        credential, at = _credential(raw, at)
    if flags & ED:
        found, at = _item(raw, at, f"{_WHERE}.extensions")
        if not isinstance(found, dict):
            raise MalformedError(f"{_WHERE}.extensions", "not a map")
        extensions = found
    if at != len(raw):
        raise MalformedError(_WHERE, f"{len(raw) - at} bytes more than its flags say")
    return AuthenticatorData(raw, raw[:32], flags, int.from_bytes(raw[33:37]), credential, extensions)


def _credential(raw: bytes, at: int) -> tuple[AttestedCredential, int]:
    where = f"{_WHERE}.attestedCredentialData"
    id_at = at + 18
    key_at = id_at + int.from_bytes(raw[at + 16 : id_at])
    if len(raw) < key_at:
        raise MalformedError(where, "is cut short")
    _, end = _item(raw, key_at, f"{where}.credentialPublicKey")
    return AttestedCredential(raw[at : at + 16], raw[id_at:key_at], raw[key_at:end]), end


def _item(raw: bytes, at: int, where: str) -> tuple[object, int]:
    try:
        return canonical_cbor.decode_first(raw, at)
    except canonical_cbor.CborError as error:
        raise MalformedError(where, str(error)) from None


def check_authenticator_data(
    found: AuthenticatorData, *, rp: RelyingParty, user_presence_required: bool, user_verification_required: bool
) -> None:
    """Hold authenticator data against what the relying party expects.

    Raises:
        WebAuthnRefusal: RP_ID, USER_PRESENCE, USER_VERIFICATION, BACKUP_STATE, in this order.
    """
    if found.rp_id_hash != rp.id_hash:
        raise WebAuthnRefusal(Rule.RP_ID, f"authenticatorData.rpIdHash is not that of {rp.id}")
    flags = found.flags
    if user_presence_required and not flags & UP:
        raise WebAuthnRefusal(Rule.USER_PRESENCE, "authenticatorData: the user was not present (UP)")
    if user_verification_required and not flags & UV:
        raise WebAuthnRefusal(Rule.USER_VERIFICATION, "authenticatorData: the user was not verified (UV)")
    if flags & BS and not flags & BE:
        raise WebAuthnRefusal(Rule.BACKUP_STATE, "authenticatorData: backed up (BS), though not eligible for it (BE)")
