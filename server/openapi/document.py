"""Builds the OpenAPI 3.1 document of a table of routes."""

from typing import Any, get_args, get_origin

import msgspec

import fidoloop
from fidoloop.protocol.outofband import (
    DeviceCredentials,
    DeviceSignature,
    ModifyDispatchTarget,
    NewDispatchTarget,
    PendingOperations,
)
from fidoloop.protocol.uaf.messages import (
    AuthenticationRequest,
    DeregistrationRequest,
    RegistrationRequest,
    UafResponse,
)
from fidoloop.server.contexts import (
    AuthenticationContext,
    DeregistrationContext,
    RegistrationContext,
    ResponseContext,
)
from fidoloop.server.http.dispatch import Endpoint, Kind, Routes
from fidoloop.server.http.messages import JSON, PROBLEM
from fidoloop.server.http.problems import Problem
from fidoloop.server.lab.access import COOKIE as LAB_COOKIE
from fidoloop.server.oauth.answers import OAuthError, too_many_attempts
from fidoloop.server.oauth.parameters import FORM
from fidoloop.server.openapi.described import (
    BROWSER,
    CREDENTIAL,
    DEVICE_BODY,
    DEVICE_HEADER,
    LAB,
    LOGGED_IN,
    MAYBE,
    REMEMBERED,
    Described,
)
from fidoloop.server.openapi.operations import described
from fidoloop.server.web.cookies import BROWSER as BROWSER_COOKIE
from fidoloop.server.web.cookies import LOGIN, PRE_LOGIN

Json = dict[str, Any]
_REF = "#/components/schemas/"
_UAF_REQUESTS = (RegistrationRequest, AuthenticationRequest, DeregistrationRequest)
_REQUEST_CONTEXTS = (RegistrationContext, AuthenticationContext, DeregistrationContext)
_INNER = (
    *_UAF_REQUESTS,
    UafResponse,
    *_REQUEST_CONTEXTS,
    ResponseContext,
    NewDispatchTarget,
    ModifyDispatchTarget,
    DeviceSignature,
    DeviceCredentials,
    PendingOperations,
)
"""Types that travel inside others, as JSON texts or signed."""
_TEXTS = {
    ("GetUafRequest", "context"): (_REQUEST_CONTEXTS, False),
    ("ReturnUafRequest", "uafRequest"): (_UAF_REQUESTS, True),
    ("SendUafResponse", "uafResponse"): ((UafResponse,), True),
    ("SendUafResponse", "context"): ((ResponseContext,), False),
}
"""Members that are JSON texts: of what types, and whether in an array of one."""
_INTRODUCTION = (
    "A relying party that speaks nevisFIDO's UAF and out-of-band services. `/x` and `/x/` are the same. Every answer"
    " bears X-Request-Id: the caller's own, if it is 8 to 64 letters, digits, dots, dashes or underscores, else a new"
    " one. A processed UAF message is always HTTP 200; its `statusCode` says what came of it."
)


def build_document(routes: Routes, *, base_url: str, lab: bool = False) -> Json:
    """Return the document. Every route must be described, and every description have its route.

    `lab`: the lab console is among them.
    """
    words = described(lab=lab)
    paths: Json = {}
    for path, methods in routes.items():
        for method, endpoint in methods.items():
            operation = _operation(words.pop((method, path)), endpoint, path)
            paths.setdefault(path.replace("*", "{id}"), {})[method.lower()] = operation
    if words:
        raise LookupError(f"described, but no routes: {sorted(words)}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "fidoloop", "version": fidoloop.__version__, "description": _INTRODUCTION},
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "schemas": _schemas(lab=lab),
            "securitySchemes": {
                "apiCredential": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `fidoloop server apikey add`.",
                },
                "deviceSignature": {"type": "apiKey", "in": "header", "name": "Device-Signature"},
                "preLoginCookie": {"type": "apiKey", "in": "cookie", "name": PRE_LOGIN},
                "browserCookie": {"type": "apiKey", "in": "cookie", "name": BROWSER_COOKIE},
                "logInCookie": {"type": "apiKey", "in": "cookie", "name": LOGIN},
                **({"labCookie": {"type": "apiKey", "in": "cookie", "name": LAB_COOKIE}} if lab else {}),
            },
        },
    }


def _operation(words: Described, endpoint: Endpoint, path: str) -> Json:
    operation: Json = {"tags": [words.group], "summary": words.summary, "operationId": _identifier(words.summary)}
    if words.description:
        operation["description"] = words.description
    parameters = [_parameter(name, "query", what) for name, what in words.query]
    if path.endswith("/*"):
        parameters.append(_parameter("id", "path", words.names))
    if parameters:
        operation["parameters"] = parameters
    if words.request is not None:
        media = endpoint.consumes or JSON
        operation["requestBody"] = {"required": True, "content": {media: {"schema": _schema(words.request)}}}
    if words.form:
        operation["requestBody"] = {"required": True, "content": {FORM: {"schema": _form(words)}}}
    operation["security"] = {
        CREDENTIAL: [{"apiCredential": []}],
        MAYBE: [{}, {"apiCredential": []}],
        DEVICE_HEADER: [{"deviceSignature": []}],
        DEVICE_BODY: [],
        BROWSER: [{"preLoginCookie": []}],
        LOGGED_IN: [{"logInCookie": []}],
        REMEMBERED: [{"browserCookie": []}],
        LAB: [{"labCookie": []}],
    }.get(words.who, [])
    operation["responses"] = _responses(words, endpoint)
    return operation


