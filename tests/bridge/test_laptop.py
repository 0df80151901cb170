"""The laptop: dispatching, and following a session by stream and by polling, on a clock of the test's own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fidoloop.bridge.errors import NetworkError, ServerRefusedError
from fidoloop.bridge.http import JSON_MEDIA_TYPE, Answer, Server
from fidoloop.bridge.laptop import END_STATES, POLL_SECONDS, Laptop, state_of
from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import StatusResponse
from tests.bridge.stub import Asked, Reply, stub
from tests.lab import Lab

AT = "2026-01-01T00:00:00.000Z"


def status(state: str) -> dict[str, str]:
    return {"status": state, "timestamp": AT}


class Clock:
    """Time that passes only when somebody pauses, or when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@dataclass
class FakeServer:
    """Answers Status with the next of `polled` (the last for ever), and streams `streamed`."""

    clock: Clock
    polled: list[str]
    streamed: list[str | Exception | None] = field(default_factory=list)
    tick: float = 0.0
    timeouts: list[float] = field(default_factory=list)
    polls: int = 0

    def post(self, path: str, body: object) -> Answer:
        assert path == "/status"
        state = self.polled[min(self.polls, len(self.polled) - 1)]
        self.polls += 1
        if state == "outage":
            raise NetworkError("gone")
        return Answer(200, {}, json.dumps(status(state)).encode())

    @contextmanager
    def event_stream(self, path: str, body: object, *, timeout: float) -> Iterator[Iterator[str | None]]:
        assert path == "/status/stream"
        self.timeouts.append(timeout)
        yield self._events()

    def _events(self) -> Iterator[str | None]:
        for event in self.streamed:
            self.clock.now += self.tick
            if isinstance(event, Exception):
                raise event
            yield event if event is None or event.startswith("{") else json.dumps(status(event))


def follow(server: FakeServer, timeout: float = 60) -> tuple[str, list[str]]:
    changes: list[str] = []
    final = Laptop(server).follow(  # type: ignore[arg-type]  # the three methods it needs
        "session",
        timeout=timeout,
        on_change=lambda change: changes.append(change.status),
        clock=server.clock,
        pause=server.clock.pause,
    )
    return final.status, changes


@pytest.mark.parametrize("end", sorted(END_STATES))
def test_the_stream_is_followed_to_each_end_state(end: str) -> None:
    server = FakeServer(Clock(), ["tokenCreated"], ["tokenCreated", "clientAuthenticating", end, "never read"])
    assert follow(server) == (end, ["tokenCreated", "clientAuthenticating", end])
    assert (server.polls, server.clock.pauses, server.timeouts) == (1, [], [60])


@pytest.mark.parametrize("end", sorted(END_STATES))
def test_a_session_at_its_end_is_asked_for_once(end: str) -> None:
    server = FakeServer(Clock(), [end])
    assert follow(server) == (end, [end])
    assert (server.polls, server.timeouts) == (1, [])


@pytest.mark.parametrize(
    "streamed",
    [
        [ServerRefusedError(404, "no status stream")],
        [NetworkError("cut off")],
        ["tokenCreated", NetworkError("cut off")],
        ["{broken"],
        [],
        ["tokenCreated"],
    ],
    ids=["none", "down", "cut", "garbled", "empty", "short"],
)
def test_without_a_stream_it_polls_once_a_second(streamed: list[str | Exception | None]) -> None:
    server = FakeServer(
        Clock(), ["tokenCreated", "tokenCreated", "clientAuthenticating", "clientAuthenticating", "succeeded"], streamed
    )
    assert follow(server) == ("succeeded", ["tokenCreated", "clientAuthenticating", "succeeded"])
    assert set(server.clock.pauses) == {POLL_SECONDS}


def test_polling_ends_when_the_time_is_over() -> None:
    server = FakeServer(Clock(), ["tokenCreated"], [NetworkError("down")])
    assert follow(server, timeout=10) == ("tokenCreated", ["tokenCreated"])
    assert len(server.clock.pauses) == 10


@pytest.mark.parametrize("sign", ["tokenCreated", None], ids=["event", "comment"])
def test_a_stream_that_stays_open_ends_when_the_time_is_over(sign: str | None) -> None:
    """A sign of life counts as one: it comes more often than anything changes."""
    server = FakeServer(Clock(), ["tokenCreated"], [sign] * 100, tick=15)
    assert follow(server, timeout=60) == ("tokenCreated", ["tokenCreated"])
    assert server.clock.now - 1000 == 75


def test_a_silent_stream_is_waited_for_no_longer_than_the_time() -> None:
    server = FakeServer(Clock(), ["tokenCreated", "clientAuthenticating"], [NetworkError("timed out")], tick=7)
    assert follow(server, timeout=7) == ("clientAuthenticating", ["tokenCreated", "clientAuthenticating"])
    assert (server.timeouts, server.clock.pauses) == ([7], [])


def test_an_outage_is_told_apart_from_a_missing_stream() -> None:
    with pytest.raises(NetworkError):
        follow(FakeServer(Clock(), ["tokenCreated", "outage"], [NetworkError("down")]))
    with pytest.raises(NetworkError):
        follow(FakeServer(Clock(), ["outage"]))


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("unknown", "failed"),
        ("tokenCreated", "open"),
        ("clientRegistering", "open"),
        ("clientAuthenticating", "open"),
    ],
)
def test_a_status_means_good_bad_or_not_yet(state: str, meaning: str) -> None:
    assert state_of(StatusResponse(state, AT)) == meaning


