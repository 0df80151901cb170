"""Sessions: one operation from its token over its UAF request to its outcome, each step one statement."""

import secrets
import uuid

import msgspec

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.channel_linking import ChannelLinking
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.messages import Operation
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server import audit
from fidoloop.server.channel_linking import TRIES
from fidoloop.server.store import fido2_queries, queries
from fidoloop.server.store.base import Change, Query, Statements, Store, Transaction, Value
from fidoloop.server.store.rows import IssuedRequest, Nothing, TokenSession

RANDOM_BYTES = 64
PURGED_AT_ONCE = 500
_ID_BYTES = 10
_VARIANT = "89ab"
REGISTERING = "clientRegistering"
AUTHENTICATING = "clientAuthenticating"
SUCCEEDED = "succeeded"
FAILED = "failed"
ENDED = frozenset({SUCCEEDED, FAILED})


class NewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A UAF request about to be issued; `transactions` are decoded contents."""

    op: Operation
    username: str | None
    policy: str
    transactions: tuple[bytes, ...] = ()


class Issued(msgspec.Struct, frozen=True):
    """What an issued request is known by; challenge and serverData are base64url of 64 random bytes each."""

    session_id: str
    challenge: str
    server_data: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an operation ended; codes that the client did not send are None."""

    status: StatusCode
    username: str | None = None
    asm_status: int | None = None
    client_error: int | None = None
    authenticators: tuple[StatusAuthenticator, ...] = ()


def new_id() -> str:
    """Return a random UUID (version 4)."""
    return str(uuid.uuid4())


def new_session_id(now: int) -> str:
    """Return a UUID of version 7 (RFC 9562 section 5.7): 74 random bits behind the time in milliseconds.

    Ordered by time, so that new sessions lie together in the store instead of each dirtying a page of its own.
    """
    return _session_id(now, secrets.token_bytes(_ID_BYTES))


def _session_id(now: int, random: bytes) -> str:
    # Spelt out: uuid.UUID takes three times as long.
    digits = random.hex()
    return f"{_time_digits(now)}-7{digits[:3]}-{_VARIANT[random[9] & 3]}{digits[3:6]}-{digits[6:18]}"


def _time_digits(now: int) -> str:
    time = f"{now:012x}"
    return f"{time[:8]}-{time[8:]}"


def registration_context(username: str) -> str:
    """Return the context of a registration under the default policy."""
    return strictjson.encode({"username": username})


async def issue(
    statements: Statements,
    request: NewRequest,
    *,
    now: int,
    lifetime: int,
    requested_from: str,
    session_id: str | None,
) -> Issued:
    """Store a request with a fresh challenge: in a session of its own, or in the one whose token was redeemed."""
    issued = new_issued(session_id, now)
    contents = encode_contents(request.transactions)
    # Spelt out twice: a dictionary handed through costs as much as the statement.
    if session_id is None:
        await statements.execute(
            queries.ADD_REQUEST,
            id=issued.session_id,
            op=request.op,
            username=request.username,
            state=REGISTERING if request.op == "Reg" else AUTHENTICATING,
            requested_from=requested_from,
            server_data=issued.server_data,
            challenge=issued.challenge,
            policy=request.policy,
            transactions=contents,
            request_expires_at=now + lifetime,
            now=now,
        )
    else:
        await statements.execute(
            queries.OPEN_REQUEST,
            id=session_id,
            username=request.username,
            state=REGISTERING if request.op == "Reg" else AUTHENTICATING,
            server_data=issued.server_data,
            challenge=issued.challenge,
            policy=request.policy,
            transactions=contents,
            request_expires_at=now + lifetime,
            now=now,
        )
    return issued


def new_issued(session_id: str | None, now: int) -> Issued:
    """Return a fresh challenge and serverData, and an id where there is none yet."""
    random = secrets.token_bytes(2 * RANDOM_BYTES + _ID_BYTES)
    return Issued(
        session_id or _session_id(now, random[2 * RANDOM_BYTES :]),
        base64url.encode(random[:RANDOM_BYTES]),
        base64url.encode(random[RANDOM_BYTES : 2 * RANDOM_BYTES]),
    )


def encode_contents(contents: tuple[bytes, ...]) -> str | None:
    """Return transaction contents as they are stored."""
    return strictjson.encode([base64url.encode(content) for content in contents]) if contents else None


async def add_bare(transaction: Transaction, *, op: Operation, username: str, now: int, requested_from: str) -> str:
    """Store a session that has neither token nor challenge, and return its id."""
    session_id = new_session_id(now)
    await transaction.execute(
        queries.ADD_REQUEST,
        id=session_id,
        op=op,
        username=username,
        state=AUTHENTICATING,
        requested_from=requested_from,
        server_data=None,
        challenge=None,
        policy=None,
        transactions=None,
        request_expires_at=None,
        now=now,
    )
    return session_id


async def find_open(transaction: Transaction, *, op: Operation, server_data: str, now: int) -> IssuedRequest | None:
    """Return the live request that `server_data` names. It is taken by `consume` only."""
    return await transaction.fetch_one(queries.OPEN, server_data=server_data, op=op, now=now)


async def consume(
    transaction: Transaction, session_id: str, outcome: Outcome, *, now: int, event: str, address: str
) -> bool:
    """Take a live request and end its session; of any number of callers exactly one gets True.

    `event` and `address`, the one that answered, are for the audit trail.
    """
    ended = await _end(transaction, queries.CONSUME, session_id, outcome, now=now, event=event, address=address)
    return ended == 1


