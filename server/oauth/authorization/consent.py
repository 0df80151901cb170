"""Services of the authorization page: what is asked of whom, and the person's yes or no.

A request belongs to the first browser whose page opens it, known by a cookie of its own; that one alone can answer it.
"""

import secrets
from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.outofband import ShortText, StatusAuthenticator
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response
from fidoloop.server.oauth import consents
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization.opened import Asked, SentBack, read_asked
from fidoloop.server.oauth.authorization.pushed import URN
from fidoloop.server.oauth.authorization.requests import Wanted, answer_uri, is_way_back, metadata_of, wanted_of
from fidoloop.server.oauth.challenge import fido2_step, uaf_step
from fidoloop.server.oauth.grants import Approved, add_code, token_hash
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.oauth_rows import AuthorizationRequest
from fidoloop.server.store.rows import WebLogin
from fidoloop.server.web import cookies, logged_in

OPEN: Final = "/web/authorize"
DECIDE: Final = "/web/authorize/decide"
COOKIE: Final = "__Host-fidoloop-authorize"
_REFUSED: Final = {"error": "access_denied", "error_description": "the person said no"}
_GONE = "this request is answered, expired, or open in another browser; start again in the app"


class OpenRequest(msgspec.Struct, frozen=True):
    """The query that the page was opened with."""

    query: Annotated[str, Meta(max_length=16384)]


