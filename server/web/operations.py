"""What pages begin: operations that the browser they were begun in may watch, cancel and make use of, and no other."""

from typing import Final, Literal, NamedTuple

from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server import sessions
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request
from fidoloop.server.store import queries, web_queries
from fidoloop.server.store.base import Statements, Store
from fidoloop.server.store.rows import WebOperation
from fidoloop.server.web import cookies

Purpose = Literal["login", "enrol", "confirm"]
"""What success is good for: a log-in cookie, a key that can be taken back, nothing but to be seen."""
KEEP_MILLIS: Final = 15 * 60 * 1000
"""How long an operation can be watched; tokens and responses end sooner."""
EXCHANGE_MILLIS: Final = 5 * 60 * 1000
"""How long after its success a log-in can be exchanged for a cookie."""


class Watcher(NamedTuple):
    """A browser, by the digests of the cookies that its operations hang on: before it was logged in, and since."""

    pre_login_hash: str
    login_hash: str


def watcher(request: Request) -> Watcher:
    """Return who asks."""
    return Watcher(cookies.read_digest(request, cookies.PRE_LOGIN), cookies.read_digest(request, cookies.LOGIN))


async def find(statements: Statements, operation_id: str, by: Watcher) -> WebOperation | None:
    """Return an operation of this browser."""
    return await statements.fetch_one(web_queries.OPERATION, id=operation_id, **by._asdict())


async def begin(
    statements: Statements, purpose: Purpose, session_id: str, browser_hash: str, username: str | None, *, now: int
) -> str:
    """Keep whose a session is, and return the operation's id, which is all the page learns of it."""
    operation_id = sessions.new_id()
    await statements.execute(
        web_queries.ADD_OPERATION,
        id=operation_id,
        purpose=purpose,
        session_id=session_id,
        browser_hash=browser_hash,
        username=username,
        now=now,
    )
    return operation_id


async def pre_login_cookie(statements: Statements, request: Request, *, now: int) -> str:
    """Return the pre-login cookie to go on with: the one shown if it is one of ours that is in use, else a new one.

    So two tabs of a browser can wait side by side, and nobody's choice of a cookie is ever taken.
    """
    shown = cookies.read_cookie(request, cookies.PRE_LOGIN)
    if shown is not None:
        browser_hash, since = cookies.digest(shown), now - KEEP_MILLIS
        if await statements.fetch_one(web_queries.KNOWN_BROWSER, browser_hash=browser_hash, since=since):
            return shown
    return cookies.new_secret()


def keep_pre_login(cookie: str) -> cookies.Header:
    """Return the Set-Cookie header of a pre-login cookie."""
    return cookies.set_cookie(cookies.PRE_LOGIN, cookie, seconds=KEEP_MILLIS // 1000)


async def cancel(environment: Environment, operation_id: str, by: Watcher) -> None:
    """Withdraw the token or request of this browser's operation; nothing happens where there is none, or it ended."""
    async with environment.store.transaction() as transaction:
        found = await find(transaction, operation_id, by)
        if found is None:
            return
        now = environment.clock()
        await transaction.execute(queries.FAIL, id=found.session_id, uaf_status=int(StatusCode.FORBIDDEN), now=now)
    environment.changes.announce(found.session_id)


async def purge(store: Store, *, now: int) -> None:
    """Delete what can be of no more use."""
    for query in web_queries.PURGE:
        await store.execute(query, before=now - KEEP_MILLIS)
    for query in web_queries.PURGE_EXPIRED:
        await store.execute(query, now=now)


async def forget_all(statements: Statements) -> int:
    """Log every browser out and forget it; return how many rows that were."""
    return sum([await statements.execute(query) for query in web_queries.FORGET_ALL])
