"""The line and the header fields of requests are bounded: a real server, spoken to by bare sockets."""

import socket
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from fidoloop.server.http.connection import MAX_FIELDS, MAX_HEAD_BYTES
from tests.server.process import Running, started

LINE = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
END = b"\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("server"), "--insecure") as running:
        yield running
        assert running.stop() == 0


def ask(server: Running, *pieces: bytes) -> list[bytes]:
    """Send pieces, and return the status lines that come back until the server hangs up or all is answered."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as connection:
        received = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:  # it hung up while we were still sending
            return [b"hung up"]
    return [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def send_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"a" * MAX_HEAD_BYTES)


def field(size: int) -> bytes:
    """Return a header field of `size` bytes."""
    return b"x: " + b"a" * (size - 5) + b"\r\n"


TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large"


@pytest.mark.parametrize(
    "head",
    [
        LINE + field(MAX_HEAD_BYTES) + END,
        LINE + field(MAX_HEAD_BYTES // 2) * 2 + END,
        LINE + b"x: y\r\n" * MAX_FIELDS + END,
        b"GET /healthz?" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n" + END,
    ],
    ids=["one long field", "two fields", "many fields", "a long target"],
)
def test_a_head_that_is_too_large_is_refused(server: Running, head: bytes) -> None:
    assert ask(server, head) == [TOO_LARGE]
    assert ask(server, LINE + END) == [b"HTTP/1.1 200 OK"]


@pytest.mark.parametrize("beginning", [LINE + b"x: ", b"GET /healthz?"])
def test_a_head_that_does_not_end_is_hung_up_on(server: Running, beginning: bytes) -> None:
    answers = ask(server, beginning, *[b"a" * MAX_HEAD_BYTES] * 64)
    assert answers == [TOO_LARGE]


def test_who_still_sends_can_read_why_he_is_refused_and_is_hung_up_on(server: Running) -> None:
    """RFC 9112 section 9.6: were the connection closed at once, a reset would overtake the answer."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as connection:
        connection.sendall(LINE + field(MAX_HEAD_BYTES) + END)
        with connection.makefile("rb") as answer:
            assert answer.read().startswith(TOO_LARGE)
        for _ in range(3):
            connection.sendall(b"no reset")
        with pytest.raises(ConnectionError):
            send_for_ever(connection)


def test_a_large_head_within_the_limits_is_taken_and_each_request_has_its_own(server: Running) -> None:
    usual = 2  # Host and Accept-Encoding, which http.client sends
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for headers in (
            {"x": "a" * (MAX_HEAD_BYTES - 200)},
            {"x": "a" * (MAX_HEAD_BYTES - 200)},
            {f"x{number}": "y" for number in range(MAX_FIELDS - usual)},
        ):
            connection.request("GET", "/healthz", headers=headers)
            answer = connection.getresponse()
            assert answer.status == HTTPStatus.OK
            answer.read()


def test_what_is_no_http_is_still_told_so(server: Running) -> None:
    assert ask(server, b"\x16\x03\x01nonsense\r\n\r\n") == [b"HTTP/1.1 400 Bad Request"]


def test_a_body_in_the_same_packet_does_not_count(server: Running) -> None:
    body = b'{"sessionId":"' + b"x" * (MAX_HEAD_BYTES - 40) + b'"}'
    fields = b"host: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    head = b"POST /nevisfido/status HTTP/1.1\r\n" + fields
    assert ask(server, head % len(body) + body) == [b"HTTP/1.1 400 Bad Request"]
