"""Problem documents (RFC 9457): every 4xx and 5xx says what was wrong."""

from http import HTTPStatus

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.server.http.messages import PROBLEM, HttpProblem, Response
from fidoloop.server.rate_limits import TooManyError


class Problem(msgspec.Struct, frozen=True):
    """A problem document; `type` is always about:blank, so that `title` is the status' own phrase."""

    type: str
    title: str
    status: int
    detail: str


def problem_response(problem: HttpProblem) -> Response:
    """Return the problem document of `problem`."""
    title = HTTPStatus(problem.status).phrase
    document = Problem("about:blank", title, problem.status, problem.detail)
    return Response(problem.status, strictjson.encode(document).encode("utf-8"), PROBLEM, problem.headers)


def retry_after(error: TooManyError) -> tuple[bytes, bytes]:
    """Return the Retry-After header (RFC 9110 section 10.2.3)."""
    return b"retry-after", str(error.retry_after).encode("ascii")


def too_many_response(error: TooManyError) -> Response:
    """Return the problem document of a limit that is used up."""
    return problem_response(HttpProblem(429, str(error), (retry_after(error),)))
