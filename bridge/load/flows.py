"""What a simulated phone and its laptop do at a server: enrol, log in, deregister. Every function raises Failure."""

import json
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from fidoloop.bridge.load.failures import UNREADABLE, Failure
from fidoloop.bridge.load.passkeys import enrol_passkey, log_in_by_passkey
from fidoloop.bridge.load.phone import SimulatedPhone
from fidoloop.bridge.load.services import Call, Services, Step
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.outofband import DispatchRequest, DispatchResponse, StatusRequest
from fidoloop.protocol.uaf.messages import GetUafRequest

WHOEVER = b'{"op":"Auth","context":"{}"}'
"""The body that asks for a request to authenticate whoever answers."""


class Account(NamedTuple):
    """A user and the phone that is enrolled for it."""

    username: str
    phone: SimulatedPhone


class Kind(StrEnum):
    """How to log in."""

    UAF = "uaf"
    """Authentication request and response: a phone that logs in on itself."""
    OUT_OF_BAND = "out-of-band"
    """Dispatch, redemption, response and status: a laptop that shows a QR code or link, and a phone."""
    FIDO2 = "fido2"
    """Options, assertion and status: a passkey, without a user name."""


async def enrol(call: Call, services: Services, account: Account, *, policy: str | None = None) -> None:
    """Register an account's phone: the request for its user wants an API credential."""
    context = {"username": account.username} | ({} if policy is None else {"policy": policy})
    returned = await call(services.registration_request, _request("Reg", context))
    body = _made(account.phone.register, returned, services.registration_request)
    await call(services.registration, body)


async def deregister(call: Call, services: Services, account: Account) -> None:
    """Have the server forget the key that `enrol` registered."""
    key = {"aaid": account.phone.aaid, "keyID": base64url.encode(account.phone.key_id)}
    context = {"username": account.username, "mode": "keyid", "authenticators": [key]}
    await call(services.deregistration, _request("Dereg", context))


def enrolment(kind: Kind, services: Services, policy: str | None) -> Callable[[Call, Account], Awaitable[None]]:
    """Return how accounts are enrolled that log in this way."""

    async def uaf(call: Call, account: Account) -> None:
        await enrol(call, services, account, policy=policy)

    async def passkey(call: Call, account: Account) -> None:
        await enrol_passkey(call, services, account.username, account.phone)

    return passkey if kind is Kind.FIDO2 else uaf


LogIn = Callable[[Call, Account], Awaitable[str]]
"""Logs an account in and returns the session's id, "" where nobody is told it."""


def way_to_log_in(kind: Kind, services: Services, dispatcher: str) -> LogIn:
    """Return how accounts log in; `dispatcher` is for out of band."""

    async def passkey(call: Call, account: Account) -> str:
        return await log_in_by_passkey(call, services, account.phone)

    if kind is Kind.FIDO2:
        return passkey
    return log_in_out_of_band(services, dispatcher) if kind is Kind.OUT_OF_BAND else log_in_by_uaf(services)


def log_in_by_uaf(services: Services) -> LogIn:
    """Return the log-in of a phone on itself; a user that must be named needs the API credential."""

    async def log_in(call: Call, account: Account) -> str:
        wanted = WHOEVER if account.phone.verifies else _request("Auth", {"username": account.username})
        returned = await call(services.request, wanted)
        await call(services.respond, _made(account.phone.authenticate, returned, services.request))
        return ""

    return log_in


def log_in_out_of_band(services: Services, dispatcher: str) -> LogIn:
    """Return the log-in by a token that a laptop shows; the phone takes it from the answer and reads no picture."""

    async def log_in(call: Call, account: Account) -> str:
        context = strictjson.encode({"username": account.username})
        wanted = DispatchRequest(getUafRequest=GetUafRequest(op="Auth", context=context), dispatcher=dispatcher)
        dispatched = _read(
            await call(services.dispatch, strictjson.encode(wanted).encode()), DispatchResponse, services.dispatch
        )
        token, session_id = str(dispatched.token), str(dispatched.sessionId)
        returned = await call(services.redeem, strictjson.encode({"token": token}).encode())
        await call(services.respond, _made(account.phone.authenticate, returned, services.redeem))
        await call(services.status, strictjson.encode(StatusRequest(session_id)).encode())
        return session_id

    return log_in


def _request(op: str, context: Mapping[str, object]) -> bytes:
    return json.dumps({"op": op, "context": json.dumps(context)}).encode()


def _made(answer: Callable[[bytes], bytes], returned: bytes, step: Step) -> bytes:
    try:
        return answer(returned)
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(UNREADABLE, str(error), step=step.name) from None


def _read(answer: bytes, kind: type[DispatchResponse], step: Step) -> DispatchResponse:
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.DecodeError as error:
        raise Failure(UNREADABLE, str(error), step=step.name) from None
