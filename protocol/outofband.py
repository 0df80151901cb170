"""The out-of-band payload and the messages of the dispatch, redeem and status services (HTTP contract 6 to 10)."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.channel_linking import ChannelLinking
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import GetUafRequest

PAYLOAD_VERSION = "1"
LINK_PARAMETER = "dispatchTokenResponse"
MAX_PAYLOAD_CHARACTERS = 32768
MAX_LINK_FIELDS = 64
PLAIN: Final = "application/json"
ENCRYPTED: Final = "application/jose"

OperationName = Literal["registration", "authentication", "deregistration"]
ShortText = Annotated[str, Meta(min_length=1, max_length=128)]


class Payload(msgspec.Struct, frozen=True):
    """What is dispatched: nma_data is an object (plain) or a compact JWE (encrypted)."""

    nma_data: dict[str, Any] | str
    nma_data_content_type: Literal["application/json", "application/jose"]
    nma_data_version: Literal["1"] = "1"


class NmaData(msgspec.Struct, frozen=True):
    """The decrypted content: the token, where to redeem it, and whatever else the dispatcher put beside."""

    token: str
    redeem_url: str
    members: dict[str, Any]


def encode_payload(data: dict[str, Any], recipient: jose.PublicJwk | None) -> str:
    """Return the payload's JSON text: encrypted to `recipient`, or plain where there is none.

    `data` is {"token", "redeem_url", …}.
    """
    if recipient is None:
        return strictjson.encode(Payload(data, PLAIN))
    token = jose.encrypt_compact(strictjson.encode(data).encode("utf-8"), recipient)
    return strictjson.encode(Payload(token, ENCRYPTED))


def qr_text(payload: str) -> str:
    """Return what a png-qr-code holds: base64url of the payload's JSON text."""
    return base64url.encode(payload.encode("utf-8"))


def link(base_url: str, payload: str) -> str:
    """Return the link form of a payload."""
    separator = "&" if "?" in base_url else "?"
    return f"{base_url}{separator}{LINK_PARAMETER}={qr_text(payload)}"


def decode_scanned(text: str) -> Payload:
    """Return the payload in what was scanned or pasted: the base64url form, the link, or the JSON itself.

    Raises:
        MalformedError: it is none of these, or too long.
    """
    text = text.strip()
    if len(text) > MAX_PAYLOAD_CHARACTERS:
        raise MalformedError("$", f"{len(text)} characters, at most {MAX_PAYLOAD_CHARACTERS} allowed")
    if text.startswith("{"):
        return decode_payload(text)
    if "://" in text:
        try:
            values = parse_qs(urlsplit(text).query, max_num_fields=MAX_LINK_FIELDS).get(LINK_PARAMETER, [])
        except ValueError:
            raise MalformedError("$", "not a link") from None
        if len(values) != 1:
            raise MalformedError("$", f"a link without exactly one {LINK_PARAMETER}")
        text = values[0]
    return decode_payload(base64url.decode(text, padding_allowed=True))


def decode_payload(text: str | bytes) -> Payload:
    """Return the payload of a JSON text.

    Raises:
        MalformedError: not a payload, or content and content type do not fit.
    """
    payload = strictjson.decode(text, Payload)
    if isinstance(payload.nma_data, str) != (payload.nma_data_content_type == ENCRYPTED):
        raise MalformedError("$.nma_data", "does not fit nma_data_content_type")
    return payload


def open_payload(payload: Payload, key: PrivateKeyTypes | None) -> NmaData:
    """Return the content of `payload`, decrypted by `key` where it is encrypted.

    Raises:
        MalformedError: the content is not {"token", "redeem_url", …}.
        JoseRefusal: encrypted to another key, or no key at hand.
    """
    if isinstance(payload.nma_data, str):
        if key is None:
            raise jose.JoseRefusal("the payload is encrypted and there is no key")
        members = strictjson.loads(jose.decrypt_compact(payload.nma_data, key, "$.nma_data"), "$.nma_data")
    else:
        members = payload.nma_data
    if not isinstance(members, dict):
        raise MalformedError("$.nma_data", "not an object")
    known = strictjson.convert(members, _Known, "$.nma_data")
    return NmaData(known.token, known.redeem_url, members)


class _Known(msgspec.Struct, frozen=True):
    token: Annotated[str, Meta(min_length=1, max_length=128)]
    redeem_url: Annotated[str, Meta(min_length=1, max_length=2048)]


class NewDispatchTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """`context.dispatchTarget` of a registration response: a dispatch target without its user (HTTP contract 3)."""

    name: ShortText
    signatureKey: dict[str, Any] | str
    encryptionKey: dict[str, Any] | str
    deviceId: ShortText | UnsetType = UNSET
    dispatcher: ShortText | UnsetType = UNSET
    target: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET


