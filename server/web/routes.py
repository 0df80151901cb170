"""The pages, what they load, and the services they call."""

from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Endpoint, Handler, Routes
from fidoloop.server.http.messages import EVENT_STREAM, JSON, EventStream, HttpProblem, Request, Response
from fidoloop.server.web import account, devices, log_in, logged_in
from fidoloop.server.web.layout import HEADERS, SCRIPT, STYLE, elsewhere, page, static
from fidoloop.server.web.same_origin import from_own_pages


def web_routes() -> Routes:
    """Return the pages by path; where the setting `web` is off there is nothing at them."""
    shown = {
        "/": _log_in_page,
        "/account": _account_page,
        STYLE: _file("fidoloop.css", "text/css; charset=utf-8"),
        SCRIPT: _file("fidoloop.js", "text/javascript; charset=utf-8"),
    }
    routes: Routes = {path: {"GET": Endpoint(handler=_if_on(handler))} for path, handler in shown.items()}
    routes["/web/devices"] = {"GET": Endpoint(handler=_if_on(devices.listed), produces=JSON)}
    routes["/web/account"] = {"GET": Endpoint(handler=_if_on(account.show), produces=JSON)}
    routes["/web/login/stream"] = _posted(log_in.stream, EVENT_STREAM)
    posted = {
        "/web/login": log_in.begin,
        "/web/login/status": log_in.status,
        "/web/login/cancel": log_in.cancel,
        "/web/login/finish": log_in.finish,
        "/web/devices/forget": devices.forget,
        "/web/logout": account.log_out,
    }
    return routes | {path: _posted(handler, JSON) for path, handler in posted.items()}


def _posted(handler: Handler, produces: str) -> dict[str, Endpoint]:
    return {"POST": Endpoint(handler=_if_on(from_own_pages(handler)), consumes=JSON, produces=produces)}


def _if_on(handler: Handler) -> Handler:
    async def serve(environment: Environment, request: Request) -> Response | EventStream:
        if not environment.config.web:
            raise HttpProblem(404, "there is nothing at this path")
        return await handler(environment, request)

    return serve


def _file(name: str, content_type: str) -> Handler:
    async def serve(environment: Environment, request: Request) -> Response:
        return Response(200, static(name), content_type, HEADERS)

    return serve


async def _log_in_page(environment: Environment, request: Request) -> Response:
    if await logged_in.find(environment, request) is not None:
        return elsewhere("/account")
    return page("login", "Log in")


async def _account_page(environment: Environment, request: Request) -> Response:
    if await logged_in.find(environment, request) is None:
        return elsewhere("/")
    return page("account", "Your account")
