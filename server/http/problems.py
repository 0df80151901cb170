"""Problem documents (RFC 9457): every 4xx and 5xx says what was wrong."""

from http import HTTPStatus

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.server.http.messages import PROBLEM, HttpProblem, Response


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
