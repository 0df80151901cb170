"""A push service (RFC 8030) for this phone alone, as an ASGI application: what is let in has been decrypted.

In this order: path 404, method 405, TTL 400, Content-Encoding 415, VAPID 401 or 403, size 413, replay 409, decryption
400, room 429.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fidoloop.bridge.push.queue import PushMessage, PushQueue, QueueFullError
from fidoloop.bridge.push.subscriptions import PushSubscription
from fidoloop.protocol import strictjson, vapid, web_push
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.vapid import VapidRefusal

PATH = "/push/"
MAX_TTL = 2_419_200
MOST_SEEN = 4096
_TTL = re.compile(r"[0-9]{1,9}")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{0,32}")
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Refused(Exception):
    def __init__(self, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


class PushService:
    """The ASGI application. What is let in goes into `queue`; what is refused is told to `refused`."""

    def __init__(
        self,
        queue: PushQueue,
        *,
        refused: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take where messages go; `clock` gives seconds since the epoch. Nothing is let in before `watch`."""
        self._queue = queue
        self._refused = refused
        self._clock = clock
        self._audience = ""
        self._subscriptions: dict[str, PushSubscription] = {}
        self._seen: dict[bytes, int] = {}

    def watch(self, subscriptions: Iterable[PushSubscription], *, audience: str) -> None:
        """Take in messages for these subscriptions; `audience` is the origin of their endpoints."""
        self._audience = audience
        self._subscriptions = {subscription.path: subscription for subscription in subscriptions}

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            subscription = self._find(scope)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            ttl = _check_headers(headers)
            claims = self._verify(subscription, headers.get("authorization"))
            body = await _read(receive, headers.get("content-length", ""))
            self._take(subscription, body, headers.get("topic", ""), ttl, claims.exp)
        except _Refused as refusal:
            self._refused(f"push refused ({refusal.status}): {refusal}")
            await _answer(send, refusal.status, str(refusal), refusal.headers)
        else:
            location = f"/message/{secrets.token_urlsafe(18)}".encode("ascii")
            await _answer(send, 201, "", ((b"location", location), (b"ttl", str(ttl).encode("ascii"))))

    def _find(self, scope: dict[str, Any]) -> PushSubscription:
        path: str = scope["path"]
        subscription = self._subscriptions.get(path.removeprefix(PATH)) if path.startswith(PATH) else None
        if subscription is None:
            raise _Refused(404, "there is no such subscription")
        if scope["method"] != "POST":
            raise _Refused(405, "a push is a POST", (b"allow", b"POST"))
        return subscription

    def _verify(self, subscription: PushSubscription, header: str | None) -> vapid.Claims:
        if header is None:
            raise _Refused(401, "the subscription is its server's only (RFC 8292)", (b"www-authenticate", b"vapid"))
        try:
            return vapid.verify_authorization(
                header,
                expected_key=subscription.server_key,
                expected_audience=self._audience,
                now=self._clock(),
            )
        except (MalformedError, VapidRefusal) as error:
            raise _Refused(403, str(error)) from None

    def _take(self, subscription: PushSubscription, body: bytes, topic: str, ttl: int, until: int) -> None:
        digest = hashlib.sha256(body).digest()
        self._forget()
        if digest in self._seen:
            raise _Refused(409, "this push message was taken before")
        try:
            plaintext = web_push.decrypt(body, subscription.key, subscription.auth)
        except (MalformedError, web_push.PushRefusal) as error:
            raise _Refused(400, str(error)) from None
        try:
            self._queue.put(PushMessage(subscription.path, plaintext, topic, ttl, digest, until))
        except QueueFullError as error:
            raise _Refused(429, str(error), (b"retry-after", b"60")) from None
        self._seen[digest] = until

    def _forget(self) -> None:
        """Forget messages whose VAPID token, without which they are refused, has run out."""
        if len(self._seen) >= MOST_SEEN:
            now = self._clock()
            self._seen = {digest: until for digest, until in self._seen.items() if until > now}
        if len(self._seen) >= MOST_SEEN:
            raise _Refused(429, "too many push messages", (b"retry-after", b"60"))


def _check_headers(headers: dict[str, str]) -> int:
    """Return the TTL. Raises _Refused."""
    ttl = headers.get("ttl", "")
    if not _TTL.fullmatch(ttl):
        raise _Refused(400, "TTL is missing or not a number of seconds (RFC 8030 section 5.2)")
    if headers.get("content-encoding", "").strip().lower() != web_push.CONTENT_ENCODING:
        raise _Refused(415, "Content-Encoding must be aes128gcm (RFC 8291)", (b"accept-encoding", b"aes128gcm"))
    if not _TOPIC.fullmatch(headers.get("topic", "")):
        raise _Refused(400, "Topic is not up to 32 characters of base64url (RFC 8030 section 5.4)")
    return min(int(ttl), MAX_TTL)


async def _read(receive: _Receive, declared: str) -> bytes:
    """Return the body. Raises _Refused as soon as it is too large."""
    too_large = _Refused(413, f"a push message has at most {web_push.MAX_BODY_BYTES} bytes")
    if declared.isdigit() and (len(declared) > 9 or int(declared) > web_push.MAX_BODY_BYTES):
        raise too_large
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Refused(400, "the sender went away")
        body += bytes(message.get("body", b""))
        if len(body) > web_push.MAX_BODY_BYTES:
            raise too_large
        if not message.get("more_body"):
            return body


async def _answer(send: _Send, status: int, detail: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
    body = strictjson.encode({"status": status, "detail": detail}).encode("utf-8") if detail else b""
    media = [(b"content-type", b"application/problem+json")] if body else []
    length = (b"content-length", str(len(body)).encode("ascii"))
    await send({"type": "http.response.start", "status": status, "headers": [*media, length, *headers]})
    await send({"type": "http.response.body", "body": body})
