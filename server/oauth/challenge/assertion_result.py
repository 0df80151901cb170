"""The FIDO2 service of the seed: an assertion against a fido2_token, which is of one session and one key.

Worth nothing by itself: whoever has it needs the session, the client's attested key and the DPoP key too.
"""

import secrets
from typing import Any, Final

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization_server import ASSERTION_RESULT
from fidoloop.server.oauth.challenge import fido2_step
from fidoloop.server.oauth.challenge.sessions import find_session
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.oauth.proofs import read_proof, use_proof
from fidoloop.server.store import oauth_queries

TOKEN_SECONDS: Final = 60


class AssertionResult(msgspec.Struct, frozen=True):
    """The session that the options were of, and what get() gave."""

    client_id: str
    auth_session: str
    credential: dict[str, Any]


class Fido2TokenAnswer(msgspec.Struct, frozen=True):
    """The token and for how many seconds it is good."""

    fido2_token: str
    expires_in: int


async def serve(environment: Environment, request: Request) -> Response:
    """Verify an assertion for a session, shown by its DPoP key."""
    wanted = strictjson.decode(request.body, AssertionResult)
    proof = read_proof(environment, request, ASSERTION_RESULT)
    async with environment.store.transaction() as transaction:
        session = await find_session(environment, transaction, wanted.auth_session, wanted.client_id, proof.thumbprint)
        await use_proof(transaction, proof.replay_key, proof.expires_at)
    try:
        found = await fido2_step.finish_assertion(
            environment, session, strictjson.encode(wanted.credential), address=request.address
        )
    except OAuthRefusal:
        await environment.store.execute(oauth_queries.COUNT_TRY, session_hash=session.session_hash)
        raise
    token = secrets.token_urlsafe(32)
    await environment.store.execute(
        oauth_queries.ADD_FIDO2_TOKEN,
        token_hash=token_hash(token),
        session_hash=session.session_hash,
        jkt=session.jkt,
        username=found.username,
        credential_id=found.credential_id,
        expires_at=environment.clock() + 1000 * TOKEN_SECONDS,
    )
    return oauth_json(Fido2TokenAnswer(token, TOKEN_SECONDS))
