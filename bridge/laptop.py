"""The laptop: it queries dispatch targets, asks for a dispatch, and follows the status (HTTP contract 6, 7, 10)."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from fidoloop.bridge.errors import NetworkError, ServerRefusedError
from fidoloop.bridge.http import Server
from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import GetUafRequest, Operation

POLL_SECONDS = 1.0
END_STATES = frozenset({"succeeded", "failed", "unknown"})

_OPERATION_NAMES: dict[Operation, str] = {
    "Reg": "registration",
    "Auth": "authentication",
    "Dereg": "deregistration",
}


class Dispatched(msgspec.Struct, frozen=True):
    """A token on its way: the session to follow, and what the dispatcher answered (a PNG in base64, a link).

    `timings` are the server's own durations in milliseconds, by name, where it tells them (W3C Server Timing).
    """

    session_id: str
    dispatcher: str
    response: str
    timings: dict[str, float]


class Laptop:
    """A laptop client of one server. Errors are BridgeError."""

    def __init__(self, server: Server) -> None:
        """Take the server; dispatching and querying need its API credential."""
        self._server = server

    def targets(self, username: str) -> tuple[outofband.DispatchTargetEntry, ...]:
        """Return the dispatch targets of a user; empty where there are none."""
        answer = self._server.send(
            "GET",
            self._server.url("/token/dispatch/targets") + "?" + urlencode({"username": username}),
            headers={"Accept": "application/json"},
            authorised=True,
        )
        if answer.status == 404:
            return ()
        return answer.decode(outofband.DispatchTargetList).dispatchTargets

    def dispatch(
        self,
        *,
        operation: Operation = "Auth",
        username: str | None = None,
        target_id: str | None = None,
        dispatcher: str | None = None,
        policy: str | None = None,
        transaction: str | None = None,
        context: dict[str, Any] | None = None,
        information: dict[str, Any] | None = None,
    ) -> Dispatched:
        """Ask the server to make a token for `operation` and dispatch it; `transaction` is a text to confirm.

        Raises:
            ServerRefusedError: refused, or HTTP 200 that hides a failed dispatch.
        """
        members: dict[str, Any] = dict(context or {})
        if username is not None:
            members["username"] = username
        if policy is not None:
            members["policy"] = policy
        if transaction is not None:
            content = base64url.encode(transaction.encode("utf-8"))
            members["transaction"] = [{"contentType": "text/plain", "content": content}]
        request = outofband.DispatchRequest(
            getUafRequest=GetUafRequest(op=operation, context=strictjson.encode(members)),
            dispatchTargetId=target_id or UNSET,
            dispatcher=dispatcher or UNSET,
            dispatchInformation=information or UNSET,
        )
        path = f"/token/dispatch/{_OPERATION_NAMES[operation]}"
        raw = self._server.post(path, request, authorised=True)
        answer = raw.decode(outofband.DispatchResponse)
        if answer.dispatchResult != "dispatched" or not answer.sessionId or not answer.dispatcherInformation:
            raise ServerRefusedError(200, f"dispatchResult {answer.dispatchResult}")
        sent = answer.dispatcherInformation
        return Dispatched(answer.sessionId, sent.name, sent.response, raw.server_timings())

    def status(self, session_id: str) -> outofband.StatusResponse:
        """Return where a session stands."""
        answer = self._server.post("/status", outofband.StatusRequest(session_id))
        return answer.decode(outofband.StatusResponse)

    def follow(
        self,
        session_id: str,
        *,
        timeout: float,
        on_change: Callable[[outofband.StatusResponse], None] = lambda status: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> outofband.StatusResponse:
        """Follow a session to its end or for `timeout` seconds: by the live stream, or polling once a second.

        Returns the last status; one that is not of END_STATES means that the time ran out. That is noticed at an
        event or a sign of life of the stream, so it may take as much longer as lies between two of these.
        """
        deadline = clock() + timeout
        last = self.status(session_id)
        on_change(last)
        if last.status in END_STATES:
            return last
        for status in self._changes(session_id, deadline, clock, pause):
            if status.status != last.status:
                on_change(status)
            last = status
            if last.status in END_STATES:
                break
        return last

    def _changes(
        self, session_id: str, deadline: float, clock: Callable[[], float], pause: Callable[[float], None]
    ) -> Iterator[outofband.StatusResponse]:
        request, left = outofband.StatusRequest(session_id), max(deadline - clock(), POLL_SECONDS)
        try:
            with self._server.event_stream("/status/stream", request, timeout=left) as events:
                for data in events:
                    if data is not None:
                        yield strictjson.decode(data, outofband.StatusResponse)
                    if clock() > deadline:
                        return
        except (NetworkError, ServerRefusedError, MalformedError):
            # A proxy between may not pass streams: polling always works, and tells a real outage apart.
            yield self.status(session_id)
        while clock() < deadline:
            pause(POLL_SECONDS)
            yield self.status(session_id)


def state_of(status: outofband.StatusResponse) -> Literal["succeeded", "failed", "open"]:
    """Return whether a session ended well, badly, or not yet."""
    if status.status == "succeeded":
        return "succeeded"
    return "failed" if status.status in END_STATES else "open"
