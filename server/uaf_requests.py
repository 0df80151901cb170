"""UAF requests made from their contexts: the way in for the request services and for redeemed tokens alike."""

from typing import NamedTuple

import msgspec
from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.extensions import ANDROID_KEY_ATTESTATION, SESSION_ID, Extension
from fidoloop.protocol.uaf.match_criteria import MAX_VALUES
from fidoloop.protocol.uaf.messages import (
    V1_0,
    AuthenticationRequest,
    DeregistrationRequest,
    Operation,
    OperationHeader,
    RegistrationRequest,
    ReturnUafRequest,
    encode_request,
)
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy, narrow
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server import accounts, known_sessions, sessions
from fidoloop.server.contexts import (
    AuthenticationContext,
    Context,
    DeregistrationContext,
    RegistrationContext,
)
from fidoloop.server.deregistration import deregister
from fidoloop.server.environment import Environment
from fidoloop.server.policies import DEFAULT, NamedPolicy
from fidoloop.server.prepared_requests import MARKS, PreparedRequest
from fidoloop.server.sessions import Issued, NewRequest
from fidoloop.server.store.base import Statements
from fidoloop.server.store.base import Transaction as StoreTransaction
from fidoloop.server.store.rows import Credential, TokenSession
from fidoloop.server.transactions import Rendering, read_renderings, shown_by


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the caller's address, the session of a redeemed token, and the user its dispatch was made for."""

    requested_from: str
    session_id: str | None = None
    bound_username: str | None = None
    linking: str | None = None


async def answer_request(
    environment: Environment, transaction: StoreTransaction, op: Operation, context: Context, asking: Asking
) -> ReturnUafRequest:
    """Issue the UAF request that a context asks for, in a new session or in that of a redeemed token.

    A user the dispatch was made for (its target's) makes an authentication step-up.

    Raises:
        UafRefusal: BAD_REQUEST (user, policy, transaction), UNACCEPTABLE_AUTHENTICATOR (the user has no key that
            fits), or for a deregistration NOT_FOUND and UNKNOWN_KEYID. Then nothing is stored.
    """
    environment.metadata.refresh(environment.clock())
    message: RegistrationRequest | AuthenticationRequest | DeregistrationRequest
    if isinstance(context, DeregistrationContext):
        message = await _deregistration(environment, transaction, context, asking)
    elif isinstance(context, RegistrationContext):
        message = await _registration(environment, transaction, context, asking)
    else:
        message = await _authentication(environment, transaction, context, asking)
    return _returned(environment, op, message)


async def answer_usernameless(environment: Environment, context: AuthenticationContext, asking: Asking) -> bytes:
    """Issue an authentication request for whoever answers, with no transaction to confirm; return it encoded.

    Raises:
        UafRefusal: BAD_REQUEST (policy).
    """
    name = context.policy or DEFAULT
    named = find_policy(environment, name)
    prepared = environment.prepared.get(name)
    if prepared is None and len(environment.config.versions) == 1:
        returned = _usernameless(environment, MARKS, named.policy)
        prepared = environment.prepared[name] = PreparedRequest.cut(returned)
    issued = await known_sessions.issue_usernameless(
        environment.store,
        environment.remembered,
        named.text,
        now=environment.clock(),
        lifetime=environment.config.lifetimes.response_millis("Auth"),
        requested_from=asking.requested_from,
    )
    if prepared is None:
        return strictjson.encode(_usernameless(environment, issued, named.policy)).encode("utf-8")
    return prepared.fill(issued)


def _usernameless(environment: Environment, issued: Issued, policy: Policy) -> ReturnUafRequest:
    message = AuthenticationRequest(_header(environment, "Auth", issued), issued.challenge, policy)
    return _returned(environment, "Auth", message)


