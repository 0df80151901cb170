"""The profile's services by path, and what the app looks up (OpenID Connect Discovery)."""

from typing import Any

from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Endpoint, Routes
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.oauth.discovery import metadata
from fidoloop.server.oauth.endpoint import oauth_endpoint, oauth_service
from fidoloop.server.oauth.jans_chip import challenge, registration, tokens
from fidoloop.server.oauth.jans_chip.profile import (
    AUTH_METHOD,
    CHALLENGES,
    METADATA,
    REGISTER,
    REVOKE,
    TOKEN,
    USERINFO,
    if_on,
)


async def serve_metadata(environment: Environment, request: Request) -> Response:
    """Answer with the metadata of OpenID Connect, the endpoints being the profile's."""
    server = environment.authorization_server
    own: dict[str, Any] = {
        "authorization_challenge_endpoint": server.uri(CHALLENGES[0]),
        "registration_endpoint": server.uri(REGISTER),
        "token_endpoint": server.uri(TOKEN),
        "userinfo_endpoint": server.uri(USERINFO),
        "revocation_endpoint": server.uri(REVOKE),
        "token_endpoint_auth_methods_supported": [AUTH_METHOD],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    return json_response(metadata(environment) | own)


def jans_chip_routes() -> Routes:
    """Return the services."""
    posts = {
        REGISTER: registration.register,
        TOKEN: tokens.token,
        USERINFO: tokens.userinfo,
        REVOKE: tokens.revoke,
        **dict.fromkeys(CHALLENGES, challenge.serve),
    }
    found: Routes = {path: {"POST": oauth_endpoint(if_on(oauth_service(handler)))} for path, handler in posts.items()}
    return found | {METADATA: {"GET": Endpoint(handler=if_on(serve_metadata))}}
