"""The pages, what they load, and the services they call."""

from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Endpoint, Handler, Routes
from fidoloop.server.http.messages import EVENT_STREAM, JSON, EventStream, HttpProblem, Request, Response
from fidoloop.server.web import account, confirmation, devices, enrolment, log_in, logged_in, passkeys, watching
from fidoloop.server.web.layout import STATIC, elsewhere, page, serve_static
from fidoloop.server.web.same_origin import from_own_pages


def web_routes() -> Routes:
    """Return the pages by path; where the setting `web` is off there is nothing at them."""
    shown = {
        "/": _log_in_page,
        "/account": _for_users("account", "Your account"),
        "/confirm": _for_users("confirm", "Confirm a payment"),
        "/enrol": _enrolment_page,
        STATIC: serve_static,
    }
    routes: Routes = {path: {"GET": Endpoint(handler=_if_on(handler))} for path, handler in shown.items()}
    for path, handler in {
        "/web/devices": devices.listed,
        "/web/account": account.show,
        "/web/passkeys": passkeys.listed,
    }.items():
        routes[path] = read(handler)
    services = {
        "/web/login": log_in.begin,
        "/web/login/finish": log_in.finish,
        "/web/logout": account.log_out,
        "/web/passkey/options": passkeys.begin,
        "/web/passkey": passkeys.finish,
        "/web/passkey/remove": passkeys.remove,
        "/web/enrol": enrolment.begin,
        "/web/enrol/undo": enrolment.undo,
        "/web/confirm": confirmation.begin,
        "/web/keys/remove": account.remove,
        "/web/devices/forget": devices.forget,
        "/web/operation/status": watching.status,
        "/web/operation/cancel": watching.cancel,
    }
    routes["/web/operation/stream"] = posted(watching.stream, EVENT_STREAM)
    return routes | {path: posted(handler, JSON) for path, handler in services.items()}


def read(handler: Handler) -> dict[str, Endpoint]:
    """Return a service that its pages ask, where there are any."""
    return {"GET": Endpoint(handler=_if_on(handler), produces=JSON)}


def posted(handler: Handler, produces: str) -> dict[str, Endpoint]:
    """Return a service that takes JSON from this server's own pages, where there are any."""
    return {"POST": Endpoint(handler=_if_on(from_own_pages(handler)), consumes=JSON, produces=produces)}


def _if_on(handler: Handler) -> Handler:
    async def serve(environment: Environment, request: Request) -> Response | EventStream:
        if not environment.config.web:
            raise HttpProblem(404, "there is nothing at this path")
        return await handler(environment, request)

    return serve


def _for_users(name: str, title: str) -> Handler:
    """Return a page that is for those who are logged in."""

    async def serve(environment: Environment, request: Request) -> Response:
        if await logged_in.find(environment, request) is None:
            return elsewhere("/")
        return page(name, title, logged_in=True)

    return serve


async def _log_in_page(environment: Environment, request: Request) -> Response:
    if await logged_in.find(environment, request) is not None:
        return elsewhere("/account")
    return page("login", "Log in", logged_in=False)


async def _enrolment_page(environment: Environment, request: Request) -> Response:
    found = await logged_in.find(environment, request)
    return page("enrol", "Enrol a phone", logged_in=found is not None)