def dispatched(answer: dict[str, Any]) -> tuple[Asked, Any]:
    reply = Reply(200, {"Content-Type": JSON_MEDIA_TYPE, "Server-Timing": "token;dur=0.5"}, json.dumps(answer).encode())
    with stub(lambda _: reply) as web, Server(web.url, insecure=True, api_key="key") as server:
        found = Laptop(server).dispatch(
            username="alice",
            target_id="id",
            dispatcher="link",
            policy="pin_only",
            transaction="Pay 5",
            information={"x": 1},
        )
    return web.asked[0], found


GOOD = {
    "dispatchResult": "dispatched",
    "token": "never kept",
    "sessionId": "s",
    "dispatcherInformation": {"name": "link", "response": "fidoloop://x"},
}


def test_a_dispatch_says_what_it_wants_and_keeps_no_token() -> None:
    asked, found = dispatched(GOOD)
    assert asked.path == "/nevisfido/token/dispatch/authentication"
    assert asked.headers["authorization"] == "Bearer key"
    body = json.loads(asked.body)
    context = json.loads(body["getUafRequest"]["context"])
    assert context == {
        "username": "alice",
        "policy": "pin_only",
        "transaction": [{"contentType": "text/plain", "content": base64url.encode(b"Pay 5")}],
    }
    assert (body["dispatchTargetId"], body["dispatcher"], body["dispatchInformation"]) == ("id", "link", {"x": 1})
    assert (found.session_id, found.dispatcher, found.response) == ("s", "link", "fidoloop://x")
    assert found.timings == {"token": 0.5}
    assert "never kept" not in repr(found)


FAILED = (
    "dispatchError",
    "dispatchTargetExpired",
    "dispatchTargetNotFound",
    "dispatcherNotFound",
    "userNotFound",
    "internalError",
    "whatever",
)


@pytest.mark.parametrize(
    "answer",
    [
        *({**GOOD, "dispatchResult": result} for result in FAILED),
        {name: value for name, value in GOOD.items() if name != "sessionId"},
        {name: value for name, value in GOOD.items() if name != "dispatcherInformation"},
    ],
    ids=[*FAILED, "no session", "no answer"],
)
def test_http_200_hides_no_failed_dispatch(answer: dict[str, Any]) -> None:
    with pytest.raises(ServerRefusedError, match=f"dispatchResult {answer['dispatchResult']}"):
        dispatched(answer)


@pytest.mark.parametrize(
    ("answers", "sent", "failed"),
    [
        ([("dispatched", "s"), ("dispatched", "s")], ["web-push", "png-qr-code"], []),
        ([("dispatchError", "s"), ("dispatched", "t")], ["png-qr-code"], ["web-push"]),
        ([("dispatched", "s"), ("dispatchError", "s")], ["web-push"], ["png-qr-code"]),
        # The phone was quicker: the second token is another one, which nobody follows.
        ([("dispatched", "s"), ("dispatched", "t")], ["web-push"], []),
    ],
    ids=["both", "fallback", "push alone", "redeemed between"],
)
def test_one_session_is_dispatched_by_several(
    answers: list[tuple[str, str]], sent: list[str], failed: list[str]
) -> None:
    def answer(asked: Asked) -> Reply:
        result, session_id = answers[len(web.asked) - 1]
        sent_by = {"name": json.loads(asked.body)["dispatcher"], "response": "x"}
        body = {**GOOD, "dispatchResult": result, "sessionId": session_id, "dispatcherInformation": sent_by}
        return Reply(200, {"Content-Type": JSON_MEDIA_TYPE}, json.dumps(body).encode())

    failures: list[str] = []
    with stub(answer) as web, Server(web.url, insecure=True, api_key="key") as server:
        found = Laptop(server).dispatch_by_all(
            ("web-push", "png-qr-code"), on_failure=lambda name, _: failures.append(name), username="alice"
        )
    assert [each.dispatcher for each in found] == sent
    assert failures == failed
    first, second = (json.loads(asked.body) for asked in web.asked)
    assert "sessionId" not in first
    assert second.get("sessionId") == ("s" if answers[0][0] == "dispatched" else None)
    assert first["getUafRequest"] == second["getUafRequest"]


def test_no_dispatcher_that_works_is_a_refusal() -> None:
    body = {"dispatchResult": "dispatcherNotFound"}
    with (
        stub(lambda _: Reply(200, {"Content-Type": JSON_MEDIA_TYPE}, json.dumps(body).encode())) as web,
        Server(web.url, insecure=True, api_key="key") as server,
        pytest.raises(ServerRefusedError, match="dispatcherNotFound"),
    ):
        Laptop(server).dispatch_by_all(("a", "b"))
    assert len(web.asked) == 2


def test_a_user_without_targets_has_none_and_one_unknown_is_refused(fidoloop_lab: Lab) -> None:
    assert fidoloop_lab.laptop.targets(fidoloop_lab.new_user()) == ()
    with pytest.raises(ServerRefusedError) as refused:
        fidoloop_lab.laptop.targets("nobody & co")
    assert refused.value.status == 403


def test_a_login_is_seen_live_through_the_real_stream(fidoloop_lab: Lab) -> None:
    """The stream's first event is enough for the phone to start; its last ends the watch, without polling."""
    phone, username = fidoloop_lab.enrolled()
    laptop = fidoloop_lab.laptop
    sent = laptop.dispatch(username=username, dispatcher="link")
    changes: list[str] = []

    def changed(now: StatusResponse) -> None:
        changes.append(now.status)
        if now.status == "tokenCreated":
            phone.scan(sent.response)

    def never(_: float) -> None:
        pytest.fail("polled")

    final = laptop.follow(sent.session_id, timeout=30, on_change=changed, pause=never)
    assert (final.status, final.userId) == ("succeeded", username)
    assert changes == ["tokenCreated", "succeeded"]
