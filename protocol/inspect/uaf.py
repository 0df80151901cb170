"""UAF messages: of the protocol, of its HTTP transport, and the fcParams inside (UAF protocol 3, HTTP contract 2)."""

from collections.abc import Callable
from enum import IntFlag
from typing import Any

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.embedded import in_base64url
from fidoloop.protocol.inspect.json_tree import Member, Members, json_tree
from fidoloop.protocol.inspect.node import Node, bits, named, octets
from fidoloop.protocol.inspect.uaf_assertion import read_assertion
from fidoloop.protocol.uaf import messages
from fidoloop.protocol.uaf.facets import TrustedFacetList
from fidoloop.protocol.uaf.final_challenge import FinalChallengeParams
from fidoloop.protocol.uaf.registry import (
    Algorithm,
    AttachmentHint,
    AttestationType,
    KeyProtection,
    MatcherProtection,
    TransactionConfirmationDisplay,
    UserVerification,
)
from fidoloop.protocol.uaf.status import StatusCode


def tell_algorithm(value: object, _: Context) -> tuple[str, str]:
    """Tell the name of an ALG_SIGN."""
    return named(Algorithm, value), ""


def tell_attestation(value: object, _: Context) -> tuple[str, str]:
    """Tell the name of a kind of attestation."""
    return named(AttestationType, value), ""


def tell_bits(kind: type[IntFlag]) -> Callable[[Any, Context], tuple[str, str]]:
    """Return what tells the names of the bits of a member."""
    return lambda value, _: (bits(kind, value), "")


def _tell_status(value: object, _: Context) -> tuple[str, str]:
    return named(StatusCode, value), ""


def _challenge(value: object, _: Context) -> tuple[str, str]:
    if not isinstance(value, str):
        return "", ""
    size = len(base64url.decode(value, padding_allowed=True)) if _is_base64url(value) else 0
    if not messages.MIN_CHALLENGE_BYTES <= size <= messages.MAX_CHALLENGE_BYTES:
        return "", "not base64url of 8 to 64 bytes"
    return f"{size} bytes", ""


def _is_base64url(text: str) -> bool:
    try:
        base64url.decode(text, padding_allowed=True)
    except ValueError:
        return False
    return True


def _transaction(text: str, _: Context) -> Node:
    data = base64url.decode_lenient(text)
    shown = data.decode("utf-8", "replace")
    plain = Node(0, len(data), "content", shown) if shown.isprintable() else octets(0, data, "content")
    return plain.but(coding="base64url")


CRITERIA: Members = {
    "aaid": Member("models that match"),
    "vendorID": Member("the first half of AAIDs that match"),
    "keyIDs": Member("keys that match"),
    "userVerification": Member("any of these methods", tell=tell_bits(UserVerification)),
    "keyProtection": Member("where keys may be", tell=tell_bits(KeyProtection)),
    "matcherProtection": Member("where users may be verified", tell=tell_bits(MatcherProtection)),
    "attachmentHint": Member("how it may be attached", tell=tell_bits(AttachmentHint)),
    "tcDisplay": Member("what may show transactions", tell=tell_bits(TransactionConfirmationDisplay)),
    "authenticationAlgorithms": Member("ALG_SIGN that match", tell=tell_algorithm),
    "assertionSchemes": Member("UAFV1TLV is the only one there is"),
    "attestationTypes": Member("kinds of attestation that match", tell=tell_attestation),
    "authenticatorVersion": Member("the lowest version that matches"),
}
POLICY: Members = {
    "accepted": Member("alternatives, the first preferred; each a set of authenticators used together", CRITERIA),
    "disallowed": Member("authenticators that may not be used", CRITERIA),
}
HEADER: Members = {
    "upv": Member("version of the protocol"),
    "op": Member("Reg: register, Auth: authenticate, Dereg: forget keys"),
    "appID": Member("whose keys: the URL of the trusted facet list"),
    "serverData": Member("the server's own, which comes back unchanged"),
    "exts": Member("extensions", {"fail_if_unknown": Member("whoever does not know it must refuse the message")}),
}
FC_PARAMS: Members = {
    "appID": Member("whose keys"),
    "challenge": Member("the server's, as it was sent"),
    "facetID": Member("the app that asked, as the platform knows it"),
    "channelBinding": Member(
        "the TLS channel as the client saw it",
        {
            "serverEndPoint": Member("hash of the server's certificate (RFC 5929)"),
            "tlsServerCertificate": Member("the server's certificate"),
            "tlsUnique": Member("the channel's Finished message"),
            "cid_pubkey": Member("Channel ID's key, or unused"),
        },
    ),
}


