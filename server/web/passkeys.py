"""Services for passkeys in a browser: logging in with one, and those that a user has (HTTP contract 11).

A passkey is made through the FIDO2 services themselves, which take a browser that is logged in as its user.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.messages import Username
from fidoloop.protocol.webauthn.messages import AuthenticationCredential, CredentialDescriptor, Id, UserVerification
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.fido2.authentication import NewAuthentication, begin_authentication, finish_authentication
from fidoloop.server.fido2.credentials import remove_credential
from fidoloop.server.fido2.errors import Fido2Error
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import fido2_queries
from fidoloop.server.web import cookies, logged_in, operations
from fidoloop.server.web.log_in import LoggedIn, remember


class BeginPasskeyLogIn(msgspec.Struct, frozen=True):
    """Who logs in; without it whoever a passkey on the device is of."""

    username: Username | UnsetType = UNSET


class PasskeyOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """PublicKeyCredentialRequestOptions; `timeout` in milliseconds."""

    challenge: str
    rpId: str
    timeout: int
    allowCredentials: tuple[CredentialDescriptor, ...]
    userVerification: UserVerification
    extensions: dict[str, Any] | UnsetType = UNSET


class FinishPasskeyLogIn(msgspec.Struct, frozen=True):
    """What navigator.credentials.get() gave, and whether the browser is to be remembered."""

    credential: AuthenticationCredential
    remember: bool = False


class PasskeyShown(msgspec.Struct, frozen=True):
    """A passkey; `model` where its attestation proved one, `synchronised` where it may be on several devices.

    `current` did this log-in. Times are epoch milliseconds.
    """

    id: str
    model: str
    synchronised: bool
    counter: int
    registeredAt: int
    lastUsedAt: int | None
    current: bool


class PasskeyList(msgspec.Struct, frozen=True):
    """A user's passkeys."""

    passkeys: tuple[PasskeyShown, ...]


class NamedPasskey(msgspec.Struct, frozen=True):
    """Which of the user's passkeys is meant."""

    id: Id


async def begin(environment: Environment, request: Request) -> Response:
    """Answer with options that only this browser can answer; whether a user who is named exists, they do not say."""
    wanted = strictjson.decode(request.body, BeginPasskeyLogIn)
    await environment.limits.begun.spend(request.limited_as)
    cookie = await operations.pre_login_cookie(environment.store, request, now=environment.clock())
    new = NewAuthentication(username=wanted.username or None, user_verification="required")
    authority = _authority(cookies.digest(cookie))
    _, options = await begin_authentication(environment, new, requested_from=request.address, authority=authority)
    shown = PasskeyOptions(**msgspec.structs.asdict(options))
    return json_response(shown)._replace(headers=(operations.keep_pre_login(cookie),))


async def finish(environment: Environment, request: Request) -> Response:
    """Log the browser in whose options the passkey answered."""
    wanted = strictjson.decode(request.body, FinishPasskeyLogIn)
    browser_hash = cookies.read_digest(request, cookies.PRE_LOGIN)
    try:
        found = await finish_authentication(
            environment, wanted.credential, address=request.address, authority=_authority(browser_hash)
        )
    except (WebAuthnRefusal, Fido2Error):
        raise HttpProblem(403, "the passkey was refused; the server's log says why") from None
    login = await logged_in.by_passkey(environment, request, found.username, found.credential_id)
    headers = [
        cookies.remove_cookie(cookies.PRE_LOGIN),
        cookies.set_cookie(cookies.LOGIN, login.secret, seconds=environment.config.lifetimes.web_login),
    ]
    if wanted.remember:
        headers.append(await remember(environment, request, login.username))
    return json_response(LoggedIn(login.username))._replace(headers=tuple(headers))


async def listed(environment: Environment, request: Request) -> Response:
    """Answer with the passkeys of the user who is logged in."""
    login = await logged_in.require(environment, request)
    found = await environment.store.fetch_all(
        fido2_queries.CREDENTIALS_OF, username=login.username, rp_id=environment.config.fido2.rp_id
    )
    shown = tuple(
        PasskeyShown(
            one.id,
            one.model or "",
            bool(one.backup_eligible),
            one.sign_count,
            one.created_at,
            one.last_used_at,
            current=(login.aaid, login.key_id) == (logged_in.PASSKEY, one.id),
        )
        for one in found
    )
    return json_response(PasskeyList(shown))


async def remove(environment: Environment, request: Request) -> Response:
    """Delete a passkey of the user who is logged in; where it did this log-in, that is over too."""
    login = await logged_in.require(environment, request)
    named = strictjson.decode(request.body, NamedPasskey)
    owned = await environment.store.fetch_all(
        fido2_queries.CREDENTIALS_OF, username=login.username, rp_id=environment.config.fido2.rp_id
    )
    if named.id not in {one.id for one in owned}:
        raise HttpProblem(404, "you have no such passkey")
    await remove_credential(environment.store, named.id, now=environment.clock(), requested_from=request.address)
    return Response(204)


def _authority(browser_hash: str) -> str:
    return f"browser:{browser_hash}"
