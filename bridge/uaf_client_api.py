"""The UAF client API as JSON: discover, checkPolicy, processUAFOperation, notifyUAFResult (digest section 5).

UAF client API and transport binding 1.1, 3. Nothing is raised: every call answers with an ErrorCode.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

import fidoloop
from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.asm_api import authenticator_info
from fidoloop.bridge.errors import ClientFailureError
from fidoloop.bridge.uaf_client import SUPPORTED_VERSIONS, Outcome, UafClient
from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.channel_binding import ChannelBinding
from fidoloop.protocol.uaf.messages import (
    DeregistrationRequest,
    RegistrationRequest,
    Version,
    encode_message,
)
from fidoloop.protocol.uaf.status import ClientError, StatusCode

MAX_MESSAGE_CHARACTERS = 1 << 20
_MAX_AWAITED = 16
_ACCEPTED = (StatusCode.OK, StatusCode.ACCEPTED)
# What GetInfo says beyond what an application may know: DiscoveryData is the same for every user.
_NOT_DISCOVERED = {"authenticatorIndex", "asmVersions", "isUserEnrolled", "hasSettings", "isRoamingAuthenticator"}


class UafMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """UAFMessage; `uafProtocolMessage` is a JSON text, `additionalData` is for others."""

    uafProtocolMessage: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARACTERS)]
    additionalData: dict[str, Any] | UnsetType = UNSET


class ClientVersion(msgspec.Struct, frozen=True):
    """DiscoveryData.clientVersion."""

    major: int
    minor: int


class DiscoveryData(msgspec.Struct, frozen=True):
    """DiscoveryData: what this client speaks and the authenticators there are."""

    supportedUAFVersions: tuple[Version, ...]
    clientVendor: str
    clientVersion: ClientVersion
    availableAuthenticators: tuple[dict[str, Any], ...]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An ErrorCode, and the message for the server where the operation has one."""

    errorCode: int
    message: UafMessage | UnsetType = UNSET


class UafClientApi:
    """The API for one calling application, whose FacetID the client knows; not for several threads at a time."""

    def __init__(self, client: UafClient, asm: Asm) -> None:
        """Take the client and the ASM it uses."""
        self._client = client
        self._asm = asm
        self._awaited: dict[str, tuple[bool, Outcome]] = {}

    def discover(self) -> str:
        """Return the JSON of DiscoveryData."""
        major, minor = (int(part) for part in fidoloop.__version__.split(".")[:2])
        found = tuple(self._discovered(aaid) for aaid in self._asm.authenticators)
        return strictjson.encode(DiscoveryData(SUPPORTED_VERSIONS, "fidoloop", ClientVersion(major, minor), found))

    def _discovered(self, aaid: str) -> dict[str, Any]:
        info = msgspec.to_builtins(authenticator_info(0, self._asm.authenticators[aaid].model))
        kept: dict[str, Any] = {name: value for name, value in info.items() if name not in _NOT_DISCOVERED}
        return kept | {"supportedUAFVersions": msgspec.to_builtins(SUPPORTED_VERSIONS)}

    def check_policy(self, message: str) -> ClientError:
        """Tell by its ErrorCode whether a UAFMessage could be carried out; nobody is asked and nothing is signed."""
        try:
            self._client.check(self._client.read(_protocol_message(message)))
        except ClientFailureError as error:
            return error.error
        return ClientError.NO_ERROR

    def process_uaf_operation(self, message: str, channel_binding: str | None = None) -> str:
        """Carry out a UAFMessage; return the JSON of an Answer. `channel_binding` is a JSON ChannelBinding."""
        try:
            response = self._process(_protocol_message(message), _channel_binding(channel_binding))
        except ClientFailureError as error:
            return strictjson.encode(Answer(error.error))
        answer = UNSET if response is None else UafMessage(response)
        return strictjson.encode(Answer(ClientError.NO_ERROR, answer))

    def _process(self, text: str, channel_binding: ChannelBinding) -> str | None:
        request = self._client.read(text)
        if isinstance(request, DeregistrationRequest):
            self._client.deregister(request)
            return None
        registers = isinstance(request, RegistrationRequest)
        if isinstance(request, RegistrationRequest):
            outcome = self._client.register(request, channel_binding)
        else:
            outcome = self._client.authenticate(request, channel_binding)
        response = encode_message(outcome.response)
        self._awaited[response] = (registers, outcome)
        while len(self._awaited) > _MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        return response

    def notify_uaf_result(self, response_code: int, uaf_response: str) -> ClientError:
        """Take the server's status code for a response given by `process_uaf_operation`, as a UAFMessage.

        Keys of a registration that the server did not take are deleted, and so is one it does not know (1481). Of the
        last sixteen responses the client knows the keys; for any other there is nothing to do.
        """
        try:
            awaited = self._awaited.pop(_protocol_message(uaf_response), None)
            if awaited is not None:
                registers, outcome = awaited
                if response_code == StatusCode.UNKNOWN_KEYID or (registers and response_code not in _ACCEPTED):
                    self._client.undo(outcome)
        except ClientFailureError as error:
            return error.error
        return ClientError.NO_ERROR


def _protocol_message(text: str) -> str:
    try:
        if len(text) > 2 * MAX_MESSAGE_CHARACTERS:
            raise MalformedError("$", "too long")
        return strictjson.decode(text, UafMessage).uafProtocolMessage
    except MalformedError as error:
        raise ClientFailureError(ClientError.PROTOCOL_ERROR, f"no UAFMessage: {error}") from None


def _channel_binding(text: str | None) -> ChannelBinding:
    if text is None:
        return ChannelBinding()
    try:
        return strictjson.decode(text, ChannelBinding)
    except MalformedError as error:
        raise ClientFailureError(ClientError.PROTOCOL_ERROR, f"no ChannelBinding: {error}") from None
