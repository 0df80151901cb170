"""The services of the OAuth side by path."""

from fidoloop.server.http.dispatch import Endpoint, Routes
from fidoloop.server.oauth import discovery, token_endpoint, token_state
from fidoloop.server.oauth.authorization_server import CHALLENGE, INTROSPECT, JWKS, REVOKE, TOKEN
from fidoloop.server.oauth.endpoint import oauth_service


def oauth_routes() -> Routes:
    """Return the services."""
    posts = {
        TOKEN: token_endpoint.serve,
        CHALLENGE: discovery.serve_challenge,
        INTROSPECT: token_state.introspect,
        REVOKE: token_state.revoke,
    }
    gets = {discovery.METADATA_PATH: discovery.serve_metadata, JWKS: discovery.serve_keys}
    return {path: {"POST": Endpoint(handler=oauth_service(handler))} for path, handler in posts.items()} | {
        path: {"GET": Endpoint(handler=handler)} for path, handler in gets.items()
    }
