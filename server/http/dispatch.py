"""From ASGI to a service and back: the checks that every service shares, in one order.

Host 421, path 404, method 405, how often 429, Content-Type 415, Accept 406, authorisation 401, size 413, then the body.
A plain ASGI application: the way of a log-in passes here twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import ReturnUafRequest, ServerResponse
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.errors import ConflictError, StoreError
from fidoloop.server.http.body import ClientGone, check_declared_length, read_body
from fidoloop.server.http.client_address import ClientAddresses
from fidoloop.server.http.credentials import authorized_key_id, is_authorized, remembered_key_id
from fidoloop.server.http.hosts import Hosts
from fidoloop.server.http.media import accepts, media_type
from fidoloop.server.http.messages import EventStream, HttpProblem, Request, Response
from fidoloop.server.http.problems import problem_response, too_many_response
from fidoloop.server.http.secure_headers import SecureHeaders
from fidoloop.server.http.sending import send_events, send_response
from fidoloop.server.logs import log_access
from fidoloop.server.metrics import Meter
from fidoloop.server.rate_limits import TooManyError
from fidoloop.server.request_ids import HEADER as REQUEST_ID
from fidoloop.server.request_ids import begin_request
from fidoloop.server.store.base import Statements

_log = logging.getLogger("fidoloop.server.http")
TLS_UNIQUE = "tls_unique"
"""What stands in an ASGI scope's state for connections that have one (RFC 5929 section 3)."""
UAF_CONTENT_TYPE = "application/fido+uaf;charset=UTF-8"

Handler = Callable[[Environment, Request], Awaitable[Response | EventStream]]


