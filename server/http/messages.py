"""An HTTP request and response as the services see them, and the one exception that ends in a problem document."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from fidoloop.protocol import strictjson

JSON = "application/json"
FIDO_UAF = "application/fido+uaf"
JOSE = "application/jose"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"
MAX_USER_AGENT = 128


class Request(NamedTuple):
    """One request, its body read.

    `identifier` is the last path member where the route has one, `tls_unique` that of the connection (RFC 5929) where
    channels are to be bound and there is one. `headers` has the last of fields of one name, `raw_headers` every one.
    `limited_as` is by what name the limits know the address; empty where it is exempt. `credential_id` is the API
    credential's where it was good when it was looked up last, and is still to be asked for.
    """

    method: str
    path: str
    identifier: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    address: str
    tls_unique: bytes | None = None
    raw_headers: Sequence[tuple[bytes, bytes]] = ()
    limited_as: str = ""
    credential_id: str | None = None

    def fields(self, name: bytes) -> list[str]:
        """Return the values of every header field of this name, which is in lower case, as they were sent."""
        if name not in self.headers:
            return []
        return [value.decode("latin-1") for key, value in self.raw_headers if key == name]

    @property
    def user_agent(self) -> str:
        """The browser's name for itself: printable ASCII, cut."""
        raw = self.headers.get(b"user-agent", b"")[:MAX_USER_AGENT]
        return "".join(chr(byte) for byte in raw if 0x20 <= byte < 0x7F)


class Response(NamedTuple):
    """A whole answer; `uaf_status` is the one inside its body, 0 where there is none."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    uaf_status: int = 0


@dataclass(frozen=True)
class EventStream:
    """An answer that goes on: server-sent events, each a (name, data) pair; None is a sign of life."""

    events: AsyncIterator[tuple[str, str] | None]
    status: ClassVar[int] = 200
    uaf_status: ClassVar[int] = 0


class HttpProblem(Exception):
    """The request ends in an HTTP status of 4xx or 5xx with a problem document (RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def json_response(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - any struct
    """Return `value` as application/json."""
    return Response(status, strictjson.encode(value).encode("utf-8"), JSON)
