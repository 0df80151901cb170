"""Rows of the FIDO2 tables as structs, columns in the order of their queries."""

import msgspec


class Fido2Credential(msgspec.Struct, frozen=True):
    """A registered FIDO2 credential; `transports` is a JSON array, 0 and 1 stand for no and yes."""

    id: str
    username: str
    public_key: bytes
    sign_count: int
    backup_eligible: int
    backup_state: int
    transports: str
    discoverable: int | None
    aaguid: str
    format: str
    attestation_type: str
    trusted: int
    model: str | None
    created_at: int
    last_used_at: int | None
    owner_disabled_at: int | None


class Fido2Session(msgspec.Struct, frozen=True):
    """A ceremony; `options` is a JSON text, `consumed_at` None while no result has come."""

    id: str
    kind: str
    username: str | None
    challenge: str
    authority: str
    options: str
    state: str
    updated_at: int
    expires_at: int
    consumed_at: int | None
    requested_from: str
    credential_id: str | None
    user_verified: int | None
    rule: str | None
