"""`firebase-cloud-messaging`: the payload as a data message of FCM's HTTP v1 API (HTTP contract 8)."""

import ssl
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from fidoloop.protocol import outofband, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.server.config import ServerConfig
from fidoloop.server.contexts import OPERATIONS
from fidoloop.server.dispatchers.base import AddressGoneError, DispatchError, Outgoing
from fidoloop.server.push.client import Answer, PushClient, UnreachableError
from fidoloop.server.push.retries import TryAgainError, retry_after, with_retries
from fidoloop.server.push.service_account import AccessTokens, ServiceAccount

MAX_DATA_BYTES: Final = 4096
MAX_TOKEN_CHARACTERS: Final = 4096
QUOTA_SECONDS: Final = 60.0
"""How long to wait where the quota is used up and FCM does not say how long."""
_NAMES = {op: name for name, op in OPERATIONS.items()}


class _Notification(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    title: Annotated[str, Meta(max_length=256)] = ""
    body: Annotated[str, Meta(max_length=1024)] = ""


class _Detail(msgspec.Struct, frozen=True):
    errorCode: str = ""


class _Error(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""
    details: tuple[_Detail, ...] = ()


class _Failure(msgspec.Struct, frozen=True):
    error: _Error


class _Sent(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(max_length=256)]


class FirebaseCloudMessagingDispatcher:
    """Answers with a short text. A target's address is its FCM registration token."""

    name: ClassVar[str] = "firebase-cloud-messaging"
    needs_target: ClassVar[bool] = True
    needs_address: ClassVar[bool] = True
    shown: ClassVar[bool] = False

    def __init__(self, config: ServerConfig, account: ServiceAccount) -> None:
        """Take the settings and the service account. Nothing is connected before the first message."""
        self._settings = config.fcm
        self._seconds = config.push_seconds
        if self._settings.token_uri:
            account = msgspec.structs.replace(account, token_uri=self._settings.token_uri)
        self._tokens = AccessTokens(account, lambda: self._client)
        self._url = f"{self._settings.endpoint.rstrip('/')}/v1/projects/{account.project}/messages:send"

    def check(self, information: dict[str, Any]) -> None:
        """Check `notification`: a title and a body. Raises MalformedError."""
        _notification(information)

    def check_address(self, address: str) -> None:
        """Refuse what is no registration token. Raises MalformedError."""
        if not (address.isascii() and address.isprintable() and " " not in address):
            raise MalformedError("$.target", "not an FCM registration token")

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Send. Raises DispatchError; AddressGoneError where FCM does not know the registration token any more."""
        address = outgoing.address or ""
        if not address:
            raise DispatchError("the dispatch target has no FCM registration token")
        message = strictjson.encode(self._message(address, outgoing)).encode("utf-8")
        return await with_retries(lambda seconds: self._send(message, seconds), seconds=self._seconds)

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            await self._client.close()

    def _message(self, address: str, outgoing: Outgoing) -> dict[str, Any]:
        """Return the body of messages:send (FCM REST reference, v1, projects.messages)."""
        payload = outofband.decode_payload(outgoing.payload)
        data = {
            "nma_data": str(payload.nma_data),
            "nma_data_content_type": payload.nma_data_content_type,
            "nma_data_version": payload.nma_data_version,
        }
        size = sum(len(name) + len(value.encode("utf-8")) for name, value in data.items())
        if size > MAX_DATA_BYTES:
            raise DispatchError(
                f"the payload has {size} bytes and an FCM message takes {MAX_DATA_BYTES}:"
                " put less into dispatchInformation.data"
            )
        message: dict[str, Any] = {
            "token": address,
            "data": data,
            # A newer log-in takes the place of one that never arrived: FCM keeps four keys for a phone that is off.
            "android": {"priority": "HIGH", "ttl": f"{max(outgoing.seconds, 0)}s", "collapse_key": _NAMES[outgoing.op]},
        }
        notification = _notification(outgoing.information)
        if notification is not None:
            message["notification"] = notification
        return {"message": message, **({"validate_only": True} if self._settings.dry_run else {})}

    async def _send(self, message: bytes, seconds: float) -> str:
        token = await self._tokens.get(seconds)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=UTF-8"}
        try:
            answer = await self._client.post(self._url, headers, message, seconds=seconds)
        except UnreachableError as error:
            raise TryAgainError(f"FCM does not answer: {error}") from None
        if answer.status == 200:
            return self._sent(answer)
        said = _error_of(answer)
        code = next((detail.errorCode for detail in said.details if detail.errorCode), said.status)
        if code in ("UNREGISTERED", "NOT_FOUND"):
            raise AddressGoneError(
                "FCM does not know the registration token any more",
                remove=self._settings.remove_unregistered_clients,
            )
        if answer.status == 401 and code == "UNAUTHENTICATED":
            self._tokens.forget(token)
            raise TryAgainError("FCM refuses the access token")
        if answer.status == 429:
            after = retry_after(answer)
            raise TryAgainError("FCM's quota is used up", QUOTA_SECONDS if after is None else after)
        if answer.status >= 500:
            raise TryAgainError(f"FCM answers {answer.status} {code}".rstrip(), retry_after(answer))
        raise DispatchError(f"FCM refused the message ({answer.status} {code}): {_printable(said.message)}")

    def _sent(self, answer: Answer) -> str:
        try:
            name = strictjson.decode(answer.body, _Sent).name
        except MalformedError:
            raise DispatchError("FCM answers 200 and nothing readable") from None
        return f"dry run, accepted as {_printable(name)}" if self._settings.dry_run else f"sent as {_printable(name)}"

    @cached_property
    def _client(self) -> PushClient:
        return PushClient(ssl.create_default_context())


def _notification(information: dict[str, Any]) -> _Notification | None:
    if "notification" not in information:
        return None
    return strictjson.convert(information["notification"], _Notification, "$.dispatchInformation.notification")


def _error_of(answer: Answer) -> _Error:
    """Return what an error answer says; of what is none of FCM's, nothing."""
    try:
        return strictjson.decode(answer.body, _Failure).error
    except MalformedError:
        return _Error()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:200])
