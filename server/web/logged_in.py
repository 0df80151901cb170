"""The log-in of a browser: its own pre-login cookie, exchanged once for a new log-in cookie (HTTP contract 11)."""

from typing import NamedTuple

from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.store import queries, web_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import WebLogin
from fidoloop.server.web import cookies
from fidoloop.server.web.operations import EXCHANGE_MILLIS
from fidoloop.server.web.state import keys_of

PASSKEY = "passkey"
"""What stands in the place of an AAID where a passkey did the log-in."""


class NewLogin(NamedTuple):
    """A log-in that was just made: the value of its cookie, and whose it is."""

    secret: str
    username: str


async def exchange(environment: Environment, request: Request, operation_id: str) -> NewLogin | None:
    """Exchange a log-in that succeeded; of any number of callers one gets it. None: there is nothing to exchange.

    The pre-login cookie is of no more use then, and what this browser was logged in as before is over.
    """
    now = environment.clock()
    browser_hash = cookies.read_digest(request, cookies.PRE_LOGIN)
    async with environment.store.transaction() as transaction:
        taken = await transaction.fetch_one(
            web_queries.TAKE_LOGIN, id=operation_id, browser_hash=browser_hash, since=now - EXCHANGE_MILLIS
        )
        if taken is None:
            return None
        session = await transaction.fetch_one(queries.STATUS, id=taken.value)
        if session is None or session.username is None or not session.authenticators:
            return None
        await transaction.execute(web_queries.FORGET_OPERATIONS, browser_hash=browser_hash)
        await forget(transaction, request)
        key = keys_of(session)[0]
        secret = await _add(environment, transaction, session.username, (key.aaid, key.keyId), now)
    return NewLogin(secret, session.username)


async def by_passkey(environment: Environment, request: Request, username: str, credential_id: str) -> NewLogin:
    """Log the browser in as a user who was authenticated by a passkey, in the place of whoever was logged in before."""
    async with environment.store.transaction() as transaction:
        browser_hash = cookies.read_digest(request, cookies.PRE_LOGIN)
        await transaction.execute(web_queries.FORGET_OPERATIONS, browser_hash=browser_hash)
        await forget(transaction, request)
        secret = await _add(environment, transaction, username, (PASSKEY, credential_id), environment.clock())
    return NewLogin(secret, username)


async def forget(transaction: Transaction, request: Request) -> None:
    """Log the browser out."""
    await transaction.execute(web_queries.REMOVE_LOGIN, cookie_hash=cookies.read_digest(request, cookies.LOGIN))


async def find(environment: Environment, request: Request) -> WebLogin | None:
    """Return the log-in of the browser; None where it has none, its user is disabled or its key is gone."""
    cookie_hash = cookies.read_digest(request, cookies.LOGIN)
    config = environment.config
    return await environment.store.fetch_one(
        web_queries.LOGIN,
        cookie_hash=cookie_hash,
        now=environment.clock(),
        app_id=config.app_id,
        rp_id=config.fido2.rp_id,
    )


async def require(environment: Environment, request: Request) -> WebLogin:
    """Return the log-in of the browser. Raises HttpProblem 401."""
    found = await find(environment, request)
    if found is None:
        raise HttpProblem(401, "this browser is not logged in")
    return found


async def _add(
    environment: Environment, transaction: Transaction, username: str, key: tuple[str, str], now: int
) -> str:
    secret = cookies.new_secret()
    await transaction.execute(
        web_queries.ADD_LOGIN,
        cookie_hash=cookies.digest(secret),
        username=username,
        aaid=key[0],
        key_id=key[1],
        now=now,
        expires_at=now + 1000 * environment.config.lifetimes.web_login,
    )
    return secret
