"""The contexts that GetUAFRequest and SendUAFResponse carry as JSON texts (HTTP contract 3 to 5)."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.channel_linking import MAX_CONTENT_CHARACTERS
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import OperationName
from fidoloop.protocol.uaf.messages import DeregisterAuthenticator, GetUafRequest, Operation, Transaction, Username
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

PolicyName = Annotated[str, Meta(min_length=1, max_length=64)]
Aaid = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{4}#[0-9A-Fa-f]{4}\Z")]
Code = Annotated[int, Meta(ge=0, le=0xFFFF)]
C = TypeVar("C")

OPERATIONS: dict[OperationName, Operation] = {
    "registration": "Reg",
    "authentication": "Auth",
    "deregistration": "Dereg",
}
"""Operations as the paths of the token services name them."""


class RegistrationContext(msgspec.Struct, frozen=True):
    """Who registers, under which policy."""

    username: Username
    policy: PolicyName | UnsetType = UNSET


class AuthenticationContext(msgspec.Struct, frozen=True):
    """Who authenticates (absent: usernameless), under which policy, and what is to be confirmed."""

    username: Username | UnsetType = UNSET
    policy: PolicyName | UnsetType = UNSET
    transaction: Annotated[tuple[Transaction, ...], Meta(min_length=1, max_length=8)] | UnsetType = UNSET


class DeregistrationContext(msgspec.Struct, frozen=True):
    """Which of a user's credentials go.

    With `wildcards` the client is told to forget all keys of the AppID (mode username) or of one model (mode aaid with
    one AAID): those too that this server does not know, and those of other users of the same phone.
    """

    username: Username
    mode: Literal["username", "aaid", "keyid"]
    aaids: Annotated[tuple[Aaid, ...], Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    authenticators: Annotated[tuple[DeregisterAuthenticator, ...], Meta(min_length=1, max_length=64)] | UnsetType = (
        UNSET
    )
    wildcards: bool = False


class ResponseContext(msgspec.Struct, frozen=True):
    """What the client says beside its response.

    `dispatchTarget` counts in a registration only, `channelLinkingResponse` in an authentication.
    """

    asmStatusCode: Code | UnsetType = UNSET
    clientErrorCode: Code | UnsetType = UNSET
    dispatchTarget: dict[str, Any] | UnsetType = UNSET
    channelLinkingResponse: Annotated[str, Meta(max_length=MAX_CONTENT_CHARACTERS)] | UnsetType = UNSET


Context = RegistrationContext | AuthenticationContext | DeregistrationContext
_REQUEST_CONTEXTS: dict[Operation, type[Context]] = {
    "Reg": RegistrationContext,
    "Auth": AuthenticationContext,
    "Dereg": DeregistrationContext,
}


def parse_request_context(op: Operation, text: str) -> Context:
    """Return the context of a GetUAFRequest. Raises UafRefusal BAD_REQUEST."""
    context = parse_context(text, _REQUEST_CONTEXTS[op])
    if isinstance(context, DeregistrationContext):
        missing = {"aaid": context.aaids, "keyid": context.authenticators}.get(context.mode)
        if missing is UNSET:
            raise UafRefusal(StatusCode.BAD_REQUEST, f"context: mode {context.mode} without what it names")
        if context.wildcards and (context.mode == "keyid" or len(context.aaids or ()) > 1):
            raise UafRefusal(StatusCode.BAD_REQUEST, "context: wildcards stand for all keys, or all of one AAID")
    return context


def parse_context(text: str, type_: type[C]) -> C:
    """Return the JSON `text` as `type_`. Raises UafRefusal BAD_REQUEST."""
    try:
        return strictjson.decode(text, type_, "context")
    except MalformedError as error:
        raise UafRefusal(StatusCode.BAD_REQUEST, str(error)) from None


def parse_get_uaf_request(body: bytes, op: Operation) -> GetUafRequest:
    """Return the GetUAFRequest in `body`, which must ask for `op`.

    Raises:
        MalformedError: it is none.
        UafRefusal: BAD_REQUEST, another operation.
    """
    wanted = strictjson.decode(body, GetUafRequest)
    if wanted.op != op:
        raise UafRefusal(StatusCode.BAD_REQUEST, f"op is not {op}")
    return wanted
