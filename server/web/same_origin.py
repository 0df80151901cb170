"""Who may post: the pages of this very origin and nobody else (HTTP contract 11)."""

from fidoloop.protocol.uaf.facets import origin
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Handler
from fidoloop.server.http.messages import EventStream, HttpProblem, Request, Response


def from_own_pages(handler: Handler) -> Handler:
    """Return `handler` behind the check of Origin. The browser sets that header on every POST, and no page can."""

    async def serve(environment: Environment, request: Request) -> Response | EventStream:
        if not is_from_own_pages(environment, request):
            raise HttpProblem(403, f"not from a page of this server: open it as {_own(environment)}")
        return await handler(environment, request)

    return serve


def is_from_own_pages(environment: Environment, request: Request) -> bool:
    """Tell whether Origin is this server's."""
    return request.headers.get(b"origin", b"").decode("latin-1") == _own(environment)


def _own(environment: Environment) -> str | None:
    return origin(environment.config.base_url)
