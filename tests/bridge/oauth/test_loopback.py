"""The loopback redirect: an app's own page on a free port, and what comes there."""

import queue
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlencode

import httpx2
import pytest

from fidoloop.bridge.errors import UserDeclinedError
from fidoloop.bridge.oauth.loopback import LoopbackRedirect
from fidoloop.protocol.oauth.redirect_uris import is_registered

STATE = "s" * 43
GOOD = {"code": "c", "state": STATE, "iss": "https://as.example"}


def coming(visit: Callable[[str], None]) -> tuple[LoopbackRedirect, list[str]]:
    """A redirect whose browser does what `visit` says, in a thread of its own, with the redirect_uri."""
    urls: list[str] = []

    def send(url: str) -> None:
        urls.append(url)
        threading.Thread(target=visit, args=(redirect.redirect_uri,), daemon=True).start()

    redirect = LoopbackRedirect(send, seconds=30)
    return redirect, urls


def test_the_answer_to_what_was_asked_is_returned_and_the_person_is_told() -> None:
    answers: queue.Queue[httpx2.Response] = queue.Queue()
    redirect, urls = coming(lambda uri: answers.put(httpx2.get(f"{uri}?{urlencode(GOOD)}")))
    with redirect:
        assert redirect.visit("https://as.example/authorize", STATE) == GOOD
    assert urls == ["https://as.example/authorize"]
    answer = answers.get(timeout=30)
    assert (answer.status_code, "You can close this window" in answer.text) == (200, True)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "c" not in answer.headers.values()


def test_what_was_not_asked_for_is_refused_and_does_not_end_the_waiting() -> None:
    statuses: list[int] = []

    def visit(uri: str) -> None:
        base = uri.removesuffix("/callback")
        for target in (
            f"{uri}?{urlencode(GOOD | {'state': 'x' * 43})}",
            f"{uri}?code=c",
            f"{uri}?{urlencode(GOOD)}&code=d",
            f"{uri}?{urlencode(GOOD)}&%",
            f"{base}/other?{urlencode(GOOD)}",
            f"{base}/favicon.ico",
            uri,
        ):
            statuses.append(httpx2.get(target).status_code)
        statuses.append(httpx2.post(f"{uri}?{urlencode(GOOD)}").status_code)
        statuses.append(httpx2.get(f"{uri}?{urlencode(GOOD | {'code': 'right'})}").status_code)

    redirect, _ = coming(visit)
    with redirect:
        assert redirect.visit("", STATE)["code"] == "right"
    assert statuses[:8] == [400] * 7 + [501]


def test_an_idle_connection_keeps_nobody_waiting() -> None:
    def visit(uri: str) -> None:
        host, port = uri.removeprefix("http://").removesuffix("/callback").rsplit(":", 1)
        with socket.create_connection((host, int(port))):
            httpx2.get(f"{uri}?{urlencode(GOOD)}")

    redirect, _ = coming(visit)
    with redirect:
        assert redirect.visit("", STATE) == GOOD


def test_nothing_is_waited_for_without_end() -> None:
    with (
        LoopbackRedirect(lambda url: None, seconds=0.01) as redirect,
        pytest.raises(UserDeclinedError, match="in time"),
    ):
        redirect.visit("", STATE)


def test_it_is_a_loopback_address_with_a_free_port_that_is_given_back() -> None:
    with (
        LoopbackRedirect(lambda url: None, seconds=1) as first,
        LoopbackRedirect(lambda url: None, seconds=1) as second,
    ):
        assert first.redirect_uri != second.redirect_uri
        assert is_registered(first.redirect_uri, ["http://127.0.0.1/callback", "http://[::1]/callback"])
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(first.redirect_uri)
