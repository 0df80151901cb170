"""The laptop: it queries dispatch targets, asks for a dispatch, and follows the status (HTTP contract 6, 7, 10)."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from fidoloop.bridge.errors import NetworkError, ServerRefusedError
from fidoloop.bridge.http import Server
from fidoloop.protocol import base64url, outofband, strictjson
from fidoloop.protocol.channel_linking import ChannelLinking
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

    `linking` is what the laptop must show, or its station hand out, where that was asked for.
    `timings` are the server's own durations in milliseconds, by name, where it tells them (W3C Server Timing).
    """

    session_id: str
    dispatcher: str
    response: str
    timings: dict[str, float]
    linking: ChannelLinking | None = None


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
        session_id: str | None = None,
    ) -> Dispatched:
        """Ask the server to make a token for `operation` and dispatch it; `transaction` is a text to confirm.

        With the `session_id` of a dispatch for the same user, operation and context the same token goes out again, as
        long as nobody has redeemed it.

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
            sessionId=session_id or UNSET,
        )
        path = f"/token/dispatch/{_OPERATION_NAMES[operation]}"
        raw = self._server.post(path, request, authorised=True)
        answer = raw.decode(outofband.DispatchResponse)
        if answer.dispatchResult != "dispatched" or not answer.sessionId or not answer.dispatcherInformation:
            why = f": {answer.dispatcherInformation.response}" if answer.dispatcherInformation else ""
            raise ServerRefusedError(200, f"dispatchResult {answer.dispatchResult}{why}")
        sent = answer.dispatcherInformation
        return Dispatched(
            answer.sessionId, sent.name, sent.response, raw.server_timings(), answer.channelLinking or None
        )

    def dispatch_by_all(
        self,
        dispatchers: Sequence[str],
        *,
        on_failure: Callable[[str, ServerRefusedError], None] = lambda dispatcher, error: None,
        **asked: Any,  # noqa: ANN401 - what `dispatch` takes
    ) -> tuple[Dispatched, ...]:
        """Dispatch one token by several dispatchers, a push and a QR code say, so that there is one session to follow.

        A dispatcher that fails is told to `on_failure` as long as another one may do. A phone may be quicker than the
        next dispatcher: that then sends nothing which counts, and is left out.

        Raises:
            ServerRefusedError: none of them could dispatch.
        """
        sent: list[Dispatched] = []
        for dispatcher in dispatchers:
            session_id = sent[0].session_id if sent else None
            try:
                found = self.dispatch(dispatcher=dispatcher, session_id=session_id, **asked)
            except ServerRefusedError as error:
                if not sent and dispatcher == dispatchers[-1]:
                    raise
                on_failure(dispatcher, error)
            else:
                if session_id in (None, found.session_id):
                    sent.append(found)
        return tuple(sent)

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
