"""HTTP to one server: what is refused before and after the wire, and what is recorded of it."""

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from fidoloop.bridge.errors import NetworkError, ServerRefusedError
from fidoloop.bridge.http import MAX_ANSWER_BYTES, Answer, Exchange, Server
from fidoloop.protocol.outofband import CreateTokenResponse
from tests.bridge.stub import Asked, Reply, stub
from tests.lab import Lab


def hello(_: Asked) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, b"{}")


@pytest.mark.parametrize(
    ("url", "insecure"),
    [
        ("http://localhost:8080", False),
        ("http://127.0.0.1", False),
        ("http://login.example.com", True),
        ("http://127.0.0.1.example.com", True),
        ("http://localhost.example.com", True),
        ("http://localhost@login.example.com", True),
        ("http://10.0.0.1", True),
        ("ftp://localhost", True),
        ("localhost:8443", True),
        ("", True),
        ("https://", True),
        ("https://[::1", True),
    ],
)
def test_only_https_and_insecure_loopback_are_spoken(url: str, insecure: bool) -> None:
    with pytest.raises(NetworkError, match="https URL"):
        Server(url, insecure=insecure)


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:1", "https://login.example.com/"]
)
def test_insecure_allows_plain_http_on_the_loopback(url: str) -> None:
    with Server(url, insecure=True) as server:
        assert server.url("/status") == f"{url.rstrip('/')}/nevisfido/status"


def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("absent.pem", "empty.pem"):
        with pytest.raises(NetworkError, match=name):
            Server("https://localhost", ca=tmp_path / name)


def test_a_server_under_a_ca_we_do_not_trust_is_not_spoken_to(fidoloop_lab: Lab) -> None:
    with Server(fidoloop_lab.server.url) as stranger, pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.post("/status", {"sessionId": "x"})
    with Server(fidoloop_lab.server.url, ca=fidoloop_lab.server.ca) as known:
        assert known.post("/status", {"sessionId": "x"}).status == 200


def test_the_certificate_must_name_the_host(fidoloop_lab: Lab) -> None:
    alias = fidoloop_lab.server.url.replace("localhost", "127.0.0.2").replace("127.0.0.1", "127.0.0.2")
    with Server(alias, ca=fidoloop_lab.server.ca) as server, pytest.raises(NetworkError):
        server.post("/status", {"sessionId": "x"})


def test_nobody_listening_is_a_network_error() -> None:
    with stub(hello) as gone:
        pass
    with Server(gone.url, insecure=True) as server, pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
        server.post("/status", {})


@pytest.mark.parametrize("url", ["https://a b/", "https://[", "https://\x00/", "https://a:port/"])
def test_what_is_no_url_is_a_network_error(url: str) -> None:
    with Server("https://localhost") as server, pytest.raises(NetworkError):
        server.send("GET", url)


@pytest.mark.parametrize("size", [MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1])
def test_an_answer_over_a_mebibyte_is_refused(size: int) -> None:
    content = bytes(size)
    with stub(lambda _: Reply(200, {}, content)) as web, Server(web.url, insecure=True) as server:
        if size > MAX_ANSWER_BYTES:
            with pytest.raises(NetworkError, match="larger than"):
                server.post("/status", {})
        else:
            assert server.post("/status", {}).body == content
    assert web.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("times", [1, 2])
def test_a_compressed_answer_is_not_unpacked(times: int) -> None:
    """None was asked for, and packed twice a kilobyte is gigabytes."""
    body = bytes(1 << 20)
    for _ in range(times):
        body = gzip.compress(body)
    headers = {"Content-Encoding": ", ".join(["gzip"] * times)}
    with (
        stub(lambda _: Reply(200, headers, body)) as web,
        Server(web.url, insecure=True) as server,
        pytest.raises(NetworkError, match="compressed"),
    ):
        server.post("/status", {})


def test_redirects_are_shown_and_not_followed() -> None:
    def moved(_: Asked) -> Reply:
        return Reply(307, {"Location": "/elsewhere"})

    with stub(moved) as web, Server(web.url, insecure=True, api_key="credential") as server:
        answer = server.post("/status", {}, authorised=True)
    assert (answer.status, answer.headers["location"]) == (307, "/elsewhere")
    assert len(web.asked) == 1


def test_the_credential_goes_where_it_is_asked_for_and_nowhere_else() -> None:
    with stub(hello) as web, Server(web.url, insecure=True, api_key="credential") as server:
        server.post("/status", {})
        server.post("/token/dispatch/authentication", {}, authorised=True)
    assert "authorization" not in web.asked[0].headers
    assert web.asked[1].headers["authorization"] == "Bearer credential"
    with Server(web.url, insecure=True) as without, pytest.raises(ServerRefusedError, match="API credential"):
        without.post("/token/dispatch/authentication", {}, authorised=True)


