"""Clients that are slow, many or senseless: the others are served, and what such clients hold comes to an end."""

import asyncio
import re
import socket
import sqlite3
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from fidoloop.server.open_files import RESERVED
from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import Crowd
from tests.faults.exchange import LIMIT_SECONDS
from tests.faults.invariants import assert_kept
from tests.faults.place import Place, make_place
from tests.server.process import Running, started

HEAD = (
    b"POST /nevisfido/uaf/1.1/request/authentication HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/fido+uaf\r\nAccept: application/fido+uaf\r\n"
)
BODY = b'{"op":"Auth","context":"{}"}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
QUICK = "[server.connections]\nhead_seconds = 2\nbody_seconds = 2\nidle_seconds = 2\n"
MANY = 600
MOST = 150
DRIP_SECONDS = 0.05


@dataclass(frozen=True)
class Site:
    """A server that runs, and its place."""

    place: Place
    running: Running

    @property
    def ca(self) -> str | None:
        return str(self.running.ca) if self.running.ca else None

    def crowd(self) -> Crowd:
        return Crowd(self.place, [self.running.url], ca=self.ca)

    def connect(self, *, handshake: bool = True) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.running.port), timeout=LIMIT_SECONDS)
        if self.ca is None or not handshake:
            return connection
        return ssl.create_default_context(cafile=self.ca).wrap_socket(connection, server_hostname="localhost")

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.running.process.pid}/fd").iterdir()))

    def ended(self, reason: str) -> int:
        """Return how many connections the server ended for a reason."""
        with httpx2.Client(verify=ssl.create_default_context(cafile=self.ca) if self.ca else True) as client:
            text = client.get(f"{self.running.url}/metrics", timeout=LIMIT_SECONDS).text
        found = re.search(rf'fidoloop_connections_ended_total{{reason="{reason}"}} (\d+)', text)
        return int(found.group(1)) if found else 0


@contextmanager
def site_at(home: Path, transport: str, settings: str, *, under: Sequence[str] = ()) -> Iterator[Site]:
    """Run a server, and see that nothing unexpected happened in it."""
    place = make_place(home, settings=("insecure = true\n" if transport == "http" else "") + settings)
    with started(place.home, log=place.log, under=under) as running:
        yield Site(place, running)
        assert running.stop() == 0
    assert "Traceback" not in place.log.read_text()


