"""The services of the OAuth side by path."""

from fidoloop.server.http.dispatch import Endpoint, Routes
from fidoloop.server.http.messages import JSON
from fidoloop.server.oauth import api, attester, consents, discovery, registration, token_endpoint, token_state
from fidoloop.server.oauth.authorization import consent, page, pushed
from fidoloop.server.oauth.authorization_server import (
    ASSERTION_RESULT,
    ATTEST,
    ATTESTER_NONCE,
    AUTHORIZE,
    AUTHORIZE_CHALLENGE,
    AUTHZ_CHALLENGE,
    CHALLENGE,
    INTROSPECT,
    JWKS,
    PAR,
    REGISTER,
    REVOKE,
    TOKEN,
)
from fidoloop.server.oauth.challenge import assertion_result
from fidoloop.server.oauth.challenge import endpoint as challenge_endpoint
from fidoloop.server.oauth.endpoint import oauth_endpoint, oauth_service
from fidoloop.server.oauth.jans_chip.routes import jans_chip_routes
from fidoloop.server.web.routes import posted, read


def oauth_routes() -> Routes:
    """Return the services."""
    posts = {
        TOKEN: token_endpoint.serve,
        CHALLENGE: discovery.serve_challenge,
        REVOKE: token_state.revoke,
        ATTESTER_NONCE: attester.serve_nonce,
        ATTEST: attester.serve_attest,
        REGISTER: registration.register,
        PAR: pushed.serve,
        AUTHORIZE_CHALLENGE: challenge_endpoint.serve,
        AUTHZ_CHALLENGE: challenge_endpoint.serve,
        ASSERTION_RESULT: assertion_result.serve,
    }
    own = {
        method: oauth_endpoint(oauth_service(handler, bearer=True))
        for method, handler in (
            ("GET", registration.read),
            ("PUT", registration.update),
            ("DELETE", registration.delete),
        )
    }
    gets = {discovery.METADATA_PATH: discovery.serve_metadata, JWKS: discovery.serve_keys, AUTHORIZE: page.serve} | {
        api.METADATA_PATH: api.serve_metadata,
        api.WHOAMI: api.serve_whoami,
    }
    return {path: {"POST": oauth_endpoint(oauth_service(handler))} for path, handler in posts.items()} | {
        # Resources show an API credential; only calls without one count.
        INTROSPECT: {"POST": oauth_endpoint(oauth_service(token_state.introspect, bearer=True), limited=False)},
        f"{REGISTER}/*": own,
        **{path: {"GET": Endpoint(handler=handler)} for path, handler in gets.items()},
        consents.APPS: read(consents.listed),
        consents.WITHDRAW: posted(consents.withdraw, JSON),
        consent.OPEN: posted(consent.open_request, JSON),
        consent.DECIDE: posted(consent.decide, JSON),
        api.SIGN_DEMO: {"POST": Endpoint(handler=api.serve_sign_demo)},
        **jans_chip_routes(),
    }
