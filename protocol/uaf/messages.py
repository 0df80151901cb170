"""UAF protocol messages and the HTTP transport's wrappers as typed structs.

UAF protocol 3; UAF transport; HTTP contract 2.

A member that may be absent is never null (digest 1); tolerant of unknown members, strict about known ones.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.extensions import Extensions
from fidoloop.protocol.uaf.policy import Policy

Operation = Literal["Reg", "Auth", "Dereg"]
UInt16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
AppId = Annotated[str, Meta(max_length=512)]
# base64url of 8 to 64 bytes, with room for the padding that some senders add.
ServerChallenge = Annotated[str, Meta(min_length=11, max_length=88)]
Username = Annotated[str, Meta(min_length=1, max_length=128)]
MAX_ASSERTIONS = 8
MAX_DEREGISTERED = 1024
MIN_CHALLENGE_BYTES, MAX_CHALLENGE_BYTES = 8, 64
M = TypeVar("M")


class Version(msgspec.Struct, frozen=True):
    """Protocol version."""

    major: UInt16
    minor: UInt16


V1_0 = Version(1, 0)
V1_1 = Version(1, 1)


class OperationHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """Header of every UAF message."""

    upv: Version
    op: Operation
    appID: AppId | UnsetType = UNSET
    serverData: Annotated[str, Meta(min_length=1, max_length=1536)] | UnsetType = UNSET
    exts: Extensions | UnsetType = UNSET


class PaletteEntry(msgspec.Struct, frozen=True):
    """One colour of a PNG palette."""

    r: UInt16
    g: UInt16
    b: UInt16


class DisplayPngCharacteristics(msgspec.Struct, frozen=True, omit_defaults=True):
    """DisplayPNGCharacteristicsDescriptor: what PNG a transaction display takes (sizes in pixels)."""

    width: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
    height: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
    bitDepth: Annotated[int, Meta(ge=0, le=255)]
    colorType: Annotated[int, Meta(ge=0, le=255)]
    compression: Annotated[int, Meta(ge=0, le=255)]
    filter: Annotated[int, Meta(ge=0, le=255)]
    interlace: Annotated[int, Meta(ge=0, le=255)]
    plte: Annotated[tuple[PaletteEntry, ...], Meta(min_length=1, max_length=256)] | UnsetType = UNSET


class Transaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rendering of the transaction to confirm; `content` is base64url."""

    contentType: str
    content: Annotated[str, Meta(min_length=1)]
    tcDisplayPNGCharacteristics: DisplayPngCharacteristics | UnsetType = UNSET


class AuthenticatorAssertion(msgspec.Struct, frozen=True, omit_defaults=True):
    """An assertion with its scheme; `assertion` is base64url of at most 4,096 bytes."""

    assertionScheme: str
    assertion: Annotated[str, Meta(max_length=5464)]
    tcDisplayPNGCharacteristics: tuple[DisplayPngCharacteristics, ...] | UnsetType = UNSET
    exts: Extensions | UnsetType = UNSET


class RegistrationRequest(msgspec.Struct, frozen=True):
    """Server to client: register one key per chosen authenticator."""

    header: OperationHeader
    challenge: ServerChallenge
    username: Username
    policy: Policy


class AuthenticationRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Server to client: sign a challenge, and a transaction where there is one."""

    header: OperationHeader
    challenge: ServerChallenge
    policy: Policy
    transaction: tuple[Transaction, ...] | UnsetType = UNSET


class UafResponse(msgspec.Struct, frozen=True):
    """RegistrationResponse and AuthenticationResponse: they differ in header.op and in what the assertions hold."""

    header: OperationHeader
    fcParams: Annotated[str, Meta(min_length=1, max_length=16384)]
    assertions: Annotated[tuple[AuthenticatorAssertion, ...], Meta(max_length=MAX_ASSERTIONS)]


class DeregisterAuthenticator(msgspec.Struct, frozen=True):
    """A key to delete; empty values are the wildcards of UAF 1.1 (digest 3.4)."""

    aaid: Annotated[str, Meta(pattern="^([0-9A-Fa-f]{4}#[0-9A-Fa-f]{4})?$", max_length=9)]
    keyID: str


class DeregistrationRequest(msgspec.Struct, frozen=True):
    """Server to client: forget these keys. There is no response."""

    header: OperationHeader
    authenticators: Annotated[tuple[DeregisterAuthenticator, ...], Meta(max_length=MAX_DEREGISTERED)]


class GetUafRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """GetUAFRequest; `context` is a JSON text of its own. previousRequest is ignored (HTTP contract 2)."""

    op: Operation
    context: str = "{}"


class ReturnUafRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """ReturnUAFRequest; `uafRequest` is a JSON text holding an array of one message."""

    statusCode: int
    uafRequest: str | UnsetType = UNSET
    op: Operation | UnsetType = UNSET
    lifetimeMillis: int | UnsetType = UNSET


class SendUafResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """SendUAFResponse; `uafResponse` is a JSON text holding an array of one message, `context` a JSON text."""

    uafResponse: str
    context: str | UnsetType = UNSET


class ServerResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """ServerResponse; `description` is a JSON text with at least "message" (HTTP contract 2)."""

    statusCode: int
    description: str | UnsetType = UNSET


_ANY_REQUEST: dict[str, type[RegistrationRequest | AuthenticationRequest | DeregistrationRequest]] = {
    "Reg": RegistrationRequest,
    "Auth": AuthenticationRequest,
    "Dereg": DeregistrationRequest,
}


class _Peek(msgspec.Struct, frozen=True):
    header: OperationHeader


def encode_message(
    message: RegistrationRequest | AuthenticationRequest | DeregistrationRequest | UafResponse,
) -> str:
    """Return the JSON array of one that uafRequest or uafResponse carries."""
    return strictjson.encode([message])


def encode_request(
    message: RegistrationRequest | AuthenticationRequest | DeregistrationRequest, versions: tuple[Version, ...]
) -> str:
    """Return the JSON array that uafRequest carries: `message` once for each of `versions` (UAF protocol 3.4.1)."""
    header = message.header
    return strictjson.encode(
        [msgspec.structs.replace(message, header=msgspec.structs.replace(header, upv=version)) for version in versions]
    )


def decode_response(text: str, where: str = "$") -> UafResponse:
    """Return the single response in a uafResponse text.

    Raises:
        MalformedError: not an array of exactly one response.
    """
    return strictjson.decode(text, tuple[UafResponse], where)[0]


def decode_request(
    text: str, versions: tuple[Version, ...] = (V1_1,), where: str = "$"
) -> RegistrationRequest | AuthenticationRequest | DeregistrationRequest | None:
    """Return the message of a uafRequest text whose version stands first in `versions`, or None if none does.

    Tolerant as digest 1 says: several elements of different versions are allowed, the best is picked.

    Raises:
        MalformedError: not an array of messages, two of one version, or a message of wrong types.
    """
    value = strictjson.loads(text, where)
    if not isinstance(value, list) or not value:
        raise MalformedError(where, "not an array of messages")
    found: dict[Version, int] = {}
    for index, item in enumerate(value):
        version = strictjson.convert(item, _Peek, f"{where}[{index}]").header.upv
        if version in found:
            raise MalformedError(f"{where}[{index}].header.upv", "two messages of one version")
        found[version] = index
    for version in versions:
        if version in found:
            index = found[version]
            operation = strictjson.convert(value[index], _Peek, where).header.op
            request = strictjson.convert(value[index], _ANY_REQUEST[operation], f"{where}[{index}]")
            if isinstance(request, DeregistrationRequest):
                _check_wildcards(request, f"{where}[{index}].authenticators")
            else:
                _check_challenge(request.challenge, f"{where}[{index}].challenge")
            return request
    return None


def _check_challenge(challenge: str, where: str) -> None:
    size = len(base64url.decode(challenge, where, padding_allowed=True))
    if not MIN_CHALLENGE_BYTES <= size <= MAX_CHALLENGE_BYTES:
        raise MalformedError(where, f"{size} bytes, {MIN_CHALLENGE_BYTES} to {MAX_CHALLENGE_BYTES} expected")


def _check_wildcards(request: DeregistrationRequest, where: str) -> None:
    """An entry with an empty value stands alone, and an empty AAID takes an empty KeyID (UAF protocol 3.6.2)."""
    for entry in request.authenticators:
        if not (entry.aaid and entry.keyID) and len(request.authenticators) > 1:
            raise MalformedError(where, "a wildcard beside other entries")
        if not entry.aaid and entry.keyID:
            raise MalformedError(where, "a keyID without an aaid")
