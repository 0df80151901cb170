"""The services of the OAuth side, described."""

from typing import Any

from fidoloop.protocol.oauth.client_metadata import ClientRegistration
from fidoloop.server.oauth import api, consents
from fidoloop.server.oauth.attester import AttestRequest, AttestResponse, EvidenceNonce
from fidoloop.server.oauth.authorization import consent
from fidoloop.server.oauth.authorization.pushed import PushedRequest
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
from fidoloop.server.oauth.challenge.assertion_result import AssertionResult, Fido2TokenAnswer
from fidoloop.server.oauth.challenge.endpoint import ChallengeAnswer, MoreNeeded
from fidoloop.server.oauth.discovery import METADATA_PATH, Challenge, KeySet
from fidoloop.server.oauth.grants import TokenResponse
from fidoloop.server.oauth.registration import ClientInformation, StaleEvidence
from fidoloop.server.oauth.token_state import Introspection
from fidoloop.server.openapi.described import CREDENTIAL, LOGGED_IN, Described

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
    return _discovery() | _registration() | _challenges() | _in_a_browser() | _tokens() | _api()


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


def _registration() -> dict[tuple[str, str], Described]:
    bad = (400, "The evidence is stale (`nonce` says for what it must be), or it or the metadata is not accepted")
    unknown = (401, "Not the registration access token of that client")
    found = {
        ("POST", REGISTER): Described(
            group=_GROUP,
            summary="Register a client",
            description="RFC 7591 with evidence about the key in a device. Without evidence, `stale_evidence` and a"
            " nonce is the answer.",
            request=ClientRegistration,
            answer=ClientInformation,
            status=201,
            errors=(bad,),
            error=StaleEvidence,
        ),
        ("POST", ATTESTER_NONCE): Described(group=_GROUP, summary="A nonce for evidence", answer=EvidenceNonce),
        ("POST", ATTEST): Described(
            group=_GROUP,
            summary="Evidence against a client attestation",
            request=AttestRequest,
            answer=AttestResponse,
            errors=((400, "The evidence is stale or proves nothing of that client's key"),),
        ),
        ("PUT", f"{REGISTER}/*"): Described(
            group=_GROUP,
            summary="Change a client's registration",
            description="RFC 7592; another key needs new evidence.",
            request=ClientRegistration,
            answer=ClientInformation,
            who=CREDENTIAL,
            names="the client's",
            errors=(bad, unknown),
            error=StaleEvidence,
        ),
    }
    found["GET", f"{REGISTER}/*"] = Described(
        group=_GROUP,
        summary="Read a client's registration",
        answer=ClientInformation,
        who=CREDENTIAL,
        names="the client's",
        errors=(unknown,),
    )
    found["DELETE", f"{REGISTER}/*"] = Described(
        group=_GROUP,
        summary="Delete a client",
        status=204,
        who=CREDENTIAL,
        names="the client's",
        errors=(unknown,),
    )
    return found


def _challenges() -> dict[tuple[str, str], Described]:
    form = (
        ("acr_values", "pw-enroll, uaf, uaf-hw, fido2 or fido2-hw; the first that can be; web for a browser", False),
        ("scope", "What the tokens are to be good for", False),
        ("code_challenge", "S256 (RFC 7636)", False),
        ("code_challenge_method", "S256", False),
        ("nonce", "For the id_token", False),
        ("redirect_uri", "Where a browser is to go back to, if the answer is `redirect_to_web`", False),
        ("state", "Comes back with that browser", False),
        ("auth_session", "Of the answer before this request", False),
        ("device_session", "The same, in the older dialect", False),
        ("username", "Where the acr is pw-enroll", False),
        ("password", "Where the acr is pw-enroll", False),
        ("uaf_response", "The response to `uaf_request`, a JSON text", False),
        ("assertion_result_request", "What get() gave for `fido2_options`, a JSON text", False),
        ("attestation_result_request", "What create() gave for `fido2_options`, a JSON text", False),
        ("fido2_token", "Of `/assertion/result`", False),
        *_CLIENT,
    )
    errors = (
        *_REFUSED[1:],
        (400, f"{_REFUSED[0][1]}; or a browser is needed (`redirect_to_web`), for which the request may be kept"),
        (403, "A further step is needed (`insufficient_authorization`), or the proof is not accepted"),
        (429, "Too many attempts or requests; Retry-After says how many seconds to wait"),
    )
    found = {
        ("POST", path): Described(
            group=_GROUP,
            summary=summary,
            description="OAuth 2.0 for First-Party Applications, with FIDO. A DPoP proof always." + _ATTESTED,
            form=form,
            answer=ChallengeAnswer,
            errors=errors,
            error=MoreNeeded,
        )
        for path, summary in (
            (AUTHORIZE_CHALLENGE, "A step of an authorization without a browser"),
            (AUTHZ_CHALLENGE, "The same, under its older name"),
        )
    }
    found["POST", ASSERTION_RESULT] = Described(
        group=_GROUP,
        summary="An assertion against a fido2_token",
        description="The token is good for a minute, once, in that session and by that DPoP key only.",
        request=AssertionResult,
        answer=Fido2TokenAnswer,
        errors=((400, "The request, the proof or the session is not accepted"), (403, "The assertion does not verify")),
    )
    return found


