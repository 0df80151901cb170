"""Rows of the store as structs, columns in the order of their queries."""

import msgspec

from fidoloop.protocol.uaf.messages import Operation


class Nothing(msgspec.Struct, frozen=True):
    """The row of a statement that returns none."""


class One(msgspec.Struct, frozen=True):
    """A single text, such as the id a RETURNING gives back."""

    value: str


class Count(msgspec.Struct, frozen=True):
    """How many rows there are."""

    rows: int


class Account(msgspec.Struct, frozen=True):
    """A user."""

    username: str
    disabled_at: int | None
    created_at: int


class ApiKey(msgspec.Struct, frozen=True):
    """An API credential; `secret_hash` is SHA-256 in hexadecimal."""

    id: str
    name: str
    secret_hash: str
    created_at: int
    revoked_at: int | None


class Credential(msgspec.Struct, frozen=True):
    """A registered UAF key.

    `display_characteristics` and `verification_methods` are JSON arrays, where the authenticator said any;
    `key_attested` is 1 where a keystore vouched for the key on top of `attestation_type`.
    """

    aaid: str
    key_id: str
    username: str
    public_key: bytes
    public_key_format: int
    signature_algorithm: int
    authenticator_version: int
    sign_counter: int
    created_at: int
    last_used_at: int | None
    owner_disabled_at: int | None
    attestation_type: int
    key_attested: int
    display_characteristics: str | None
    verification_methods: str | None


class Key(msgspec.Struct, frozen=True):
    """What verifying a signature takes of a registered UAF key."""

    username: str
    public_key: bytes
    public_key_format: int
    signature_algorithm: int
    sign_counter: int
    owner_disabled_at: int | None


class Target(msgspec.Struct, frozen=True):
    """A dispatch target; the keys are JWK texts. `expired_at`: its push service said then that its address is gone."""

    id: str
    username: str
    name: str
    device_id: str | None
    dispatcher: str | None
    target: str | None
    signature_key: str
    encryption_key: str
    created_at: int
    last_used_at: int
    expired_at: int | None


class TokenSession(msgspec.Struct, frozen=True):
    """A session as its token sees it; `context` is the JSON text of the GetUAFRequest's context.

    `linking` is the JSON text of a ChannelLinking.
    """

    id: str
    op: str
    username: str | None
    token: str
    context: str
    token_expires_at: int
    redeemed_at: int | None
    state: str
    linking: str | None


class PendingPayload(msgspec.Struct, frozen=True):
    """A payload dispatched to a target; `token_expires_at` is its token's."""

    op: Operation
    token_expires_at: int
    payload: str


class IssuedRequest(msgspec.Struct, frozen=True):
    """A session that waits for its response; `transactions` is a JSON array of base64url contents.

    `linking` is the JSON text of the ChannelLinking that the response must answer, if any.
    """

    id: str
    username: str | None
    challenge: str
    policy: str
    transactions: str | None
    requested_from: str
    linking: str | None = None


class SessionStatus(msgspec.Struct, frozen=True):
    """A session as Status shows it."""

    id: str
    username: str | None
    state: str
    updated_at: int
    token_expires_at: int | None
    redeemed_at: int | None
    dispatcher: str | None
    dispatcher_response: str | None
    request_expires_at: int | None
    uaf_status: int | None
    asm_status: int | None
    client_error: int | None
    authenticators: str | None


class LabSessionRow(msgspec.Struct, frozen=True):
    """A session as the lab console lists it."""

    id: str
    op: str
    username: str | None
    state: str
    created_at: int
    updated_at: int
    token_expires_at: int | None
    redeemed_at: int | None
    dispatcher: str | None
    request_expires_at: int | None
    uaf_status: int | None
    asm_status: int | None
    client_error: int | None


class OpenSession(msgspec.Struct, frozen=True):
    """A user's session that has not ended, and what it hangs on."""

    id: str
    op: str
    target_id: str | None
    policy: str | None


class AuditEntry(msgspec.Struct, frozen=True):
    """One line of the audit trail; `outcome` is a UAF status code, `client_id` that of an OAuth client."""

    at: int
    event: str
    outcome: int
    username: str | None
    aaid: str | None
    key_id: str | None
    session_id: str | None
    address: str | None
    requested_from: str | None
    client_id: str | None = None


class EndedSession(msgspec.Struct, frozen=True):
    """A session as the audit trail sees it; `event` is None where it did not end by a response."""

    at: int
    event: str | None
    outcome: int | None
    username: str | None
    authenticators: str | None
    id: str
    address: str | None
    requested_from: str


class WebOperation(msgspec.Struct, frozen=True):
    """What a page began; `purpose` says what its success is good for."""

    id: str
    purpose: str
    session_id: str
    username: str | None


class WebLogin(msgspec.Struct, frozen=True):
    """A browser that is logged in, and the key that did it."""

    username: str
    aaid: str
    key_id: str
    created_at: int
    expires_at: int


class Spent(msgspec.Struct, frozen=True):
    """A bucket after it was asked: when it is full again, epoch microseconds, and how many were granted."""

    full_at: int
    granted: int