@pytest.fixture(scope="module", params=["http", "https"])
def quick(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that waits two seconds and no longer."""
    with site_at(tmp_path_factory.mktemp("quick"), request.param, QUICK) as site:
        yield site


def read_to_end(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes; it does within LIMIT_SECONDS."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except (ConnectionResetError, ssl.SSLEOFError):
        return received
    return received


async def served(crowd: Crowd) -> None:
    """A phone registers and logs in."""
    client = crowd.client()
    member = await crowd.register(client, "user-0")
    assert member is not None, crowd.ledger.answers
    assert await crowd.log_in(client, member), crowd.ledger.answers
    await client.close()


UNFINISHED = {
    "nothing": (b"", b""),
    "an empty line": (b"\r\n", b""),
    "a method": (b"POS", b"HTTP/1.1 408 "),
    "half a head": (HEAD, b"HTTP/1.1 408 "),
    "half a body": (WHOLE[:-1], b"HTTP/1.1 408 "),
    "half a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"HTTP/1.1 408 "),
    "an answered request and half another": (WHOLE + WHOLE[:-1], b"HTTP/1.1 200 "),
}


def test_requests_that_do_not_go_on_are_given_up(quick: Site) -> None:
    with ExitStack() as opened:
        connections = {name: opened.enter_context(quick.connect()) for name in UNFINISHED}
        for name, connection in connections.items():
            connection.sendall(UNFINISHED[name][0])
        asyncio.run(served(quick.crowd()))
        for name, connection in connections.items():
            answer, expected = read_to_end(connection), UNFINISHED[name][1]
            assert answer.startswith(expected) if expected else answer == b"", name
            assert answer.count(b"HTTP/1.1 408 ") == (name not in {"nothing", "an empty line"}), name
    assert quick.ended("slow head") >= 2
    assert quick.ended("slow body") >= 3


def test_a_request_may_come_slowly_but_not_for_ever(quick: Site) -> None:
    """Each byte comes soon after the one before: it is the whole that has a limit."""

    async def drip(text: bytes) -> bytes:
        context = ssl.create_default_context(cafile=quick.ca) if quick.ca else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", quick.running.port, ssl=context, server_hostname="localhost" if context else None
        )
        ending = asyncio.create_task(_read(reader))
        for byte in text:
            if ending.done():
                break
            writer.write(bytes((byte,)))
            await asyncio.sleep(DRIP_SECONDS)
        async with asyncio.timeout(LIMIT_SECONDS):
            answer = await ending
        writer.close()
        return answer

    async def scenario() -> None:
        slow = b"X-Padding: " + b"x" * 400
        crowd = quick.crowd()
        async with crowd.at_work():
            dripping = [drip(HEAD + slow) for _ in range(20)]
            body = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400\r\n\r\n" + b"x" * 400
            dripping += [drip(body) for _ in range(20)]
            answers, _ = await asyncio.gather(asyncio.gather(*dripping), crowd.all_get_round(5))
        assert [answer[:13] for answer in answers[:20]] == [b"HTTP/1.1 408 "] * 20
        assert not [kind for kind in crowd.ledger.answers if not kind.endswith(": answered")]

    before = quick.ended("slow head")
    asyncio.run(scenario())
    assert quick.ended("slow head") >= before + 20


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""


SENSELESS = {
    "binary": bytes(range(256)) * 8,
    "TLS to a plain port, or the other way round": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a request and garbage": WHOLE + b"\x00\x01garbage\r\n\r\n" * 100,
    "many requests and garbage": WHOLE * 500 + b"{}" * 100,
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length and chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: -1\r\n\r\n",
    "a chunk of all": HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF0\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000,
    "headers without end": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100_000,
    "a length that is too large": HEAD + b"Content-Length: 100000000\r\n\r\n" + b"x" * 200_000,
    "chunks that are too many": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 100_000,
}


@pytest.mark.parametrize("name", SENSELESS)
def test_what_is_senseless_is_refused_and_others_are_served(quick: Site, name: str) -> None:
    with quick.connect() as connection:
        with suppress(ConnectionError, ssl.SSLError):  # it may be refused before it is over
            connection.sendall(SENSELESS[name])
        asyncio.run(served(quick.crowd()))
        answer = read_to_end(connection)
    statuses = set(re.findall(rb"HTTP/1\.1 (\d{3})", answer))
    assert statuses <= {b"200", b"400", b"408", b"413", b"431"}, answer[:200]


def test_bodies_cut_off_change_nothing(quick: Site) -> None:
    before = sessions_of(quick.place)
    for end in range(len(WHOLE) - len(BODY), len(WHOLE), 5):
        with quick.connect() as connection:
            connection.sendall(WHOLE[:end])
    asyncio.run(served(quick.crowd()))
    # Its own two: a registration and a log-in.
    assert sessions_of(quick.place) == before + 2


def sessions_of(place: Place) -> int:
    with closing(sqlite3.connect(place.home / "server.sqlite")) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM session").fetchone()
    return int(count)


def test_answers_that_nobody_reads_are_given_up(quick: Site) -> None:
    with quick.connect() as connection:
        connection.setblocking(False)
        asking = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
        with suppress(BlockingIOError, ssl.SSLWantWriteError):
            while True:
                connection.send(asking)
        asyncio.run(served(quick.crowd()))
        while not quick.ended("answer not read"):
            assert quick.running.process.poll() is None


@pytest.mark.parametrize("kind", ["http", "https", "https, no handshake"])
def test_any_number_of_idle_connections_leaves_room(tmp_path: Path, kind: str, measured: MeasuredBy) -> None:
    transport, _, no_handshake = kind.partition(", ")
    count = MANY if no_handshake or transport == "http" else MANY // 4
    limited = f"[server.connections]\nmost = {MOST}\n"
    with site_at(tmp_path, transport, limited) as site, ExitStack() as opened:

        async def scenario(crowd: Crowd) -> None:
            async with crowd.at_work():
                for _ in range(count):
                    opened.enter_context(site.connect(handshake=not no_handshake))
                    await asyncio.sleep(0)
                assert site.open_files() < MOST + RESERVED
                measured(f"{count} idle connections, until every phone got an answer", await crowd.all_get_round())

        crowd = site.crowd()
        asyncio.run(scenario(crowd))
        assert site.ended("replaced") >= count - 2 * MOST
        assert_kept(site.place, crowd)


def test_a_process_that_may_open_few_files_serves_with_them(tmp_path: Path) -> None:
    with site_at(tmp_path, "https", "", under=["prlimit", "--nofile=128"]) as site, ExitStack() as opened:
        for _ in range(MANY // 4):
            opened.enter_context(site.connect(handshake=False))
        asyncio.run(served(site.crowd()))
        assert "each worker has 64 connections at most, not 10000" in site.place.log.read_text()
        assert "cannot be taken" not in site.place.log.read_text()


def test_more_requests_than_connections_are_told_so(tmp_path: Path) -> None:
    with site_at(tmp_path, "http", "[server.connections]\nmost = 4\n") as site, ExitStack() as opened:
        busy = [opened.enter_context(site.connect()) for _ in range(4)]
        for connection in busy:
            # Its body is awaited: it has a request, and is not to be closed for another.
            connection.sendall(WHOLE[: -len(BODY)])
        refused = b""
        while not refused.startswith(b"HTTP/1.1 503 "):
            with site.connect() as one_more:
                one_more.sendall(WHOLE)
                refused = one_more.recv(65536)
        assert b"retry-after: 1\r\n" in refused
        for connection in busy:
            connection.sendall(BODY)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        asyncio.run(served(site.crowd()))
        assert site.ended("refused") >= 1
