"""Logs to standard error, as lines for people or as JSON for machines; each with the id of the request it belongs to.

What is logged is a service, a code, a rule that failed; never a body, a header, a query, a path as it came, a token
or a key. What an unexpected error says of itself may hold any of these: its kind is logged, and where it arose.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from starlette.types import Scope

from fidoloop.server.errors import ServerError
from fidoloop.server.request_ids import NONE, current_request_id
from fidoloop.server.settings.declared import LogFormat

_access = logging.getLogger("fidoloop.access")
ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = current_request_id.get()
        # Made by another formatter, it would hold what the error says.
        record.exc_text = None
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A refusal may quote what was sent: it must not look like a line of its own.
        return "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
            for one in super().formatMessage(record)
        )

    def formatException(self, ei: ExceptionInfo) -> str:
        return "\n".join(describe_error(ei[1])) if ei[1] is not None else ""


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = current_request_id.get()
        if request_id != NONE:
            line["requestId"] = request_id
        line |= getattr(record, "members", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(format_: LogFormat) -> None:
    """Send everything of level INFO and above to standard error, uvicorn's own lines included."""
    root = logging.getLogger()
    root.handlers[:] = [log_handler(format_, sys.stderr)]
    root.setLevel(logging.INFO)
    # Its access log holds the query; ours does not.
    logging.getLogger("uvicorn.access").disabled = True


def log_handler(format_: LogFormat, stream: TextIO) -> logging.Handler:
    """Return what writes log lines to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if format_ == "json" else _Formatter())
    return handler


def describe_error(error: BaseException) -> list[str]:
    """Return the kind of an error, where it arose, and those that led to it; what it says only if it is one of ours."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        words = f": {seen}" if isinstance(seen, ServerError) else ""
        lines.append(f"{type(seen).__module__}.{type(seen).__qualname__}{words}")
        lines += [
            f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(seen.__traceback__)
        ]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return lines


def log_access(scope: Scope, path: str, status: int, uaf_status: int, seconds: float) -> None:
    """Log one line about an answered request; `path` is its route's."""
    client = scope.get("client")
    members = {
        "method": scope["method"],
        "path": path or None,
        "status": status,
        "uafStatus": uaf_status or None,
        "millis": round(1000 * seconds, 1),
        "address": client[0] if client else None,
    }
    # Four columns that are always there, so that a line can be cut at its blanks.
    words = f"{members['method']} {path or '?'} {status} {uaf_status or '-'} {members['millis']}ms {members['address']}"
    _access.info("%s", words, extra={"members": members})
