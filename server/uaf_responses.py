"""What the two response services share: reading the message, and ending the session whatever the outcome."""

import logging
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.messages import (
    Operation,
    SendUafResponse,
    ServerResponse,
    UafResponse,
    decode_response,
)
from fidoloop.protocol.uaf.policy import Policy
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server import sessions
from fidoloop.server.channel_linking import NotLinkedError
from fidoloop.server.contexts import ResponseContext, parse_context
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import IssuedRequest

COMPLETED = "OK. Operation completed."
_log = logging.getLogger("fidoloop.server.uaf")
_NO_CONTEXT = ResponseContext()
_COMPLETED = ServerResponse(int(StatusCode.OK), strictjson.encode({"message": COMPLETED}))


class Received(NamedTuple):
    """A response as it came, the client's codes beside it, and the tls-unique of its connection where there is one."""

    response: UafResponse
    context: ResponseContext
    server_data: str
    tls_unique: bytes | None

    @property
    def asm_status(self) -> int | None:
        """asmStatusCode, where the client sent it."""
        code = self.context.asmStatusCode
        return None if code is UNSET else code

    @property
    def client_error(self) -> int | None:
        """clientErrorCode, where the client sent it."""
        code = self.context.clientErrorCode
        return None if code is UNSET else code

    @property
    def linking_answer(self) -> str:
        """channelLinkingResponse; empty where the client sent none."""
        return self.context.channelLinkingResponse or ""


# Made anew each time: an exception that is kept keeps the frames of every time that it was raised.
def no_request() -> UafRefusal:
    """Return the refusal of a response that names no live request."""
    return UafRefusal(StatusCode.REQUEST_INVALID, "serverData names no open request: unknown, used or expired")


def user_disabled() -> UafRefusal:
    """Return the refusal of a response by the key of a disabled user."""
    return UafRefusal(StatusCode.FORBIDDEN, "the user is disabled")


def read_response(request: Request) -> Received:
    """Return the response in a SendUAFResponse.

    Raises:
        MalformedError: the body or its uafResponse is not what it should be.
        UafRefusal: BAD_REQUEST (context) or REQUEST_INVALID (no serverData).
    """
    sent = strictjson.decode(request.body, SendUafResponse)
    response = decode_response(sent.uafResponse, "uafResponse")
    context = parse_context(sent.context, ResponseContext) if sent.context else _NO_CONTEXT
    server_data = response.header.serverData
    if server_data is UNSET:
        raise no_request()
    return Received(response, context, server_data, request.tls_unique)


async def find_request(transaction: Transaction, op: Operation, received: Received, *, now: int) -> IssuedRequest:
    """Return the live request that a response names. Raises UafRefusal REQUEST_INVALID: then nothing changes."""
    issued = await sessions.find_open(transaction, op=op, server_data=received.server_data, now=now)
    if issued is None:
        raise no_request()
    return issued


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a response ended: what is kept of it, and what is answered. `username` is the one that it is about."""

    status: StatusCode
    answer: ServerResponse
    username: str | None
    keys: tuple[StatusAuthenticator, ...] = ()


def refusal_ending(refusal: UafRefusal, issued: IssuedRequest) -> Ending:
    """Return how a refused response to `issued` ends."""
    return Ending(status=refusal.status, answer=refused(refusal), username=issued.username)


async def conclude(
    transaction: Transaction,
    received: Received,
    issued: IssuedRequest,
    ending: Ending,
    *,
    now: int,
    event: str,
    address: str,
) -> None:
    """Take the request and keep the ending in its session, which is its entry in the audit trail too.

    This statement decides between racing responses. What else the transaction holds falls with it.

    Raises:
        UafRefusal: REQUEST_INVALID, the request was taken, has expired or was withdrawn since it was found.
    """
    outcome = sessions.Outcome(
        status=ending.status,
        username=ending.username,
        asm_status=received.asm_status,
        client_error=received.client_error,
        authenticators=ending.keys,
    )
    if not await sessions.consume(transaction, issued.id, outcome, now=now, event=event, address=address):
        raise no_request()


def expected_of(environment: Environment, issued: IssuedRequest, received: Received, now: int) -> Expected:
    """Return what a response to `issued` must hold that was `received` now."""
    config, channels = environment.config, environment.channels
    return Expected(
        app_id=config.app_id,
        challenge=issued.challenge,
        trusted_facets=environment.trusted_facets,
        versions=config.versions,
        channel_binding=channels.rule(now, received.tls_unique) if channels is not None else None,
    )


@lru_cache(maxsize=1024)
def issued_policy(text: str) -> Policy:
    """Return a policy from its stored text; most requests share one."""
    return msgspec.json.decode(text, type=Policy)


def issued_transactions(text: str | None) -> tuple[bytes, ...]:
    """Return the stored transaction contents."""
    return tuple(base64url.decode(entry) for entry in msgspec.json.decode(text, type=list[str])) if text else ()


def completed(**members: str) -> ServerResponse:
    """Return the answer of success, with further members of `description`."""
    if not members:
        return _COMPLETED
    return ServerResponse(int(StatusCode.OK), strictjson.encode({"message": COMPLETED, **members}))


def refused(refusal: UafRefusal) -> ServerResponse:
    """Return the answer of a refusal, and tell the operator: a wrong facet is found by this line."""
    _log.info("response refused: %d %s", refusal.status, refusal.detail)
    more = {"triesLeft": refusal.tries_left} if isinstance(refusal, NotLinkedError) else {}
    return ServerResponse(int(refusal.status), strictjson.encode({"message": refusal.detail, **more}))
