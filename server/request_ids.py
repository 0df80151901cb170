"""The id of a request: from its caller, if it is one, else made here; in every log line of the request."""

import itertools
import os
import re
import secrets
from contextvars import ContextVar

HEADER = b"x-request-id"
NONE = "-"
"""What stands where a request's id would, outside of any."""
_SANE = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_process = ""
_numbers = itertools.count(1)
current_request_id: ContextVar[str] = ContextVar("request_id", default=NONE)


def _begin_process() -> None:
    global _process  # noqa: PLW0603 - a process has one
    _process = secrets.token_hex(6)


_begin_process()
# Workers are forks: each has ids of its own.
os.register_at_fork(after_in_child=_begin_process)


def begin_request(given: bytes | None) -> bytes:
    """Return the id of the request that begins, and have the log lines of this task bear it.

    `given` is what the caller sent as X-Request-Id: taken if it is 8 to 64 letters, digits, dots, dashes or
    underscores, so that it can neither forge a log line nor fill one.
    """
    if given is not None and _SANE.fullmatch(given):
        current_request_id.set(given.decode("ascii"))
        return given
    made = f"{_process}-{next(_numbers):x}"
    current_request_id.set(made)
    return made.encode("ascii")
