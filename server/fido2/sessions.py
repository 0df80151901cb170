"""One ceremony from its options to its result: the challenge is consumed in one statement, whatever comes of it."""

import secrets
from typing import Any, Literal

import msgspec

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.protocol.webauthn.client_data import CREATE, GET, parse_client_data
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.server import audit
from fidoloop.server.fido2.errors import ElsewhereError
from fidoloop.server.sessions import new_session_id
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.fido2_rows import Fido2Session

Kind = Literal["create", "get"]
OPEN = ""
"""The authority of ceremonies that anybody may answer."""
INITIALIZED, SUCCEEDED, FAILED = "initialized", "succeeded", "failed"
_CHALLENGE_BYTES = 32
_EVENTS = {"create": "fido2-registration", "get": "fido2-authentication"}
_TYPES = {"create": CREATE, "get": GET}
_CODES = {
    Rule.CHALLENGE: StatusCode.REQUEST_INVALID,
    Rule.ALGORITHM: StatusCode.UNACCEPTABLE_ALGORITHM,
    Rule.STATUS: StatusCode.REVOKED_AUTHENTICATOR,
    Rule.FORMAT: StatusCode.UNACCEPTABLE_ATTESTATION,
    Rule.ATTESTATION: StatusCode.UNACCEPTABLE_ATTESTATION,
    Rule.TRUST: StatusCode.UNACCEPTABLE_ATTESTATION,
    Rule.CREDENTIAL: StatusCode.UNKNOWN_KEYID,
}
"""Refusals in the codes of the audit trail; all others are UNACCEPTABLE_CONTENT."""


class StoredOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a result is held against. `decoy`: the options named credentials that there are not."""

    user_verification_required: bool
    algorithms: tuple[int, ...] = ()
    allowed: tuple[str, ...] = ()
    decoy: bool = False
    extensions: dict[str, Any] = {}


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A ceremony about to begin; `authority` is who may answer it, `lifetime` in milliseconds."""

    kind: Kind
    username: str | None
    authority: str
    options: StoredOptions
    lifetime: int
    requested_from: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a ceremony ended; `rule` is the one that was broken, None for success."""

    username: str | None
    credential_id: str | None = None
    aaguid: str | None = None
    user_verified: bool = False
    rule: Rule | None = None


async def begin(transaction: Transaction, new: NewSession, *, now: int) -> tuple[str, str]:
    """Store a ceremony; return its session id, and its challenge in base64url."""
    session_id, challenge = new_session_id(now), base64url.encode(secrets.token_bytes(_CHALLENGE_BYTES))
    await transaction.execute(
        fido2_queries.ADD_SESSION,
        id=session_id,
        kind=new.kind,
        username=new.username,
        challenge=challenge,
        authority=new.authority,
        options=strictjson.encode(new.options),
        expires_at=now + new.lifetime,
        requested_from=new.requested_from,
        now=now,
    )
    return session_id, challenge


async def consume(
    transaction: Transaction, kind: Kind, client_data_json: str, *, authority: str, now: int
) -> tuple[Fido2Session, StoredOptions]:
    """Consume the challenge that client data (base64url) names; of any number of callers exactly one gets it.

    Raises:
        WebAuthnRefusal: MALFORMED, TYPE, CHALLENGE (unknown, used, expired). Then nothing has changed.
        ElsewhereError: it is another's to answer. Then nothing has changed.
    """
    client_data = parse_client_data(_decoded(client_data_json))
    if client_data.type != _TYPES[kind]:
        raise WebAuthnRefusal(Rule.TYPE, f"clientDataJSON.type is not {_TYPES[kind]}")
    challenge = client_data.challenge
    found = await transaction.fetch_one(
        fido2_queries.CONSUME, challenge=challenge, kind=kind, authority=authority, now=now
    )
    if found is not None:
        return found, msgspec.json.decode(found.options, type=StoredOptions)
    known = await transaction.fetch_one(fido2_queries.SESSION_OF_CHALLENGE, challenge=challenge, kind=kind)
    if known is None:
        raise WebAuthnRefusal(Rule.CHALLENGE, "no options with this challenge were given out")
    if known.consumed_at is not None:
        raise WebAuthnRefusal(Rule.CHALLENGE, "the challenge was used before; ask for new options")
    if known.expires_at <= now:
        raise WebAuthnRefusal(Rule.CHALLENGE, "the challenge has expired; ask for new options")
    raise ElsewhereError("the options were another caller's, who must bring the result")


async def end(transaction: Transaction, session: Fido2Session, ended: Ended, *, address: str, now: int) -> None:
    """Write down how a consumed ceremony ended."""
    await transaction.execute(
        fido2_queries.END,
        id=session.id,
        state=SUCCEEDED if ended.rule is None else FAILED,
        username=ended.username,
        credential_id=ended.credential_id,
        user_verified=int(ended.user_verified),
        rule=None if ended.rule is None else str(ended.rule),
        now=now,
    )
    code = StatusCode.OK if ended.rule is None else _CODES.get(ended.rule, StatusCode.UNACCEPTABLE_CONTENT)
    await audit.record(
        transaction,
        now=now,
        event=_EVENTS[session.kind],
        outcome=code,
        username=ended.username,
        aaid=ended.aaguid,
        key_id=ended.credential_id,
        session_id=session.id,
        address=address,
        requested_from=session.requested_from,
    )


async def note_clone(transaction: Transaction, session: Fido2Session, ended: Ended, *, address: str, now: int) -> None:
    """Write down that a key may have a clone, though its user was let in."""
    await audit.record(
        transaction,
        now=now,
        event="fido2-clone-suspected",
        outcome=StatusCode.UNACCEPTABLE_CONTENT,
        username=ended.username,
        aaid=ended.aaguid,
        key_id=ended.credential_id,
        session_id=session.id,
        address=address,
        requested_from=session.requested_from,
    )


def _decoded(client_data_json: str) -> bytes:
    try:
        return base64url.decode(client_data_json, "clientDataJSON")
    except ValueError as error:
        raise WebAuthnRefusal(Rule.MALFORMED, str(error)) from None