def _responses(words: Described, endpoint: Endpoint) -> Json:
    done: Json = {"description": "Done." if words.answer is None else "The answer."}
    if words.answer is not None:
        media = endpoint.produces or words.media
        done["content"] = {media: {"schema": _schema(words.answer)}}
    problem = {PROBLEM: {"schema": _schema(Problem)}}
    if words.refused is not None:
        problem[JSON] = {"schema": _schema(words.refused)}
    found = {str(words.status): done}
    for status, what in words.empty:
        found[str(status)] = {"description": f"{what[:1].upper()}{what[1:]}."}
    for status, what in sorted(_problems(words, endpoint).items()):
        found[str(status)] = {"description": f"{what[:1].upper()}{what[1:]}.", "content": problem}
    for status, what in words.pages:
        found[str(status)] = {"description": f"{what}.", "content": {"text/html": {"schema": {"type": "string"}}}}
    errors = dict(words.errors)
    if endpoint.too_many is too_many_attempts:
        errors.setdefault(429, "Too many requests or attempts; Retry-After says how many seconds to wait")
    for status, what in errors.items():
        found[str(status)] = {
            "description": f"{what}.",
            "content": {JSON: {"schema": _schema(words.error or OAuthError)}},
        }
    return found


def _form(words: Described) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": what} for name, what, _ in words.form},
        "required": [name for name, _, required in words.form if required],
    }


def _problems(words: Described, endpoint: Endpoint) -> dict[int, str]:
    """Return what may be answered instead, by status: what all services share, and the service's own."""
    takes_body = words.request is not None or words.form or endpoint.consumes
    found = {413: "the body is larger than 64 KiB"} if takes_body else {}
    if endpoint.limited:
        found[429] = "too many requests; Retry-After says how many seconds to wait"
    if words.who in (CREDENTIAL, MAYBE):
        found[401] = "an API credential is needed"
    if endpoint.consumes:
        found[415] = f"Content-Type is not {endpoint.consumes}"
    if endpoint.produces:
        found[406] = f"Accept does not take {endpoint.produces}"
    found[503] = "the database does not do its work at present; Retry-After says how many seconds to wait"
    if endpoint.kind is Kind.JSON:
        found[500] = "internal error"
    if endpoint.kind in (Kind.JSON, Kind.REDEEM) and endpoint.consumes:
        found[400] = "the body is not such a message"
    return found | dict(words.problems)


def _schemas(*, lab: bool) -> Json:
    """Return the messages' schemas by their names, with what stands in their JSON texts."""
    spoken = [(words.request, words.answer, words.refused, words.error) for words in described(lab=lab).values()]
    types = {one for three in spoken for one in three if _is_message(one)}
    ordered = sorted({*types, *_INNER, Problem, OAuthError}, key=lambda type_: str(type_.__name__))
    _, schemas = msgspec.json.schema_components(ordered, ref_template=f"{_REF}{{name}}")
    for (name, member), (inner, in_array) in _TEXTS.items():
        content: Json = {"anyOf": [_schema(one) for one in inner]} if len(inner) > 1 else _schema(inner[0])
        if in_array:
            content = {"type": "array", "items": content, "minItems": 1, "maxItems": 1}
        schemas[name]["properties"][member] |= {"contentMediaType": JSON, "contentSchema": content}
    schemas["ServerResponse"]["properties"]["description"] |= {
        "contentMediaType": JSON,
        "contentSchema": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "dispatchTargetId": {"type": "string"},
                "triesLeft": {"type": "integer"},
            },
            "required": ["message"],
        },
    }
    schemas["ResponseContext"]["properties"]["dispatchTarget"] = _schema(NewDispatchTarget)
    return dict(schemas)


def _schema(type_: Any) -> Json:  # noqa: ANN401 - a message's type, or a plain one
    if _is_message(type_):
        return {"$ref": f"{_REF}{type_.__name__}"}
    if get_origin(type_) is list:
        return {"type": "array", "items": _schema(*get_args(type_))}
    return {"type": "string"} if type_ is str else {"type": "object"}


def _is_message(type_: object) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _parameter(name: str, place: str, what: str) -> Json:
    return {"name": name, "in": place, "required": True, "description": what, "schema": {"type": "string"}}


def _identifier(summary: str) -> str:
    first, *rest = "".join(letter if letter.isalnum() else " " for letter in summary).split()
    return first.lower() + "".join(word.capitalize() for word in rest)
