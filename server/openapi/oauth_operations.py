"""The services of the OAuth side, described."""

from typing import Any

from fidoloop.server.oauth.authorization_server import CHALLENGE, INTROSPECT, JWKS, REVOKE, TOKEN
from fidoloop.server.oauth.discovery import METADATA_PATH, Challenge, KeySet
from fidoloop.server.oauth.grants import TokenResponse
from fidoloop.server.oauth.token_state import Introspection
from fidoloop.server.openapi.described import CREDENTIAL, Described

_GROUP = "OAuth"
_CLIENT = (
    ("client_id", "Must be the authenticated client, if given", False),
    ("client_assertion", "A JWT signed by the client's key, where it is registered for private_key_jwt", False),
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", False),
)
_ATTESTED = (
    " Clients authenticate by `OAuth-Client-Attestation` with `OAuth-Client-Attestation-PoP` or the DPoP proof, or by"
    " `client_assertion`."
)
_REFUSED = (
    (400, "The request, a proof, a nonce or a challenge is not accepted: `error` says which"),
    (401, "The client is not authenticated, or its device not allowed"),
)


def oauth() -> dict[tuple[str, str], Described]:
    """Return the operations by method and path."""
    return _discovery() | _tokens()


def _discovery() -> dict[tuple[str, str], Described]:
    return {
        ("GET", METADATA_PATH): Described(
            group=_GROUP, summary="The authorization server's metadata", description="RFC 8414.", answer=dict[str, Any]
        ),
        ("GET", JWKS): Described(group=_GROUP, summary="The authorization server's public keys", answer=KeySet),
        ("POST", CHALLENGE): Described(
            group=_GROUP,
            summary="A challenge for proofs of possession",
            description="The nonce for DPoP proofs stands in `DPoP-Nonce`, as in every answer of these services.",
            answer=Challenge,
        ),
    }


def _tokens() -> dict[tuple[str, str], Described]:
    return {
        ("POST", TOKEN): Described(
            group=_GROUP,
            summary="A code or a refresh token against tokens",
            description="RFC 6749, with a DPoP proof (RFC 9449) always." + _ATTESTED,
            form=(
                ("grant_type", "authorization_code or refresh_token", True),
                ("code", "The authorization code", False),
                ("redirect_uri", "As in the authorization request, if there was one", False),
                ("code_verifier", "Where the code was made with a code_challenge", False),
                ("refresh_token", "The refresh token; the answer holds its successor", False),
                ("scope", "Part of what was granted", False),
                *_CLIENT,
            ),
            answer=TokenResponse,
            errors=(*_REFUSED, (403, "The device policy does not allow this acr any more")),
        ),
        ("POST", INTROSPECT): Described(
            group=_GROUP,
            summary="What is known of an access token",
            description="RFC 7662; for resources.",
            form=(("token", "The access token", True), ("token_type_hint", "Not needed", False)),
            answer=Introspection,
            who=CREDENTIAL,
            errors=(_REFUSED[0], (401, "An API credential is needed")),
        ),
        ("POST", REVOKE): Described(
            group=_GROUP,
            summary="Revoke a client's own token",
            description="RFC 7009. A refresh token takes all that came of its grant with it." + _ATTESTED,
            form=(("token", "The token", True), ("token_type_hint", "Not needed", False), *_CLIENT),
            answer=dict[str, Any],
            errors=_REFUSED,
        ),
    }
