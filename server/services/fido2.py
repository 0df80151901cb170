"""nevisFIDO's FIDO2 services (HTTP contract 12)."""

from msgspec import UNSET
from msgspec.structs import asdict

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.server.environment import Environment
from fidoloop.server.fido2 import sessions
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.services.fido2_ceremonies import (
    authentication_options,
    authentication_result,
    registration_options,
    registration_result,
    telling_failures,
)
from fidoloop.server.services.fido2_messages import (
    OK,
    Fido2Options,
    Fido2OptionsRequest,
    Fido2Result,
    Fido2Status,
    Fido2StatusRequest,
)
from fidoloop.server.services.status import UNKNOWN, iso
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.fido2_rows import Fido2Session


@telling_failures
async def serve_options(environment: Environment, request: Request) -> Response:
    """200 with creation or request options, told apart by the members that were sent."""
    asked = strictjson.decode(request.body, Fido2OptionsRequest)
    if asked.is_registration:
        if asked.userVerification is not UNSET:
            raise MalformedError("$.userVerification", "stands in authenticatorSelection where it is a registration")
        session_id, creation = await registration_options(environment, request, asked)
        return json_response(Fido2Options(status=OK, errorMessage="", fido2SessionId=session_id, **asdict(creation)))
    session_id, options = await authentication_options(environment, request, asked)
    return json_response(Fido2Options(status=OK, errorMessage="", fido2SessionId=session_id, **asdict(options)))


@telling_failures
async def serve_attestation_result(environment: Environment, request: Request) -> Response:
    """200 where the credential is registered now."""
    registered = await registration_result(environment, request)
    return json_response(Fido2Result(status=OK, errorMessage="", fido2SessionId=registered.session_id))


@telling_failures
async def serve_assertion_result(environment: Environment, request: Request) -> Response:
    """200 where the user is authenticated; who that is, Status says."""
    authenticated = await authentication_result(environment, request)
    return json_response(Fido2Result(status=OK, errorMessage="", fido2SessionId=authenticated.session_id))


@telling_failures
async def serve_status(environment: Environment, request: Request) -> Response:
    """200 with the status of a ceremony; one that nobody knows is `unknown`."""
    session_id = strictjson.decode(request.body, Fido2StatusRequest).fido2SessionId
    now = environment.clock()
    row = await environment.store.fetch_one(fido2_queries.SESSION, id=session_id)
    if row is None:
        return json_response(Fido2Status(status=UNKNOWN, timestamp=iso(now)))
    return json_response(_status(row, now))


def _status(row: Fido2Session, now: int) -> Fido2Status:
    if row.state == sessions.INITIALIZED and row.expires_at <= now:
        return Fido2Status(status=sessions.FAILED, timestamp=iso(row.expires_at))
    if row.state != sessions.SUCCEEDED:
        return Fido2Status(status=row.state, timestamp=iso(row.updated_at))
    return Fido2Status(
        status=row.state,
        timestamp=iso(row.updated_at),
        userId=row.username or UNSET,
        credentialId=row.credential_id or UNSET,
        userVerified=bool(row.user_verified),
    )
