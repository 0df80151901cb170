"""The services that simulated phones and laptops ask (HTTP contract 1), and how to tell whether an answer is a yes."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from fidoloop.bridge.http import CONTEXT_PATH, JSON_MEDIA_TYPE, UAF_MEDIA_TYPE
from fidoloop.bridge.load.connection import Client
from fidoloop.bridge.load.failures import UNREADABLE, Failure
from fidoloop.protocol.uaf.status import StatusCode

_UAF_OK = int(StatusCode.OK)
# Content-Type and Accept.
_UAF = (f"{UAF_MEDIA_TYPE};charset=UTF-8", UAF_MEDIA_TYPE)
_JSON = (JSON_MEDIA_TYPE, JSON_MEDIA_TYPE)
_REDEEM = (JSON_MEDIA_TYPE, UAF_MEDIA_TYPE)
Refusal = Callable[[bytes], str | None]


class Step(NamedTuple):
    """One service: `head` of its requests up to the value of Content-Length.

    `refusal` says of an answer what kind of no it is, None for a yes; of two equal requests to a service that works
    `once`, at most one may get a yes.
    """

    name: str
    head: bytes
    refusal: Refusal
    once: bool = False


Call = Callable[[Step, bytes], Awaitable[bytes]]
"""Asks a service and returns the answer, which is a yes; raises Failure."""


class Services:
    """The steps of one server, with everything in their requests that does not change."""

    def __init__(self, authority: str, api_key: str | None = None, *, scheme: str = "https") -> None:
        """Take what stands in the field Host, and the API credential for the services that want one."""
        self.origin = f"{scheme}://{authority}"
        """Of whom FIDO2's clients believe that they speak to."""
        fields = "" if api_key is None else f"Authorization: Bearer {api_key}\r\n"

        def step(name: str, path: str, media: tuple[str, str], refusal: Refusal, *, once: bool = False) -> Step:
            head = request_head(path, authority, media=media[0], accept=media[1], fields=fields)
            return Step(name, head, refusal, once)

        self.registration_request = step("registration request", "/uaf/1.1/request/registration", _UAF, uaf_refusal)
        self.registration = step("registration", "/uaf/1.1/registration", _UAF, uaf_refusal, once=True)
        self.request = step("authentication request", "/uaf/1.1/request/authentication", _UAF, uaf_refusal)
        self.respond = step("authentication", "/uaf/1.1/authentication", _UAF, uaf_refusal, once=True)
        self.deregistration = step("deregistration", "/uaf/1.1/request/deregistration", _UAF, uaf_refusal)
        self.dispatch = step("dispatch", "/token/dispatch/authentication", _JSON, _dispatch_refusal)
        self.redeem = step("redeem", "/token/redeem/authentication", _REDEEM, uaf_refusal, once=True)
        self.status = step("status", "/status", _JSON, _status_refusal)
        self.passkey_options = step("FIDO2 options", "/fido2/attestation/options", _JSON, _fido2_refusal)
        self.passkey_registration = step(
            "FIDO2 registration", "/fido2/attestation/result", _JSON, _fido2_refusal, once=True
        )
        self.passkey_login = step("FIDO2 authentication", "/fido2/assertion/result", _JSON, _fido2_refusal, once=True)
        self.passkey_status = step("FIDO2 status", "/fido2/status", _JSON, _status_refusal)


def request_head(path: str, authority: str, *, media: str, accept: str, fields: str = "") -> bytes:
    """Return the head of a POST to a service up to the value of Content-Length; `fields` end in CRLF."""
    return (
        f"POST {CONTEXT_PATH}{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {media}\r\nAccept: {accept}\r\n"
        f"{fields}Content-Length: "
    ).encode("ascii")


async def ask(client: Client, step: Step, body: bytes) -> bytes:
    """Ask once. Raises Failure."""
    try:
        answer = await client.post(step.head, body)
    except Failure as failure:
        failure.step = step.name
        raise
    refusal = step.refusal(answer)
    if refusal is not None:
        raise Failure(refusal, answer[:300].decode("utf-8", errors="replace"), step=step.name)
    return answer


class _StatusCode(msgspec.Struct):
    statusCode: int


class _DispatchResult(msgspec.Struct):
    dispatchResult: str


class _Status(msgspec.Struct):
    status: str


_status_code = msgspec.json.Decoder(_StatusCode)
_dispatch_result = msgspec.json.Decoder(_DispatchResult)
_status = msgspec.json.Decoder(_Status)


def uaf_refusal(answer: bytes) -> str | None:
    """Return "UAF " and the status code of a UAF answer, None for 1200."""
    try:
        code = _status_code.decode(answer).statusCode
    except msgspec.DecodeError:
        return UNREADABLE
    return None if code == _UAF_OK else f"UAF {code}"


def _dispatch_refusal(answer: bytes) -> str | None:
    try:
        result = _dispatch_result.decode(answer).dispatchResult
    except msgspec.DecodeError:
        return UNREADABLE
    return None if result == "dispatched" else result


def _fido2_refusal(answer: bytes) -> str | None:
    try:
        status = _status.decode(answer).status
    except msgspec.DecodeError:
        return UNREADABLE
    return None if status == "ok" else f"FIDO2 {status}"


def _status_refusal(answer: bytes) -> str | None:
    try:
        status = _status.decode(answer).status
    except msgspec.DecodeError:
        return UNREADABLE
    return None if status == "succeeded" else f"session {status}"