class CreateDispatchTarget(NewDispatchTarget, frozen=True, omit_defaults=True, kw_only=True):
    """Request of Dispatch Target create."""

    username: ShortText


class DispatchTargetCreated(msgspec.Struct, frozen=True):
    """Answer of Dispatch Target create."""

    id: str


class DispatchTargetEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dispatch target as Query shows it."""

    name: str
    id: str
    dispatcher: str | UnsetType = UNSET


class DispatchTargetList(msgspec.Struct, frozen=True):
    """Answer of Dispatch Target query."""

    dispatchTargets: tuple[DispatchTargetEntry, ...]


class ModifyDispatchTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Payload of the JWS that modifies a dispatch target."""

    dispatchTargetId: str
    requestId: Annotated[str, Meta(min_length=1, max_length=64)]
    creationTimeInEpochMillis: int
    name: ShortText | UnsetType = UNSET
    target: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET
    dispatcher: ShortText | UnsetType = UNSET


class ApplicationServerKey(msgspec.Struct, frozen=True):
    """The server's VAPID public key, an uncompressed P-256 point, base64url (RFC 8292 section 4)."""

    applicationServerKey: Annotated[str, Meta(min_length=87, max_length=87)]


class DeviceSignature(msgspec.Struct, frozen=True):
    """Payload of the JWS in the header Device-Signature: fits one request only (HTTP contract 6)."""

    dispatchTargetId: str
    requestId: Annotated[str, Meta(min_length=1, max_length=64)]
    creationTimeInEpochMillis: int
    method: str
    path: str


class DeviceCredential(msgspec.Struct, frozen=True):
    """A key that the server knows of a user."""

    aaid: str
    keyID: str
    creationTimeInEpochMillis: int


class DeviceCredentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of the device credentials service, in a JWE to the target: what the server knows of it and its user.

    The newest keys first; `more` says that not all fitted.
    """

    username: str
    dispatchTarget: DispatchTargetEntry
    credentials: tuple[DeviceCredential, ...]
    more: bool = False


class PendingOperation(msgspec.Struct, frozen=True):
    """A payload that was dispatched and not redeemed yet."""

    operation: OperationName
    expirationTimeInEpochMillis: int
    payload: Payload


class PendingOperations(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of the pending operations service, in a JWE to the target; newest first, `more`: not all fitted."""

    operations: tuple[PendingOperation, ...]
    more: bool = False


class DispatchRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Request of Dispatch Token; at least one of dispatcher and dispatchTargetId."""

    getUafRequest: GetUafRequest
    dispatchTargetId: str | UnsetType = UNSET
    dispatcher: ShortText | UnsetType = UNSET
    dispatchInformation: dict[str, Any] | UnsetType = UNSET
    sessionId: str | UnsetType = UNSET


class DispatcherInformation(msgspec.Struct, frozen=True):
    """Which dispatcher was used, and its answer."""

    name: str
    response: str


class DispatchResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of Dispatch Token; HTTP 200 even where dispatching failed."""

    dispatchResult: str
    token: str | UnsetType = UNSET
    sessionId: str | UnsetType = UNSET
    dispatcherInformation: DispatcherInformation | UnsetType = UNSET
    channelLinking: ChannelLinking | UnsetType = UNSET


class CreateTokenResponse(msgspec.Struct, frozen=True):
    """Answer of Create Token."""

    token: str
    sessionId: str


class RedeemRequest(msgspec.Struct, frozen=True):
    """Request of Redeem Token."""

    token: ShortText


class StatusRequest(msgspec.Struct, frozen=True):
    """Request of Status."""

    sessionId: ShortText


class StatusAuthenticator(msgspec.Struct, frozen=True):
    """A key that took part."""

    aaid: str
    keyId: str


class TokenInformation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the token."""

    tokenResult: Literal["tokenRedeemed", "tokenTimedOut"] | UnsetType = UNSET
    dispatcherInformation: DispatcherInformation | UnsetType = UNSET


class StatusResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of Status; `timestamp` is ISO 8601 UTC with milliseconds."""

    status: str
    timestamp: str
    userId: str | UnsetType = UNSET
    uafStatusCode: int | UnsetType = UNSET
    asmStatusCode: int | UnsetType = UNSET
    clientErrorCode: int | UnsetType = UNSET
    authenticators: tuple[StatusAuthenticator, ...] | UnsetType = UNSET
    tokenInformation: TokenInformation | UnsetType = UNSET
