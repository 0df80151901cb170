"""What each service is for: all that the table of routes and the types of the messages do not say."""

from typing import Any

from fidoloop.protocol.outofband import (
    ApplicationServerKey,
    CreateDispatchTarget,
    CreateTokenResponse,
    DispatchRequest,
    DispatchResponse,
    DispatchTargetCreated,
    DispatchTargetList,
    RedeemRequest,
    StatusRequest,
    StatusResponse,
)
from fidoloop.protocol.uaf.facets import TRUSTED_APPS_MEDIA_TYPE, TrustedFacetList
from fidoloop.protocol.uaf.messages import GetUafRequest, ReturnUafRequest, SendUafResponse, ServerResponse
from fidoloop.server.app_links import APPLE_ASSOCIATION, ASSET_LINKS
from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.contexts import OPERATIONS
from fidoloop.server.http.messages import EVENT_STREAM
from fidoloop.server.openapi.described import CREDENTIAL, DEVICE_BODY, DEVICE_HEADER, MAYBE, Described
from fidoloop.server.openapi.fido2_operations import fido2, jans_fido2
from fidoloop.server.openapi.jans_chip_operations import jans_chip
from fidoloop.server.openapi.lab_operations import lab_operations
from fidoloop.server.openapi.oauth_operations import oauth
from fidoloop.server.openapi.web_operations import web
from fidoloop.server.services.health import Health, Readiness


def described(*, lab: bool = False) -> dict[tuple[str, str], Described]:
    """Return every operation by method and path, the path as in the table of routes.

    `lab`: those of the lab console too.
    """
    own = _own() | jans_fido2() | web() | oauth() | jans_chip() | (lab_operations() if lab else {})
    contract = _uaf() | _tokens() | _targets() | _devices() | _status() | fido2()
    return own | {(method, f"{CONTEXT_PATH}{path}"): one for (method, path), one in contract.items()}


def _own() -> dict[tuple[str, str], Described]:
    return {
        ("GET", "/healthz"): Described(group="Operation", summary="Whether the server can do its work", answer=Health),
        ("GET", "/readyz"): Described(
            group="Operation",
            summary="Whether requests should be sent to this server",
            answer=Readiness,
            problems=((503, "it is about to stop, its database does not answer or has tables of another version"),),
        ),
        ("GET", "/metrics"): Described(
            group="Operation",
            summary="Counters of this process in Prometheus' text format",
            description="Who may read them is the setting `metrics_access`: from a loopback address nobody need show a"
            " credential, unless it is configured otherwise.",
            answer=str,
            media="text/plain",
            who=MAYBE,
            problems=((404, "metrics are turned off"),),
        ),
        ("GET", "/link"): Described(
            group="Operation",
            summary="The page behind a link that no app took",
            description="It says what to do with the link, and does nothing itself.",
            answer=str,
            media="text/html",
        ),
        ("GET", ASSET_LINKS): Described(
            group="Operation",
            summary="Android apps that take this server's links",
            description="Digital Asset Links; for passkeys, too.",
            answer=list[dict[str, Any]],
            problems=((404, "no app is configured"),),
        ),
        ("GET", APPLE_ASSOCIATION): Described(
            group="Operation",
            summary="Apple apps that take this server's links",
            description="Associated Domains; for passkeys, too.",
            answer=dict[str, Any],
            problems=((404, "no app is configured"),),
        ),
        ("GET", "/openapi.json"): Described(group="Operation", summary="This description", answer=dict[str, Any]),
        ("GET", "/docs"): Described(
            group="Operation", summary="This description as a page", answer=str, media="text/html"
        ),
        ("GET", "/docs/docs.css"): Described(
            group="Operation", summary="How the page looks", answer=str, media="text/css"
        ),
    }


def _uaf() -> dict[tuple[str, str], Described]:
    who = {"Reg": CREDENTIAL, "Auth": MAYBE, "Dereg": CREDENTIAL}
    words = {
        "Reg": "The user in `context` exists. His registered keys are disallowed in the policy.",
        "Auth": "With a username in `context` it is step-up, of the user's keys, and takes an API credential; without"
        " one, whoever answers is logged in. With a transaction it is a transaction confirmation.",
        "Dereg": "The keys are deleted at once; the answer tells the client which to forget.",
    }
    found = {
        ("POST", f"/uaf/1.1/request/{name}"): Described(
            group="UAF",
            summary=f"{name.capitalize()} Request Service",
            description=words[op],
            request=GetUafRequest,
            answer=ReturnUafRequest,
            who=who[op],
        )
        for name, op in OPERATIONS.items()
    }
    for name in ("registration", "authentication"):
        found["POST", f"/uaf/1.1/{name}"] = Described(
            group="UAF",
            summary=f"{name.capitalize()} Response Service",
            description="HTTP 200 whatever came of it: `statusCode` says that, 1200 for success.",
            request=SendUafResponse,
            answer=ServerResponse,
        )
    found["GET", "/uaf/1.1/facets"] = Described(
        group="UAF",
        summary="The trusted facets of the AppID",
        description="To be kept for five minutes; asked again with its ETag as If-None-Match, it is not sent again.",
        answer=TrustedFacetList,
        media=TRUSTED_APPS_MEDIA_TYPE,
        empty=((304, "the list is as the client has it"),),
    )
    return found


