"""Reading a request body that may not grow beyond a limit, whatever its headers say."""

from starlette.types import Receive

from fidoloop.server.http.messages import HttpProblem

MAX_BODY_BYTES = 65536


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def check_declared_length(header: bytes | None) -> None:
    """Refuse a Content-Length over the limit before anything is read. Raises HttpProblem 413."""
    if header is not None and header.isdigit() and (len(header) > 9 or int(header) > MAX_BODY_BYTES):
        raise _too_large()


async def read_body(receive: Receive) -> bytes:
    """Return the body.

    Raises:
        HttpProblem: 413 as soon as it exceeds MAX_BODY_BYTES.
        ClientGone: the connection was closed.
    """
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and len(body) <= MAX_BODY_BYTES:
        return body
    parts = [body]
    size = len(body)
    while size <= MAX_BODY_BYTES:
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    raise _too_large()


def _too_large() -> HttpProblem:
    return HttpProblem(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
