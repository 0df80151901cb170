"""The authentication ceremony: options for a user, or for whoever answers, and the assertion (WebAuthn 7.2)."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET

from fidoloop.protocol.uaf.cose_keys import encode_cose_key
from fidoloop.protocol.webauthn.algorithms import signature_algorithm
from fidoloop.protocol.webauthn.extensions import check_inputs
from fidoloop.protocol.webauthn.messages import (
    AuthenticationCredential,
    CredentialDescriptor,
    RequestOptions,
    UserVerification,
)
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.verify_authentication_response import (
    Assertion,
    AuthenticationExpectations,
    CredentialRecord,
    verify_authentication_response,
)
from fidoloop.server import accounts
from fidoloop.server.environment import Environment
from fidoloop.server.fido2 import sessions
from fidoloop.server.fido2.configured import relying_party
from fidoloop.server.fido2.credentials import descriptor, transports
from fidoloop.server.fido2.secrets import decoy_credentials, load_secret, user_handle
from fidoloop.server.fido2.user_verification import lifetime_millis, stricter
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.fido2_rows import Fido2Credential, Fido2Session

_NOBODYS_KEY = encode_cose_key(ec.generate_private_key(ec.SECP256R1()).public_key(), signature_algorithm(-7))
REFUSED = "the assertion was refused; the server's log says why"
_log = logging.getLogger("fidoloop.server.fido2")


class NewAuthentication(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to be authenticated, None for whoever answers; what is left out, the settings say."""

    username: str | None = None
    user_verification: UserVerification | None = None
    extensions: Mapping[str, Any] = {}


class Authenticated(NamedTuple):
    """Who was authenticated, by what."""

    session_id: str
    username: str
    credential_id: str
    transports: tuple[str, ...]
    user_verified: bool
    clone_suspected: bool


async def begin_authentication(
    environment: Environment, new: NewAuthentication, *, requested_from: str, authority: str = sessions.OPEN
) -> tuple[str, RequestOptions]:
    """Return a session id and the options. A user who is not there, or has no credentials, gets decoys.

    Raises:
        MalformedError: extensions that nobody could act upon.
    """
    check_inputs(new.extensions)
    settings, now = environment.config.fido2, environment.clock()
    verification = stricter(new.user_verification, settings.user_verification)
    lifetime = lifetime_millis(environment.config.lifetimes, verification)
    async with environment.store.transaction() as transaction:
        allowed, decoy = await _allowed(transaction, new.username, settings.rp_id)
        session = sessions.NewSession(
            kind="get",
            username=new.username,
            authority=authority,
            options=sessions.StoredOptions(
                user_verification_required=verification == "required",
                allowed=tuple(one.id for one in allowed),
                decoy=decoy,
                extensions=dict(new.extensions),
            ),
            lifetime=lifetime,
            requested_from=requested_from,
        )
        session_id, challenge = await sessions.begin(transaction, session, now=now)
    return session_id, RequestOptions(
        challenge=challenge,
        rpId=settings.rp_id,
        timeout=lifetime,
        allowCredentials=allowed,
        userVerification=verification,
        extensions=dict(new.extensions) or UNSET,
    )