def _tokens() -> dict[tuple[str, str], Described]:
    found = {}
    for name in OPERATIONS:
        found["POST", f"/token/create/{name}"] = Described(
            group="Tokens",
            summary=f"Create Token Service: {name}",
            description="For later, not for out-of-band use.",
            request=GetUafRequest,
            answer=CreateTokenResponse,
            who=CREDENTIAL,
        )
        found["POST", f"/token/dispatch/{name}"] = Described(
            group="Tokens",
            summary=f"Dispatch Token Service: {name}",
            description="HTTP 200 even where dispatching failed: `dispatchResult` says so.",
            request=DispatchRequest,
            answer=DispatchResponse,
            who=CREDENTIAL,
        )
        found["POST", f"/token/redeem/{name}"] = Described(
            group="Tokens",
            summary=f"Redeem Token Service: {name}",
            description="Once only. 1408 it has expired, 1404 it is unknown, 1403 it was redeemed, 1400 it is for"
            " another operation.",
            request=RedeemRequest,
            answer=ReturnUafRequest,
        )
    return found


def _targets() -> dict[tuple[str, str], Described]:
    unusable = (422, "the name is taken, the dispatcher is not configured, or the address is not allowed")
    signed = (401, "the signature does not verify, was used before, or its time is too far off")
    gone = (404, "there is no such dispatch target")
    no_user = (403, "there is no such user, or he is disabled")
    return {
        ("POST", "/token/dispatch/targets"): Described(
            group="Dispatch targets",
            summary="Make a dispatch target",
            request=CreateDispatchTarget,
            answer=DispatchTargetCreated,
            status=201,
            who=CREDENTIAL,
            problems=(no_user, unusable),
        ),
        ("GET", "/token/dispatch/targets"): Described(
            group="Dispatch targets",
            summary="List a user's dispatch targets",
            answer=DispatchTargetList,
            who=CREDENTIAL,
            problems=((400, "no username, or several"), no_user, (404, "the user has none")),
            query=(("username", "whose they are"),),
        ),
        ("PATCH", "/token/dispatch/targets/*"): Described(
            group="Dispatch targets",
            summary="Change a dispatch target",
            description="The body is a compact JWS by the target's signature key over a ModifyDispatchTarget, and the"
            " whole authorisation.",
            request=str,
            status=204,
            who=DEVICE_BODY,
            problems=((400, "no JWS of a ModifyDispatchTarget, or nothing to change"), signed, gone, unusable),
        ),
        ("DELETE", "/token/dispatch/targets/*"): Described(
            group="Dispatch targets",
            summary="Delete a dispatch target",
            description="The header Device-Signature is a compact JWS by the target's signature key over a"
            " DeviceSignature that names this very request.",
            status=204,
            who=DEVICE_HEADER,
            problems=((400, "no JWS of a DeviceSignature"), signed, gone),
        ),
        ("GET", "/web-push/key"): Described(
            group="Dispatch targets",
            summary="The key that push subscriptions are bound to",
            description="The applicationServerKey of the W3C Push API: pushes of this server are signed by it.",
            answer=ApplicationServerKey,
            problems=((404, "this server does not push"),),
        ),
    }


def _devices() -> dict[tuple[str, str], Described]:
    problems = (
        (400, "no JWS of a DeviceSignature"),
        (401, "the signature does not verify, was used before, or its time is too far off"),
        (403, "the user is disabled"),
        (404, "there is no such dispatch target, or it is of another device"),
    )
    words = (
        "The header Device-Signature is as for deleting a target. The answer is a JWE to the target's encryption key"
    )
    return {
        ("GET", "/devices/credentials/*"): Described(
            group="Devices",
            summary="The keys of a device's user",
            description=f"{words}, of a DeviceCredentials.",
            answer=str,
            who=DEVICE_HEADER,
            names="the device's, as it named itself",
            problems=problems,
        ),
        ("GET", "/devices/operations/*"): Described(
            group="Devices",
            summary="What waits for a device",
            description=f"{words}, of a PendingOperations: what was dispatched to it and not redeemed yet, the way back"
            " for a push that was lost.",
            answer=str,
            who=DEVICE_HEADER,
            names="the device's, as it named itself",
            problems=problems,
        ),
    }


def _status() -> dict[tuple[str, str], Described]:
    return {
        ("POST", "/status"): Described(
            group="Status",
            summary="What became of a session",
            description="A session that nobody knows is `unknown`, not an error. Ask at most once a second.",
            request=StatusRequest,
            answer=StatusResponse,
        ),
        ("POST", "/status/stream"): Described(
            group="Status",
            summary="A session as it goes on",
            description="Server-sent events `status`, each with a StatusResponse; the first is the present one, the"
            " last one final, unless the server stops.",
            request=StatusRequest,
            answer=str,
            media=EVENT_STREAM,
        ),
    }
