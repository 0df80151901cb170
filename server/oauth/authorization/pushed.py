"""Pushed authorization requests (RFC 9126): what a client asks for, kept until a browser comes for it."""

import secrets
from typing import Final

import msgspec

from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import MessageKind, message_hash
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization.requests import Wanted, read_wanted, redirect_uri_of, thumbprint_of
from fidoloop.server.oauth.authorization_server import PAR
from fidoloop.server.oauth.client_authentication import authenticate_client
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.oauth.parameters import INVALID, media_type_of, read_parameters
from fidoloop.server.oauth.proofs import HEADER, read_proof, use_proofs
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Transaction

URN: Final = "urn:ietf:params:oauth:request_uri:"


class PushedRequest(msgspec.Struct, frozen=True):
    """The answer: the request's name, and for how many seconds it is good."""

    request_uri: str
    expires_in: int


async def serve(environment: Environment, request: Request) -> Response:
    """Keep a request."""
    if not environment.config.web:
        raise HttpProblem(404, "there is nothing at this path")
    await environment.limits.begun.spend(request.limited_as)
    parameters = read_parameters(request)
    if "request_uri" in parameters:
        raise OAuthRefusal(INVALID, "request_uri has no place in a pushed request")
    proof = read_proof(environment, request, PAR) if request.fields(HEADER) else None
    sent = message_hash(request.method, environment.authorization_server.uri(PAR), media_type_of(request), request.body)
    async with environment.store.transaction() as transaction:
        client = await authenticate_client(environment, transaction, request, parameters, proof)
        redirect_uri = redirect_uri_of(client.client, parameters)
        jkt = thumbprint_of(parameters, None if proof is None else proof.thumbprint)
        wanted = read_wanted(
            client.client, parameters, redirect_uri, jkt, grants=client.grants, now=environment.clock()
        )
        pushed = await push(environment, transaction, wanted, ("par", sent))
        await use_proofs(transaction, proof, client.proof)
    return oauth_json(pushed, 201)


async def push(
    environment: Environment, transaction: Transaction, wanted: Wanted, message: tuple[MessageKind, str]
) -> PushedRequest:
    """Keep what is asked for; `message` is kind and hash of the request that asked."""
    name, seconds = secrets.token_urlsafe(32), environment.config.oauth.pushed_request
    await transaction.execute(
        oauth_queries.ADD_REQUEST,
        request_hash=token_hash(name),
        **wanted._asdict(),
        message_of=message[0],
        message_hash=message[1],
        browser_hash=None,
        expires_at=environment.clock() + 1000 * seconds,
    )
    return PushedRequest(f"{URN}{name}", seconds)