class Kind(Enum):
    """How a service refuses: with a status of HTTP, or inside a UAF message under HTTP 200."""

    JSON = "json"
    REDEEM = "redeem"
    UAF_REQUEST = "uaf request"
    UAF_RESPONSE = "uaf response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path.

    `consumes` is the Content-Type it insists on, `produces` the media type Accept must take (only checked where
    given); `credential` puts it behind an API credential. `states_credential`: where the request has a `credential_id`,
    the handler says in what it writes that it is live, or calls `check_credential` before it does or says anything; its
    refusals need not. `limited`: one address may call it so often only, holders of API
    credentials aside; `too_many` says that it was too often.
    """

    handler: Handler
    kind: Kind = Kind.JSON
    consumes: str | None = None
    produces: str | None = None
    credential: bool = False
    states_credential: bool = False
    limited: bool = True
    too_many: Callable[[TooManyError], Response] = too_many_response


Routes = dict[str, dict[str, Endpoint]]
_GONE = Response(499)
"""What is counted where the client did not wait for its answer."""


_RETRY_AFTER = (b"retry-after", b"2")


class _Route(NamedTuple):
    endpoint: Endpoint
    meter: Meter


class Dispatch:
    """The ASGI application of a table of routes.

    A route that ends in `/*` takes one more path member. `/x` and `/x/` are the same (HTTP contract 1).
    """

    def __init__(self, environment: Environment, routes: Routes) -> None:
        self._environment = environment
        self._access_log = environment.config.access_log
        self._binds = environment.channels is not None
        self._hosts = Hosts(environment.config)
        self._secure = SecureHeaders(environment.config.base_url)
        self._addresses = ClientAddresses(environment.config.rate_limits)
        measured = {path: self._measured(path, methods) for path, methods in routes.items()}
        self._routes = {path.rstrip("/"): methods for path, methods in measured.items() if not path.endswith("/*")}
        self._prefixes = {path[:-2]: methods for path, methods in measured.items() if path.endswith("/*")}
        self._elsewhere = environment.metrics.meter("", "")

    def _measured(self, path: str, methods: dict[str, Endpoint]) -> dict[str, _Route]:
        metrics = self._environment.metrics
        return {method: _Route(endpoint, metrics.meter(method, path)) for method, endpoint in methods.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        began = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = begin_request(headers.get(REQUEST_ID))
        answer: Response | EventStream
        try:
            self._check_host(headers, scope)
            route, identifier = self._find(scope["path"], scope["method"])
        except HttpProblem as problem:
            meter, answer = self._elsewhere, problem_response(problem)
        else:
            meter = route.meter
            try:
                answer = await self._answer(route.endpoint, identifier, headers, scope, receive)
            except ClientGone:
                answer = _GONE
        if answer is _GONE:
            pass
        elif isinstance(answer, EventStream):
            await send_events(answer, request_id, self._secure, receive, send)
        else:
            await send_response(answer, request_id, self._secure, send)
        seconds = perf_counter() - began
        meter.answered(answer.status, answer.uaf_status, seconds)
        if self._access_log:
            log_access(scope, meter.path, answer.status, answer.uaf_status, seconds)

    async def _answer(
        self, endpoint: Endpoint, identifier: str, headers: dict[bytes, bytes], scope: Scope, receive: Receive
    ) -> Response | EventStream:
        kind = Kind.JSON
        client = scope.get("client")
        address = self._addresses.of(client[0] if client else "", scope["headers"])
        limited_as = self._addresses.limited_as(address)
        requests = self._environment.limits.requests
        credential_id = None
        try:
            if endpoint.limited and not endpoint.credential and not requests.passes(limited_as):
                await requests.ask(limited_as)
            _check_media_types(endpoint, headers)
            if endpoint.credential:
                credential_id = await self._check_credential(endpoint, headers, limited_as)
            check_declared_length(headers.get(b"content-length"))
            request = Request(
                scope["method"],
                scope["path"],
                identifier,
                scope.get("query_string", b""),
                headers,
                await read_body(receive),
                address,
                _tls_unique(scope) if self._binds else None,
                scope["headers"],
                limited_as,
                credential_id,
            )
            kind = endpoint.kind
            states = credential_id is not None
            return await (self._state(endpoint, request) if states else endpoint.handler(self._environment, request))
        except HttpProblem as problem:
            return problem_response(problem)
        except TooManyError as error:
            return endpoint.too_many(error)
        except MalformedError as error:
            return _refuse(kind, UafRefusal(StatusCode.BAD_REQUEST, str(error)), malformed=True)
        except UafRefusal as refusal:
            return _refuse(kind, refusal)
        except ClientGone:
            raise
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the last resort: logged with its traceback, answered without one
            return self._failed(kind, error)

    async def _check_credential(self, endpoint: Endpoint, headers: dict[bytes, bytes], limited_as: str) -> str | None:
        """Refuse a call without a live API credential; return its id where the handler still has to ask for it."""
        if endpoint.states_credential:
            credential_id = remembered_key_id(self._environment.remembered, headers.get(b"authorization"))
            if credential_id is not None:
                return credential_id
        await check_credential(self._environment, headers, limited_as)
        return None

    async def _state(self, endpoint: Endpoint, request: Request) -> Response | EventStream:
        """Have a request answered whose credential the handler asks for; what it refuses is for live ones only."""
        try:
            return await endpoint.handler(self._environment, request)
        except CredentialNeeded:
            raise
        except (HttpProblem, MalformedError, UafRefusal):
            await check_credential(self._environment, request.headers, request.limited_as)
            raise

    def _failed(self, kind: Kind, error: Exception | asyncio.CancelledError) -> Response:
        """Return the answer to a request that failed through no fault of its own."""
        if isinstance(error, asyncio.CancelledError):
            if not self._environment.changes.stopping:
                raise error
            # The time to stop is up: it is given up, and told so.
            return _unavailable(kind, "the server stops")
        if isinstance(error, StoreError):
            self._environment.metrics.store_errors += 1
            if not isinstance(error, ConflictError):
                _log.error("the database does not do its work: %s", error)
                return _unavailable(kind, "the server's database does not do its work at present")
        _log.exception("unexpected error", exc_info=error)
        return _broken(kind)

    def _check_host(self, headers: dict[bytes, bytes], scope: Scope) -> None:
        """Refuse a request for another server's name; HTTP/1.0 need not name any. Raises HttpProblem 421."""
        host = headers.get(b"host")
        if not self._hosts.is_own(host) and (host is not None or scope.get("http_version") != "1.0"):
            raise HttpProblem(421, "this server has another name; its operator can add it to the setting hosts")

    def _find(self, path: str, method: str) -> tuple[_Route, str]:
        trimmed = path[:-1] if path.endswith("/") else path
        identifier = ""
        methods = self._routes.get(trimmed)
        if methods is None:
            prefix, _, identifier = trimmed.rpartition("/")
            methods = self._prefixes.get(prefix)
            if methods is None or not identifier:
                raise HttpProblem(404, "there is nothing at this path")
        route = methods.get(method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise HttpProblem(405, f"this path takes {allowed}", ((b"allow", allowed.encode("ascii")),))
        return route, identifier


def _tls_unique(scope: Scope) -> bytes | None:
    found: bytes | None = scope.get("state", {}).get(TLS_UNIQUE)
    return found


async def check_credential(environment: Environment, headers: dict[bytes, bytes], limited_as: str) -> None:
    """Refuse a call without a live API credential; only those count for its address. Raises HttpProblem 401."""
    if await authorized_key_id(environment.store, headers.get(b"authorization"), environment.remembered) is None:
        await environment.limits.requests.spend(limited_as)
        raise CredentialNeeded


async def require_credential(statements: Statements, headers: dict[bytes, bytes]) -> None:
    """Refuse a call without a live API credential. Raises HttpProblem 401."""
    if not await is_authorized(statements, headers.get(b"authorization")):
        raise CredentialNeeded


class CredentialNeeded(HttpProblem):
    """The refusal of a call without a live API credential."""

    def __init__(self) -> None:
        super().__init__(401, "an API credential is needed", ((b"www-authenticate", b"Bearer"),))


def _check_media_types(endpoint: Endpoint, headers: dict[bytes, bytes]) -> None:
    """Both headers are mandatory on the UAF services; elsewhere a missing Accept takes everything."""
    if endpoint.consumes is not None:
        sent = headers.get(b"content-type")
        if sent is None or media_type(sent) != endpoint.consumes:
            raise HttpProblem(415, f"Content-Type must be {endpoint.consumes}, charset UTF-8")
    if endpoint.produces is not None:
        strict = endpoint.kind in (Kind.UAF_REQUEST, Kind.UAF_RESPONSE)
        accept = headers.get(b"accept", b"" if strict else b"*/*")
        if not accepts(accept, endpoint.produces, wildcards=not strict):
            raise HttpProblem(406, f"Accept must be {endpoint.produces}")


def _refuse(kind: Kind, refusal: UafRefusal, *, malformed: bool = False) -> Response:
    if kind is Kind.JSON or (kind is Kind.REDEEM and malformed):
        return problem_response(HttpProblem(400, refusal.detail))
    _log.info("%s refused: %d %s", kind.value, refusal.status, refusal.detail)
    return refusal_response(kind, refusal)


def refusal_response(kind: Kind, refusal: UafRefusal) -> Response:
    """Return a refusal as a UAF message under HTTP 200; only a ServerResponse has room for words."""
    if kind is Kind.UAF_RESPONSE:
        description = strictjson.encode({"message": refusal.detail})
        return uaf_response(ServerResponse(int(refusal.status), description))
    return uaf_response(ReturnUafRequest(int(refusal.status)))


def uaf_response(message: ReturnUafRequest | ServerResponse) -> Response:
    """Return a UAF message, HTTP 200."""
    return encoded_uaf_response(strictjson.encode(message).encode("utf-8"), message.statusCode)


def encoded_uaf_response(message: bytes, status: int) -> Response:
    """Return a UAF message of `status` that is encoded already, HTTP 200."""
    return Response(200, message, UAF_CONTENT_TYPE, (), status)


def _broken(kind: Kind) -> Response:
    detail = "internal error; the server's log says more"
    if kind is Kind.JSON:
        return problem_response(HttpProblem(500, detail))
    return refusal_response(kind, UafRefusal(StatusCode.INTERNAL_SERVER_ERROR, detail))


def _unavailable(kind: Kind, detail: str) -> Response:
    """Return the answer while the database is away or full, or the server stops: no refusal, and worth asking again."""
    if kind is Kind.JSON:
        return problem_response(HttpProblem(503, detail, (_RETRY_AFTER,)))
    refusal = refusal_response(kind, UafRefusal(StatusCode.INTERNAL_SERVER_ERROR, detail))
    return refusal._replace(status=503, headers=(_RETRY_AFTER,))
