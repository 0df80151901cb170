"""What clients look up: metadata (RFC 8414), the key set, a challenge and a nonce."""

from typing import Any, Final

import msgspec

from fidoloop.protocol.oauth import client_attestation, dpop
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization_server import (
    AUTHORIZE,
    AUTHORIZE_CHALLENGE,
    CHALLENGE,
    INTROSPECT,
    JWKS,
    PAR,
    REGISTER,
    REVOKE,
    TOKEN,
)
from fidoloop.server.oauth.challenge.sessions import ACRS
from fidoloop.server.oauth.client_authentication import METHODS

METADATA_PATH: Final = "/.well-known/oauth-authorization-server"


class Challenge(msgspec.Struct, frozen=True):
    """The answer of the challenge endpoint."""

    attestation_challenge: str


class KeySet(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517 section 5)."""

    keys: list[dict[str, str]]


def metadata(environment: Environment) -> dict[str, Any]:
    """Return the authorization server's metadata."""
    server = environment.authorization_server
    found: dict[str, Any] = {
        "issuer": server.issuer,
        "token_endpoint": server.uri(TOKEN),
        "authorization_challenge_endpoint": server.uri(AUTHORIZE_CHALLENGE),
        "acr_values_supported": list(ACRS),
        "registration_endpoint": server.uri(REGISTER),
        "jwks_uri": server.uri(JWKS),
        "introspection_endpoint": server.uri(INTROSPECT),
        "revocation_endpoint": server.uri(REVOKE),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(client_attestation.ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "client_attestation_signing_alg_values_supported": list(client_attestation.ALGORITHMS),
        "client_attestation_pop_signing_alg_values_supported": list(client_attestation.ALGORITHMS),
        "client_attestation_pop_methods_supported": ["attestation_pop_jwt", "dpop_combined"],
    }
    if environment.config.web:
        found |= {
            "authorization_endpoint": server.uri(AUTHORIZE),
            "pushed_authorization_request_endpoint": server.uri(PAR),
            "require_pushed_authorization_requests": False,
            "authorization_response_iss_parameter_supported": True,
            "response_modes_supported": ["query"],
            "request_parameter_supported": False,
        }
    if server.settings.attestation_challenges:
        found["challenge_endpoint"] = server.uri(CHALLENGE)
    return found


async def serve_metadata(environment: Environment, request: Request) -> Response:
    """Answer with the metadata."""
    return json_response(metadata(environment))


async def serve_keys(environment: Environment, request: Request) -> Response:
    """Answer with the public keys of the authorization server, present and overlapping ones."""
    server = environment.authorization_server
    server.refresh(environment.clock())
    return json_response(
        KeySet([{**jwk.members, "kid": kid, "use": "sig"} for kid, jwk in server.signing.public_keys().items()])
    )


async def serve_challenge(environment: Environment, request: Request) -> Response:
    """Answer with a challenge; the nonce for DPoP proofs stands in the header, as on every answer."""
    server = environment.authorization_server
    return oauth_json(Challenge(server.challenges.current(environment.clock() // 1000)))
