"""The phone's push service against RFC 8030, 8291 and 8292, and against whoever else finds its port."""

import http.client
import itertools
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.bridge.errors import NetworkError
from fidoloop.bridge.profile import Account
from fidoloop.bridge.push.listener import PushListener
from fidoloop.bridge.push.queue import MOST_WAITING, PushQueue
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.bridge.push.subscriptions import PushSubscription
from fidoloop.protocol import vapid, web_push
from fidoloop.protocol.web_push import Subscription

ACCOUNT = Account("https://server.example", "alice", "app")
NOW = 1_790_000_000


@dataclass
class Pushing:
    """A listening phone, and its server, which pushes to it."""

    port: int
    subscription: PushSubscription
    server_key: ec.EllipticCurvePrivateKey
    queue: PushQueue
    refusals: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def body(self, plaintext: bytes = b"hello") -> bytes:
        receiver = Subscription("", self.subscription.key.public_key(), self.subscription.auth)
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        return web_push.encrypt(plaintext, receiver, ephemeral_key=ephemeral, salt=os.urandom(16))

    def headers(self, key: ec.EllipticCurvePrivateKey | None = None, **changes: str | None) -> dict[str, str]:
        claims = vapid.Claims(self.origin, NOW + 3600)
        usual: dict[str, str | None] = {
            "TTL": "120",
            "Content-Encoding": "aes128gcm",
            "Authorization": vapid.authorization(key or self.server_key, claims),
        }
        usual |= {name.replace("_", "-"): value for name, value in changes.items()}
        return {name: value for name, value in usual.items() if value is not None}

    def push(
        self,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        method: str = "POST",
        path: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            content = self.body() if body is None else body
            url = f"{PATH}{self.subscription.path}" if path is None else path
            connection.request(method, url, content, self.headers() if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@pytest.fixture
def pushing() -> Iterator[Pushing]:
    server_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    subscription = PushSubscription(ACCOUNT, "a-secret", key, os.urandom(16), server_key.public_key())
    queue = PushQueue()
    refusals: list[str] = []
    service = PushService(queue, refused=refusals.append, clock=lambda: NOW)
    with PushListener(service, host="127.0.0.1", port=0, tls=None) as listener:
        service.watch([subscription], audience=f"http://localhost:{listener.port}")
        yield Pushing(listener.port, subscription, server_key, queue, refusals)


def nothing_waits(pushing: Pushing) -> bool:
    pushing.queue.close()
    return pushing.queue.get() is None


def test_a_push_of_the_server_is_taken_in(pushing: Pushing) -> None:
    status, headers, body = pushing.push(pushing.body(b"the payload"), pushing.headers(Topic="abc", Urgency="high"))
    assert (status, body, headers["ttl"]) == (201, b"", "120")
    assert headers["location"].startswith("/message/")
    message = pushing.queue.get()
    assert message is not None
    assert (message.path, message.plaintext, message.topic, message.ttl) == ("a-secret", b"the payload", "abc", 120)
    assert message.until == NOW + 3600
    assert pushing.refusals == []


def test_the_largest_message_is_taken_in_and_one_byte_more_is_not(pushing: Pushing) -> None:
    largest = pushing.body(b"x" * web_push.MAX_PLAINTEXT_BYTES)
    assert pushing.push(largest)[0] == 201
    assert pushing.push(largest + b"x")[0] == 413
    assert pushing.push(b"x" * (1 << 20))[0] == 413
    chunks = (b"x" * 1024 for _ in itertools.repeat(None, 64))
    assert pushing.push(chunks)[0] == 413  # type: ignore[arg-type]  # chunked: without Content-Length


OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"TTL": None}, 400),
        ({"TTL": ""}, 400),
        ({"TTL": "-1"}, 400),
        ({"TTL": "1.5"}, 400),
        ({"TTL": "9" * 30}, 400),
        ({"Content_Encoding": None}, 415),
        ({"Content_Encoding": "aesgcm"}, 415),
        ({"Topic": "x" * 33}, 400),
        ({"Topic": "a b"}, 400),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer abc"}, 403),
        ({"Authorization": "vapid t=a.b.c, k=x"}, 403),
        ({"key": OTHER}, 403),
    ],
    ids=range(13),
)
def test_what_is_no_push_of_the_server_is_refused(pushing: Pushing, changes: dict[str, Any], status: int) -> None:
    got, headers, body = pushing.push(headers=pushing.headers(**changes))
    assert got == status
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status
    assert ("www-authenticate" in headers) is (status == 401)
    assert len(pushing.refusals) == 1
    assert nothing_waits(pushing)


