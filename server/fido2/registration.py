"""The registration ceremony: options for a user, and the credential that comes back (WebAuthn 7.1)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.webauthn.algorithms import NUMBERS
from fidoloop.protocol.webauthn.extensions import check_inputs
from fidoloop.protocol.webauthn.messages import (
    AuthenticatorSelection,
    Conveyance,
    CreationOptions,
    CredentialParameters,
    RegistrationCredential,
    RpEntity,
    UserEntity,
)
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.trust import TrustPolicy
from fidoloop.protocol.webauthn.verify_registration_response import (
    RegisteredCredential,
    RegistrationExpectations,
    verify_registration_response,
)
from fidoloop.server import accounts
from fidoloop.server.environment import Environment
from fidoloop.server.fido2 import sessions
from fidoloop.server.fido2.configured import relying_party
from fidoloop.server.fido2.credentials import descriptor
from fidoloop.server.fido2.errors import UnknownUserError
from fidoloop.server.fido2.secrets import load_secret, user_handle
from fidoloop.server.fido2.user_verification import lifetime_millis, stricter
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.fido2_rows import Fido2Session


class NewRegistration(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to have a credential, and what kind of one; what is left out, the settings say."""

    username: str
    display_name: str | None = None
    selection: AuthenticatorSelection = AuthenticatorSelection()
    attestation: Conveyance | None = None
    extensions: Mapping[str, Any] = {}


class Registered(NamedTuple):
    """What came of a registration."""

    session_id: str
    username: str
    credential: RegisteredCredential


async def begin_registration(
    environment: Environment, new: NewRegistration, *, authority: str, requested_from: str
) -> tuple[str, CreationOptions]:
    """Return a session id and the options for a user's new credential; only `authority` may bring the result.

    Whoever calls this has made sure that `authority` may enrol this user (HTTP contract 11).

    Raises:
        UnknownUserError: there is no such user, or he is disabled.
        MalformedError: extensions that nobody could act upon.
    """
    check_inputs(new.extensions)
    settings, now = environment.config.fido2, environment.clock()
    selection = _selection(new.selection, stricter(new.selection.userVerification, settings.user_verification))
    algorithms = tuple(NUMBERS[name] for name in settings.algorithms)
    lifetime = lifetime_millis(environment.config.lifetimes, selection.userVerification)
    async with environment.store.transaction() as transaction:
        if not await accounts.is_active(transaction, new.username):
            raise UnknownUserError("no such user")
        there = await transaction.fetch_all(fido2_queries.CREDENTIALS_OF, username=new.username, rp_id=settings.rp_id)
        handle = user_handle(await load_secret(transaction), new.username)
        session = sessions.NewSession(
            kind="create",
            username=new.username,
            authority=authority,
            options=sessions.StoredOptions(
                user_verification_required=selection.userVerification == "required",
                algorithms=algorithms,
                extensions=dict(new.extensions),
            ),
            lifetime=lifetime,
            requested_from=requested_from,
        )
        session_id, challenge = await sessions.begin(transaction, session, now=now)
    return session_id, CreationOptions(
        challenge=challenge,
        rp=RpEntity(settings.rp_id, settings.rp_name),
        user=UserEntity(handle, new.username, new.display_name or new.username),
        pubKeyCredParams=tuple(CredentialParameters("public-key", algorithm) for algorithm in algorithms),
        timeout=lifetime,
        excludeCredentials=tuple(map(descriptor, there)),
        authenticatorSelection=selection,
        attestation=_conveyance(new.attestation or settings.attestation, TrustPolicy(settings.trust)),
        extensions=dict(new.extensions) or UNSET,
    )


async def finish_registration(
    environment: Environment, credential: RegistrationCredential, *, authority: str, address: str
) -> Registered:
    """Verify what create() gave, and keep the credential. The challenge is used up, whatever comes of it.

    Raises:
        WebAuthnRefusal: the first rule that is broken.
        ElsewhereError: the options were another authority's; nothing has changed then.
    """
    now = environment.clock()
    environment.models.refresh(now)
    refusal: WebAuthnRefusal | None = None
    async with environment.store.transaction() as transaction:
        session, options = await sessions.consume(
            transaction, "create", credential.response.clientDataJSON, authority=authority, now=now
        )
        assert session.username is not None
        try:
            async with transaction.savepoint():
                taken = _verified(environment, credential, session, options, now)
                await _add(environment, transaction, session.username, taken, now)
            ended = sessions.Ended(
                username=session.username,
                credential_id=taken.id,
                aaguid=str(taken.aaguid),
                user_verified=taken.user_verified,
            )
        except WebAuthnRefusal as error:
            refusal = error
            ended = sessions.Ended(username=session.username, rule=error.rule)
        await sessions.end(transaction, session, ended, address=address, now=now)
    if refusal is not None:
        raise refusal
    return Registered(session.id, session.username, taken)


def _verified(
    environment: Environment,
    credential: RegistrationCredential,
    session: Fido2Session,
    options: sessions.StoredOptions,
    now: int,
) -> RegisteredCredential:
    settings = environment.config.fido2
    return verify_registration_response(
        credential,
        rp=relying_party(settings),
        expected=RegistrationExpectations(
            challenge=session.challenge,
            algorithms=frozenset(options.algorithms),
            user_verification_required=options.user_verification_required,
            backup_eligible_allowed=settings.backup_eligible == "allowed",
            extensions=options.extensions,
            trust=TrustPolicy(settings.trust),
        ),
        models=environment.models,
        at=datetime.fromtimestamp(now / 1000, UTC),
    )


async def _add(
    environment: Environment, transaction: Transaction, username: str, taken: RegisteredCredential, now: int
) -> None:
    if not await accounts.is_active(transaction, username):
        raise WebAuthnRefusal(Rule.CREDENTIAL, "the user has been disabled")
    added = await transaction.fetch_one(
        fido2_queries.ADD_CREDENTIAL,
        id=taken.id,
        rp_id=environment.config.fido2.rp_id,
        username=username,
        public_key=taken.public_key,
        sign_count=taken.sign_count,
        uv_initialized=int(taken.user_verified),
        backup_eligible=int(taken.backup_eligible),
        backup_state=int(taken.backup_state),
        transports=strictjson.encode(taken.transports),
        discoverable=None if taken.discoverable is None else int(taken.discoverable),
        aaguid=str(taken.aaguid),
        format=taken.format,
        attestation_type=taken.attestation_type,
        trusted=int(taken.trusted),
        model=taken.model,
        now=now,
    )
    if added is None:
        raise WebAuthnRefusal(Rule.REGISTERED, "this credential is registered already")


def _selection(asked: AuthenticatorSelection, user_verification: str) -> AuthenticatorSelection:
    """Return what is asked of the authenticator, residentKey in the words of Level 1 and 2 as well (5.4.4)."""
    resident = asked.residentKey
    if resident is UNSET:
        resident = "required" if asked.requireResidentKey is True else "discouraged"
    return msgspec.structs.replace(
        asked, residentKey=resident, requireResidentKey=resident == "required", userVerification=user_verification
    )


def _conveyance(asked: Conveyance, trust: TrustPolicy) -> Conveyance:
    """Return the attestation to ask for: none would leave the metadata nothing to vouch for."""
    return "direct" if trust is TrustPolicy.METADATA and asked in ("none", "indirect") else asked
