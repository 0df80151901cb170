"""Facets Service: the trusted facet list at the AppID (HTTP contract 1; digest section 4)."""

from fidoloop.protocol.uaf.facets import TRUSTED_APPS_MEDIA_TYPE, encode_trusted_facets
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response

_CACHE = ((b"cache-control", b"public, max-age=300"),)


async def serve(environment: Environment, request: Request) -> Response:
    """Answer everybody alike, as the algorithm demands."""
    document = encode_trusted_facets(environment.config.facets).encode("utf-8")
    return Response(200, document, TRUSTED_APPS_MEDIA_TYPE, _CACHE)