async def finish_authentication(
    environment: Environment, credential: AuthenticationCredential, *, address: str, authority: str = sessions.OPEN
) -> Authenticated:
    """Verify what get() gave. The challenge is used up, whatever comes of it.

    Raises:
        WebAuthnRefusal: the first rule that is broken. Once credentials were looked up, its words are REFUSED and no
            more: they would tell users who are there from those with decoys. The log says what was wrong.
        ElsewhereError: the options were another authority's; nothing has changed then.
    """
    now = environment.clock()
    refusal: WebAuthnRefusal | None = None
    async with environment.store.transaction() as transaction:
        session, options = await sessions.consume(
            transaction, "get", credential.response.clientDataJSON, authority=authority, now=now
        )
        try:
            async with transaction.savepoint():
                found, assertion = await _verified(environment, transaction, credential, session, options)
                await _use(environment, transaction, found, assertion, now)
            ended = sessions.Ended(
                username=found.username,
                credential_id=found.id,
                aaguid=found.aaguid,
                user_verified=assertion.user_verified,
            )
        except WebAuthnRefusal as error:
            refusal = error
            ended = sessions.Ended(username=session.username, credential_id=credential.id, rule=error.rule)
        await sessions.end(transaction, session, ended, address=address, now=now)
        if refusal is None and assertion.clone_suspected:
            await sessions.note_clone(transaction, session, ended, address=address, now=now)
    if refusal is not None:
        _log.info("authentication refused: %s: %s", refusal.rule, refusal.detail)
        raise WebAuthnRefusal(refusal.rule, REFUSED) from None
    if assertion.clone_suspected:
        _log.warning("the counter of credential %s of %s did not rise: a clone?", found.id, found.username)
    return Authenticated(
        session.id, found.username, found.id, transports(found), assertion.user_verified, assertion.clone_suspected
    )


async def _allowed(
    transaction: Transaction, username: str | None, rp_id: str
) -> tuple[tuple[CredentialDescriptor, ...], bool]:
    """Return the credentials to name, and whether they are decoys. The same is looked up whoever is named."""
    if username is None:
        return (), False
    secret = await load_secret(transaction)
    there = await transaction.fetch_all(fido2_queries.CREDENTIALS_OF, username=username, rp_id=rp_id)
    decoys = decoy_credentials(secret, username)
    if await accounts.is_active(transaction, username) and there:
        return tuple(map(descriptor, there)), False
    return decoys, True


async def _verified(
    environment: Environment,
    transaction: Transaction,
    credential: AuthenticationCredential,
    session: Fido2Session,
    options: sessions.StoredOptions,
) -> tuple[Fido2Credential, Assertion]:
    settings = environment.config.fido2
    found = await transaction.fetch_one(fido2_queries.CREDENTIAL, id=credential.id, rp_id=settings.rp_id)
    if options.decoy or (found is not None and found.owner_disabled_at is not None):
        found = None
    secret = await load_secret(transaction)
    if found is not None:
        handle = user_handle(secret, found.username)
        record = CredentialRecord(found.id, handle, found.public_key, found.sign_count, bool(found.backup_eligible))
    else:
        # Checked all the same, so that it takes as long; nobody has this key.
        handle = user_handle(secret, session.username or "")
        record = CredentialRecord(credential.id, handle, _NOBODYS_KEY, 0, backup_eligible=False)
    assertion = verify_authentication_response(
        credential,
        rp=relying_party(settings),
        expected=AuthenticationExpectations(
            challenge=session.challenge,
            user_verification_required=options.user_verification_required,
            allowed=options.allowed,
            user_handle=None if session.username is None else user_handle(secret, session.username),
            clones_refused=settings.clones == "refuse",
            backup_eligible_allowed=settings.backup_eligible == "allowed",
            extensions=options.extensions,
        ),
        record=record,
    )
    if found is None:
        raise WebAuthnRefusal(Rule.CREDENTIAL, "the credential is not known")
    return found, assertion


async def _use(
    environment: Environment, transaction: Transaction, found: Fido2Credential, assertion: Assertion, now: int
) -> None:
    """Move the counter on, in one statement that another use of the key in the meantime makes fail."""
    used = await transaction.fetch_one(
        fido2_queries.USE_SUSPECTED if assertion.clone_suspected else fido2_queries.USE_CREDENTIAL,
        id=found.id,
        rp_id=environment.config.fido2.rp_id,
        username=found.username,
        public_key=found.public_key,
        count=assertion.sign_count,
        backup_state=int(assertion.backup_state),
        now=now,
    )
    if used is None:
        raise WebAuthnRefusal(Rule.COUNTER, "the key was used or removed in the meantime")
