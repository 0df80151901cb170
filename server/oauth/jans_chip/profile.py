"""What the profile's services share: where they are, whether they are on, who the client is."""

import hmac
from base64 import b64decode
from collections.abc import Mapping
from typing import Final, NamedTuple

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.client_metadata import ClientMetadata
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.device_policy import Attested, Grants, decide
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Handler
from fidoloop.server.http.messages import EventStream, HttpProblem, Request, Response
from fidoloop.server.oauth.client_authentication import AuthenticatedClient
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Statements
from fidoloop.server.store.oauth_rows import Client

BASE_PATH: Final = "/jans-auth/restv1"
REGISTER: Final = f"{BASE_PATH}/register"
CHALLENGES: Final = (f"{BASE_PATH}/authorize-challenge", f"{BASE_PATH}/authorization_challenge")
TOKEN: Final = f"{BASE_PATH}/token"
USERINFO: Final = f"{BASE_PATH}/userinfo"
REVOKE: Final = f"{BASE_PATH}/revoke"
METADATA: Final = "/.well-known/openid-configuration"
AUTH_METHOD: Final = "client_secret_basic"
EVIDENCE: Final = "app-claims"
"""What the device policy knows such an app by: it says itself what it is."""
INVALID: Final = "invalid_client"
_MAX_HEADER: Final = 1024


class Secret(NamedTuple):
    """What Basic authentication shows."""

    client_id: str
    secret: str


def is_on(environment: Environment) -> bool:
    """Tell whether the profile is turned on."""
    return environment.config.oauth.compat == "jans-chip"


def if_on(handler: Handler) -> Handler:
    """Return a service that is there only where the profile is turned on."""

    async def serve(environment: Environment, request: Request) -> Response | EventStream:
        if not is_on(environment):
            raise HttpProblem(404, "there is nothing at this path")
        return await handler(environment, request)

    return serve


async def find_client(statements: Statements, client_id: str) -> Client | None:
    """Return a client of this profile."""
    found = await statements.fetch_one(oauth_queries.CLIENT, id=client_id)
    return found if found is not None and found.auth_method == AUTH_METHOD else None


async def authenticate(
    environment: Environment, statements: Statements, request: Request, parameters: Mapping[str, str]
) -> AuthenticatedClient:
    """Return the client of a request by its secret (RFC 6749 section 2.3.1), and what the device policy grants it.

    Raises:
        OAuthRefusal: invalid_client.
    """
    shown = _basic(request)
    client = await find_client(statements, shown.client_id)
    known = "" if client is None else str(strictjson.loads(client.device).get("secret_hash", ""))
    if not hmac.compare_digest(token_hash(shown.secret), known) or client is None:
        raise OAuthRefusal(INVALID, "client or secret is wrong")
    if parameters.get("client_id", client.id) != client.id:
        raise OAuthRefusal(INVALID, "client_id is another client's")
    rule, grants = granted(environment, strictjson.decode(client.device, DeviceFacts), client.created_at)
    return AuthenticatedClient(client, rule, grants, None, None)


def granted(environment: Environment, facts: DeviceFacts, registered_at: int) -> tuple[str, Grants]:
    """Return the rule of the device policy for an app of this profile, and what it grants.

    Raises:
        OAuthRefusal: invalid_client_attestation: it grants nothing.
    """
    age = (environment.clock() - registered_at) // 1000
    rule, grants = decide(environment.authorization_server.device_policy.policy, Attested(facts, "registration", age))
    if rule is None or not rule.grants:
        raise OAuthRefusal("invalid_client_attestation", "the device policy does not allow this app")
    return rule.name, grants


def scope_of(client: Client, grants: Grants) -> str:
    """Return which of the scopes that the app registered the device policy grants; others mean nothing here."""
    registered = strictjson.decode(client.metadata, ClientMetadata).scope or ""
    return " ".join(scope for scope in dict.fromkeys(registered.split()) if scope in grants.scopes)


def _basic(request: Request) -> Secret:
    fields = request.fields(b"authorization")
    scheme, _, text = (fields[0] if len(fields) == 1 else "").partition(" ")
    if scheme.lower() != "basic" or len(text) > _MAX_HEADER:
        raise OAuthRefusal(INVALID, "the client authenticates by Basic")
    try:
        client_id, colon, secret = b64decode(text.strip(), validate=True).decode("ascii").partition(":")
    except ValueError:
        raise OAuthRefusal(INVALID, "the client authenticates by Basic") from None
    if not colon:
        raise OAuthRefusal(INVALID, "the client authenticates by Basic")
    return Secret(client_id, secret)
