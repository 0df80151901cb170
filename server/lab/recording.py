"""Keeps what crosses: a layer around the ASGI application, there only while the lab is on.

A message is redacted before it is kept. Header fields and query strings are never kept.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.extensions import SESSION_ID
from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.environment import Environment
from fidoloop.server.errors import StoreError
from fidoloop.server.http.body import MAX_BODY_BYTES
from fidoloop.server.http.dispatch import Routes
from fidoloop.server.http.messages import EVENT_STREAM
from fidoloop.server.lab.changes import change_of
from fidoloop.server.lab.console import WAKE, Lab
from fidoloop.server.lab.redaction import Json, redact
from fidoloop.server.lab.stories import NO_SESSION
from fidoloop.server.lab.stories import Message as Kept
from fidoloop.server.store import lab_queries, queries
from fidoloop.server.store.rows import LabSessionRow

RESPONSE_PATH: Final = f"{CONTEXT_PATH}/uaf/1.1/authentication"
_NOT_RECORDED: Final = ("/lab", "/web/static/", "/docs", "/openapi.json", "/healthz", "/metrics", "/link")
EVENTS: Final = "[events]"
MAX_PATH: Final = 256
_PAGES: Final = frozenset({"text/html"})
_log = logging.getLogger("fidoloop.server.lab")


class Recording:
    """The ASGI application `inner`, and a memory of what it was asked and answered."""

    def __init__(self, inner: ASGIApp, environment: Environment, lab: Lab, routes: Routes) -> None:
        self._inner = inner
        self._environment = environment
        self._lab = lab
        paths = {path for path in routes if not path.startswith(_NOT_RECORDED)}
        self._paths = frozenset(path.rstrip("/") for path in paths if not path.endswith("/*"))
        self._prefixes = frozenset(path[:-2] for path in paths if path.endswith("/*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the application."""
        if scope["type"] != "http" or not self._is_recorded(scope["path"]):
            await self._inner(scope, receive, send)
            return
        crossing = _Crossing(scope, receive, send, self._keep)
        try:
            await self._inner(scope, crossing.receive, crossing.send)
        finally:
            await crossing.ended()

    def _is_recorded(self, path: str) -> bool:
        trimmed = path.removesuffix("/")
        return trimmed in self._paths or trimmed.rpartition("/")[0] in self._prefixes

    async def _keep(self, exchange: "Exchange") -> None:
        if exchange.answer_media in _PAGES:
            return
        try:
            await keep(self._environment, self._lab, exchange)
        except StoreError as error:
            _log.error("a message could not be recorded: %s", error)


class Exchange(NamedTuple):
    """A request and its answer as they crossed, whole; never kept. Status 0: there was no answer."""

    method: str
    path: str
    request_media: str
    request: bytes
    status: int
    answer_media: str
    answer: bytes


class _Crossing:
    """One exchange on its way; `keep` is called with it at its end, or as soon as its answer is a stream."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, keep: Callable[[Exchange], Awaitable[None]]) -> None:
        self._scope, self._receive, self._send, self._keep = scope, receive, send, keep
        self._request, self._answer = bytearray(), bytearray()
        self._status, self._media = 0, ""

    async def receive(self) -> Message:
        message = await self._receive()
        _add(self._request, message)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._media = message["status"], _media(message["headers"])
            if self._media == EVENT_STREAM:
                await self._keep(self._exchange())
        elif self._media != EVENT_STREAM:
            _add(self._answer, message)
        await self._send(message)

    async def ended(self) -> None:
        if self._media != EVENT_STREAM:
            await self._keep(self._exchange())

    def _exchange(self) -> Exchange:
        path, asked = self._scope["path"].rstrip("/")[:MAX_PATH], _media(self._scope["headers"])
        request, answer = bytes(self._request), bytes(self._answer)
        return Exchange(self._scope["method"], path, asked, request, self._status, self._media, answer)


def _add(body: bytearray, message: Message) -> None:
    body += message.get("body", b"")[: MAX_BODY_BYTES + 1 - len(body)]


def _media(headers: Any) -> str:  # noqa: ANN401 - of ASGI
    values = [value for name, value in headers if name.lower() == b"content-type"]
    return values[-1].decode("latin-1").partition(";")[0].strip().lower() if values else ""


async def keep(environment: Environment, lab: Lab, exchange: Exchange, *, note: str = "") -> None:
    """Keep an exchange, redacted, and the state that its session came into by it. Raises StoreError."""
    now = environment.clock()
    named = await _session_of(environment, lab, exchange)
    row: LabSessionRow | None = None
    if named:
        row = await environment.store.fetch_one(lab_queries.SESSION, id=named)
    session_id = NO_SESSION if row is None else row.id
    request = redact(exchange.request, media=exchange.request_media)
    is_stream = exchange.answer_media == EVENT_STREAM
    answer = EVENTS if is_stream else redact(exchange.answer, media=exchange.answer_media)
    message = Kept(now, exchange.method, exchange.path, exchange.status, request, answer, note)
    lab.stories.add_message(session_id, message)
    if row is not None:
        lab.stories.add_change(row.id, change_of(row, now))
    environment.changes.announce(WAKE)
    made_here = lab.sessions.get(session_id)
    if made_here is not None and exchange.path == RESPONSE_PATH and not note:
        made_here.answered(exchange.request)


def _value(text: bytes) -> Json:
    try:
        return strictjson.loads(text)
    except MalformedError:
        return None


async def _session_of(environment: Environment, lab: Lab, exchange: Exchange) -> str:
    """Return the id of the session that an exchange names, NO_SESSION where it names none."""
    asked, answered = _object(_value(exchange.request)), _object(_value(exchange.answer))
    named = _session_of_request(lab, answered) or _session_of_response(lab, asked)
    named = named or _text(answered, "sessionId") or _text(asked, "sessionId")
    if named:
        return named
    token = _text(asked, "token")
    if token and exchange.path.startswith(f"{CONTEXT_PATH}/token/redeem/"):
        session = await environment.store.fetch_one(queries.TOKEN, token=token)
        return session.id if session else NO_SESSION
    operation = _text(asked, "id") or _text(answered, "id")
    if operation and exchange.path.startswith("/web/"):
        found = await environment.store.fetch_one(lab_queries.SESSION_OF_OPERATION, id=operation)
        return found.value if found else NO_SESSION
    return NO_SESSION


def _session_of_request(lab: Lab, answered: dict[str, Json]) -> str:
    """Return the session that a UAF request names in its header, and remember its serverData."""
    header = _header(_text(answered, "uafRequest"))
    extensions = header.get("exts")
    for extension in extensions if isinstance(extensions, list) else ():
        if _object(extension).get("id") == SESSION_ID:
            session_id = _text(_object(extension), "data")
            if _text(header, "serverData"):
                lab.stories.request_seen(_text(header, "serverData"), session_id)
            return session_id
    return NO_SESSION


def _session_of_response(lab: Lab, asked: dict[str, Json]) -> str:
    server_data = _text(_header(_text(asked, "uafResponse")), "serverData")
    return lab.stories.session_of_request(server_data) or NO_SESSION


def _header(text: str) -> dict[str, Json]:
    messages = _value(text.encode("utf-8")) if text else None
    return _object(_object(messages[0]).get("header")) if isinstance(messages, list) and messages else {}


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(members: dict[str, Json], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""
