"""Facets Service: the trusted facet list at the AppID (HTTP contract 1; digest section 4)."""

import hashlib

from fidoloop.protocol.uaf.facets import TRUSTED_APPS_MEDIA_TYPE, encode_trusted_facets
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response

_MAX_AGE = b"public, max-age=300"


async def serve(environment: Environment, request: Request) -> Response:
    """Answer everybody alike, as the algorithm demands; 304 to those who name the list that they have (RFC 9110)."""
    document = encode_trusted_facets(environment.config.facets).encode("utf-8")
    etag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'.encode("ascii")
    headers = ((b"cache-control", _MAX_AGE), (b"etag", etag))
    named = {each.strip().removeprefix(b"W/") for each in request.headers.get(b"if-none-match", b"").split(b",")}
    if etag in named or b"*" in named:
        return Response(304, headers=headers)
    return Response(200, document, TRUSTED_APPS_MEDIA_TYPE, headers)
