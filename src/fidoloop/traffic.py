"""What travels between laptop, server, phone and token, message by message, as it happens.

For the demonstration, which draws it, and for the manual's diagrams, which are drawn from it.
"""

import re
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from fidoloop.bridge.http import Exchange, Recorder
from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=^/register/)[^/]+")
_SHOWN_MEMBERS: Final = 2


class Party(StrEnum):
    """Who sends and receives, in the order in which they are drawn."""

    RESOURCE = "resource"
    LAPTOP = "laptop"
    SERVER = "server"
    PHONE = "phone"
    TOKEN = "token"  # noqa: S105  # the key device


class SentMessage(msgspec.Struct, frozen=True):
    """One message: between whom, what it is, bytes of its body, and milliseconds since the recording began.

    `took` is for an answer how many milliseconds after the request it was there; else 0.
    """

    sender: Party
    receiver: Party
    name: str
    size: int
    at: float
    took: float = 0.0


class Traffic:
    """Tells `say` of every message that the parties' recorders hear of. Safe to share between threads."""

    def __init__(self, say: Callable[[SentMessage], None]) -> None:
        self._say = say
        self._began = time.perf_counter()

    def recorder(self, party: Party) -> Recorder:
        """Return what tells of the HTTP exchanges of `party` with the server, each when its answer is there."""

        def record(exchange: Exchange) -> None:
            asked, answered = _asked(exchange), _answered(exchange)
            now = self._now()
            size = len(exchange.request_body.encode("utf-8"))
            self._say(SentMessage(party, Party.SERVER, asked, size, max(0.0, now - exchange.ms)))
            size = len(exchange.response_body.encode("utf-8"))
            self._say(SentMessage(Party.SERVER, party, answered, size, now, exchange.ms))

        return record

    def tell(
        self, sender: Party, receiver: Party, name: str, size: int, *, took: float = 0.0, ago: float = 0.0
    ) -> None:
        """Tell of a message that is no HTTP, and was sent `ago` milliseconds ago."""
        self._say(SentMessage(sender, receiver, name, size, max(0.0, self._now() - ago), took))

    def _now(self) -> float:
        return (time.perf_counter() - self._began) * 1000


def both(first: Recorder, second: Recorder) -> Recorder:
    """Return a recorder that passes each exchange on to two."""

    def record(exchange: Exchange) -> None:
        first(exchange)
        second(exchange)

    return record


def _asked(exchange: Exchange) -> str:
    path = _ID.sub("{id}", urlsplit(exchange.path).path)
    content = _content(exchange.request_body)
    return f"{exchange.method} {path}" + (f": {content}" if content else "")


def _answered(exchange: Exchange) -> str:
    if exchange.response_headers.get("content-type", "").startswith("text/event-stream"):
        states = dict.fromkeys(re.findall(r'"status":"(\w+)"', exchange.response_body))
        return f"{exchange.status} {' → '.join(states)}"
    return f"{exchange.status} {_content(exchange.response_body)}".rstrip()


def _content(body: str) -> str:
    """Return what a body is: the UAF message in it, or its first members' names; never their values."""
    try:
        value = strictjson.loads(body)
    except MalformedError:
        names = list(dict(parse_qsl(body)))
        return _names(names) if names else ""
    if not isinstance(value, dict):
        return ""
    for member, what in (("uafRequest", "UAF request"), ("uafResponse", "UAF response")):
        if value.get(member):
            return f"{what}, {_operation(value[member])}"
    if "statusCode" in value:
        return f"statusCode {value['statusCode']}"
    return _names(list(value))


def _operation(message: str) -> str:
    """Return Reg, Auth or Dereg, of a UAF message."""
    try:
        first: Any = strictjson.loads(message)[0]
        return str(first["header"]["op"])
    except (MalformedError, LookupError, TypeError):
        return "unreadable"


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_MEMBERS])
    return f"{shown}, …" if len(names) > _SHOWN_MEMBERS else shown
