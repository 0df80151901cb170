"""Every HTTP message between phone, laptop and server, to be looked at and asserted on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fidoloop.bridge.http import Exchange
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.dissect import dissect_assertion

__all__ = ["Exchange", "Message", "Messages", "decoded"]

_TEXTS = frozenset({"uafRequest", "uafResponse", "uafProtocolMessage", "context", "description"})
"""Members that hold JSON as a text."""


@dataclass(frozen=True)
class Message:
    """One request and its answer; `exchange` has both exactly as on the wire."""

    exchange: Exchange

    @property
    def method(self) -> str:
        """The request's method."""
        return self.exchange.method

    @property
    def path(self) -> str:
        """The request's path and query."""
        return self.exchange.path

    @property
    def status(self) -> int:
        """The answer's HTTP status."""
        return self.exchange.status

    @property
    def request(self) -> Any:  # noqa: ANN401 - JSON
        """The request's body, decoded: see `decoded`."""
        return decoded(self.exchange.request_body)

    @property
    def response(self) -> Any:  # noqa: ANN401 - JSON
        """The answer's body, decoded: see `decoded`."""
        return decoded(self.exchange.response_body)

    @property
    def status_code(self) -> int | None:
        """The UAF status code of the answer (UAF protocol 3.1.5), None where it has none."""
        answer = self.response
        code = answer.get("statusCode") if isinstance(answer, dict) else None
        return code if isinstance(code, int) else None

    def __str__(self) -> str:
        """Both bodies, decoded and indented, for people."""
        bodies = (json.dumps(body, indent=2, ensure_ascii=False) for body in (self.request, self.response))
        request, response = bodies
        return f"{self.method} {self.path}\n{request}\n→ {self.status}\n{response}"


@dataclass
class Messages:
    """What was sent since the test began, in order; `record` is what a phone or laptop takes as its recorder."""

    _all: list[Message] = field(default_factory=list)

    def record(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        self._all.append(Message(exchange))

    def to(self, path: str) -> list[Message]:
        """Return the messages whose path, without query, ends with `path`."""
        return [message for message in self._all if message.path.partition("?")[0].endswith(path)]

    def last(self, path: str = "") -> Message:
        """Return the last message to `path`, or of all. Raises LookupError, which lists what was sent."""
        found = self.to(path)
        if not found:
            sent = ", ".join(f"{message.method} {message.path}" for message in self._all) or "nothing"
            raise LookupError(f"no message to {path or 'anywhere'}; sent was {sent}")
        return found[-1]

    def clear(self) -> None:
        """Forget them."""
        self._all.clear()

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)


def decoded(body: str) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON body with what it holds in other codings opened; a body that is no JSON as it is.

    JSON in texts (`uafRequest`, `context`) and in base64url (`fcParams`) stands in its place as JSON, an `assertion`
    as the tree of its TLV elements: `name`, `value`, `offset`, `children` of each.
    """
    try:
        return _opened("", strictjson.loads(body))
    except MalformedError:
        return body


def _opened(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_opened(name, entry) for entry in value]
    if isinstance(value, dict):
        return {member: _opened(member, inner) for member, inner in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return _inside(name, value)
    except MalformedError:
        return value


def _inside(name: str, text: str) -> Any:  # noqa: ANN401 - JSON
    """Return what a member holds in another coding. Raises MalformedError where it does not."""
    if name in _TEXTS:
        return _opened("", strictjson.loads(text))
    if name == "fcParams":
        return strictjson.loads(base64url.decode(text))
    return msgspec.to_builtins(dissect_assertion(base64url.decode(text))) if name == "assertion" else text
