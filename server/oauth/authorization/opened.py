"""What the query of the authorization endpoint asks for, and whether that is told to the person or to the client."""

from typing import NamedTuple

from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.oauth.authorization.pushed import URN
from fidoloop.server.oauth.authorization.requests import (
    Wanted,
    answer_uri,
    is_way_back,
    metadata_of,
    read_wanted,
    redirect_uri_of,
    thumbprint_of,
    wanted_of,
)
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.oauth.parameters import INVALID, read_form, required
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Statements
from fidoloop.server.store.oauth_rows import Client


class SentBack(Exception):
    """The request is refused, and the client learns of it at `location` (RFC 6749 section 4.1.2.1)."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


class Asked(NamedTuple):
    """A request to put before a person; `name` is a pushed one's, in its request_uri."""

    client: Client
    wanted: Wanted
    name: str | None


async def read_asked(environment: Environment, statements: Statements, query: bytes) -> Asked:
    """Return what a query asks for.

    Raises:
        OAuthRefusal: for the person alone: nobody can say yet that the client is where the request says.
        SentBack: for the client.
    """
    parameters, repeated = read_form(query)
    for name in ("client_id", "request_uri", "redirect_uri"):
        if name in repeated:
            raise OAuthRefusal(INVALID, f"{name} stands twice")
    client = await statements.fetch_one(oauth_queries.CLIENT, id=required(parameters, "client_id"))
    if client is None:
        raise OAuthRefusal(INVALID, "no such client")
    if "request_uri" in parameters:
        return await _pushed(environment, statements, client, parameters["request_uri"])
    redirect_uri = redirect_uri_of(client, parameters)
    try:
        if repeated:
            raise OAuthRefusal(INVALID, "a parameter stands twice")
        if metadata_of(client).require_pushed_authorization_requests is True:
            raise OAuthRefusal(INVALID, "the client pushes its requests")
        jkt = thumbprint_of(parameters)
        wanted = read_wanted(client, parameters, redirect_uri, jkt, grants=None, now=environment.clock())
    except OAuthRefusal as refusal:
        state = None if "state" in repeated else parameters.get("state")
        location = answer_uri(environment, redirect_uri, state, error=refusal.code, error_description=refusal.what)
        raise SentBack(location) from None
    return Asked(client, wanted, None)


async def _pushed(environment: Environment, statements: Statements, client: Client, uri: str) -> Asked:
    """Return a pushed request of this client, which alone may have it opened."""
    name = uri.removeprefix(URN)
    row = await statements.fetch_one(oauth_queries.REQUEST, request_hash=token_hash(name))
    if (
        name == uri
        or row is None
        or row.client_id != client.id
        or row.used_at is not None
        or row.expires_at <= environment.clock()
        or not is_way_back(client, row.redirect_uri)
    ):
        raise OAuthRefusal("invalid_request_uri", "the request is unknown, another client's, used or expired")
    return Asked(client, wanted_of(row), name)
