"""`web-push`: the payload as a push message of RFC 8030, encrypted by RFC 8291, by a server named by RFC 8292."""

import base64
import hashlib
import itertools
import os
import ssl
import time
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, vapid, web_push
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.web_push import Subscription
from fidoloop.server.config import ServerConfig, is_loopback
from fidoloop.server.dispatchers.base import AddressError, AddressGoneError, DispatchError, Outgoing
from fidoloop.server.push.addresses import AddressRefusedError, AddressRules, CheckedNetwork
from fidoloop.server.push.client import Answer, PushClient, UnreachableError
from fidoloop.server.push.retries import TryAgainError, retry_after, with_retries

VAPID_SECONDS = 3600
_GONE = (404, 410)
_KNOWN = 409
_TOO_LARGE = 413
_PASSING = (408, 425, 429)


class WebPushDispatcher:
    """Answers with a short text. `application_server_key` is what subscriptions are to be bound to."""

    name: ClassVar[str] = "web-push"
    needs_target: ClassVar[bool] = True
    needs_address: ClassVar[bool] = True
    shown: ClassVar[bool] = False

    def __init__(self, config: ServerConfig, key: ec.EllipticCurvePrivateKey) -> None:
        """Take the settings and the server's VAPID key. Nothing is connected before the first push."""
        self._config = config
        self._settings = config.web_push
        self._rules = AddressRules.of(self._settings.networks)
        self._key = key

    @property
    def application_server_key(self) -> str:
        """The public key, an uncompressed point, base64url."""
        return base64url.encode(web_push.point_of(self._key.public_key()))

    def check(self, information: dict[str, Any]) -> None:
        """Take anything: a push has no options."""

    def check_address(self, address: str) -> None:
        """Refuse what is no PushSubscription (MalformedError), or leads where nothing is posted (AddressError)."""
        self._subscription(address)

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Push. Raises DispatchError; AddressGoneError where the push service says that the subscription is."""
        try:
            subscription = self._subscription(outgoing.address or "")
        except (MalformedError, AddressError) as error:
            raise DispatchError(str(error)) from None
        headers, body = self._message(subscription, outgoing)

        attempts = itertools.count(1)

        async def attempt(seconds: float) -> str:
            number = next(attempts)
            answer = await self._push(subscription, headers, body, seconds)
            if answer.status == _KNOWN and number > 1:
                # It was taken by an attempt whose answer was lost: fidoloop's own push service says so.
                return _taken(subscription.origin)
            return _outcome(answer, subscription.origin)

        return await with_retries(attempt, seconds=self._config.push_seconds)

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in self.__dict__:
            await self._client.close()

    def _subscription(self, address: str) -> Subscription:
        subscription = web_push.parse_subscription(address)
        parts = urlsplit(subscription.endpoint)
        host = (parts.hostname or "").lower()
        if parts.scheme != "https" and not (self._config.insecure and is_loopback(host)):
            raise AddressError("the push endpoint is not https")
        if self._settings.hosts and not any(_is_below(host, allowed.lower()) for allowed in self._settings.hosts):
            raise AddressError("the push endpoint's host is not among those this server pushes to")
        if not self._rules.allows_host(host):
            raise AddressError("the push endpoint is not at a public address")
        return subscription

    def _message(self, subscription: Subscription, outgoing: Outgoing) -> tuple[dict[str, str], bytes]:
        plaintext = outgoing.payload.encode("utf-8")
        if len(plaintext) > web_push.MAX_PLAINTEXT_BYTES:
            raise DispatchError(
                f"the payload has {len(plaintext)} bytes and a push message takes {web_push.MAX_PLAINTEXT_BYTES}:"
                " put less into dispatchInformation.data"
            )
        ephemeral_key, salt = ec.generate_private_key(ec.SECP256R1()), os.urandom(web_push.SALT_BYTES)
        body = web_push.encrypt(plaintext, subscription, ephemeral_key=ephemeral_key, salt=salt)
        claims = vapid.Claims(subscription.origin, int(time.time()) + VAPID_SECONDS, self._subject())
        headers = {
            "Authorization": vapid.authorization(self._key, claims),
            "Content-Encoding": web_push.CONTENT_ENCODING,
            "Content-Type": "application/octet-stream",
            "TTL": str(max(outgoing.seconds, 0)),
            # Somebody is waiting for the phone.
            "Urgency": "high",
            # A message that goes out again, because its answer was lost or it was asked for, takes its own place.
            "Topic": _topic(outgoing.session_id),
        }
        return headers, body

    def _subject(self) -> str:
        base_url = self._config.base_url
        return self._settings.subject or (base_url if base_url.startswith("https:") else "")

    async def _push(self, subscription: Subscription, headers: dict[str, str], body: bytes, seconds: float) -> Answer:
        try:
            return await self._client.post(subscription.endpoint, headers, body, seconds=seconds)
        except UnreachableError as error:
            raise TryAgainError(f"{subscription.origin} does not answer: {error}") from None
        except AddressRefusedError as error:
            raise DispatchError(str(error)) from None

    @cached_property
    def _client(self) -> PushClient:
        """The way out. Beside the system's CAs the lab's own is trusted where it is this server's, too."""
        trusted = ssl.create_default_context()
        lab = self._config.tls_directory / "ca.pem"
        if self._settings.ca:
            trusted.load_verify_locations(self._settings.ca)
        if not self._config.tls.cert and lab.exists():
            trusted.load_verify_locations(lab)
        return PushClient(trusted, CheckedNetwork(self._rules))


def _outcome(answer: Answer, where: str) -> str:
    """Return the words for a push that was taken (RFC 8030 section 5). Raises as `dispatch`, and TryAgainError."""
    status = answer.status
    if 200 <= status < 300:
        return _taken(where)
    if status in _GONE:
        raise AddressGoneError(f"{where} says that the subscription is gone ({status})")
    if status >= 500 or status in _PASSING:
        raise TryAgainError(f"{where} answers {status}", retry_after(answer))
    if 300 <= status < 400:
        raise DispatchError(f"{where} redirects ({status}), which is not followed")
    if status == _TOO_LARGE:
        raise DispatchError(f"{where} does not take messages of this size: put less into dispatchInformation.data")
    raise DispatchError(f"{where} refused the push ({status})")


def _taken(where: str) -> str:
    return f"pushed through {where}"


def _topic(session_id: str) -> str:
    """Return a Topic of 32 characters (RFC 8030 section 5.4) that does not tell the session's id."""
    return base64.urlsafe_b64encode(hashlib.sha256(session_id.encode("ascii")).digest()[:24]).decode("ascii")


def _is_below(host: str, allowed: str) -> bool:
    """Tell whether a host is the allowed one or, where that is `*.example.org`, below it."""
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
