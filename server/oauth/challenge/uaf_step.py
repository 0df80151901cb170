"""UAF inside an auth_session: a request of the server's own UAF services, its response by them, its session ours."""

from typing import Final

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.messages import Operation, ReturnUafRequest, SendUafResponse
from fidoloop.protocol.uaf.registry import AttestationType, KeyProtection
from fidoloop.protocol.uaf.status import UafRefusal
from fidoloop.server.contexts import AuthenticationContext, RegistrationContext
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request
from fidoloop.server.services import authentication_response, registration_response
from fidoloop.server.store import queries
from fidoloop.server.uaf_requests import Asking, answer_request

DENIED: Final = "access_denied"
_ATTESTED_IN_HARDWARE: Final = KeyProtection.HARDWARE | KeyProtection.TEE | KeyProtection.SECURE_ELEMENT


async def begin(environment: Environment, op: Operation, username: str | None, *, address: str) -> tuple[str, str]:
    """Return the id of a UAF session and its request, the text of a JSON array of one.

    Raises:
        OAuthRefusal: access_denied: the user has no key that fits.
    """
    context = RegistrationContext(username or "") if op == "Reg" else AuthenticationContext()
    # A user who is not known yet answers usernameless: naming one would tell whether he is there.
    asking = Asking(requested_from=address, bound_username=username if op == "Auth" else None)
    try:
        async with environment.store.transaction() as transaction:
            returned = await answer_request(environment, transaction, op, context, asking)
    except UafRefusal as refusal:
        raise OAuthRefusal(DENIED, refusal.detail) from None
    return _session_id(returned), str(returned.uafRequest)


async def finish(
    environment: Environment, request: Request, op: Operation, session_id: str, response: str
) -> tuple[str, tuple[StatusAuthenticator, ...]]:
    """Verify a UAF response, the text of a JSON array of one; return who it was, by which keys.

    Raises:
        OAuthRefusal: access_denied: it does not verify, or answers another request than this session's.
    """
    body = strictjson.encode(SendUafResponse(response)).encode("utf-8")
    serve = registration_response.serve if op == "Reg" else authentication_response.serve
    try:
        await serve(environment, request._replace(body=body))
    except UafRefusal as refusal:
        raise OAuthRefusal(DENIED, refusal.detail) from None
    row = await environment.store.fetch_one(queries.STATUS, id=session_id)
    if row is None or row.state != "succeeded" or row.username is None:
        code = "" if row is None or row.uaf_status is None else f" (UAF status {row.uaf_status})"
        raise OAuthRefusal(DENIED, f"the UAF response does not verify, or is to another request{code}")
    return row.username, tuple(strictjson.decode(row.authenticators or "[]", tuple[StatusAuthenticator, ...]))


async def in_hardware(environment: Environment, username: str, keys: tuple[StatusAuthenticator, ...]) -> bool:
    """Tell whether every key is of a model that keeps keys in hardware and attested it in full."""
    there = await environment.store.fetch_all(
        queries.CREDENTIALS_OF, username=username, app_id=environment.config.app_id
    )
    known = {(row.aaid, row.key_id): row for row in there}
    for key in keys:
        row, model = known.get((key.aaid, key.keyId)), environment.metadata.get(key.aaid)
        if row is None or model is None or row.attestation_type != AttestationType.BASIC_FULL:
            return False
        if not model.model_facts.key_protection & _ATTESTED_IN_HARDWARE:
            return False
    return bool(keys)


def _session_id(returned: ReturnUafRequest) -> str:
    (message, *_) = strictjson.loads(str(returned.uafRequest))
    return str(message["header"]["exts"][0]["data"])