def success(
    issued: IssuedRequest,
    server_data: str,
    username: str,
    taken: tuple[StatusAuthenticator, ...],
    *,
    now: int,
    event: str,
    address: str,
) -> Change:
    """Return the change that takes a live authentication request and ends its session well; see `consume`."""
    return Change(
        queries.SUCCEED,
        {
            "id": issued.id,
            "server_data": server_data,
            "username": username,
            "authenticators": strictjson.encode(taken),
            "now": now,
            "event": event,
            "address": address,
        },
    )


async def finish(transaction: Transaction, session_id: str, outcome: Outcome, *, now: int) -> None:
    """End a session that waits for no response."""
    await _end(transaction, queries.FINISH, session_id, outcome, now=now)


async def _end(
    transaction: Transaction, query: Query[Nothing], session_id: str, outcome: Outcome, **parameters: Value
) -> int:
    taken = outcome.authenticators
    return await transaction.execute(
        query,
        id=session_id,
        state=SUCCEEDED if outcome.status == StatusCode.OK else FAILED,
        username=outcome.username,
        uaf_status=int(outcome.status),
        asm_status=outcome.asm_status,
        client_error=outcome.client_error,
        authenticators=strictjson.encode(taken) if taken else None,
        **parameters,
    )


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token about to be made; `context` is the JSON text kept until its redemption."""

    op: Operation
    username: str | None
    context: str
    lifetime: int
    target_id: str | None = None
    dispatcher: str | None = None
    linking: ChannelLinking | None = None


def make_token(new: NewToken, *, now: int) -> TokenSession:
    """Return a session of its own with a fresh token, which is not stored yet."""
    linking = strictjson.encode(new.linking) if new.linking else None
    return TokenSession(
        new_session_id(now),
        new.op,
        new.username,
        new_id(),
        new.context,
        now + new.lifetime,
        None,
        "tokenCreated",
        linking,
    )


async def add_token(transaction: Transaction, new: NewToken, *, now: int, requested_from: str) -> TokenSession:
    """Store a fresh token in a session of its own."""
    session = make_token(new, now=now)
    await transaction.execute(
        queries.ADD_TOKEN,
        id=session.id,
        op=new.op,
        username=new.username,
        token=session.token,
        context=new.context,
        token_expires_at=session.token_expires_at,
        target_id=new.target_id,
        dispatcher=new.dispatcher,
        channel_linking=session.linking,
        linking_tries_left=TRIES if session.linking else None,
        requested_from=requested_from,
        now=now,
    )
    return session


async def redeem(transaction: Transaction, *, op: Operation, token: str, now: int) -> TokenSession:
    """Redeem a token; of any number of callers exactly one gets it.

    Raises:
        UafRefusal: NOT_FOUND, BAD_REQUEST (of another operation), FORBIDDEN (redeemed, or its session ended),
            REQUEST_TIMEOUT (HTTP contract 11a).
    """
    session = await transaction.fetch_one(queries.REDEEM, token=token, op=op, now=now)
    if session is not None:
        return session
    known = await transaction.fetch_one(queries.TOKEN, token=token)
    if known is None:
        raise UafRefusal(StatusCode.NOT_FOUND, "no such token")
    if known.op != op:
        raise UafRefusal(StatusCode.BAD_REQUEST, "the token is for another operation")
    if known.redeemed_at is not None or known.state != "tokenCreated":
        raise UafRefusal(StatusCode.FORBIDDEN, "the token was redeemed or withdrawn")
    raise UafRefusal(StatusCode.REQUEST_TIMEOUT, "the token has expired")


async def fail_open_sessions(
    transaction: Transaction,
    username: str,
    *,
    now: int,
    target_id: str | None = None,
    key_id: str | None = None,
) -> list[str]:
    """End a user's open sessions: all, those of a target, or those whose request names a key; return their ids."""
    failed = []
    for session in await transaction.fetch_all(queries.OPEN_SESSIONS_OF, username=username):
        if (
            (target_id is None and key_id is None)
            or (target_id is not None and session.target_id == target_id)
            or (key_id is not None and session.op == "Auth" and f'"{key_id}"' in (session.policy or ""))
        ):
            await transaction.execute(queries.FAIL, id=session.id, uaf_status=int(StatusCode.FORBIDDEN), now=now)
            failed.append(session.id)
    return failed


async def count_open(statements: Statements, *, now: int) -> int:
    """Return how many sessions wait for their token to be redeemed or their request to be answered."""
    requests = await statements.fetch_one(queries.OPEN_REQUESTS, now=now)
    tokens = await statements.fetch_one(queries.WAITING_TOKENS, now=now)
    return (requests.rows if requests else 0) + (tokens.rows if tokens else 0)


async def purge(store: Store, *, now: int, keep_millis: int, keep_ids_millis: int = 0) -> int:
    """Delete sessions older than `keep_millis`, a few at a time, and request ids that cannot be replayed any more.

    Those are kept for `keep_ids_millis` beyond that, for a clock that is ahead.
    What was dispatched goes with its session.
    What the audit trail needs of the sessions is written to it. Return how many there were.
    """
    await store.execute(queries.PURGE_REQUEST_IDS, now=now - keep_ids_millis)
    await store.execute(fido2_queries.PURGE_SESSIONS, before=now - keep_millis)
    # Ids begin with the time.
    before = _time_digits(now - keep_millis)
    await store.execute(queries.PURGE_PAYLOADS, before=before)
    removed = 0
    while True:
        async with store.transaction() as transaction:
            ended = await transaction.fetch_all(queries.REMOVE_SESSIONS, before=before, limit=PURGED_AT_ONCE)
            for session in ended:
                await audit.record_ended(transaction, session)
        removed += len(ended)
        if len(ended) < PURGED_AT_ONCE:
            return removed
