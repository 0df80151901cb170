"""Where a browser comes back to an app on the same machine: a free port of the loopback (RFC 8252 section 7.3)."""

import hmac
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl

from fidoloop.bridge.errors import NetworkError, UserDeclinedError

PATH: Final = "/callback"
REGISTERED: Final = (f"http://127.0.0.1{PATH}", f"http://[::1]{PATH}")
"""What an app registers: the port of a request may be any."""
_MAX_FIELDS: Final = 16
_PAGE: Final = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>fidoloop</title><p>{}</p></html>'
_DONE, _NOTHING = "The app goes on. You can close this window.", "Nothing was asked for here."
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LoopbackRedirect:
    """Listens from the start to the end of a `with`, to what comes with the `state` that was asked with."""

    def __init__(self, send: Callable[[str], None], *, seconds: float) -> None:
        """Take a free port. `send` sends the browser to a URL; so many seconds are waited for it.

        Raises:
            NetworkError: the machine has no loopback.
        """
        self._send, self._seconds = send, seconds
        self._answers: queue.Queue[Mapping[str, str]] = queue.Queue()
        self._state: str | None = None
        self._server = _bound(self._handler())
        host, port = self._server.server_address[:2]
        self._uri = f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}{PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def redirect_uri(self) -> str:
        """The redirect_uri of a request, with the port."""
        return self._uri

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def visit(self, url: str, state: str) -> Mapping[str, str]:
        """Send the browser to a URL; return what it comes back with.

        Raises:
            UserDeclinedError: it does not come back in time.
        """
        self._state = state
        self._send(url)
        try:
            return self._answers.get(timeout=self._seconds)
        except queue.Empty:
            raise UserDeclinedError("nobody answered in the browser in time") from None

    def _answer_in(self, target: str) -> Mapping[str, str] | None:
        """Return the parameters in a request target, None where it is no answer to what was asked."""
        path, _, query = target.partition("?")
        try:
            pairs = parse_qsl(query, strict_parsing=True, errors="strict", max_num_fields=_MAX_FIELDS)
        except ValueError:
            return None
        found = dict(pairs)
        asked = self._state is not None and hmac.compare_digest(found.get("state", "").encode(), self._state.encode())
        return found if asked and path == PATH and len(found) == len(pairs) else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers, answer_in = self._answers, self._answer_in

        class Handler(BaseHTTPRequestHandler):
            timeout = 10
            server_version, sys_version = "fidoloop", ""

            def do_GET(self) -> None:
                found = answer_in(self.path)
                try:
                    self.send_response(400 if found is None else 200)
                    for name, value in _HEADERS.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(_PAGE.format(_NOTHING if found is None else _DONE).encode("ascii"))
                finally:
                    # Only now: the process may end with the answer.
                    if found is not None:
                        answers.put(found)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: what is asked for bears the code."""

        return Handler


class _Listener(ThreadingHTTPServer):
    """Browsers open connections ahead of need, which must keep no other waiting."""

    def server_bind(self) -> None:
        """Bind, and look no name up."""
        TCPServer.server_bind(self)


class _Listener6(_Listener):
    address_family = socket.AF_INET6


def _bound(handler: type[BaseHTTPRequestHandler]) -> _Listener:
    try:
        return _Listener(("127.0.0.1", 0), handler)
    except OSError:
        pass
    try:
        return _Listener6(("::1", 0), handler)
    except OSError as error:
        raise NetworkError(f"no port of the loopback can be had: {error}") from None
