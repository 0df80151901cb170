"""HTTP of simulated phones: what came back, or why nothing did."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fidoloop.bridge.errors import NetworkError
from fidoloop.bridge.http import MAX_ANSWER_BYTES
from fidoloop.bridge.load.connection import Client, Endpoint
from fidoloop.bridge.load.failures import LOST, REFUSED, TIME_OUT, TLS, UNREADABLE, Failure
from fidoloop.bridge.load.services import request_head
from fidoloop.server.tls import ensure_lab_tls

HEAD = request_head("/x", "localhost", media="application/json", accept="application/json")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def answering(
    *answers: bytes | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Endpoint, list[int]]]:
    """Serve one answer a request, None for none at all; yield the endpoint, and the requests of each connection."""
    left, connections = list(answers), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(connections)
        connections.append(0)
        try:
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
                connections[number] += 1
                answer = left.pop(0)
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
                await writer.drain()
                if b"Connection: close" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        yield Endpoint.loopback(port), connections


async def outcome(client: Client) -> bytes | str:
    try:
        return await client.post(HEAD, b"{}")
    except Failure as failure:
        return failure.kind


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, b"{}"),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n", b"[]"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", "HTTP 503"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", UNREADABLE),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf", LOST),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1) + bytes(MAX_ANSWER_BYTES + 1),
            UNREADABLE,
        ),
        (None, TIME_OUT),
    ],
    ids=["200", "chunked", "503", "redirected", "not HTTP", "cut off", "too large", "silent"],
)
def test_an_answer_is_told_by_its_kind_and_the_next_request_is_answered(
    answer: bytes | None, expected: bytes | str
) -> None:
    async def check() -> None:
        async with answering(answer, OK) as (endpoint, _):
            client = Client(endpoint, timeout=0.3 if answer is None else 30)
            assert await outcome(client) == expected
            assert await outcome(client) == b"{}"
            client.close()

    asyncio.run(check())


def test_a_connection_is_used_again() -> None:
    async def check() -> None:
        async with answering(OK, OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK) as (
            endpoint,
            connections,
        ):
            client = Client(endpoint)
            for _ in range(4):
                assert await outcome(client) == b"{}"
            assert connections == [3, 1]
            client.close()

    asyncio.run(check())


def test_nobody_there_is_told_apart() -> None:
    async def check() -> None:
        async with answering(OK) as (endpoint, _):
            pass
        assert await outcome(Client(endpoint)) == REFUSED

    asyncio.run(check())


def test_tls_is_checked_against_the_ca(tmp_path: Path) -> None:
    lab, other = (ensure_lab_tls(tmp_path / name, hosts=("127.0.0.1",)) for name in ("lab", "other"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(lab.certificate, lab.key)

    async def check(ca: Path) -> bytes | str:
        async with answering(OK, tls=context) as (endpoint, _):
            client = Client(Endpoint.of(f"https://127.0.0.1:{endpoint.port}", ca=ca))
            found = await outcome(client)
            client.close()
            return found

    assert asyncio.run(check(lab.ca)) == b"{}"
    assert asyncio.run(check(other.ca)) == TLS


@pytest.mark.parametrize(
    "of",
    [
        lambda directory: Endpoint.of("http://login.example", insecure=True),
        lambda directory: Endpoint.of("http://127.0.0.1:1"),
        lambda directory: Endpoint.of("https://login.example", ca=directory / "none.pem"),
        lambda directory: Endpoint.of("login.example"),
    ],
    ids=["plain http to elsewhere", "without --insecure", "no CA", "no URL"],
)
def test_an_endpoint_that_is_not_safe_is_refused(of: Callable[[Path], Endpoint], tmp_path: Path) -> None:
    with pytest.raises(NetworkError):
        of(tmp_path)
