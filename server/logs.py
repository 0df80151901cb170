"""Logs to standard error, as lines for people or as JSON for machines.

What is logged is a path, a code, a rule that failed; never a body, a header, a query, a token or a key. Paths hold ids
of dispatch targets at most.
"""

import json
import logging
import sys
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fidoloop.server.settings.declared import LogFormat

_access = logging.getLogger("fidoloop.access")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(format_: LogFormat) -> None:
    """Send everything of level INFO and above to standard error, uvicorn's own lines included."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonFormatter() if format_ == "json" else plain)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Its access log holds the query; ours does not.
    logging.getLogger("uvicorn.access").disabled = True


class AccessLog:
    """ASGI wrapper that logs one line per request: method, path without query, status, milliseconds, address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            client = scope.get("client")
            millis = 1000 * (time.perf_counter() - began)
            # repr: a path is the caller's text and must not write lines of its own.
            _access.info("%s %r %d %.1fms %s", scope["method"], scope["path"], status, millis, client and client[0])
