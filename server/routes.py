"""The table of HTTP contract 1."""

from fidoloop.server import app_links
from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.contexts import OPERATIONS
from fidoloop.server.http.dispatch import Endpoint, Kind, Routes
from fidoloop.server.http.messages import FIDO_UAF, JOSE, JSON
from fidoloop.server.lab.routes import lab_routes
from fidoloop.server.oauth.routes import oauth_routes
from fidoloop.server.services import (
    application_server_key,
    authentication_response,
    device_services,
    dispatch_targets,
    facets,
    fido2,
    health,
    jans_fido2,
    metrics,
    registration_response,
    status,
)
from fidoloop.server.services.create_token import create_service
from fidoloop.server.services.dispatch_token import dispatch_service
from fidoloop.server.services.documentation import documented
from fidoloop.server.services.fido2_ceremonies import told_too_many
from fidoloop.server.services.redeem_token import redeem_service
from fidoloop.server.services.uaf_request import request_service
from fidoloop.server.web import link_page
from fidoloop.server.web.routes import web_routes


def make_routes(*, lab: bool = False) -> Routes:
    """Return every service by path and method, those of the lab console where it is on."""
    own = {
        # Asked by what watches over the server, however busy it is.
        "/healthz": Endpoint(handler=health.serve, limited=False),
        "/readyz": Endpoint(handler=health.serve_readiness, limited=False),
        "/metrics": Endpoint(handler=metrics.serve, limited=False),
        link_page.PATH: Endpoint(handler=link_page.serve),
        app_links.ASSET_LINKS: Endpoint(handler=app_links.serve_asset_links),
        app_links.APPLE_ASSOCIATION: Endpoint(handler=app_links.serve_apple_association),
    }
    routes = {path: {"GET": endpoint} for path, endpoint in own.items()} | {
        f"{CONTEXT_PATH}{path}": methods
        for path, methods in (_uaf() | _tokens() | _targets() | _devices() | _status() | _fido2()).items()
    }
    routes |= web_routes() | oauth_routes() | _jans_fido2()
    return documented(routes | lab_routes() if lab else routes, lab=lab)


def _uaf() -> Routes:
    routes: Routes = {
        f"/uaf/1.1/request/{name}": {
            "POST": Endpoint(
                handler=request_service(op),
                kind=Kind.UAF_REQUEST,
                consumes=FIDO_UAF,
                produces=FIDO_UAF,
                # An authentication without a username is open; with one its service asks for the credential.
                credential=op != "Auth",
            )
        }
        for name, op in OPERATIONS.items()
    }
    for name, handler in (
        ("registration", registration_response.serve),
        ("authentication", authentication_response.serve),
    ):
        endpoint = Endpoint(handler=handler, kind=Kind.UAF_RESPONSE, consumes=FIDO_UAF, produces=FIDO_UAF)
        routes[f"/uaf/1.1/{name}"] = {"POST": endpoint}
    routes["/uaf/1.1/facets"] = {"GET": Endpoint(handler=facets.serve)}
    return routes


def _tokens() -> Routes:
    routes: Routes = {}
    for name, op in OPERATIONS.items():
        routes[f"/token/create/{name}"] = {
            "POST": Endpoint(handler=create_service(op), consumes=FIDO_UAF, produces=JSON, credential=True)
        }
        routes[f"/token/dispatch/{name}"] = {
            "POST": Endpoint(
                handler=dispatch_service(op), consumes=JSON, produces=JSON, credential=True, states_credential=True
            )
        }
        routes[f"/token/redeem/{name}"] = {
            "POST": Endpoint(handler=redeem_service(op), kind=Kind.REDEEM, consumes=JSON, produces=FIDO_UAF)
        }
    return routes


def _targets() -> Routes:
    return {
        "/token/dispatch/targets": {
            "GET": Endpoint(handler=dispatch_targets.query, produces=JSON, credential=True),
            "POST": Endpoint(handler=dispatch_targets.create, consumes=JSON, produces=JSON, credential=True),
        },
        "/token/dispatch/targets/*": {
            "PATCH": Endpoint(handler=dispatch_targets.modify, consumes=JOSE),
            "DELETE": Endpoint(handler=dispatch_targets.delete),
        },
        "/web-push/key": {"GET": Endpoint(handler=application_server_key.serve, produces=JSON)},
    }


def _devices() -> Routes:
    return {
        "/devices/credentials/*": {"GET": Endpoint(handler=device_services.credentials, produces=JOSE)},
        "/devices/operations/*": {"GET": Endpoint(handler=device_services.operations, produces=JOSE)},
    }


def _status() -> Routes:
    return {
        "/status": {"POST": Endpoint(handler=status.serve, consumes=JSON, produces=JSON)},
        "/status/stream": {"POST": Endpoint(handler=status.serve_stream, consumes=JSON, produces="text/event-stream")},
    }


def _fido2() -> Routes:
    return {
        f"/fido2/{path}": {"POST": Endpoint(handler=handler, consumes=JSON, produces=JSON, too_many=told_too_many)}
        for path, handler in (
            ("attestation/options", fido2.serve_options),
            ("attestation/result", fido2.serve_attestation_result),
            ("assertion/result", fido2.serve_assertion_result),
            ("status", fido2.serve_status),
        )
    }


def _jans_fido2() -> Routes:
    routes: Routes = {
        f"{jans_fido2.BASE_PATH}/{path}": {
            "POST": Endpoint(handler=handler, consumes=JSON, produces=JSON, too_many=told_too_many)
        }
        for path, handler in (
            ("attestation/options", jans_fido2.serve_attestation_options),
            ("attestation/result", jans_fido2.serve_attestation_result),
            ("assertion/options", jans_fido2.serve_assertion_options),
            ("assertion/result", jans_fido2.serve_assertion_result),
        )
    }
    return routes | {jans_fido2.WELL_KNOWN: {"GET": Endpoint(handler=jans_fido2.serve_configuration)}}
