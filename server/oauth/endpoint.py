"""What every service of the authorization server does around its own work: refusals, nonces, challenges."""

from collections.abc import Awaitable, Callable

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Endpoint, Handler
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import CHALLENGE_HEADER, DPOP_NONCE, error_response, too_many_attempts
from fidoloop.server.rate_limits import TooManyError

OAuthHandler = Callable[[Environment, Request], Awaitable[Response]]


def oauth_service(handler: OAuthHandler) -> Handler:
    """Return the service: refusals become OAuth errors, and every answer bears the newest nonce and challenge."""

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
        return answer._replace(headers=(*answer.headers, *_newest(environment, now // 1000)))

    return serve


def oauth_endpoint(service: Handler, *, limited: bool = True) -> Endpoint:
    """Return a service as an endpoint that refuses in the words of OAuth; not `limited`: it counts whom by itself."""
    return Endpoint(handler=service, limited=limited, too_many=too_many_attempts)


def _newest(environment: Environment, now: int) -> tuple[tuple[bytes, bytes], ...]:
    server = environment.authorization_server
    found: tuple[tuple[bytes, bytes], ...] = ()
    if server.settings.dpop_nonces:
        found += ((DPOP_NONCE, server.nonces.current(now).encode("ascii")),)
    if server.settings.attestation_challenges:
        found += ((CHALLENGE_HEADER, server.challenges.current(now).encode("ascii")),)
    return found