def test_media_types_are_those_of_the_contract() -> None:
    with stub(hello) as web, Server(web.url, insecure=True) as server:
        server.post("/token/redeem/authentication", {"token": "t"}, accept="application/fido+uaf")
    (asked,) = web.asked
    assert (asked.path, asked.body) == ("/nevisfido/token/redeem/authentication", b'{"token":"t"}')
    assert asked.headers["content-type"] == "application/json;charset=UTF-8"
    assert asked.headers["accept"] == "application/fido+uaf"
    assert asked.headers["user-agent"].startswith("fidoloop/")


def test_the_recorder_gets_every_exchange_as_it_was_on_the_wire() -> None:
    seen: list[Exchange] = []

    def answer(_: Asked) -> Reply:
        return Reply(404, {"X-Odd": "1"}, b"caf\xc3\xa9 \xff")

    with stub(answer) as web, Server(web.url, insecure=True, recorder=seen.append) as server:
        server.post("/status", {"sessionId": "é"})
        server.send("GET", server.url("/token/dispatch/targets") + "?username=a%20b")
        with pytest.raises(ServerRefusedError), server.event_stream("/status/stream", {}, timeout=5):
            pass
    assert [(one.method, one.path, one.status) for one in seen] == [
        ("POST", "/nevisfido/status", 404),
        ("GET", "/nevisfido/token/dispatch/targets?username=a%20b", 404),
        ("POST", "/nevisfido/status/stream", 404),
    ]
    assert seen[0].request_body == '{"sessionId":"é"}'
    assert seen[0].response_body == "café �"
    assert seen[0].response_headers["x-odd"] == "1"
    assert {name.lower(): value for name, value in seen[0].request_headers.items()} == web.asked[0].headers
    json.dumps([msgspec.structs.asdict(one) for one in seen])


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"detail":"no such user"}', "no such user"),
        (b'{"detail":' + b"1" * 400 + b"}", "Bad Request"),
        (b'{"detail":"' + b"x" * 400 + b'"}', "x" * 300),
        (b"[]", "Bad Request"),
        (b"<html>", "Bad Request"),
        (b"[" * 100000, "Bad Request"),
        (b"", "Bad Request"),
    ],
    ids=range(7),
)
def test_a_refusal_says_what_the_server_said(body: bytes, detail: str) -> None:
    with pytest.raises(ServerRefusedError) as refused:
        Answer(400, {}, body).decode(CreateTokenResponse)
    assert (refused.value.status, str(refused.value)) == (400, f"400: {detail}")


def test_a_server_that_cannot_at_present_has_refused_nothing() -> None:
    with pytest.raises(NetworkError, match="at present: its database is away: try again"):
        Answer(503, {}, b'{"detail":"its database is away"}').decode(CreateTokenResponse)


def test_an_answer_of_another_shape_is_a_refusal_too() -> None:
    assert Answer(201, {}, b'{"token":"t","sessionId":"s"}').decode(CreateTokenResponse, 200, 201).token == "t"
    for body in (b"{}", b"null", b"<html>", b'{"token":1,"sessionId":"s"}'):
        with pytest.raises(ServerRefusedError, match="unreadable"):
            Answer(200, {}, body).decode(CreateTokenResponse)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("token;dur=1.5, encrypt;dur=2", {"token": 1.5, "encrypt": 2.0}),
        ("token;dur=x, dispatch;dur=3", {"dispatch": 3.0}),
        ("nonsense", {}),
        (None, {}),
    ],
)
def test_server_timings_are_read_where_they_are_readable(header: str | None, found: dict[str, float]) -> None:
    headers = {} if header is None else {"server-timing": header}
    assert Answer(200, headers, b"").server_timings() == found


def test_a_stream_gives_its_data_and_its_signs_of_life() -> None:
    body = b'event: status\ndata: {"a":1}\n\n: still here\r\n\r\ndata:x\n\ndata: cut off'
    seen: list[Exchange] = []
    with (
        stub(lambda _: Reply(200, {"Content-Type": "text/event-stream"}, body)) as web,
        Server(web.url, insecure=True, recorder=seen.append) as server,
        server.event_stream("/status/stream", {"sessionId": "s"}, timeout=5) as events,
    ):
        assert list(events) == ['{"a":1}', None, "x"]
    assert web.asked[0].headers["accept"] == "text/event-stream"
    assert seen[0].response_body.splitlines()[:2] == ["event: status", 'data: {"a":1}']


@pytest.mark.parametrize("body", [b"data: x\n" * (MAX_ANSWER_BYTES // 8 + 1), b"x" * (MAX_ANSWER_BYTES + 1)])
def test_a_stream_without_end_is_cut_off(body: bytes) -> None:
    with (
        stub(lambda _: Reply(200, {}, body)) as web,
        Server(web.url, insecure=True) as server,
        pytest.raises(NetworkError, match="larger than"),
        server.event_stream("/status/stream", {}, timeout=5) as events,
    ):
        list(events)