class Opened(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked: by which client (the name is its own word), which goes on at `destination`, for which scopes.

    `username` is who is logged in; where that log-in does not do, `acr` says what does. By `query` the same browser
    opens the same request again.
    """

    id: str
    query: str
    client: str
    destination: str
    scopes: tuple[str, ...]
    username: str | UnsetType = UNSET
    acr: tuple[str, ...] | UnsetType = UNSET


class Decide(msgspec.Struct, frozen=True):
    """Yes or no to a request, by whom the page showed as logged in."""

    id: ShortText
    allow: bool
    username: ShortText | UnsetType = UNSET


class Decided(msgspec.Struct, frozen=True):
    """Where the browser goes now, with the code or the error."""

    location: str


async def open_request(environment: Environment, request: Request) -> Response:
    """Answer with what is asked; the request is this browser's from now on."""
    query = strictjson.decode(request.body, OpenRequest).query
    await environment.limits.begun.spend(request.limited_as)
    now, seconds = environment.clock(), environment.config.oauth.authorization_request
    shown = cookies.read_digest(request, COOKIE)
    login = await logged_in.find(environment, request)
    async with environment.store.transaction() as transaction:
        try:
            asked = await read_asked(environment, transaction, query.encode("utf-8"))
        except OAuthRefusal as refusal:
            raise HttpProblem(400, refusal.what) from None
        except SentBack:
            raise HttpProblem(400, "this request cannot be answered; start again in the app") from None
        known = await transaction.fetch_one(oauth_queries.REQUEST_OF_BROWSER, browser_hash=shown, now=now)
        # One that another tab waits with goes on; nobody's choice of a cookie is ever taken.
        cookie = cookies.read_cookie(request, COOKIE) if known else None
        cookie = cookie or cookies.new_secret()
        name = await _claim(transaction, asked, cookies.digest(cookie), now=now, until=now + 1000 * seconds)
    answer = oauth_json(await _opened(environment, asked, name, login))
    kept = cookies.set_cookie(COOKIE, cookie, seconds=seconds)
    return answer._replace(headers=(*answer.headers, kept))


async def decide(environment: Environment, request: Request) -> Response:
    """Use up the request, and answer with the way back to the client."""
    wanted = strictjson.decode(request.body, Decide)
    now = environment.clock()
    login = await (logged_in.require if wanted.allow else logged_in.find)(environment, request)
    if wanted.allow and login is not None and login.username != wanted.username:
        raise HttpProblem(403, "somebody else is logged in by now")
    request_hash, browser_hash = token_hash(wanted.id), cookies.read_digest(request, COOKIE)
    row = await environment.store.fetch_one(oauth_queries.REQUEST, request_hash=request_hash)
    if row is None or row.browser_hash != browser_hash:
        raise HttpProblem(403, _GONE)
    approved = await _approved(environment, row, login) if wanted.allow and login is not None else None
    async with environment.store.transaction() as transaction:
        used = await transaction.fetch_one(
            oauth_queries.USE_REQUEST, request_hash=request_hash, browser_hash=browser_hash, now=now
        )
        client = await transaction.fetch_one(oauth_queries.CLIENT, id=row.client_id)
        if used is None or client is None or not is_way_back(client, row.redirect_uri):
            raise HttpProblem(403, _GONE)
        if approved is None:
            told, outcome = _REFUSED, StatusCode.FORBIDDEN
        else:
            told, outcome = {"code": await _code(environment, transaction, row, approved)}, StatusCode.OK
        username = None if login is None else login.username
        await consents.record(
            transaction, "consent", username, row.client_id, now=now, outcome=outcome, address=request.address
        )
    return oauth_json(Decided(answer_uri(environment, row.redirect_uri, row.state, **told)))


async def _claim(transaction: Transaction, asked: Asked, browser_hash: str, *, now: int, until: int) -> str:
    """Make the request this browser's; of any number that open a pushed one, the first gets it."""
    if asked.name is None:
        name = secrets.token_urlsafe(32)
        await transaction.execute(
            oauth_queries.ADD_REQUEST,
            request_hash=token_hash(name),
            **asked.wanted._asdict(),
            message_of=None,
            message_hash=None,
            browser_hash=browser_hash,
            expires_at=until,
        )
        return name
    claimed = await transaction.fetch_one(
        oauth_queries.CLAIM_REQUEST,
        request_hash=token_hash(asked.name),
        browser_hash=browser_hash,
        now=now,
        until=until,
    )
    if claimed is None:
        raise HttpProblem(403, _GONE)
    return asked.name


async def _opened(environment: Environment, asked: Asked, name: str, login: WebLogin | None) -> Opened:
    wanted, metadata = asked.wanted, metadata_of(asked.client)
    destination = urlsplit(wanted.redirect_uri)
    found = Opened(
        name,
        urlencode({"client_id": wanted.client_id, "request_uri": f"{URN}{name}"}),
        metadata.client_name or asked.client.id,
        destination.netloc if destination.scheme in ("https", "http") else f"the app {destination.scheme}",
        tuple(wanted.scope.split()),
    )
    if login is None:
        return found
    enough = await _acr_of(environment, wanted, login)
    return msgspec.structs.replace(found, username=login.username, acr=UNSET if enough else tuple(wanted.acr.split()))


async def _approved(environment: Environment, row: AuthorizationRequest, login: WebLogin) -> Approved:
    acr = await _acr_of(environment, wanted_of(row), login)
    if acr is None:
        raise HttpProblem(403, "this log-in is too old, or not of the kind that the app asks for")
    return Approved(
        client_id=row.client_id,
        username=login.username,
        scope=row.scope,
        acr=acr,
        auth_time=login.created_at // 1000,
        jkt=row.jkt,
        nonce=row.nonce,
    )


async def _code(
    environment: Environment, transaction: Transaction, row: AuthorizationRequest, approved: Approved
) -> str:
    message = (row.message_of, row.message_hash) if row.message_of and row.message_hash else None
    return await add_code(
        environment,
        transaction,
        approved,
        redirect_uri=row.redirect_uri,
        code_challenge=row.code_challenge,
        message=message,  # type: ignore[arg-type]
    )


async def _acr_of(environment: Environment, wanted: Wanted, login: WebLogin) -> str | None:
    """Return the first acr that was asked for and that the log-in is; None where it is none, or too old."""
    if login.created_at < wanted.logged_in_since:
        return None
    by = "fido2" if login.aaid == logged_in.PASSKEY else "uaf"
    for acr in wanted.acr.split():
        if acr == by or (acr == f"{by}-hw" and await _in_hardware(environment, login)):
            return acr
    return None


async def _in_hardware(environment: Environment, login: WebLogin) -> bool:
    if login.aaid == logged_in.PASSKEY:
        return await fido2_step.in_hardware(environment, login.key_id)
    environment.metadata.refresh(environment.clock())
    key = StatusAuthenticator(login.aaid, login.key_id)
    return await uaf_step.in_hardware(environment, login.username, (key,))
