"""SIGTERM: nothing new is taken, what was begun is finished and kept, streams end, the exit code is 0."""

import asyncio
import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from fidoloop.server import admin
from fidoloop.server.store.open import open_store
from tests.server.harness import JSON
from tests.server.process import Running, started

CREATE = "/nevisfido/token/create/authentication"
BODY = b'{"op":"Auth","context":"{}"}'


@pytest.fixture
def bearer(tmp_path: Path) -> str:
    async def add() -> str:
        store = await open_store(f"sqlite:///{tmp_path / 'server.sqlite'}")
        try:
            return (await admin.add_api_key(store, "test", now=1)).bearer
        finally:
            await store.close()

    return asyncio.run(add())


class SlowRequest:
    """A request of which the server has everything but the end of its body."""

    def __init__(self, running: Running, bearer: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", running.port), timeout=60)
        head = (
            f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n"
            f"Content-Type: application/fido+uaf\r\nContent-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n"
        )
        self.socket.sendall(head.encode() + BODY[:9])
        # The server says so when the service's turn comes to read the body.
        assert self.socket.recv(1024).startswith(b"HTTP/1.1 100 ")

    def finish(self) -> bytes:
        self.socket.sendall(BODY[9:])
        with self.socket, self.socket.makefile("rb") as answer:
            return answer.read()


def until_refused(running: Running) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", running.port), timeout=60).close()
        except (ConnectionRefusedError, ConnectionResetError):  # reset: it was in the queue of a listener that closed
            return


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_in_flight_is_answered_and_what_it_wrote_is_kept(tmp_path: Path, bearer: str, workers: str) -> None:
    with started(tmp_path, "--insecure", "--workers", workers, "--set", "stop_seconds=60") as running:
        slow = SlowRequest(running, bearer)
        running.process.terminate()
        until_refused(running)
        assert running.process.poll() is None
        head, _, body = slow.finish().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert running.stop() == 0
    with closing(sqlite3.connect(tmp_path / "server.sqlite")) as database:
        tokens = [token for (token,) in database.execute("SELECT token FROM session")]
    assert tokens == [json.loads(body)["token"]]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_that_never_ends_is_given_up_and_changes_nothing(tmp_path: Path, bearer: str, workers: str) -> None:
    with started(tmp_path, "--insecure", "--workers", workers, "--set", "stop_seconds=1") as running:
        slow = SlowRequest(running, bearer)
        assert running.stop() == 0
        with slow.socket, slow.socket.makefile("rb") as answer:
            head = answer.read().lower()
        assert head.startswith(b"http/1.1 503 ")
        assert b"retry-after: " in head
    with closing(sqlite3.connect(tmp_path / "server.sqlite")) as database:
        assert database.execute("SELECT COUNT(*) FROM session").fetchone() == (0,)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stream_ends_before_the_time_is_up(tmp_path: Path, bearer: str, workers: str) -> None:
    with started(tmp_path, "--insecure", "--workers", workers, "--set", "stop_seconds=3600") as running:
        with httpx2.Client(base_url=running.url, timeout=60) as client:
            headers = {"authorization": f"Bearer {bearer}", "content-type": "application/fido+uaf"}
            made = client.post(CREATE, content=BODY, headers=headers).json()
            wanted = {"sessionId": made["sessionId"]}
            stream = client.build_request(
                "POST", "/nevisfido/status/stream", json=wanted, headers=JSON | {"accept": "text/event-stream"}
            )
            answer = client.send(stream, stream=True)
            lines = answer.iter_lines()
            assert next(lines) == "event: status"
            running.process.terminate()
            assert [line for line in lines if line.startswith("event")] == []
        assert running.stop() == 0