_AUTHORIZATION = (
    ("response_type", "code", True),
    ("redirect_uri", "One that the client registered, character by character", True),
    ("scope", "What the tokens are to be good for", False),
    ("state", "Comes back with the answer", False),
    ("nonce", "For the id_token", False),
    ("code_challenge", "S256 (RFC 7636)", True),
    ("code_challenge_method", "S256", True),
    ("dpop_jkt", "Thumbprint of the DPoP key (RFC 9449 section 10); not needed beside a DPoP proof", False),
    ("acr_values", "uaf, fido2, uaf-hw or fido2-hw, the best first; web for any of the first two", False),
    ("max_age", "So many seconds ago the log-in may be", False),
    ("prompt", "login for a new log-in", False),
)


def _in_a_browser() -> dict[tuple[str, str], Described]:
    off = (404, "the pages are turned off")
    nobody = (401, "this browser is not logged in")
    foreign = (403, "Origin is not this server's, or the request is answered, expired or another browser's")
    return {
        ("POST", PAR): Described(
            group=_GROUP,
            summary="Push an authorization request",
            description="RFC 9126. The answer's request_uri is good once, for this client." + _ATTESTED,
            form=(*_AUTHORIZATION, *_CLIENT),
            answer=PushedRequest,
            status=201,
            errors=_REFUSED,
            problems=(off,),
        ),
        ("GET", AUTHORIZE): Described(
            group=_GROUP,
            summary="The page where a person allows a client access",
            description="RFC 6749 section 4.1 with PKCE and DPoP always. Answers go to the redirect_uri with `state`"
            " and `iss` (RFC 9207). An unknown client or redirect_uri is told to the person alone.",
            answer=str,
            media="text/html",
            query=(
                ("client_id", "Who asks"),
                ("request_uri", "Of a pushed request; all else then stands in that"),
                *((name, what) for name, what, _ in _AUTHORIZATION),
            ),
            empty=((303, "to the client with `error`: what it asks for cannot be"),),
            pages=((400, "The client or its redirect_uri is unknown, or there is no such pushed request"),),
            problems=(off,),
        ),
        ("POST", consent.OPEN): Described(
            group="Pages",
            summary="What an authorization request asks for",
            description="Sets the cookie of the browser that opened it, which alone can answer it.",
            request=consent.OpenRequest,
            answer=consent.Opened,
            problems=((400, "it cannot be answered"), foreign, off),
        ),
        ("GET", consents.APPS): Described(
            group="Pages",
            summary="The apps that may act for the user who is logged in",
            answer=consents.AppList,
            who=LOGGED_IN,
            problems=(nobody, off),
        ),
        ("POST", consents.WITHDRAW): Described(
            group="Pages",
            summary="Take back all that the user who is logged in allowed an app",
            description="Its tokens cannot be refreshed any more; a JWT that a resource verifies itself is good until"
            " it expires.",
            request=consents.NamedApp,
            status=204,
            who=LOGGED_IN,
            problems=(
                nobody,
                (403, "Origin is not this server's"),
                (404, f"{off[1]}, or no such app may act for the user"),
            ),
        ),
        ("POST", consent.DECIDE): Described(
            group="Pages",
            summary="A person's yes or no to an authorization request",
            description="Once; a yes needs the log-in that was shown.",
            request=consent.Decide,
            answer=consent.Decided,
            who=LOGGED_IN,
            problems=(nobody, foreign, off),
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


def _api() -> dict[tuple[str, str], Described]:
    refused = (
        (400, "The request is not one"),
        (401, "No token bound to the proof's key, or a stronger authentication is needed: WWW-Authenticate says which"),
        (403, "The token's scope does not reach"),
    )
    return {
        ("GET", api.METADATA_PATH): Described(
            group=_GROUP, summary="The protected API's metadata", description="RFC 9728.", answer=dict[str, Any]
        ),
        ("GET", api.WHOAMI): Described(
            group=_GROUP,
            summary="Who calls the protected API",
            description="`Authorization: DPoP` with a proof (RFC 9449 section 7); scope `api`.",
            answer=api.WhoAmI,
            errors=refused,
        ),
        ("POST", api.SIGN_DEMO): Described(
            group=_GROUP,
            summary="Have a text signed in one's name",
            description="As whoami, and with acr `uaf-hw` or `fido2-hw` (RFC 9470).",
            request=api.SignDemo,
            answer=api.Signed,
            errors=refused,
        ),
    }
