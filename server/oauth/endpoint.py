"""What every service of the authorization server does around its own work: refusals, nonces, challenges."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Endpoint, Handler
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import CHALLENGE_HEADER, DPOP_NONCE, error_response, too_many_attempts
from fidoloop.server.rate_limits import TooManyError

_CHALLENGES: Final[Mapping[bytes, bytes]] = {
    b"basic": b'Basic realm="fidoloop"',
    b"bearer": b'Bearer error="invalid_token"',
}
OAuthHandler = Callable[[Environment, Request], Awaitable[Response]]


def oauth_service(handler: OAuthHandler, *, bearer: bool = False) -> Handler:
    """Return the service: refusals become OAuth errors, and every answer bears the newest nonce and challenge.

    `bearer`: it wants a bearer token, and says so where there is none (RFC 6750 section 3).
    """

    async def serve(environment: Environment, request: Request) -> Response:
        server = environment.authorization_server
        now = environment.clock()
        server.refresh(now)
        try:
            answer = await handler(environment, request)
        except OAuthRefusal as refusal:
            answer = error_response(refusal)
        except TooManyError as error:
            answer = too_many_attempts(error)
        except MalformedError as error:
            answer = error_response(OAuthRefusal("invalid_request", str(error)))
        more = _newest(environment, now // 1000)
        if answer.status == 401:
            more += _scheme(request, bearer=bearer)
        return answer._replace(headers=(*answer.headers, *more))

    return serve


def oauth_endpoint(service: Handler, *, limited: bool = True) -> Endpoint:
    """Return a service as an endpoint that refuses in the words of OAuth; not `limited`: it counts whom by itself."""
    return Endpoint(handler=service, limited=limited, too_many=too_many_attempts)


def _scheme(request: Request, *, bearer: bool) -> tuple[tuple[bytes, bytes], ...]:
    """Return the challenge for a caller that is not known, in the scheme that it tried (RFC 6749 section 5.2)."""
    tried = request.headers.get(b"authorization", b"").partition(b" ")[0].lower()
    challenge = _CHALLENGES.get(tried, b"Bearer" if bearer else None)
    return () if challenge is None else ((b"www-authenticate", challenge),)


def _newest(environment: Environment, now: int) -> tuple[tuple[bytes, bytes], ...]:
    server = environment.authorization_server
    found: tuple[tuple[bytes, bytes], ...] = ()
    if server.settings.dpop_nonces:
        found += ((DPOP_NONCE, server.nonces.current(now).encode("ascii")),)
    if server.settings.attestation_challenges:
        found += ((CHALLENGE_HEADER, server.challenges.current(now).encode("ascii")),)
    return found