def _returned(
    environment: Environment,
    op: Operation,
    message: RegistrationRequest | AuthenticationRequest | DeregistrationRequest,
) -> ReturnUafRequest:
    lifetime, versions = environment.config.lifetimes.response_millis(op), environment.config.versions
    if isinstance(message, DeregistrationRequest) and not message.authenticators[0].keyID:
        versions = tuple(version for version in versions if version != V1_0)
        if not versions:
            raise UafRefusal(StatusCode.BAD_REQUEST, "context: UAF 1.0 knows no wildcards")
    return ReturnUafRequest(int(StatusCode.OK), encode_request(message, versions), op, lifetime)


async def _registration(
    environment: Environment, transaction: StoreTransaction, context: RegistrationContext, asking: Asking
) -> RegistrationRequest:
    policy = await _registration_policy(environment, transaction, context)
    new = NewRequest(op="Reg", username=context.username, policy=strictjson.encode(policy))
    issued = await _issue(environment, transaction, new, asking)
    return RegistrationRequest(_header(environment, "Reg", issued), issued.challenge, context.username, policy)


async def redeem_and_ask(
    environment: Environment, session: TokenSession, context: AuthenticationContext, asking: Asking, *, now: int
) -> ReturnUafRequest | None:
    """Redeem a token that is remembered and issue its authentication request; None where it is not as remembered.

    Raises:
        UafRefusal: as `answer_request` does. Then nothing is stored.
    """
    environment.metadata.refresh(now)
    username = _user_of(context, asking)
    known = None if username is None else environment.remembered.keys_of(username)
    keys = known or await _active_keys(environment, environment.store, username)
    wanted = _wanted(environment, context, username, keys)
    issued = await known_sessions.redeem_and_ask(
        environment.store,
        session,
        wanted.new,
        known or (),
        app_id=environment.config.app_id,
        now=now,
        lifetime=environment.config.lifetimes.response_millis("Auth"),
    )
    if issued is None:
        return None
    return _returned(environment, "Auth", _authentication_request(environment, wanted, issued, asking))


async def _authentication(
    environment: Environment, transaction: StoreTransaction, context: AuthenticationContext, asking: Asking
) -> AuthenticationRequest:
    username = _user_of(context, asking)
    wanted = _wanted(environment, context, username, await _active_keys(environment, transaction, username))
    issued = await _issue(environment, transaction, wanted.new, asking)
    return _authentication_request(environment, wanted, issued, asking)


class _Wanted(NamedTuple):
    new: NewRequest
    policy: Policy
    shown: tuple[Rendering, ...]


def _user_of(context: AuthenticationContext, asking: Asking) -> str | None:
    return asking.bound_username or context.username or None


async def _active_keys(environment: Environment, statements: Statements, username: str | None) -> list[Credential]:
    """Return the keys of a user, and remember them; none where anybody may answer. Raises UafRefusal BAD_REQUEST."""
    if username is None:
        return []
    keys = await accounts.credentials_of(environment, statements, username)
    if not keys or keys[0].owner_disabled_at is not None:
        await accounts.require_active(statements, username)
    else:
        environment.remembered.keys_read(username, keys)
    return keys


def _wanted(
    environment: Environment, context: AuthenticationContext, username: str | None, keys: list[Credential]
) -> _Wanted:
    """Return what to ask for. Raises UafRefusal BAD_REQUEST, UNACCEPTABLE_AUTHENTICATOR."""
    named = find_policy(environment, context.policy or DEFAULT)
    shown = read_renderings(context.transaction or ())
    if username is not None:
        named, shown = _step_up(environment, named, shown, keys)
    contents = tuple(dict.fromkeys(rendering.content for rendering in shown))
    new = NewRequest(op="Auth", username=username, policy=named.text, transactions=contents)
    return _Wanted(new, named.policy, shown)


def _authentication_request(
    environment: Environment, wanted: _Wanted, issued: Issued, asking: Asking
) -> AuthenticationRequest:
    known_sessions.remember(
        environment.remembered, issued, wanted.new, requested_from=asking.requested_from, linking=asking.linking
    )
    header = _header(environment, "Auth", issued)
    sent = tuple(rendering.sent for rendering in wanted.shown) or UNSET
    return AuthenticationRequest(header, issued.challenge, wanted.policy, sent)


