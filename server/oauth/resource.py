"""A protected resource: access by tokens bound to a key, shown with a DPoP proof (RFC 9449 section 7; RFC 9470).

`DpopAccess` is ASGI middleware that others can mount before an application of their own; this server's own API asks
`check_access` too.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from fidoloop.protocol import strictjson
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims, verify_access_token
from fidoloop.protocol.oauth.dpop import ALGORITHMS, verify_dpop_proof
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.server_nonces import ServerNonces

SCHEME: Final = "DPoP"
CLAIMS: Final = "fidoloop.access_token"
"""Where an application behind the middleware finds the claims of the token, in its ASGI scope."""
INVALID_TOKEN: Final = "invalid_token"  # noqa: S105 - an error code


class ReplayStore(Protocol):
    """Remembers proofs: whoever is first with a key gets True, all others False."""

    async def use(self, replay_key: str, expires_at: int) -> bool:
        """Remember a key until `expires_at` (epoch seconds); tell whether it is new."""
        ...


TokenReader = Callable[[str], Awaitable[AccessTokenClaims]]
"""Returns the claims of a token that is good for this resource, else raises OAuthRefusal: invalid_token."""


class Demand(NamedTuple):
    """What a request needs: every one of the scopes, one of the acr values (none: any)."""

    scopes: Collection[str] = ()
    acr: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource: its URI without path as clients see it, who reads its tokens, where proofs are remembered.

    `nonces` None: proofs need none. `clock` gives epoch seconds.
    """

    origin: str
    read_token: TokenReader
    replay: ReplayStore
    clock: Callable[[], int]
    nonces: ServerNonces | None = None


class AccessRefusal(Exception):
    """Access is refused with an HTTP status and a WWW-Authenticate challenge (RFC 9449 7.1, RFC 6750 3, RFC 9470 3)."""

    def __init__(self, status: int, error: str | None, what: str, **parameters: str) -> None:
        super().__init__(what)
        self.status = status
        self.error = error
        self.what = what
        named = {} if error is None else {"error": error, "error_description": what}
        everything = named | parameters | {"algs": " ".join(ALGORITHMS)}
        self.challenge = f"{SCHEME} " + ", ".join(f'{name}="{value}"' for name, value in everything.items())

    @property
    def body(self) -> bytes:
        """A JSON body that says the same."""
        return strictjson.encode({"error": self.error or "unauthorized", "error_description": self.what}).encode()


def jwt_reader(
    keys: Callable[[], Mapping[str, PublicJwk]], *, issuer: str, audience: str, clock: Callable[[], int]
) -> TokenReader:
    """Return a reader of JWT access tokens (RFC 9068) by the issuer's keys, which are asked for each time."""

    async def read(token: str) -> AccessTokenClaims:
        return verify_access_token(token, keys=keys(), expected_issuer=issuer, expected_audience=audience, now=clock())

    return read


async def check_access(
    resource: Resource, *, method: str, path: str, fields: Callable[[bytes], Sequence[str]], demand: Demand
) -> AccessTokenClaims:
    """Return the claims of the token that a request shows, if it may.

    Args:
        resource: what is accessed.
        method: of the request.
        path: of the request, without query.
        fields: gives the values of every header field of a name.
        demand: what the request needs.

    Raises:
        AccessRefusal: 401 with the error of RFC 6750, RFC 9449 or RFC 9470; 403 insufficient_scope.
    """
    token = _presented(fields(b"authorization"))
    now = resource.clock()
    try:
        claims = await resource.read_token(token)
        nonces = resource.nonces
        proof = verify_dpop_proof(
            fields(b"dpop"),
            expected_method=method,
            expected_uri=resource.origin + path,
            now=now,
            is_nonce=None if nonces is None else lambda nonce: nonces.is_good(nonce, now),
            expected_access_token=token,
            expected_thumbprint=claims.cnf.jkt,
        )
    except OAuthRefusal as refusal:
        raise AccessRefusal(401, refusal.code, refusal.what) from None
    if not set(demand.scopes) <= claims.scopes:
        raise AccessRefusal(403, "insufficient_scope", "a scope is missing", scope=" ".join(demand.scopes))
    if demand.acr and claims.acr not in demand.acr:
        raise AccessRefusal(
            401,
            "insufficient_user_authentication",
            "a stronger authentication is needed",
            acr_values=" ".join(demand.acr),
        )
    if not await resource.replay.use(proof.replay_key, proof.expires_at):
        raise AccessRefusal(401, "invalid_dpop_proof", "the proof was used before")
    return claims


@dataclass(frozen=True)
class DpopAccess:
    """ASGI middleware: only requests that may reach `app` do, the claims in their scope under `CLAIMS`.

    `demands` are by path prefix, the longest that fits counts; a path that none fits is refused with 404, so that
    nothing is open by an oversight.
    """

    app: ASGIApp
    resource: Resource
    demands: Mapping[str, Demand] = field(default_factory=lambda: {"/": Demand()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request. Lifespan passes through; WebSockets are not for this middleware, and refused."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        demand = _demand_of(self.demands, scope["path"])
        if scope["type"] != "http" or demand is None:
            await _answer(send, scope, 404, b"", [])
            return
        raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
        try:
            claims = await check_access(
                self.resource,
                method=scope["method"],
                path=scope["path"],
                fields=lambda name: [value.decode("latin-1") for key, value in raw if key == name],
                demand=demand,
            )
        except AccessRefusal as refusal:
            headers = [(b"www-authenticate", refusal.challenge.encode("latin-1")), *self._nonce()]
            await _answer(send, scope, refusal.status, refusal.body, headers)
            return

        async def send_with_nonce(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._nonce()]}
            await send(message)

        await self.app({**scope, CLAIMS: claims}, receive, send_with_nonce)

    def _nonce(self) -> list[tuple[bytes, bytes]]:
        return nonce_headers(self.resource)


def nonce_headers(resource: Resource) -> list[tuple[bytes, bytes]]:
    """Return the header field with the newest nonce, if the resource has nonces."""
    if resource.nonces is None:
        return []
    return [(b"dpop-nonce", resource.nonces.current(resource.clock()).encode("ascii"))]


def _presented(fields: Sequence[str]) -> str:
    """Return the token in the Authorization header. Raises AccessRefusal."""
    if not fields:
        raise AccessRefusal(401, None, "no access token")
    if len(fields) > 1:
        raise AccessRefusal(400, "invalid_request", "more than one Authorization header field")
    scheme, _, token = fields[0].partition(" ")
    if scheme.lower() == "bearer":
        raise AccessRefusal(401, INVALID_TOKEN, "a token that is bound to a key is not a bearer token")
    if scheme.lower() != "dpop" or not token.strip():
        raise AccessRefusal(401, None, "no access token")
    return token.strip()


def _demand_of(demands: Mapping[str, Demand], path: str) -> Demand | None:
    fitting = [prefix for prefix in demands if path == prefix or path.startswith(prefix.rstrip("/") + "/")]
    return demands[max(fitting, key=len)] if fitting else None


async def _answer(send: Send, scope: Scope, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    fixed = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
