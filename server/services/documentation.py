"""The description of the services: for machines at /openapi.json, for people at /docs."""

from importlib import resources

from fidoloop.protocol import strictjson
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Endpoint, Handler, Routes
from fidoloop.server.http.messages import JSON, HttpProblem, Request, Response
from fidoloop.server.openapi.document import build_document
from fidoloop.server.openapi.page import STYLE, render_page

_POLICY = b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE = ((b"content-security-policy", _POLICY),)


def documented(routes: Routes, *, lab: bool = False) -> Routes:
    """Return `routes` and the services that describe them, themselves included; `lab`: its console is among them."""
    known: dict[str, bytes] = {}
    style = resources.files("fidoloop.server.openapi").joinpath("docs.css").read_bytes()
    whole: Routes = {}

    def made(environment: Environment, name: str) -> bytes:
        if not environment.config.docs:
            raise HttpProblem(404, "there is nothing at this path")
        if not known:
            document = build_document(whole, base_url=environment.config.base_url, lab=lab)
            known["json"] = strictjson.encode(document).encode("utf-8")
            known["page"] = render_page(document).encode("utf-8")
        return known[name]

    async def serve_document(environment: Environment, request: Request) -> Response:
        return Response(200, made(environment, "json"), JSON)

    async def serve_page(environment: Environment, request: Request) -> Response:
        return Response(200, made(environment, "page"), "text/html; charset=utf-8", _PAGE)

    async def serve_style(environment: Environment, request: Request) -> Response:
        return Response(200, style, "text/css; charset=utf-8")

    own: dict[str, Handler] = {"/openapi.json": serve_document, "/docs": serve_page, STYLE: serve_style}
    whole |= routes | {path: {"GET": Endpoint(handler=handler)} for path, handler in own.items()}
    return whole
