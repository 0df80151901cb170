"""Metrics: this process's counters in Prometheus' text format."""

from ipaddress import ip_address

from fidoloop.server import sessions
from fidoloop.server.environment import Environment
from fidoloop.server.errors import StoreError
from fidoloop.server.http.dispatch import require_credential
from fidoloop.server.http.messages import HttpProblem, Request, Response
from fidoloop.server.metrics import exposition

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PASSED_ON = (b"forwarded", b"x-forwarded-for", b"x-real-ip")


async def serve(environment: Environment, request: Request) -> Response:
    """Answer those who may read them; a store that fails costs the figures that are asked of it, not the others."""
    access = environment.config.metrics_access
    if access == "off":
        raise HttpProblem(404, "there is nothing at this path")
    if access == "credential" or (access == "loopback" and not _is_local(request)):
        await require_credential(environment.store, request.headers)
    open_sessions: int | None = None
    try:
        open_sessions = await sessions.count_open(environment.store, now=environment.clock())
    except StoreError:
        environment.metrics.store_errors += 1
    return Response(200, exposition(environment.metrics, open_sessions=open_sessions), MEDIA_TYPE)


def _is_local(request: Request) -> bool:
    if any(name in request.headers for name in _PASSED_ON):
        return False
    try:
        return ip_address(request.address).is_loopback
    except ValueError:
        return False