@pytest.mark.parametrize(
    "claims",
    [
        vapid.Claims("http://localhost:1", NOW + 60),
        vapid.Claims("", NOW + 60),
        vapid.Claims("{origin}", NOW - 1),
        vapid.Claims("{origin}", NOW + 90_000),
    ],
    ids=["other service", "none", "run out", "too long"],
)
def test_a_vapid_token_is_for_this_phone_and_for_now(pushing: Pushing, claims: vapid.Claims) -> None:
    filled = vapid.Claims(claims.aud.format(origin=pushing.origin), claims.exp)
    authorization = vapid.authorization(pushing.server_key, filled)
    assert pushing.push(headers=pushing.headers(Authorization=authorization))[0] == 403
    assert nothing_waits(pushing)


@pytest.mark.parametrize("body", [b"", b"garbage", bytes(103), bytes(4096)], ids=["none", "short", "zeros", "large"])
def test_garbage_is_refused(pushing: Pushing, body: bytes) -> None:
    assert pushing.push(body)[0] == 400
    assert nothing_waits(pushing)


def test_a_message_with_a_bit_flipped_is_refused(pushing: Pushing) -> None:
    body = bytearray(pushing.body())
    body[-1] ^= 1
    assert pushing.push(bytes(body))[0] == 400
    assert nothing_waits(pushing)


def test_a_replayed_push_is_refused(pushing: Pushing) -> None:
    body = pushing.body()
    assert pushing.push(body)[0] == 201
    assert pushing.push(body)[0] == 409
    assert pushing.push(body, pushing.headers(Topic="other"))[0] == 409
    assert pushing.queue.get() is not None
    assert nothing_waits(pushing)
    # A message that was refused may come again, better.
    assert pushing.push(pushing.body())[0] == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 404),
        ("POST", PATH, 404),
        ("POST", "/push/another", 404),
        ("POST", "/push/a-secret/", 404),
        ("GET", "/message/x", 404),
        ("GET", f"{PATH}a-secret", 405),
        ("DELETE", f"{PATH}a-secret", 405),
    ],
)
def test_there_is_nothing_else_here(pushing: Pushing, method: str, path: str, status: int) -> None:
    assert pushing.push(method=method, path=path)[0] == status
    assert nothing_waits(pushing)


def test_a_flood_is_stopped_and_messages_of_one_topic_are_one(pushing: Pushing) -> None:
    for number in range(MOST_WAITING + 2):
        assert pushing.push(pushing.body(str(number).encode()), pushing.headers(Topic="same"))[0] == 201
    for _ in range(MOST_WAITING - 1):
        assert pushing.push()[0] == 201
    status, headers, _ = pushing.push()
    assert (status, headers["retry-after"]) == (429, "60")
    message = pushing.queue.get()
    assert message is not None
    assert message.plaintext == str(MOST_WAITING + 1).encode()
    assert pushing.push()[0] == 201


def test_a_sender_that_leaves_or_talks_no_http_does_no_harm(pushing: Pushing) -> None:
    for sent in (b"", b"\0" * 1000, b"POST /push/a-secret HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf"):
        with socket.create_connection(("127.0.0.1", pushing.port)) as connection:
            connection.sendall(sent)
    assert pushing.push()[0] == 201


def test_a_message_whose_time_is_over_is_not_delivered() -> None:
    from fidoloop.bridge.push.queue import PushMessage

    now = [100.0]
    queue = PushQueue(clock=lambda: now[0])
    for name, ttl in ((b"short", 10), (b"long", 60), (b"now or never", 0)):
        queue.put(PushMessage("p", name, "", ttl, name, 0))
    now[0] += 30
    queue.close()
    delivered = [message.plaintext for message in iter(queue.get, None)]
    assert delivered == [b"long", b"now or never"]


def test_a_port_that_is_taken_and_a_certificate_that_is_none_are_said(tmp_path: Path) -> None:
    service = PushService(PushQueue())
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(NetworkError, match="cannot listen"):
        PushListener(service, host="127.0.0.1", port=taken.getsockname()[1], tls=None)
    path = tmp_path / "pem"
    path.write_text("none")
    with pytest.raises(NetworkError, match="certificate"):
        PushListener(service, host="127.0.0.1", port=0, tls=(path, path))