async def _deregistration(
    environment: Environment, transaction: StoreTransaction, context: DeregistrationContext, asking: Asking
) -> DeregistrationRequest:
    session_id, removed = await deregister(
        environment, transaction, context, session_id=asking.session_id, requested_from=asking.requested_from
    )
    return DeregistrationRequest(_header(environment, "Dereg", Issued(session_id, "", "")), removed)


async def _issue(environment: Environment, statements: Statements, new: NewRequest, asking: Asking) -> Issued:
    return await sessions.issue(
        statements,
        new,
        now=environment.clock(),
        lifetime=environment.config.lifetimes.response_millis(new.op),
        requested_from=asking.requested_from,
        session_id=asking.session_id,
    )


def check_request(environment: Environment, context: Context) -> None:
    """Refuse now what would be refused at redemption: an unknown policy, transactions that cannot be shown.

    Raises:
        UafRefusal: BAD_REQUEST.
    """
    if isinstance(context, DeregistrationContext):
        return
    find_policy(environment, context.policy or DEFAULT)
    if isinstance(context, AuthenticationContext):
        read_renderings(context.transaction or ())


def find_policy(environment: Environment, name: str) -> NamedPolicy:
    """Return the policy `name`. Raises UafRefusal BAD_REQUEST."""
    if environment.policies.refresh(environment.clock()):
        environment.prepared.clear()
    named = environment.policies.get(name)
    if named is None:
        raise UafRefusal(StatusCode.BAD_REQUEST, "context.policy is no policy")
    return named


async def _registration_policy(
    environment: Environment, transaction: StoreTransaction, context: RegistrationContext
) -> Policy:
    """Return the named policy, the user's registered keys disallowed (digest section 2)."""
    named = find_policy(environment, context.policy or DEFAULT)
    await accounts.require_active(transaction, context.username)
    registered = _by_aaid(await accounts.credentials_of(environment, transaction, context.username))
    if not registered:
        return named.policy
    return Policy(named.policy.accepted, (*(named.policy.disallowed or ()), *registered))


def _step_up(
    environment: Environment, named: NamedPolicy, renderings: tuple[Rendering, ...], registered: list[Credential]
) -> tuple[NamedPolicy, tuple[Rendering, ...]]:
    """Return the policy narrowed to the user's keys, of which each can show one of the renderings where there are any.

    With it the renderings that these keys show.
    """
    wanted = "that the policy accepts"
    if renderings:
        wanted += " and whose display shows the transaction"
        registered, renderings = shown_by(registered, renderings, environment.metadata)
    narrowed = narrow(named.policy, accounts.facts_of(environment, registered))
    if narrowed is None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_AUTHENTICATOR, f"the user has no key {wanted}")
    return NamedPolicy(narrowed, strictjson.encode(narrowed)), renderings


def _by_aaid(credentials: list[Credential]) -> list[MatchCriteria]:
    keys: dict[str, list[str]] = {}
    for credential in credentials:
        keys.setdefault(credential.aaid, []).append(credential.key_id)
    return [
        MatchCriteria(aaid=(aaid,), keyIDs=tuple(key_ids[first : first + MAX_VALUES]))
        for aaid, key_ids in keys.items()
        for first in range(0, len(key_ids), MAX_VALUES)
    ]


def _header(environment: Environment, op: Operation, issued: Issued) -> OperationHeader:
    """Return a header with the session's id; a deregistration has no serverData (digest 3.4).

    A registration asks for Android's key attestation where keys must be vouched for (digest 1.3).
    """
    config = environment.config
    extensions = [Extension(SESSION_ID, issued.session_id, fail_if_unknown=False)]
    if op == "Reg" and config.require_key_attestation:
        extensions.append(Extension(ANDROID_KEY_ATTESTATION, "", fail_if_unknown=False))
    return OperationHeader(config.versions[0], op, config.app_id, issued.server_data or UNSET, tuple(extensions))
