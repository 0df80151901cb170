"""What is dispatched out of band: the payload, in its JSON, base64url and link forms (HTTP contract 8 and 9)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.json_tree import Member, Members, inside, json_tree
from fidoloop.protocol.inspect.node import Node, named
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode


def _encrypted(text: str, context: Context) -> Node:
    found = context.find(Content(text.encode("utf-8")), context)
    if found is None:
        raise MalformedError("$", "not a compact JWE")
    return found.but(coding="JWE")


_DATA: Members = {
    "token": Member("what the phone redeems; good once"),
    "redeem_url": Member("where it redeems it"),
    "operation": Member("what is to be done"),
    "channelLinking": Member("what the phone must answer to show that it is near"),
    "channelLinkingMode": Member("how the phone shows that it is near"),
}
_PAYLOAD: Members = {
    "nma_data": Member("the token and where to redeem it", _DATA, _encrypted),
    "nma_data_content_type": Member("application/json: plain; application/jose: encrypted to the phone"),
    "nma_data_version": Member("1"),
}


def read_payload(content: Content, context: Context) -> Node:
    """Return a payload in JSON. Raises MalformedError."""
    return json_tree(content, context, "payload", _PAYLOAD, _check)


def _check(text: str) -> None:
    payload = outofband.decode_payload(text)
    if isinstance(payload.nma_data, dict):
        outofband.open_payload(payload, None)


def read_data(content: Content, context: Context) -> Node:
    """Return what a payload's nma_data holds. Raises MalformedError."""
    return json_tree(content, context, "nma_data", _DATA)


def read_link(content: Content, context: Context) -> Node:
    """Return a link that carries a payload. Raises MalformedError where it does not."""
    text = content.text or ""
    value = _parameter(text)
    if value is None:
        raise MalformedError("$", f"a link without exactly one {outofband.LINK_PARAMETER}")
    inner = read_payload(Content(base64url.decode(value, padding_allowed=True)), context.inside())
    at = text.find(value)
    node = Node(max(at, 0), len(value), outofband.LINK_PARAMETER)
    app = Node(0, max(at, 0), "app", text[: max(at, 0)], "which app the link opens")
    return Node(0, len(text), "link", children=(app, inside(node, inner, "base64url")))


def _parameter(text: str) -> str | None:
    if "://" not in text or not text.isascii() or any(character.isspace() for character in text):
        return None
    try:
        values = parse_qs(urlsplit(text).query, max_num_fields=outofband.MAX_LINK_FIELDS).get(
            outofband.LINK_PARAMETER, []
        )
    except ValueError:
        return None
    return values[0] if len(values) == 1 else None


_DISPATCHER: Members = {"name": Member("which dispatcher"), "response": Member("its answer: a code, a link, a message")}
_MESSAGES: Members = {
    "getUafRequest": Member("the operation that is asked for"),
    "dispatchTargetId": Member("the phone it goes to"),
    "dispatcher": Member("how it goes there"),
    "dispatchInformation": Member("what the dispatcher is told"),
    "sessionId": Member("of the operation: whoever has it follows the status"),
    "token": Member("what the phone redeems; good once"),
    "dispatchResult": Member("whether it went out"),
    "dispatcherInformation": Member("who sent it", _DISPATCHER),
    "channelLinking": Member("what the laptop shows: the phone must answer it"),
    "status": Member("where the operation is"),
    "timestamp": Member("since when"),
    "userId": Member("who"),
    "uafStatusCode": Member("UAF status", tell=lambda value, _: (named(StatusCode, value), "")),
    "asmStatusCode": Member("the ASM's status", tell=lambda value, _: (named(AsmStatus, value), "")),
    "clientErrorCode": Member("the client's error", tell=lambda value, _: (named(ClientError, value), "")),
    "authenticators": Member("keys that took part", {"aaid": Member("model"), "keyId": Member("key")}),
    "tokenInformation": Member("what became of the token", {"dispatcherInformation": Member("", _DISPATCHER)}),
    "dispatchTargets": Member(
        "phones that tokens can be sent to", {"name": Member("its name"), "id": Member("its id")}
    ),
}


def _message(name: str, type_: type[Any]) -> Callable[[Content, Context], Node]:
    return lambda content, context: json_tree(
        content, context, name, _MESSAGES, lambda text: strictjson.decode(text, type_)
    )


KINDS = (
    Kind("payload", "an out-of-band payload", lambda content: content.has("nma_data"), read_payload),
    Kind("link", "a link with an out-of-band payload", lambda c: _parameter(c.text or "") is not None, read_link),
    Kind(
        "dispatch-request",
        "a request to dispatch a token",
        lambda content: content.has("getUafRequest"),
        _message("dispatch request", outofband.DispatchRequest),
    ),
    Kind(
        "dispatch-response",
        "what became of a dispatch",
        lambda content: content.has("dispatchResult"),
        _message("dispatch response", outofband.DispatchResponse),
    ),
    Kind(
        "status",
        "the status of an operation",
        lambda content: content.has("status", "timestamp"),
        _message("status", outofband.StatusResponse),
    ),
    Kind(
        "dispatch-targets",
        "a user's dispatch targets",
        lambda content: content.has("dispatchTargets"),
        _message("dispatch targets", outofband.DispatchTargetList),
    ),
    Kind("nma-data", "an out-of-band payload's content", lambda c: c.has("token", "redeem_url"), read_data),
)
