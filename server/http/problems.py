"""Problem documents (RFC 9457): every 4xx and 5xx says what was wrong."""

from http import HTTPStatus

from fidoloop.protocol import strictjson
from fidoloop.server.http.messages import PROBLEM, HttpProblem, Response


def problem_response(problem: HttpProblem) -> Response:
    """Return the problem document of `problem`."""
    title = HTTPStatus(problem.status).phrase
    document = {"type": "about:blank", "title": title, "status": problem.status, "detail": problem.detail}
    return Response(problem.status, strictjson.encode(document).encode("utf-8"), PROBLEM, problem.headers)