def read_fc_params(content: Content, context: Context) -> Node:
    """Return fcParams. Raises MalformedError."""
    return json_tree(
        content, context, "fcParams", FC_PARAMS, lambda text: strictjson.decode(text, FinalChallengeParams)
    )


_ASSERTIONS: Members = {
    "assertionScheme": Member("how the assertion is written"),
    "assertion": Member("what the authenticator signed", read=in_base64url(read_assertion)),
    "exts": Member("extensions"),
}
_AUTHENTICATORS: Members = {
    "aaid": Member("the model, empty for all"),
    "keyID": Member("the key, empty for all of the model"),
}
_MESSAGE: Members = {
    "header": Member("what the message is", HEADER),
    "challenge": Member("the server's, to be signed", tell=_challenge),
    "username": Member("the account, to be shown to its user"),
    "policy": Member("which authenticators are acceptable", POLICY),
    "transaction": Member(
        "to be shown and confirmed; alternatives of one content",
        {"content": Member("base64url", read=_transaction), "contentType": Member("text/plain or image/png")},
    ),
    "fcParams": Member("final challenge parameters: what the client saw", read=in_base64url(read_fc_params)),
    "assertions": Member("one for each authenticator used", _ASSERTIONS),
    "authenticators": Member("the keys to forget", _AUTHENTICATORS),
}


def read_message(content: Content, context: Context) -> Node:
    """Return a UAF message, or the array of them that is sent. Raises MalformedError."""
    return json_tree(content, context, "message", _MESSAGE, _check_message)


def _check_message(text: str) -> None:
    in_array = text if text.startswith("[") else f"[{text}]"
    value = strictjson.loads(in_array)
    if isinstance(value[0], dict) and "assertions" in value[0]:
        messages.decode_response(in_array)
    elif messages.decode_request(in_array, (messages.V1_1, messages.V1_0)) is None:
        raise ValueError("neither of version 1.1 nor of 1.0")


_FACETS: Members = {
    "trustedFacets": Member(
        "by version of the protocol",
        {"version": Member("of the protocol"), "ids": Member("the apps and pages that may use the appID's keys")},
    )
}


def read_facets(content: Content, context: Context) -> Node:
    """Return a list of trusted facets. Raises MalformedError."""
    return json_tree(
        content, context, "trusted facets", _FACETS, lambda text: strictjson.decode(text, TrustedFacetList)
    )


def _nested(text: str, context: Context) -> Node:
    return read_message(Content(text.encode("utf-8")), context).but(coding="JSON text")


_TRANSPORT: Members = {
    "op": Member("the operation asked for"),
    "previousRequest": Member("ignored"),
    "context": Member("JSON text: what the server needs to know"),
    "statusCode": Member("UAF status", tell=_tell_status),
    "uafRequest": Member("JSON text: an array of messages", read=_nested),
    "uafResponse": Member("JSON text: an array of one message", read=_nested),
    "lifetimeMillis": Member("how long the request is good for"),
    "description": Member("JSON text: what happened"),
    "asmResponse": Member("what the ASM said"),
}


def _transport(name: str, type_: type[Any]) -> Callable[[Content, Context], Node]:
    return lambda content, context: json_tree(
        content, context, name, _TRANSPORT, lambda text: strictjson.decode(text, type_)
    )


def _is_message(content: Content) -> bool:
    value = content.json
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and isinstance(first.get("header"), dict) and "upv" in first["header"]


KINDS = (
    Kind("uaf-message", "a UAF message", _is_message, read_message, signed=True),
    Kind(
        "return-uaf-request",
        "ReturnUAFRequest: a request as a server sends it",
        lambda content: content.has("uafRequest"),
        _transport("ReturnUAFRequest", messages.ReturnUafRequest),
    ),
    Kind(
        "send-uaf-response",
        "SendUAFResponse: a response as a client sends it",
        lambda content: content.has("uafResponse"),
        _transport("SendUAFResponse", messages.SendUafResponse),
        signed=True,
    ),
    Kind(
        "get-uaf-request",
        "GetUAFRequest: a client asks for a request",
        lambda content: content.member("op") in ("Reg", "Auth", "Dereg"),
        _transport("GetUAFRequest", messages.GetUafRequest),
    ),
    Kind(
        "server-response",
        "ServerResponse: what a server made of a response",
        lambda content: content.has("statusCode", "description"),
        _transport("ServerResponse", messages.ServerResponse),
    ),
    Kind("facets", "a list of trusted facets", lambda content: content.has("trustedFacets"), read_facets),
    Kind(
        "fc-params",
        "final challenge parameters",
        lambda content: content.has("appID", "challenge", "facetID"),
        read_fc_params,
    ),
)
